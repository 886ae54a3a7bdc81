//! The head of an answer, read strictly (RFC 9112 §4 to §6); pure.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};

use super::{
    super::{fields::Fields, head::ResponseHead, hop_by_hop::tokens, name::Name},
    decode::Decoder,
    error::Error,
    input::used,
};

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) response: ResponseHead,
    /// How its body is read.
    pub(crate) body: Decoder,
    /// Whether the connection may carry another request (RFC 9112 §9.3).
    pub(crate) keeps_alive: bool,
}

/// How much a peer may send at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of a head.
    pub(crate) head_bytes: usize,
    /// Fields of a head.
    pub(crate) fields: usize,
}

/// Fields that are read without a vector for them.
pub(super) const FEW: usize = 64;

/// Reads the head of the final answer from the beginning of `input`, past interim ones; `None` when it is not complete.
/// `asked_for_head` says that the request was one of HEAD.
pub(crate) fn head(input: &mut Bytes, asked_for_head: bool, bounds: Bounds) -> Result<Option<Head>, Error> {
    loop {
        let Some(head) = one(input, asked_for_head, bounds)? else { return Ok(None) };
        // RFC 9110 §15.2: whoever waits for 100 was told to continue by us, and may ignore the others.
        let status = head.response.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(head));
        }
    }
}

/// Reads one head.
fn one(input: &mut Bytes, asked_for_head: bool, bounds: Bounds) -> Result<Option<Head>, Error> {
    let most = bounds.fields;
    let mut few = [const { MaybeUninit::uninit() }; FEW];
    let few = few.get_mut(..most.min(FEW)).unwrap_or_default();
    let config = httparse::ParserConfig::default();
    let mut read = httparse::Response::new(&mut []);
    let mut parsed = config.parse_response_with_uninit_headers(&mut read, input, few);
    let mut many;
    if parsed == Err(httparse::Error::TooManyHeaders) && most > FEW {
        many = vec![httparse::EMPTY_HEADER; most];
        read = httparse::Response::new(&mut many);
        parsed = config.parse_response(&mut read, input);
    }
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= bounds.head_bytes => length,
        Ok(httparse::Status::Partial) if input.len() <= bounds.head_bytes => return Ok(None),
        Ok(_) => return Err(Error::Garbage("too long a head")),
        Err(httparse::Error::TooManyHeaders) => return Err(Error::Garbage("too many fields")),
        Err(_) => return Err(Error::Garbage("malformed head")),
    };
    let status = read.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Error::Garbage("status"))?;
    let version = version(read.version);
    // The parser knows what may be in a name and in a value (RFC 9110 §5.1 and §5.5).
    let mut fields = Fields::read(input.get(..length).unwrap_or_default(), read.headers);
    let body = body(asked_for_head, version, status, &mut fields)?;
    let keeps_alive = keeps_alive(version, &fields);
    let reason = read.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    let reason = reason.map(|reason| reason.as_bytes().into());
    used(input, length);
    Ok(Some(Head { response: ResponseHead { status, version, reason, fields }, body, keeps_alive }))
}

/// The version that a parser has read.
pub(super) fn version(minor: Option<u8>) -> Version {
    if minor == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 }
}

/// How the body behind this head is read (RFC 9112 §6.3).
fn body(asked_for_head: bool, version: Version, status: StatusCode, fields: &mut Fields) -> Result<Decoder, Error> {
    let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational();
    if has_none || asked_for_head {
        return Ok(Decoder::Done);
    }
    if fields.has(Name::TransferEncoding) {
        return coded(version, fields);
    }
    if !fields.has(Name::ContentLength) {
        return Ok(Decoder::UntilClose);
    }
    if let Some(length) = only_length(fields) {
        return Ok(Decoder::length(length));
    }
    let length = same_length(fields).ok_or(Error::Garbage("content-length"))?;
    fields.set(Name::ContentLength, &HeaderValue::from(length));
    Ok(Decoder::length(length))
}

