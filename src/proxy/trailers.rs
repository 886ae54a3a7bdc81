//! Trailer fields: only what may come behind a body passes (RFC 9110 §6.5.1), in both directions.

use http::{HeaderMap, HeaderValue};

use super::{fields::Fields, hop_by_hop::tokens, name::Name};

/// Names that frame, route, authenticate or modify a message, or describe its content: meaningless or dangerous at its end.
const FORBIDDEN: [&str; 36] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-glooshot-error",
    "x-glooshot-fault",
    "x-real-ip",
];

/// Drops what must not come behind a body.
pub(crate) fn strip(trailers: &mut HeaderMap) {
    for name in FORBIDDEN {
        trailers.remove(name);
    }
}

/// Drops the names from `Trailer` that will not come: some servers refuse a message that announces what frames it.
pub(crate) fn strip_announced(fields: &mut Fields) {
    if !fields.has(Name::Trailer) {
        return;
    }
    let is_forbidden = |name: &[u8]| FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()));
    let announced: Vec<&[u8]> = fields.all(Name::Trailer).flat_map(tokens).collect();
    if !announced.iter().any(|name| is_forbidden(name)) {
        return;
    }
    let kept: Vec<&[u8]> = announced.into_iter().filter(|name| !is_forbidden(name)).collect();
    let kept = HeaderValue::from_bytes(&kept.join(&b", "[..])).ok().filter(|kept| !kept.is_empty());
    fields.remove(Name::Trailer);
    if let Some(kept) = kept {
        fields.add(Name::Trailer, &kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_what_may_come() {
        let announced = |values: &[&'static str]| {
            let mut fields = Fields::default();
            values.iter().for_each(|value| fields.add(Name::Trailer, &HeaderValue::from_static(value)));
            strip_announced(&mut fields);
            fields.all(Name::Trailer).map(|value| String::from_utf8(value.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(announced(&["x-sum, Content-Length", "expires"]), ["x-sum, expires"]);
        assert_eq!(announced(&["Transfer-Encoding"]), [""; 0]);
        assert_eq!(announced(&["x-sum", "expires"]), ["x-sum", "expires"]);
    }
}
