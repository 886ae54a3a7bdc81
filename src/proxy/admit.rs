//! Step 1, admit: the strict gate behind the parsers. What passes is unambiguous for every upstream.
//!
//! Over HTTP/1 `http1::asked` has already refused bad framing (differing or malformed `Content-Length`, `Transfer-Encoding` in HTTP/1.0 or
//! without a final `chunked`), and of a request with both it keeps `Transfer-Encoding` alone and closes afterwards
//! (RFC 9112 §6.3). Over HTTP/2 hyper lets more through. The gate refuses the rest.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, EXPECT, HOST, MAX_FORWARDS, TRANSFER_ENCODING, VIA},
    uri::{Authority, PathAndQuery},
};

use super::{field_name, reject::Reject};

/// What the gate knows of its listener.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Our own name in `Via`: `<service>.<namespace>.glooshot`.
    pub(crate) pseudonym: String,
    /// The Host of an HTTP/1.0 request that has none.
    pub(crate) default_host: HeaderValue,
    /// Bytes of a target at the most.
    pub(crate) target_bytes: usize,
    /// Header fields at the most. Over HTTP/1 they have been counted already.
    pub(crate) headers: usize,
}

/// What becomes of a request that passes the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes to the service.
    Forward,
    /// The proxy is the last recipient that it allows (`OPTIONS` with `Max-Forwards: 0`).
    AnswerHere,
}

/// Checks a request, and brings its target and Host into the one form that is forwarded.
pub(crate) fn admit<B>(gate: &Gate, request: &mut Request<B>) -> Result<Admission, Reject> {
    method(request.method())?;
    if request.headers().len() > gate.headers {
        return Err(Reject::TooManyHeaders);
    }
    field_names(request.version(), request.headers())?;
    transfer_coding(request.headers())?;
    content_length(request.version(), request.headers())?;
    target_and_host(gate, request)?;
    expectation(request.headers())?;
    via(gate, request.headers())?;
    drop_look_alikes(request.headers_mut());
    Ok(max_forwards(request))
}

/// RFC 9110 §9.3.6 and §9.3.8: a service proxy is no tunnel endpoint, and TRACE would echo what intermediaries added.
fn method(method: &Method) -> Result<(), Reject> {
    if *method == Method::CONNECT || *method == Method::TRACE { Err(Reject::Method) } else { Ok(()) }
}

/// RFC 9110 §5.1. HTTP/1 has been held to that.
fn field_names(version: Version, headers: &HeaderMap) -> Result<(), Reject> {
    if version == Version::HTTP_2 && !field_name::are_tokens(headers) { Err(Reject::FieldName) } else { Ok(()) }
}

/// RFC 9112 §6.1: `chunked` alone, once. Other codings are legal HTTP, but two parsers rarely agree about them.
fn transfer_coding(headers: &HeaderMap) -> Result<(), Reject> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Reject::TransferCoding),
    }
}

/// RFC 9110 §8.6: one number, once. HTTP/1 has been held to that; over HTTP/2 an empty value and several spellings of one number get
/// through, and an upstream that speaks HTTP/1 would frame by them.
fn content_length(version: Version, headers: &HeaderMap) -> Result<(), Reject> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        _ if version != Version::HTTP_2 => Ok(()),
        (Some(only), None) if is_number(only.as_bytes()) => Ok(()),
        _ => Err(Reject::ContentLength),
    }
}

fn is_number(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_digit) && std::str::from_utf8(value).is_ok_and(|text| text.parse::<u64>().is_ok())
}