/// The body behind a transfer coding: chunks, or what ends with the connection. HTTP/1.0 has none (RFC 9112 §6.1).
fn coded(version: Version, fields: &Fields) -> Result<Decoder, Error> {
    if version == Version::HTTP_10 {
        return Err(Error::Garbage("transfer-encoding in HTTP/1.0"));
    }
    let last = fields.all(Name::TransferEncoding).next_back().unwrap_or_default();
    let last = last.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    if last.trim_ascii().eq_ignore_ascii_case(b"chunked") { Ok(Decoder::chunks()) } else { Ok(Decoder::UntilClose) }
}

/// The length, where it is said once and as one number: it mostly is.
fn only_length(fields: &Fields) -> Option<u64> {
    let mut lengths = fields.all(Name::ContentLength);
    let length = number(lengths.next()?)?;
    lengths.next().is_none().then_some(length)
}

/// The one length that all `Content-Length`s say.
fn same_length(fields: &Fields) -> Option<u64> {
    let lengths = fields.all(Name::ContentLength).flat_map(|value| value.split(|byte| *byte == b','));
    let mut lengths = lengths.map(|text| number(text.trim_ascii()));
    let first = lengths.next()??;
    lengths.all(|length| length == Some(first)).then_some(first)
}

/// A number in digits, and nothing else.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether the connection may be used again.
fn keeps_alive(version: Version, fields: &Fields) -> bool {
    let mut persistence = Persistence::of(version);
    fields.all(Name::Connection).for_each(|value| persistence.says(value));
    persistence.keeps_alive()
}

/// What becomes of a connection behind a message (RFC 9112 §9.3): `close` counts wherever it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Persistence {
    closes: bool,
    keeps: bool,
}

impl Persistence {
    /// What a message of this version says by itself.
    pub(super) fn of(version: Version) -> Self {
        Self { closes: false, keeps: version == Version::HTTP_11 }
    }

