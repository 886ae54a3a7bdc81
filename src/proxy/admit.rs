//! Step 1, admit: the strict gate behind the parsers. What passes is unambiguous for every upstream.
//!
//! Over HTTP/1 `http1::asked` has already refused bad framing (differing or malformed `Content-Length`, `Transfer-Encoding` in HTTP/1.0 or
//! without a final `chunked`), and of a request with both it keeps `Transfer-Encoding` alone and closes afterwards
//! (RFC 9112 §6.3). Over HTTP/2 hyper lets more through. The gate refuses the rest.

use http::{
    HeaderValue, Method, Uri, Version,
    uri::{Authority, PathAndQuery},
};

use super::{
    field_name,
    fields::Fields,
    head::RequestHead,
    name::{Name, Names},
    reject::Reject,
};

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
pub(crate) fn admit(gate: &Gate, head: &mut RequestHead) -> Result<Admission, Reject> {
    method(&head.method)?;
    if head.fields.len() > gate.headers {
        return Err(Reject::TooManyHeaders);
    }
    field_names(head.version, &head.fields)?;
    transfer_coding(&head.fields)?;
    content_length(head.version, &head.fields)?;
    target_and_host(gate, head)?;
    expectation(&head.fields)?;
    via(gate, &head.fields)?;
    drop_look_alikes(&mut head.fields);
    Ok(max_forwards(head))
}

/// RFC 9110 §9.3.6 and §9.3.8: a service proxy is no tunnel endpoint, and TRACE would echo what intermediaries added.
fn method(method: &Method) -> Result<(), Reject> {
    if *method == Method::CONNECT || *method == Method::TRACE { Err(Reject::Method) } else { Ok(()) }
}

/// RFC 9110 §5.1. HTTP/1 has been held to that.
fn field_names(version: Version, fields: &Fields) -> Result<(), Reject> {
    if version == Version::HTTP_2 && !field_name::are_tokens(fields) { Err(Reject::FieldName) } else { Ok(()) }
}

/// RFC 9112 §6.1: `chunked` alone, once. Other codings are legal HTTP, but two parsers rarely agree about them.
fn transfer_coding(fields: &Fields) -> Result<(), Reject> {
    let mut codings = fields.all(Name::TransferEncoding);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Reject::TransferCoding),
    }
}

/// RFC 9110 §8.6: one number, once. HTTP/1 has been held to that; over HTTP/2 an empty value and several spellings of one number get
/// through, and an upstream that speaks HTTP/1 would frame by them.
fn content_length(version: Version, fields: &Fields) -> Result<(), Reject> {
    let mut lengths = fields.all(Name::ContentLength);
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        _ if version != Version::HTTP_2 => Ok(()),
        (Some(only), None) if is_number(only) => Ok(()),
        _ => Err(Reject::ContentLength),
    }
}

fn is_number(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_digit) && std::str::from_utf8(value).is_ok_and(|text| text.parse::<u64>().is_ok())
}

/// RFC 9112 §3.2: origin-form, absolute-form (which HTTP/2 always has), or `*` with OPTIONS; exactly one Host that is a host
/// and port.
fn target_and_host(gate: &Gate, head: &mut RequestHead) -> Result<(), Reject> {
    let RequestHead { method, uri, version, fields } = head;
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if path.len() > gate.target_bytes {
        return Err(Reject::TargetTooLong);
    }
    if path == "*" && *method != Method::OPTIONS {
        return Err(Reject::Target);
    }
    let host = host(fields, *version, uri.authority().is_some())?;
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if has_path(uri) => {
            if host.is_none() {
                fields.add(Name::Host, &gate.default_host);
            }
            Ok(())
        }
        // §3.2.2: the target's authority wins over Host, which is rewritten; the origin sees origin-form.
        (Some("http" | "https"), Some(authority)) => {
            if !is_host(authority.as_str().as_bytes()) {
                return Err(Reject::Target);
            }
            let differs = host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_str().as_bytes()));
            // RFC 9113 §8.3.1: a Host beside `:authority` that says otherwise is malformed.
            if differs && *version == Version::HTTP_2 {
                return Err(Reject::Host);
            }
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Reject::Target)?;
            *uri = origin_form(uri.path_and_query(), *version).ok_or(Reject::Target)?;
            fields.set(Name::Host, &value);
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
fn host(fields: &Fields, version: Version, has_authority: bool) -> Result<Option<&[u8]>, Reject> {
    let mut hosts = fields.all(Name::Host);
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_10 || (version == Version::HTTP_2 && has_authority) => Ok(None),
        (Some(only), None) if is_host(only) => Ok(Some(only)),
        _ => Err(Reject::Host),
    }
}

/// Whether a value is a host with an optional port and nothing else.
fn is_host(value: &[u8]) -> bool {
    is_plain_host(value) || is_authority(value)
}