/// RFC 9112 §3.2: origin-form, absolute-form (which HTTP/2 always has), or `*` with OPTIONS; exactly one Host that is a host
/// and port.
fn target_and_host<B>(gate: &Gate, request: &mut Request<B>) -> Result<(), Reject> {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if path.len() > gate.target_bytes {
        return Err(Reject::TargetTooLong);
    }
    if path == "*" && *request.method() != Method::OPTIONS {
        return Err(Reject::Target);
    }
    let host = host(request.headers(), request.version(), uri.authority().is_some())?;
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if has_path(uri) => {
            if host.is_none() {
                request.headers_mut().insert(HOST, gate.default_host.clone());
            }
            Ok(())
        }
        // §3.2.2: the target's authority wins over Host, which is rewritten; the origin sees origin-form.
        (Some("http" | "https"), Some(authority)) => {
            if !is_host(authority.as_str().as_bytes()) {
                return Err(Reject::Target);
            }
            let differs = host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
            // RFC 9113 §8.3.1: a Host beside `:authority` that says otherwise is malformed.
            if differs && request.version() == Version::HTTP_2 {
                return Err(Reject::Host);
            }
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Reject::Target)?;
            let origin_form = origin_form(uri.path_and_query(), request.version()).ok_or(Reject::Target)?;
            *request.uri_mut() = origin_form;
            request.headers_mut().insert(HOST, value);
            Ok(())
        }
        _ => Err(Reject::Target),
    }
}

/// RFC 9112 §3.2.1: without a path an absolute target asks for the root; a query may stand alone, and of a fragment nothing is
/// left. RFC 9113 §8.3.1: over HTTP/2 a path says so itself.
fn origin_form(path: Option<&PathAndQuery>, version: Version) -> Option<Uri> {
    let form = path.cloned().map(Uri::from).unwrap_or_default();
    if has_path(&form) {
        return Some(form);
    }
    if version == Version::HTTP_2 {
        return None;
    }
    form.query().map_or_else(|| Some(Uri::default()), |query| Uri::try_from(format!("/?{query}")).ok())
}

/// Whether a target that is not absolute is a path or an asterisk. What stood before a fragment can be nothing at all: `path()`
/// tells, and `path_and_query()` calls it "/".
fn has_path(uri: &Uri) -> bool {
    let text = uri.path_and_query().map_or("", PathAndQuery::as_str);
    text.starts_with(['/', '*']) && !uri.path().is_empty()
}

/// The one Host of a request; HTTP/1.0 may have none, and HTTP/2 where there is an `:authority`.
fn host(headers: &HeaderMap, version: Version, has_authority: bool) -> Result<Option<&HeaderValue>, Reject> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_10 || (version == Version::HTTP_2 && has_authority) => Ok(None),
        (Some(only), None) if is_host(only.as_bytes()) => Ok(Some(only)),
        _ => Err(Reject::Host),
    }
}

/// Whether a value is a host with an optional port and nothing else.
fn is_host(value: &[u8]) -> bool {
    let plain =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'%' | b'~');
    !value.is_empty()
        && value.iter().all(plain)
        && Authority::try_from(value).is_ok_and(|a| !a.host().is_empty() && has_plain_port(&a))
}

/// Whether the port, where there is one, is a number (RFC 3986 §3.2.3: it may be empty).
fn has_plain_port(authority: &Authority) -> bool {
    let behind_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
    behind_host.strip_prefix(':').map_or(behind_host.is_empty(), |port| port.is_empty() || port.parse::<u16>().is_ok())
}