    /// What a `Connection` says.
    pub(super) fn says(&mut self, value: &[u8]) {
        // It mostly stands alone.
        if value == b"keep-alive" {
            self.keeps = true;
            return;
        }
        for token in tokens(value) {
            self.closes |= token.eq_ignore_ascii_case(b"close");
            self.keeps |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether it may be used again.
    pub(super) fn keeps_alive(self) -> bool {
        self.keeps && !self.closes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 256;
    const BOUNDS: Bounds = Bounds { head_bytes: 8_192, fields: MOST };

    fn read(text: &str) -> Result<Option<Head>, Error> {
        head(&mut Bytes::copy_from_slice(text.as_bytes()), false, BOUNDS)
    }

    fn body_behind(fields: &str) -> Result<Decoder, Error> {
        read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).map(|head| head.unwrap().body)
    }

    fn is_garbage(text: &str) -> bool {
        matches!(read(text), Err(Error::Garbage(_)))
    }

    #[test]
    fn a_length_that_is_not_a_number_is_garbage() {
        for length in ["+2", "0x2", "", "2, 3", "2,", "18446744073709551616", "2\r\nContent-Length: 3"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            assert!(is_garbage(&head), "{head:?}");
        }
    }

    #[test]
    fn a_length_that_is_said_twice_is_said_once_behind_us() {
        for lengths in ["2\r\nContent-Length: 2", "2, 2"] {
            let head = read(&format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\n")).unwrap().unwrap();
            assert_eq!(head.body, Decoder::length(2));
            assert_eq!(head.response.fields, [("content-length", "2")].into(), "{lengths}");
        }
    }

    #[test]
    fn the_last_transfer_coding_says_how_a_body_ends() {
        assert_eq!(body_behind("Transfer-Encoding: Chunked").unwrap(), Decoder::chunks());
        assert_eq!(body_behind("Transfer-Encoding: gzip, chunked\r\nContent-Length: 3").unwrap(), Decoder::chunks());
        assert_eq!(body_behind("Transfer-Encoding: chunked\r\nTransfer-Encoding: x").unwrap(), Decoder::UntilClose);
        assert!(is_garbage("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        for status in ["204 No Content", "304 Not Modified", "101 Switching Protocols"] {
            let head = read(&format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\n")).unwrap().unwrap();
            assert_eq!(head.body, Decoder::Done, "{status}");
        }
        let mut to_head = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(head(&mut to_head, true, BOUNDS).unwrap().unwrap().body, Decoder::Done);
    }

    #[test]
    fn interim_answers_are_passed_over_and_a_switch_is_none() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert!(read(interim).unwrap().is_none());
        let head = read(&format!("{interim}HTTP/1.1 200 OK\r\n\r\n")).unwrap().unwrap();
        assert_eq!((head.response.status, head.response.fields.len()), (StatusCode::OK, 0));
        let switch = read("HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap().unwrap();
        assert_eq!(switch.response.status, StatusCode::SWITCHING_PROTOCOLS);
    }

    #[test]
    fn a_connection_is_kept_unless_anybody_says_close() {
        let kept = |version: &str, connection: &str| {
            read(&format!("HTTP/{version} 200 OK\r\n{connection}\r\n\r\n")).unwrap().unwrap().keeps_alive
        };
        assert!(kept("1.1", "X-A: 1"));
        assert!(!kept("1.1", "Connection: keep-alive\r\nConnection: x, Close"));
        assert!(!kept("1.0", "X-A: 1"));
        assert!(kept("1.0", "Connection: Keep-Alive"));
    }

    #[test]
    fn as_many_fields_as_are_allowed_are_read_and_not_one_more() {
        let head = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: 1\r\n".repeat(count));
        for count in [FEW, FEW + 1, MOST] {
            assert_eq!(read(&head(count)).unwrap().unwrap().response.fields.len(), count);
        }
        assert!(is_garbage(&head(MOST + 1)));
        let text = Bytes::from(head(4));
        assert!(super::head(&mut text.clone(), false, Bounds { fields: 4, ..BOUNDS }).is_ok());
        assert!(super::head(&mut text.clone(), false, Bounds { fields: 3, ..BOUNDS }).is_err());
    }

    #[test]
    fn behind_a_head_nothing_is_held_where_nothing_has_come() {
        let mut input = Bytes::from(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
        let held = input.clone();
        assert!(super::head(&mut input, false, BOUNDS).unwrap().is_some());
        assert!(input.is_empty() && held.is_unique());
    }

    #[test]
    fn a_head_is_as_long_as_the_limit_at_the_most_whether_it_is_complete_or_not() {
        let of = |length: usize| format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "a".repeat(length - 26));
        assert_eq!(read(&of(BOUNDS.head_bytes)).unwrap().unwrap().response.fields.len(), 1);
        let longer = of(BOUNDS.head_bytes + 2);
        assert!(is_garbage(&longer) && is_garbage(&format!("HTTP/1.1 200 OK\r\nX-A: {}", "a".repeat(8_192))));
        // What stands behind a head is not a part of it.
        assert!(read(&format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(9_000))).unwrap().is_some());
    }

    #[test]
    fn a_reason_of_its_own_is_kept() {
        let head = read("HTTP/1.1 200 Fine\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.response.reason.as_deref(), Some(&b"Fine"[..]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_part_of_a_head_is_never_a_head(
            text in "(HTTP/1\\.[01x] [0-9]{2,4} [ -~]{0,8}\r?\n)?([A-Za-z-]{0,18}: ?[ -~]{0,9}\r?\n){0,5}\r?\n?[ -~]{0,9}",
            cut in 0usize..200,
        ) {
            let whole = read(&text);
            let cut = cut.min(text.len());
            if let (Ok(None), Ok(Some(_))) = (&whole, read(&text[..cut])) {
                prop_assert!(false, "a part of {text:?} is more than all of it");
            }
        }
    }
}
