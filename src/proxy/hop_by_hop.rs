//! Header fields that belong to one connection only (RFC 9110 §7.6.1), removed in both directions.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE, VIA},
};

/// What the injected-fault marker is called.
pub(crate) const FAULT_HEADER: HeaderName = HeaderName::from_static("x-glooshot-fault");
/// What the header is called that names who is to blame for an answer of the proxy itself.
pub(crate) const ERROR_HEADER: HeaderName = HeaderName::from_static("x-glooshot-error");

/// Removes everything that belongs to one connection: the fixed list, and what `Connection` names.
///
/// A nominated `Host` or `Content-Length` stays: they frame and address the message, and dropping them on a client's word
/// would let it rewrite the request (as in CVE-2022-31813 of another proxy).
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Most messages have one of these fields at the most, so that a look at each name costs less than to look each of them up.
    while let Some(name) = headers.keys().find(|name| belongs_to_a_connection(name.as_str())).cloned() {
        if name == CONNECTION {
            strip_nominated(headers);
        }
        headers.remove(name);
    }
}

/// The fixed list. Our own markers are in it: they are only ever ours.
fn belongs_to_a_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "x-glooshot-fault"
            | "x-glooshot-error"
    )
}

/// Removes the fields that `Connection` names.
fn strip_nominated(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        // It is removed in any case, and mostly the only one.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH && *name != VIA)
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

/// The comma-separated tokens of a field value, trimmed, without empty ones.
pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// The protocol that a message asks to change to: one token, also named in `Connection`.
pub(crate) fn upgrade_token(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(UPGRADE).iter();
    let value = values.next()?;
    if values.next().is_some() || tokens(value).count() != 1 {
        return None;
    }
    let named = headers.get_all(CONNECTION).iter().flat_map(tokens).any(|t| t.eq_ignore_ascii_case(b"upgrade"));
    // h2c by Upgrade is never forwarded (RFC 9113 §3.1 withdrew it): behind the switch we could not see requests any more.
    let is_h2c = value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"h2c");
    (named && !is_h2c).then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_belongs_to_the_connection_is_removed_with_what_it_names() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("x-glooshot-fault", "abort"),
            ("trailer", "x-checksum"),
            ("accept", "*/*"),
        ]);
        strip(&mut map);
        assert_eq!(map, headers(&[("trailer", "x-checksum"), ("accept", "*/*")]));
    }

    #[test]
    fn a_client_cannot_nominate_what_addresses_or_frames_the_message() {
        let mut map = headers(&[
            ("connection", "host, content-length, via"),
            ("host", "a"),
            ("content-length", "3"),
            ("via", "1.1 b"),
        ]);
        strip(&mut map);
        assert_eq!(map, headers(&[("host", "a"), ("content-length", "3"), ("via", "1.1 b")]));
    }

    #[test]
    fn an_upgrade_counts_only_when_connection_names_it_once_and_it_is_not_h2c() {
        let token = |list: &[(&'static str, &'static str)]| upgrade_token(&headers(list)).is_some();
        assert!(token(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
        assert!(!token(&[("upgrade", "websocket")]));
        assert!(!token(&[("connection", "upgrade"), ("upgrade", "websocket, other")]));
        assert!(!token(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")]));
    }
}
