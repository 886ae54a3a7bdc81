//! The head of a client's request, read strictly (RFC 9112 §3 to §6); pure.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, Version};

use super::{
    super::{
        fields::Fields,
        head::RequestHead,
        hop_by_hop::tokens,
        name::{Name, Names},
    },
    decode::Decoder,
    input::used,
    parse::{self, Bounds, FEW},
};

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: RequestHead,
    /// How its body is read.
    pub(crate) body: Decoder,
    pub(crate) terms: Terms,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub(crate) awaits_continue: bool,
}

/// What a request says of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The client's version.
    pub(crate) version: Version,
    /// The request was one of HEAD.
    pub(crate) head_only: bool,
    /// The connection may carry another request afterwards (RFC 9112 §9.3).
    pub(crate) keeps_alive: bool,
    /// Trailers are welcome (RFC 9110 §10.1.4).
    pub(crate) takes_trailers: bool,
}

/// Why a head is refused; the connection ends with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not HTTP/1.
    Malformed,
    /// It has more bytes or fields than are allowed.
    TooLarge,
}

impl Terms {
    /// Of a request of which nothing is known.
    pub(crate) const UNKNOWN: Self =
        Self { version: Version::HTTP_11, head_only: false, keeps_alive: false, takes_trailers: false };
}

/// Reads the head of a request from the beginning of `input`; `None` when it is not complete.
pub(crate) fn head(input: &mut Bytes, bounds: Bounds) -> Result<Option<Asked>, Refused> {
    let most = bounds.fields;
    let mut few = [const { MaybeUninit::uninit() }; FEW];
    let few = few.get_mut(..most.min(FEW)).unwrap_or_default();
    let config = httparse::ParserConfig::default();
    let mut read = httparse::Request::new(&mut []);
    let mut parsed = config.parse_request_with_uninit_headers(&mut read, input, few);
    let mut many;
    if parsed == Err(httparse::Error::TooManyHeaders) && most > FEW {
        many = vec![httparse::EMPTY_HEADER; most];
        read = httparse::Request::new(&mut many);
        parsed = config.parse_request(&mut read, input);
    }
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= bounds.head_bytes => length,
        Ok(httparse::Status::Partial) if input.len() <= bounds.head_bytes => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
        Err(_) => return Err(Refused::Malformed),
    };
    let (Some(method), Some(target)) = (read.method, read.path) else { return Err(Refused::Malformed) };
    let head = RequestHead {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| Refused::Malformed)?,
        uri: Uri::from_maybe_shared(input.slice_ref(target.as_bytes())).map_err(|_| Refused::Malformed)?,
        version: parse::version(read.version),
        // The parser knows what may be in a name and in a value (RFC 9110 §5.1 and §5.5).
        fields: Fields::read(input.get(..length).unwrap_or_default(), read.headers),
    };
    used(input, length);
    understood(head).map(Some)
}

/// Fields that say how a body is framed, or what is wanted of the answer.
const TELLING: Names = Names::NONE
    .and(Name::Connection)
    .and(Name::ContentLength)
    .and(Name::Expect)
    .and(Name::Te)
    .and(Name::TransferEncoding);

/// What the fields of a request say that matters here, from one look at each.
#[derive(Debug)]
struct Said {
    /// The one length that all `Content-Length`s say.
    length: Option<u64>,
    /// How many they are.
    lengths: usize,
    /// Whether the last transfer coding is `chunked`.
    chunked: Option<bool>,
    awaits_continue: bool,
    takes_trailers: bool,
    persistence: parse::Persistence,
}

