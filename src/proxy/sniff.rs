//! What a connection speaks, told from its first bytes; a pure function, so that any split of the bytes can be tested.

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// HTTP/1: handled request by request.
    Http1,
    /// HTTP/2 with prior knowledge: handled request by request.
    Http2,
    /// TLS: ends here where there is a certificate, and is passed through otherwise.
    Tls,
    /// Anything else: passed through.
    Opaque,
}

impl Protocol {
    /// The name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Tls => "tls",
            Self::Opaque => "tcp",
        }
    }
}

/// The client connection preface of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods that are taken for HTTP/1 as soon as they stand before a space.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "];

/// A first line is looked for within this many bytes; a request whose target is longer is refused anyway.
pub(crate) const LOOK_AHEAD: usize = 20 * 1024;

/// Recognises the protocol, or says `None` when more bytes are needed.
///
/// A connection is HTTP/1 if it begins with a known method and a space, or if its first line is text that contains ` HTTP/` in
/// any case: a malformed request line is answered by the strict gate, never passed on unseen. What has been recognised does
/// not change when more bytes come, so that it does not matter how they are cut.
pub(crate) fn recognise(bytes: &[u8]) -> Option<Protocol> {
    // RFC 9112 §2.2: empty lines before a request line are ignored.
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let bytes = bytes.get(start..)?;
    if start == 0 && bytes.len() >= PREFACE.len() && bytes.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    if start == 0 && PREFACE.starts_with(bytes) {
        return None;
    }
    match bytes {
        [0x16] if start == 0 => return None,
        [0x16, 0x03, ..] if start == 0 => return Some(Protocol::Tls),
        _ => {}
    }
    if METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some(Protocol::Http1);
    }
    let line_end = bytes.iter().position(|b| *b == b'\n');
    let line = bytes.get(..line_end.unwrap_or(bytes.len())).unwrap_or(bytes);
    let text = text(line);
    if contains_http_version(text) {
        return Some(Protocol::Http1);
    }
    // A method that breaks off is a malformed request, which no server should get to read on its own.
    if text.len() < line.len() && !text.is_empty() && METHODS.iter().any(|method| method.starts_with(text)) {
        return Some(Protocol::Http1);
    }
    let may_go_on = line_end.is_none() && text.len() == line.len() && line.len() < LOOK_AHEAD;
    if may_go_on { None } else { Some(Protocol::Opaque) }
}

/// The beginning of a line that can be one of HTTP. A byte that cannot decides as soon as it is there, whatever comes behind it:
/// another protocol's server may be waiting for it.
fn text(line: &[u8]) -> &[u8] {
    let is_text = |(at, b): (usize, &u8)| match b {
        b'\t' | 0x20..=0x7e => true,
        b'\r' | 0x80.. => at > 0,
        _ => false,
    };
    let length = line.iter().enumerate().take(LOOK_AHEAD).take_while(|(at, b)| is_text((*at, b))).count();
    line.get(..length).unwrap_or(line)
}

/// What an undecided connection is taken for when its time is up: bytes that could still become an HTTP request are not passed on.
pub(crate) fn give_up(bytes: &[u8]) -> Option<Protocol> {
    let first = bytes.iter().find(|b| !matches!(b, b'\r' | b'\n'))?;
    (!first.is_ascii_uppercase()).then_some(Protocol::Opaque)
}

/// Whether a line contains ` HTTP/`, in any case.
fn contains_http_version(line: &[u8]) -> bool {
    line.windows(6).any(|window| window.eq_ignore_ascii_case(b" HTTP/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_methods_are_http_at_once() {
        assert_eq!(recognise(b"GET "), Some(Protocol::Http1));
        assert_eq!(recognise(b"\r\nOPTIONS * HTTP/1.1\r\n"), Some(Protocol::Http1));
    }

    #[test]
    fn a_first_line_with_a_version_is_http_whatever_its_method_or_case() {
        for line in ["PURGE / HTTP/1.1\r\n", "get / http/1.1\r\n", " GET / HTTP/1.1\r\n", "M-SEARCH * HTTP/9\n"] {
            assert_eq!(recognise(line.as_bytes()), Some(Protocol::Http1), "{line:?}");
        }
    }

    #[test]
    fn other_protocols_are_passed_through() {
        assert_eq!(recognise(PREFACE), Some(Protocol::Http2));
        assert_eq!(recognise(b"\x16\x03\x01\x02\x00"), Some(Protocol::Tls));
        for bytes in [&b"*1\r\n$4\r\nPING\r\n"[..], b"PING\r\n", b"get key\r\n", b"\x00\x00\x00\x08", b"\xff\xfe"] {
            assert_eq!(recognise(bytes), Some(Protocol::Opaque), "{bytes:?}");
        }
    }

    #[test]
    fn every_split_of_a_beginning_gives_the_same_answer() {
        for bytes in [PREFACE, b"PURGE /x HTTP/1.1\r\n", b"get key\r\n", b"\x16\x03\x01", b"POST / HTTP/1.1\r\n"] {
            let whole = recognise(bytes);
            let first = (1..=bytes.len()).find_map(|n| recognise(&bytes[..n]));
            assert_eq!(first, whole, "{bytes:?}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_decides_when_it_comes_and_nothing_behind_it_changes_that() {
        for bytes in
            [&b"AMQP\x00\x00\x09\x01"[..], b"\x16\x04 HTTP/1.1\r\n", b"\x80 HTTP/1.1\r\n", b"\x00 / HTTP/1.1\r\n"]
        {
            assert_eq!(recognise(bytes), Some(Protocol::Opaque), "{bytes:?}");
        }
        assert_eq!(recognise(b"PO\x00ST / HTTP/1.1\r\n"), Some(Protocol::Http1));
        assert_eq!(recognise(b"PURGE / HTTP/1.1\x00\r\n"), Some(Protocol::Http1));
    }

    #[test]
    fn a_version_beyond_the_look_ahead_is_not_looked_for() {
        let line = |length: usize| [&b"PURGE /"[..], &vec![b'a'; length], b" HTTP/1.1\r\n"].concat();
        assert_eq!(recognise(&line(LOOK_AHEAD - 13)), Some(Protocol::Http1));
        assert_eq!(recognise(&line(LOOK_AHEAD - 12)), Some(Protocol::Opaque));
    }

    proptest! {
        #[test]
        fn what_is_recognised_does_not_change_when_more_bytes_come(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![&b" HTTP/"[..], b"GET ", b"PRI * HTTP/2.0", b"\r\n", b"\n", b"\x16", b"\x16\x03"])
                        .prop_map(<[u8]>::to_vec),
                    prop::collection::vec(any::<u8>(), 0..4),
                    "[A-Z /]{0,4}".prop_map(String::into_bytes),
                ],
                0..8,
            ),
        ) {
            let bytes = parts.concat();
            let first = (1..=bytes.len()).find_map(|n| recognise(&bytes[..n]));
            prop_assert_eq!(recognise(&bytes), first);
        }
    }

    #[test]
    fn what_could_still_become_http_is_not_passed_on_when_time_is_up() {
        assert_eq!(give_up(b"PRI * HT"), None);
        assert_eq!(give_up(b"PURG"), None);
        assert_eq!(give_up(b""), None);
        assert_eq!(give_up(b"hello"), Some(Protocol::Opaque));
    }
}
