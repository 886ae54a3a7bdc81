//! The head of an answer to a client, written as HTTP/1; the framing is always ours (RFC 9112 §6).

use std::{cell::RefCell, time::SystemTime};

use http::{HeaderValue, StatusCode, Version};
use http_body::Body;

use super::{
    super::{
        fields::Fields,
        head::ResponseHead,
        hop_by_hop::tokens,
        name::{Name, Names},
    },
    asked::Terms,
    encode::{Framing, content_length, field},
};

/// What is decided of an answer before its head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) framing: Framing,
    /// Whether the connection may carry another request behind it.
    pub(crate) keeps_alive: bool,
}

impl Manner {
    /// How this answer is given on these terms.
    pub(crate) fn of<B: Body>(response: &ResponseHead, body: &B, terms: Terms) -> Self {
        let framing = framing(response.status, body, terms);
        let mut wishes = response.fields.all(Name::Connection).flat_map(tokens);
        let closes = wishes.any(|token| token.eq_ignore_ascii_case(b"close"));
        Self { framing, keeps_alive: terms.keeps_alive && !closes && framing != Framing::UntilClose }
    }
}

/// How the end of its body is told (RFC 9112 §6.3).
fn framing<B: Body>(status: StatusCode, body: &B, terms: Terms) -> Framing {
    if terms.head_only || has_no_body(status) {
        return Framing::Nothing;
    }
    match body.size_hint().exact() {
        _ if body.is_end_stream() => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if terms.version == Version::HTTP_10 => Framing::UntilClose,
        None => Framing::Chunks,
    }
}

/// Answers that never have a body, whatever their fields say (RFC 9110 §6.4.1).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Writes the head of an answer.
pub(crate) fn head(response: &ResponseHead, terms: Terms, manner: Manner, out: &mut Vec<u8>) {
    let ResponseHead { status, reason, fields, .. } = response;
    // RFC 9112 §2.3: who speaks 1.0 is answered in it.
    let version: &[u8] = if terms.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
    out.extend_from_slice(version);
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    match reason {
        Some(reason) => out.extend_from_slice(reason),
        None => out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
    // Without a body, the length is that of the body which another request would have got (RFC 9110 §8.6).
    let says_length = manner.framing == Framing::Nothing && !is_without_length(*status);
    let framing = Names::NONE.and(Name::TransferEncoding);
    fields.write(if says_length { framing } else { framing.and(Name::ContentLength) }, out);
    match manner.framing {
        Framing::Length(length) => content_length(length, out),
        Framing::Chunks => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Nothing | Framing::UntilClose => {}
    }
    persistence(fields, terms, manner, out);
    if !fields.has(Name::Date) {
        date(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110 §8.6: these must not have a length.
fn is_without_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// Says what becomes of the connection, where that is not what the version does anyway (RFC 9112 §9.3).
fn persistence(fields: &Fields, terms: Terms, manner: Manner, out: &mut Vec<u8>) {
    if fields.has(Name::Connection) {
        return;
    }
    match (terms.version, manner.keeps_alive) {
        (Version::HTTP_10, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (Version::HTTP_11, false) => out.extend_from_slice(b"connection: close\r\n"),
        _ => {}
    }
}

/// RFC 9110 §6.6.1: every answer has a date. The text changes once a second.
#[allow(clippy::disallowed_methods, reason = "it is what the client is told, and nothing is decided by it")]
fn date(out: &mut Vec<u8>) {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(last, text)| {
        if *last != second || text.is_empty() {
            *last = second;
            *text =
                HeaderValue::try_from(httpdate::fmt_http_date(now)).unwrap_or_else(|_| HeaderValue::from_static(""));
        }
        field(Name::Date.as_bytes(), text.as_bytes(), out);
    });
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const TERMS: Terms =
        Terms { version: Version::HTTP_11, head_only: false, keeps_alive: true, takes_trailers: false };
    const OLD: Terms = Terms { version: Version::HTTP_10, ..TERMS };
    const TO_HEAD: Terms = Terms { head_only: true, ..TERMS };

    /// The head, without the date.
    fn written(response: &ResponseHead, body: &str, terms: Terms) -> String {
        let mut out = Vec::new();
        head(response, terms, Manner::of(response, &body.to_owned(), terms), &mut out);
        String::from_utf8(out).unwrap().replace("date: today\r\n", "")
    }

    #[test]
    fn the_framing_is_ours_whatever_the_answer_says() {
        let fields = [("content-length", "9"), ("x-a", "1"), ("transfer-encoding", "chunked"), ("x-a", "2")];
        let answer = ResponseHead::of_today(200, &fields);
        let said = "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(written(&answer, "hello", TERMS), said);
        assert_eq!(
            written(&ResponseHead::of_today(404, &[]), "", TERMS),
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        );
    }

    #[test]
    fn what_is_of_unknown_length_goes_in_chunks_or_ends_with_the_connection() {
        let (answer, unknown) = (ResponseHead::of_today(200, &[]), "hello".to_owned().map_frame(|frame| frame));
        let new = Manner { framing: Framing::Chunks, keeps_alive: true };
        assert_eq!(Manner::of(&answer, &unknown, TERMS), new);
        let old = Manner { framing: Framing::UntilClose, keeps_alive: false };
        assert_eq!(Manner::of(&answer, &unknown, OLD), old);
        let mut out = Vec::new();
        head(&answer, OLD, old, &mut out);
        assert_eq!(out, b"HTTP/1.0 200 OK\r\ndate: today\r\n\r\n");
    }

    #[test]
    fn an_answer_without_a_body_keeps_the_length_of_the_one_that_it_stands_for() {
        for (status, terms) in [(200, TO_HEAD), (304, TERMS)] {
            let answer = ResponseHead::of_today(status, &[("content-length", "9")]);
            assert!(written(&answer, "", terms).contains("content-length: 9\r\n"), "{status}");
            assert!(!written(&ResponseHead::of_today(status, &[]), "", terms).contains("content-length"), "{status}");
        }
        for status in [101, 204] {
            assert!(
                !written(&ResponseHead::of_today(status, &[("content-length", "0")]), "", TERMS)
                    .contains("content-length")
            );
        }
    }

    #[test]
    fn what_becomes_of_the_connection_is_said_where_the_version_does_not_say_it() {
        let says = |terms: Terms, fields: &[(&str, &str)]| {
            let text = written(&ResponseHead::of_today(200, fields), "", terms);
            let line = text.lines().find_map(|line| line.strip_prefix("connection: ")).map(str::to_owned);
            (line, Manner::of(&ResponseHead::of_today(200, fields), &String::new(), terms).keeps_alive)
        };
        assert_eq!(says(TERMS, &[]), (None, true));
        assert_eq!(says(Terms { keeps_alive: false, ..TERMS }, &[]), (Some("close".to_owned()), false));
        assert_eq!(says(TERMS, &[("connection", "close")]), (Some("close".to_owned()), false));
        assert_eq!(says(OLD, &[]), (Some("keep-alive".to_owned()), true));
        assert_eq!(says(Terms { keeps_alive: false, ..OLD }, &[]), (None, false));
    }

    #[test]
    fn an_answer_without_a_date_gets_one_and_its_own_reason_is_kept() {
        let reason = Some(b"Fine".as_slice().into());
        let answer = ResponseHead { reason, ..ResponseHead::new(StatusCode::from_u16(299).unwrap()) };
        let text = written(&answer, "", TERMS);
        assert!(text.starts_with("HTTP/1.1 299 Fine\r\n") && text.contains(" GMT\r\n"), "{text}");
    }
}
