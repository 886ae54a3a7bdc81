//! Requests as clients send them, with as many fields as are asked for.

use http::{HeaderName, HeaderValue, Request, Version, header::HOST};

/// The field that rules of faults look at.
pub(crate) const USER: &str = "x-user";

/// A request with this many fields in its head. Over HTTP/2 its target is absolute, and there is no Host.
pub(crate) fn request(version: Version, fields: usize) -> Request<()> {
    let uri = if version == Version::HTTP_2 { "http://ratings:9080/ratings/7?full=1" } else { "/ratings/7?full=1" };
    let mut request = Request::builder().version(version).uri(uri).body(()).unwrap();
    let headers = request.headers_mut();
    if version != Version::HTTP_2 {
        headers.insert(HOST, HeaderValue::from_static("ratings:9080"));
    }
    headers.insert(USER, HeaderValue::from_static("jason"));
    for number in headers.len()..fields {
        let name = HeaderName::try_from(format!("x-field-{number}")).unwrap();
        headers.insert(name, HeaderValue::try_from(format!("value {number} of a usual length")).unwrap());
    }
    request
}