/// RFC 3986 §2.3: the bytes that mean nothing but themselves.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether it is a name or an IPv4 address, as nearly all are: that is told without a copy.
fn is_plain_host(value: &[u8]) -> bool {
    let host = value.iter().position(|b| !is_plain(*b)).unwrap_or(value.len());
    match value.split_at(host) {
        ([], _) => false,
        (_, []) => true,
        (_, [b':', port @ ..]) => port.len() < 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether it is one of any form.
fn is_authority(value: &[u8]) -> bool {
    let plain = |b: &u8| is_plain(*b) || matches!(b, b':' | b'[' | b']' | b'%');
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
fn expectation(fields: &Fields) -> Result<(), Reject> {
    let known = fields.all(Name::Expect).all(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if known { Ok(()) } else { Err(Reject::Expectation) }
}

/// RFC 9110 §7.6.3: a request that has been here already would go round for ever.
fn via(gate: &Gate, fields: &Fields) -> Result<(), Reject> {
    let ours = gate.pseudonym.as_bytes();
    let mut words = fields.all(Name::Via).flat_map(|value| value.split(|b| matches!(b, b',' | b' ' | b'\t')));
    let has_been_here = words.any(|word| word.eq_ignore_ascii_case(ours));
    if has_been_here { Err(Reject::Loop) } else { Ok(()) }
}

/// Names that we write or that frame the message, besides those of our own markers.
const THAT_MATTER: Names = Names::NONE
    .and(Name::Connection)
    .and(Name::ContentLength)
    .and(Name::Forwarded)
    .and(Name::Host)
    .and(Name::TransferEncoding)
    .and(Name::Via)
    .and(Name::XForwardedFor)
    .and(Name::XForwardedProto);

/// Drops names with underscores that many servers fold into a name that we write or that frames the message
/// (`X_Forwarded_For` becomes `HTTP_X_FORWARDED_FOR` in every CGI-like gateway). Other names with underscores pass.
fn drop_look_alikes(fields: &mut Fields) {
    // None of those that are known has one.
    let looks_alike = |known: Option<Name>, name: &[u8]| known.is_none() && name.contains(&b'_') && is_look_alike(name);
    if fields.each_name().any(|(known, name)| looks_alike(known, name)) {
        fields.retain(|known, name| !looks_alike(known, name));
    }
}

fn is_look_alike(name: &[u8]) -> bool {
    let folded: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    folded.starts_with(b"x-glooshot-") || Name::of(&folded).is_some_and(|name| THAT_MATTER.has(name))
}

/// RFC 9110 §7.6.2: counts down for OPTIONS, and answers for itself at zero.
fn max_forwards(head: &mut RequestHead) -> Admission {
    if head.method != Method::OPTIONS {
        return Admission::Forward;
    }
    let text = head.fields.get(Name::MaxForwards).and_then(|value| std::str::from_utf8(value).ok());
    let left = text.and_then(|text| text.parse::<u32>().ok());
    match left {
        None => Admission::Forward,
        Some(0) => Admission::AnswerHere,
        Some(left) => {
            head.fields.set(Name::MaxForwards, &HeaderValue::from(left - 1));
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

    fn head(version: Version, uri: &str, fields: Fields) -> RequestHead {
        RequestHead { method: Method::OPTIONS, uri: uri.parse().unwrap(), version, fields }
    }

    fn admitted(version: Version, uri: &str) -> Result<String, Reject> {
        let mut head = head(version, uri, Fields::default());
        if version != Version::HTTP_2 {
            head.fields = [("host", "a")].into();
        }
        admit(&gate(), &mut head).map(|_| head.uri.to_string())
    }

    #[test]
    fn a_field_name_over_http2_is_a_token() {
        let with = |name: &str| admit(&gate(), &mut head(Version::HTTP_2, "http://a/", [(name, "1")].into()));
        assert_eq!(with("x-a!#$%&'*+.^_`|~09"), Ok(Admission::Forward));
        assert_eq!(with("x\"a"), Err(Reject::FieldName));
    }

    #[test]
    fn a_length_over_http2_is_one_number_once() {
        let with = |lengths: &[&'static str]| {
            let fields: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            admit(&gate(), &mut head(Version::HTTP_2, "http://a/", fields.as_slice().into()))
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

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in ["a", "ratings.bookinfo:9080", "a:", "127.0.0.1:65535", "[::1]", "[::1]:80", "a_b~c"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in
            ["", ":80", "a:65536", "a:99999", "a:+1", "a:b", "a:1:2", "a b", "a,b", "u@a", "a/b", "::1", "[::1", "a%41"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_plain_host_is_told_as_one_of_any_form_is() {
        let bytes = b"aZ0-._~:[]%@/ ,\x80";
        // Every text of up to four of these bytes.
        for length in 1..5u32 {
            for number in 0..bytes.len().pow(length) {
                let text: Vec<u8> = (0..length).map(|at| bytes[number / bytes.len().pow(at) % bytes.len()]).collect();
                assert!(!is_plain_host(&text) || is_authority(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn what_many_servers_take_for_a_name_that_matters_is_dropped() {
        let mut fields =
            Fields::from([("x_forwarded_for", "1"), ("X-Glooshot_Fault", "1"), ("x_other", "1"), ("host", "a")]);
        drop_look_alikes(&mut fields);
        assert_eq!(fields, [("x_other", "1"), ("host", "a")].into());
    }
}
