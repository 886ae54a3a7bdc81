//! Trailer fields: only what may come behind a body passes (RFC 9110 §6.5.1), in both directions.

use http::HeaderMap;

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
