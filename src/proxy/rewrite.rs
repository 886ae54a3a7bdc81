//! An admitted request's head made what an upstream gets: nothing of the client's connection in it, our own marks behind.
//!
//! [`rewrite`] brings every request into one form, that of HTTP/1: a target that is a path, and a Host. [`to_http2`] makes a copy of it that
//! goes over HTTP/2; a second try may go over a connection of the other version.

use http::{
    HeaderValue, Request, Uri, Version,
    header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{fields::Fields, head::RequestHead, hop_by_hop, name::Name, trailers};

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
pub(crate) fn rewrite(head: &mut RequestHead, marks: &Marks<'_>) -> bool {
    let version = std::mem::replace(&mut head.version, Version::HTTP_11);
    let fields = &mut head.fields;
    let upgrade = if version == Version::HTTP_11 { hop_by_hop::upgrade_token(fields) } else { None };
    let has_chunks = fields.has(Name::TransferEncoding);
    let takes_trailers = fields.all(Name::Te).flat_map(hop_by_hop::tokens).any(is_trailers);
    hop_by_hop::strip(fields);
    trailers::strip_announced(fields);
    if version == Version::HTTP_2 {
        join_cookies(fields);
        if takes_trailers {
            // RFC 9113 §8.2.2: the only value of TE there; gRPC servers insist on it.
            fields.set(Name::Te, &HeaderValue::from_static("trailers"));
        }
    }
    if let Some(token) = &upgrade {
        fields.set(Name::Connection, &HeaderValue::from_static("upgrade"));
        fields.set(Name::Upgrade, token);
    }
    fields.add(Name::Via, marks.via.of(version));
    if has_chunks {
        fields.set(Name::TransferEncoding, &HeaderValue::from_static("chunked"));
    }
    forwarded_for(marks, fields);
    if marks.tls_ended {
        fields.set(Name::XForwardedProto, &HeaderValue::from_static("https"));
    }
    upgrade.is_some()
}

fn is_trailers(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"trailers")
}

/// RFC 9113 §8.2.3: the crumbs of a cookie are one field for everybody behind HTTP/2.
fn join_cookies(fields: &mut Fields) {
    let crumbs: Vec<&[u8]> = fields.all(Name::Cookie).collect();
    if crumbs.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        fields.set(Name::Cookie, &joined);
    }
}

/// Says who the client is, in one form only: two that disagree are worse than none.
fn forwarded_for(marks: &Marks<'_>, fields: &mut Fields) {
    match marks.mode {
        // A caller that speaks Forwarded alone (RFC 7239) gets the next hop in it.
        ForwardedFor::Append if fields.has(Name::Forwarded) && !fields.has(Name::XForwardedFor) => {
            fields.add(Name::Forwarded, marks.forwarded);
        }
        ForwardedFor::Append => {
            fields.remove(Name::Forwarded);
            fields.add(Name::XForwardedFor, marks.forwarded_for);
        }
        ForwardedFor::Overwrite => {
            fields.remove(Name::Forwarded);
            fields.set(Name::XForwardedFor, marks.forwarded_for);
        }
    }
}

/// A copy that goes over HTTP/2: the Host becomes `:authority` (RFC 9113 §8.3.1). Without a usable Host it stays a header.
pub(crate) fn to_http2<B>(head: &RequestHead, scheme: &Scheme, body: B) -> Request<B> {
    let mut request = head.to_http(body);
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    for name in [TRANSFER_ENCODING, CONNECTION, UPGRADE] {
        headers.remove(name);
    }
    let authority = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = authority else { return request };
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query(path).build();
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
        request.headers_mut().remove(HOST);
    }
    request
}

#[cfg(test)]
mod tests {
    use http::{Method, header::TE};

    use super::*;

    fn rewritten(version: Version, fields: &[(&str, &str)]) -> (RequestHead, bool) {
        let fields = [&[("host", "ratings:9080")], fields].concat().as_slice().into();
        let mut head = RequestHead { method: Method::GET, uri: Uri::from_static("/a?b"), version, fields };
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
        let upgrades = rewrite(&mut head, &marks);
        (head, upgrades)
    }

    #[test]
    fn via_names_the_version_that_the_client_spoke() {
        for (version, via) in [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")] {
            let (head, _) = rewritten(version, &[]);
            assert_eq!(head.fields.get(Name::Via), Some(format!("{via} ratings.bookinfo.glooshot").as_bytes()));
        }
    }

    #[test]
    fn crumbs_of_a_cookie_become_one_field_behind_http2_only() {
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
        let (head, _) = rewritten(Version::HTTP_2, &crumbs);
        assert!(head.fields.all(Name::Cookie).eq([b"a=1; b=2"]));
        let (head, _) = rewritten(Version::HTTP_11, &crumbs);
        assert_eq!(head.fields.all(Name::Cookie).count(), 2);
    }

    #[test]
    fn only_http_1_1_can_ask_for_another_protocol() {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert!(rewritten(Version::HTTP_11, &fields).1);
        assert!(!rewritten(Version::HTTP_10, &fields).1);
        assert!(!rewritten(Version::HTTP_2, &fields).1);
    }

    #[test]
    fn a_host_becomes_the_authority_of_http2_and_stays_for_a_second_try_over_http1() {
        let (head, _) = rewritten(Version::HTTP_11, &[("transfer-encoding", "chunked")]);
        let request = to_http2(&head, &Scheme::HTTP, ());
        assert_eq!(request.uri(), "http://ratings:9080/a?b");
        assert!(!request.headers().contains_key(HOST) && !request.headers().contains_key(TRANSFER_ENCODING));
        assert_eq!((head.uri.to_string(), head.fields.get(Name::Host)), ("/a?b".into(), Some(&b"ratings:9080"[..])));
        assert!(head.fields.has(Name::TransferEncoding), "what came in chunks goes on in chunks");
    }

    #[test]
    fn trailers_are_asked_for_over_http2() {
        let (head, _) = rewritten(Version::HTTP_2, &[("te", "trailers, deflate")]);
        assert_eq!(to_http2(&head, &Scheme::HTTP, ()).headers()[TE], "trailers");
        let (head, _) = rewritten(Version::HTTP_11, &[("te", "trailers")]);
        assert!(!head.fields.has(Name::Te));
    }
}