impl Said {
    fn by(version: Version, fields: &Fields) -> Result<Self, Refused> {
        let mut said = Self {
            length: None,
            lengths: 0,
            chunked: None,
            awaits_continue: false,
            takes_trailers: false,
            persistence: parse::Persistence::of(version),
        };
        if !fields.names().meets(TELLING) {
            return Ok(said);
        }
        for (name, value) in fields.known() {
            match name {
                Name::ContentLength => said.length_is(value)?,
                Name::TransferEncoding => {
                    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                    said.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
                }
                Name::Connection => said.persistence.says(value),
                Name::Expect => said.awaits_continue |= value.eq_ignore_ascii_case(b"100-continue"),
                Name::Te => {
                    said.takes_trailers |= tokens(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                }
                _ => {}
            }
        }
        Ok(said)
    }

    /// Each length is a number and nothing else, and all say the same (RFC 9110 §8.6).
    fn length_is(&mut self, value: &[u8]) -> Result<(), Refused> {
        let said = parse::number(value).filter(|said| *said <= LONGEST).ok_or(Refused::Malformed)?;
        self.lengths += 1;
        if self.length.replace(said).is_some_and(|before| before != said) { Err(Refused::Malformed) } else { Ok(()) }
    }
}

/// The longest body. Who counts with a sign sees less than nothing in more.
const LONGEST: u64 = u64::MAX >> 1;

/// What the fields of a request mean for its body and its answer.
fn understood(mut head: RequestHead) -> Result<Asked, Refused> {
    let (version, head_only) = (head.version, head.method == Method::HEAD);
    let said = Said::by(version, &head.fields)?;
    let (body, is_ambiguous) = body(version, &mut head.fields, &said)?;
    let is_new = version == Version::HTTP_11;
    let terms = Terms {
        version,
        head_only,
        keeps_alive: !is_ambiguous && said.persistence.keeps_alive(),
        takes_trailers: is_new && said.takes_trailers,
    };
    let awaits_continue = is_new && !body.is_done() && said.awaits_continue;
    Ok(Asked { head, body, terms, awaits_continue })
}

/// How the body behind this head is read (RFC 9112 §6.3), and whether it said so in two ways: then the connection ends with it.
fn body(version: Version, fields: &mut Fields, said: &Said) -> Result<(Decoder, bool), Refused> {
    match said.chunked {
        // The coding wins over a length.
        Some(true) if version == Version::HTTP_11 => {
            return Ok((Decoder::chunks(), fields.remove(Name::ContentLength)));
        }
        Some(_) => return Err(Refused::Malformed),
        None => {}
    }
    let length = said.length.unwrap_or_default();
    if said.lengths > 1 {
        fields.set(Name::ContentLength, &HeaderValue::from(length));
    }
    Ok((Decoder::length(length), false))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 100;
    const BOUNDS: Bounds = Bounds { head_bytes: 8_192, fields: MOST };

    fn read(text: &str) -> Result<Option<Asked>, Refused> {
        head(&mut Bytes::copy_from_slice(text.as_bytes()), BOUNDS)
    }

    /// What is read of a POST with these fields.
    fn posted(version: &str, fields: &str) -> Result<Asked, Refused> {
        read(&format!("POST /a HTTP/{version}\r\nHost: ratings\r\n{fields}\r\n")).map(|asked| asked.unwrap())
    }

    #[test]
    fn a_head_is_read_to_its_end_and_what_stands_behind_it_is_left() {
        let mut input = Bytes::from_static(b"\r\nGET /a?b HTTP/1.1\r\nHost: ratings\r\n\r\nGET ");
        let asked = head(&mut input, BOUNDS).unwrap().unwrap();
        assert_eq!((&asked.head.method, asked.head.uri.to_string()), (&Method::GET, "/a?b".to_owned()));
        assert_eq!((asked.head.fields.get(Name::Host), &input[..]), (Some(&b"ratings"[..]), &b"GET "[..]));
        assert!(head(&mut input, BOUNDS).unwrap().is_none());
    }

    #[test]
    fn behind_a_head_nothing_is_held_where_nothing_has_come() {
        let mut input = Bytes::from(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
        let held = input.clone();
        drop(head(&mut input, BOUNDS).unwrap());
        assert!(input.is_empty() && held.is_unique());
    }

    #[test]
    fn a_length_is_one_number_or_the_request_is_refused() {
        assert_eq!(posted("1.1", "Content-Length: 5\r\n").unwrap().body, Decoder::length(5));
        assert_eq!(posted("1.1", "").unwrap().body, Decoder::Done);
        for length in ["+5", "-5", "0x5", "", "5, 5", "5 5", "9223372036854775808", "5\r\nContent-Length: 6"] {
            let refused = posted("1.1", &format!("Content-Length: {length}\r\n"));
            assert_eq!(refused.err(), Some(Refused::Malformed), "{length:?}");
        }
        let twice = posted("1.1", "Content-Length: 5\r\nContent-Length: 05\r\n").unwrap();
        assert_eq!(twice.body, Decoder::length(5));
        assert!(twice.head.fields.all(Name::ContentLength).eq([b"5"]));
    }

    #[test]
    fn a_transfer_coding_wins_over_a_length_and_ends_the_connection() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ] {
            let asked = posted("1.1", fields).unwrap();
            assert_eq!(asked.body, Decoder::chunks());
            assert!(!asked.terms.keeps_alive && !asked.head.fields.has(Name::ContentLength));
        }
        assert!(posted("1.1", "Transfer-Encoding: chunked\r\n").unwrap().terms.keeps_alive);
    }

