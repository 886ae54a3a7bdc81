//! Requests as clients send them, with as many fields as are asked for.

use http::{Method, Uri, Version};

use crate::proxy::{fields::Fields, head::RequestHead};

/// The field that rules of faults look at.
pub(crate) const USER: &str = "x-user";

/// The head of a request with this many fields. Over HTTP/2 its target is absolute, and there is no Host.
pub(crate) fn request(version: Version, count: usize) -> RequestHead {
    let uri = if version == Version::HTTP_2 { "http://ratings:9080/ratings/7?full=1" } else { "/ratings/7?full=1" };
    let mut fields = Fields::default();
    if version != Version::HTTP_2 {
        fields.push(b"Host", b"ratings:9080");
    }
    fields.push(USER.as_bytes(), b"jason");
    for number in fields.len()..count {
        fields.push(format!("X-Field-{number}").as_bytes(), format!("value {number} of a usual length").as_bytes());
    }
    RequestHead { method: Method::GET, uri: Uri::from_static(uri), version, fields }
}
