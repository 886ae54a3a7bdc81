//! An admitted request's head made what an upstream gets: nothing of the client's connection in it, our own marks behind.
//!
//! [`rewrite`] brings every request into one form, that of HTTP/1: a target that is a path, and a Host. [`to_http2`] and
//! [`to_http1`] turn it into what goes over a connection of either version, and back, since a second try may go over
//! another one.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
    header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE, VIA},
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{hop_by_hop, trailers};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// What is done with an `X-Forwarded-For` that a client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedFor {
    /// The client's address is added behind it: callers inside a cluster are trusted as they were without the proxy.
    #[default]
    Append,
    /// It is replaced by the client's address.
    Overwrite,
}

/// Our entry in `Via`, for each version in which a message can have come (RFC 9110 §7.6.3).
#[derive(Clone, Debug)]
pub(crate) struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// The entries of a proxy that calls itself `pseudonym`.
    pub(crate) fn new(pseudonym: &str) -> Self {
        let entry = |version: &str| {
            HeaderValue::try_from(format!("{version} {pseudonym}"))
                .unwrap_or_else(|_| HeaderValue::from_static("1.1 glooshot"))
        };
        Self { http10: entry("1.0"), http11: entry("1.1"), http2: entry("2") }
    }

    /// The entry for a message of this version.
    pub(crate) fn of(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_2 => &self.http2,
            Version::HTTP_10 => &self.http10,
            _ => &self.http11,
        }
    }
}

/// What is put on a request on its way: that we were here, and who the client is.
#[derive(Debug)]
pub(crate) struct Marks<'a> {
    /// Our entries in `Via`.
    pub(crate) via: &'a Via,
    /// The client's address as an entry of `X-Forwarded-For`.
    pub(crate) forwarded_for: &'a HeaderValue,
    /// The client's address as an element of `Forwarded` (RFC 7239).
    pub(crate) forwarded: &'a HeaderValue,
    /// What is done with what the client says about itself.
    pub(crate) mode: ForwardedFor,
    /// Whether the client's TLS ended here, which the upstream could not know otherwise.
    pub(crate) tls_ended: bool,
}

/// Makes the client's request ours. Says whether it asks for another protocol, which only HTTP/1.1 can.
pub(crate) fn rewrite<B>(request: &mut Request<B>, marks: &Marks<'_>) -> bool {
    let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let headers = request.headers_mut();
    let upgrade = if version == Version::HTTP_11 { hop_by_hop::upgrade_token(headers) } else { None };
    let has_chunks = headers.contains_key(TRANSFER_ENCODING);
    let takes_trailers = headers.get_all(TE).iter().flat_map(hop_by_hop::tokens).any(is_trailers);
    hop_by_hop::strip(headers);
    trailers::strip_announced(headers);
    if version == Version::HTTP_2 {
        join_cookies(headers);
        if takes_trailers {
            // RFC 9113 §8.2.2: the only value of TE there; gRPC servers insist on it.
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    let upgrades = upgrade.is_some();
    if let Some(token) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, token);
    }
    headers.append(VIA, marks.via.of(version).clone());
    if has_chunks {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    forwarded_for(marks, headers);
    if marks.tls_ended {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
    upgrades
}

fn is_trailers(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"trailers")
}

/// RFC 9113 §8.2.3: the crumbs of a cookie are one field for everybody behind HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Says who the client is, in one form only: two that disagree are worse than none.
fn forwarded_for(marks: &Marks<'_>, headers: &mut HeaderMap) {
    match marks.mode {
        // A caller that speaks Forwarded alone (RFC 7239) gets the next hop in it.
        ForwardedFor::Append if headers.contains_key(FORWARDED) && !headers.contains_key(X_FORWARDED_FOR) => {
            headers.append(FORWARDED, marks.forwarded.clone());
        }
        ForwardedFor::Append => {
            headers.remove(FORWARDED);
            headers.append(X_FORWARDED_FOR, marks.forwarded_for.clone());
        }
        ForwardedFor::Overwrite => {
            headers.remove(FORWARDED);
            headers.insert(X_FORWARDED_FOR, marks.forwarded_for.clone());
        }
    }
}

/// Makes it what goes over HTTP/1.1.
pub(crate) fn to_http1<B>(request: &mut Request<B>) {
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority().cloned() {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
    }
    request.headers_mut().remove(TE);
}

/// Makes it what goes over HTTP/2: the Host becomes `:authority` (RFC 9113 §8.3.1). Without a usable Host it stays a header.
pub(crate) fn to_http2<B>(request: &mut Request<B>, scheme: &Scheme) {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    for name in [TRANSFER_ENCODING, CONNECTION, UPGRADE] {
        headers.remove(name);
    }
    let authority = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = authority else { return };
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query(path).build();
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
        request.headers_mut().remove(HOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(version: Version, fields: &[(&'static str, &'static str)]) -> (Request<()>, bool) {
        let mut request = Request::builder().version(version).uri("/a?b").header(HOST, "ratings:9080");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let via = Via::new("ratings.bookinfo.glooshot");
        let (forwarded_for, forwarded) =
            (HeaderValue::from_static("127.0.0.9"), HeaderValue::from_static("for=127.0.0.9"));
        let marks = Marks {
            via: &via,
            forwarded_for: &forwarded_for,
            forwarded: &forwarded,
            mode: ForwardedFor::Append,
            tls_ended: false,
        };
        let upgrades = rewrite(&mut request, &marks);
        (request, upgrades)
    }

    #[test]
    fn via_names_the_version_that_the_client_spoke() {
        for (version, via) in [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")] {
            let (request, _) = rewritten(version, &[]);
            assert_eq!(request.headers()[VIA], format!("{via} ratings.bookinfo.glooshot"));
        }
    }

    #[test]
    fn crumbs_of_a_cookie_become_one_field_behind_http2_only() {
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
        let (request, _) = rewritten(Version::HTTP_2, &crumbs);
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        let (request, _) = rewritten(Version::HTTP_11, &crumbs);
        assert_eq!(request.headers().get_all(COOKIE).iter().count(), 2);
    }

    #[test]
    fn only_http_1_1_can_ask_for_another_protocol() {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert!(rewritten(Version::HTTP_11, &fields).1);
        assert!(!rewritten(Version::HTTP_10, &fields).1);
        assert!(!rewritten(Version::HTTP_2, &fields).1);
    }

    #[test]
    fn a_host_becomes_the_authority_of_http2_and_comes_back() {
        let (mut request, _) = rewritten(Version::HTTP_11, &[("transfer-encoding", "chunked")]);
        to_http2(&mut request, &Scheme::HTTP);
        assert_eq!(request.uri(), "http://ratings:9080/a?b");
        assert!(!request.headers().contains_key(HOST) && !request.headers().contains_key(TRANSFER_ENCODING));
        to_http1(&mut request);
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()[HOST], "ratings:9080");
    }

    #[test]
    fn what_came_in_chunks_goes_on_in_chunks_over_http1() {
        let (mut request, _) = rewritten(Version::HTTP_11, &[("transfer-encoding", "chunked")]);
        to_http1(&mut request);
        assert!(request.headers().contains_key(TRANSFER_ENCODING));
    }

    #[test]
    fn trailers_are_asked_for_over_http2_and_not_over_http1() {
        let (mut request, _) = rewritten(Version::HTTP_2, &[("te", "trailers")]);
        assert_eq!(request.headers()[TE], "trailers");
        to_http1(&mut request);
        assert!(!request.headers().contains_key(TE));
    }
}