    #[test]
    fn a_body_whose_end_nobody_can_tell_is_refused() {
        for (version, coding) in [("1.0", "chunked"), ("1.1", "gzip"), ("1.1", "chunked, gzip"), ("1.1", "")] {
            let refused = posted(version, &format!("Transfer-Encoding: {coding}\r\n"));
            assert_eq!(refused.err(), Some(Refused::Malformed), "{version} {coding:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_as_the_client_says_and_as_its_version_does() {
        let kept = |version: &str, fields: &str| posted(version, fields).unwrap().terms.keeps_alive;
        assert!(kept("1.1", "") && kept("1.0", "Connection: Keep-Alive\r\n"));
        assert!(!kept("1.0", "") && !kept("1.1", "Connection: x, Close\r\n"));
    }

    #[test]
    fn only_who_sends_a_body_waits_to_be_told_to_go_on() {
        let waits = |version: &str, fields: &str| posted(version, fields).unwrap().awaits_continue;
        assert!(waits("1.1", "Expect: 100-Continue\r\nContent-Length: 5\r\n"));
        assert!(!waits("1.0", "Expect: 100-continue\r\nContent-Length: 5\r\n"));
        assert!(!waits("1.1", "Expect: 100-continue\r\n") && !waits("1.1", "Content-Length: 5\r\n"));
    }

    #[test]
    fn trailers_are_welcome_where_the_request_says_so() {
        assert!(posted("1.1", "TE: deflate, Trailers\r\n").unwrap().terms.takes_trailers);
        assert!(!posted("1.1", "").unwrap().terms.takes_trailers);
    }

    #[test]
    fn what_is_not_of_the_grammar_is_refused() {
        for text in [
            "GET /a HTTP/2.0\r\n\r\n",
            "GET  /a HTTP/1.1\r\n\r\n",
            "GET /a\r\n\r\n",
            "G@T /a HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /a HTTP/1.1\r\n folded: x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET /\u{1} HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(read(text).err(), Some(Refused::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_head_has_as_many_bytes_and_fields_as_are_allowed_and_not_one_more() {
        let of = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X-A: 1\r\n".repeat(count));
        for count in [FEW, FEW + 1, MOST] {
            assert_eq!(read(&of(count)).unwrap().unwrap().head.fields.len(), count);
        }
        assert_eq!(read(&of(MOST + 1)).err(), Some(Refused::TooLarge));
        let long = |length: usize| format!("GET / HTTP/1.1\r\nX-A: {}\r\n\r\n", "a".repeat(length - 25));
        assert!(read(&long(BOUNDS.head_bytes)).unwrap().is_some());
        assert_eq!(read(&long(BOUNDS.head_bytes + 1)).err(), Some(Refused::TooLarge));
        assert_eq!(read(&"\r\n".repeat(8_192)).err(), Some(Refused::TooLarge));
        // What stands behind a head is not a part of it.
        assert!(read(&format!("GET / HTTP/1.1\r\n\r\n{}", "a".repeat(9_000))).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_part_of_a_head_is_never_a_head(
            text in "([A-Z]{1,5} [!-~]{1,8} HTTP/1\\.[01]\r?\n)?([A-Za-z-]{0,18}: ?[ -~]{0,9}\r?\n){0,5}\r?\n?[ -~]{0,9}",
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