/// RFC 9110 §10.1.1: only `100-continue` is defined.
fn expectation(headers: &HeaderMap) -> Result<(), Reject> {
    let known = headers.get_all(EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if known { Ok(()) } else { Err(Reject::Expectation) }
}

/// RFC 9110 §7.6.3: a request that has been here already would go round for ever.
fn via(gate: &Gate, headers: &HeaderMap) -> Result<(), Reject> {
    let ours = gate.pseudonym.as_bytes();
    let has_been_here = headers.get_all(VIA).iter().any(|value| {
        value.as_bytes().split(|b| matches!(b, b',' | b' ' | b'\t')).any(|word| word.eq_ignore_ascii_case(ours))
    });
    if has_been_here { Err(Reject::Loop) } else { Ok(()) }
}

/// Drops names with underscores that many servers fold into a name that we write or that frames the message
/// (`X_Forwarded_For` becomes `HTTP_X_FORWARDED_FOR` in every CGI-like gateway). Other names with underscores pass.
fn drop_look_alikes(headers: &mut HeaderMap) {
    let look_alike = |name: &&HeaderName| {
        let name = name.as_str();
        name.contains('_') && {
            let folded = name.replace('_', "-");
            matches!(
                folded.as_str(),
                "x-forwarded-for"
                    | "x-forwarded-proto"
                    | "forwarded"
                    | "content-length"
                    | "transfer-encoding"
                    | "host"
                    | "via"
                    | "connection"
            ) || folded.starts_with("x-glooshot-")
        }
    };
    let dropped: Vec<HeaderName> = headers.keys().filter(look_alike).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// RFC 9110 §7.6.2: counts down for OPTIONS, and answers for itself at zero.
fn max_forwards<B>(request: &mut Request<B>) -> Admission {
    if *request.method() != Method::OPTIONS {
        return Admission::Forward;
    }
    let left = request.headers().get(MAX_FORWARDS).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u32>().ok());
    match left {
        None => Admission::Forward,
        Some(0) => Admission::AnswerHere,
        Some(left) => {
            request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            Admission::Forward
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate {
            pseudonym: "ratings.bookinfo.glooshot".to_owned(),
            default_host: HeaderValue::from_static("ratings.bookinfo:9080"),
            target_bytes: 100,
            headers: 10,
        }
    }

    fn admitted(version: Version, uri: &str) -> Result<String, Reject> {
        let mut request = Request::builder().version(version).uri(uri).method("OPTIONS").body(()).unwrap();
        if version != Version::HTTP_2 {
            request.headers_mut().insert(HOST, HeaderValue::from_static("a"));
        }
        admit(&gate(), &mut request).map(|_| request.uri().to_string())
    }

    #[test]
    fn a_field_name_over_http2_is_a_token() {
        let with = |name: HeaderName| {
            let mut request = Request::builder().version(Version::HTTP_2).uri("http://a/").body(()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_static("1"));
            admit(&gate(), &mut request)
        };
        assert_eq!(with(HeaderName::from_static("x-a!#$%&'*+.^_`|~09")), Ok(Admission::Forward));
        assert_eq!(with(HeaderName::from_lowercase(b"x\"a").unwrap()), Err(Reject::FieldName));
    }

    #[test]
    fn a_length_over_http2_is_one_number_once() {
        let with = |lengths: &[&'static str]| {
            let mut request = Request::builder().version(Version::HTTP_2).uri("http://a/");
            for length in lengths {
                request = request.header(CONTENT_LENGTH, *length);
            }
            admit(&gate(), &mut request.body(()).unwrap())
        };
        for lengths in [&[][..], &["0"], &["5"], &["9223372036854775807"]] {
            assert_eq!(with(lengths), Ok(Admission::Forward), "{lengths:?}");
        }
        for lengths in [&[""][..], &["5", "5"], &["5", "05"], &["5, 5"], &["+5"], &["0x5"], &["18446744073709551616"]] {
            assert_eq!(with(lengths), Err(Reject::ContentLength), "{lengths:?}");
        }
    }

    #[test]
    fn http2_says_its_path_itself_and_http1_may_ask_for_the_root_without() {
        for (uri, target) in [("http://a", "/"), ("http://a?b", "/?b"), ("http://a#b", "/"), ("http://a/b#c", "/b")] {
            assert_eq!(admitted(Version::HTTP_11, uri), Ok(target.to_owned()), "{uri}");
        }
        for uri in ["http://a?b", "http://a#b"] {
            assert_eq!(admitted(Version::HTTP_2, uri), Err(Reject::Target), "{uri}");
        }
        assert_eq!(admitted(Version::HTTP_2, "http://a/b?c"), Ok("/b?c".to_owned()));
        let nothing = Uri::from(PathAndQuery::try_from("#b").unwrap());
        assert_eq!(nothing.path_and_query().map(PathAndQuery::as_str), Some("/"));
        assert!(!has_path(&nothing));
    }
}
