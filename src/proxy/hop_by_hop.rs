//! Header fields that belong to one connection only (RFC 9110 §7.6.1), removed in both directions.

use http::HeaderValue;

use super::{
    fields::Fields,
    name::{Name, Names},
};

/// The fixed list. Our own markers are in it: they are only ever ours.
const OF_A_CONNECTION: Names = Names::NONE
    .and(Name::Connection)
    .and(Name::KeepAlive)
    .and(Name::ProxyAuthenticate)
    .and(Name::ProxyAuthorization)
    .and(Name::ProxyConnection)
    .and(Name::Te)
    .and(Name::TransferEncoding)
    .and(Name::Upgrade)
    .and(Name::XGlooshotError)
    .and(Name::XGlooshotFault);

/// Removes everything that belongs to one connection: the fixed list, and what `Connection` names.
///
/// A nominated `Host` or `Content-Length` stays: they frame and address the message, and dropping them on a client's word
/// would let it rewrite the request (as in CVE-2022-31813 of another proxy).
pub(crate) fn strip(fields: &mut Fields) {
    if !fields.names().meets(OF_A_CONNECTION) {
        return;
    }
    let nominated = nominated(fields);
    if nominated.is_empty() {
        return fields.remove_all(OF_A_CONNECTION);
    }
    let is_nominated = |name: &[u8]| nominated.iter().any(|nominated| name.eq_ignore_ascii_case(nominated));
    fields.retain(|known, name| match known {
        Some(Name::Host | Name::ContentLength | Name::Via) => true,
        Some(known) if OF_A_CONNECTION.has(known) => false,
        _ => !is_nominated(name),
    });
}

/// The names that `Connection` names.
fn nominated(fields: &Fields) -> Vec<Box<[u8]>> {
    // That one is removed in any case, and mostly stands alone.
    let values = fields.all(Name::Connection).filter(|value| *value != b"keep-alive");
    values.flat_map(tokens).map(Box::from).collect()
}

/// The comma-separated tokens of a field value, trimmed, without empty ones.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// The protocol that a message asks to change to: one token, also named in `Connection`.
pub(crate) fn upgrade_token(fields: &Fields) -> Option<HeaderValue> {
    let mut values = fields.all(Name::Upgrade);
    let value = values.next()?;
    if values.next().is_some() || tokens(value).count() != 1 {
        return None;
    }
    let named = fields.all(Name::Connection).flat_map(tokens).any(|t| t.eq_ignore_ascii_case(b"upgrade"));
    // h2c by Upgrade is never forwarded (RFC 9113 §3.1 withdrew it): behind the switch we could not see requests any more.
    let is_h2c = value.trim_ascii().eq_ignore_ascii_case(b"h2c");
    if named && !is_h2c { HeaderValue::from_bytes(value).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_connection_is_removed_with_what_it_names() {
        let mut fields = Fields::from([
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
        strip(&mut fields);
        assert_eq!(fields, [("trailer", "x-checksum"), ("accept", "*/*")].into());
    }

    #[test]
    fn a_client_cannot_nominate_what_addresses_or_frames_the_message() {
        let mut fields = Fields::from([
            ("connection", "host, content-length, via"),
            ("host", "a"),
            ("content-length", "3"),
            ("via", "1.1 b"),
        ]);
        strip(&mut fields);
        assert_eq!(fields, [("host", "a"), ("content-length", "3"), ("via", "1.1 b")].into());
    }

    #[test]
    fn an_upgrade_counts_only_when_connection_names_it_once_and_it_is_not_h2c() {
        let token = |list: &[(&str, &str)]| upgrade_token(&list.into()).is_some();
        assert!(token(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
        assert!(!token(&[("upgrade", "websocket")]));
        assert!(!token(&[("connection", "upgrade"), ("upgrade", "websocket, other")]));
        assert!(!token(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")]));
    }
}
