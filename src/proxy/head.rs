//! The heads of messages as the proxy has them, whatever version they came in.

use http::{Method, Request, Response, StatusCode, Uri, Version, request, response};

use super::fields::Fields;

/// The head of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    /// What it says of its status, where that is not what everybody says.
    pub(crate) reason: Option<Box<[u8]>>,
    pub(crate) fields: Fields,
}

impl From<request::Parts> for RequestHead {
    fn from(parts: request::Parts) -> Self {
        let request::Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, fields: Fields::from(&headers) }
    }
}

impl From<response::Parts> for ResponseHead {
    fn from(parts: response::Parts) -> Self {
        let response::Parts { status, version, headers, .. } = parts;
        Self { status, version, reason: None, fields: Fields::from(&headers) }
    }
}

impl RequestHead {
    /// A copy of it for a library, with a body.
    pub(crate) fn to_http<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        self.method.clone_into(request.method_mut());
        self.uri.clone_into(request.uri_mut());
        *request.version_mut() = self.version;
        *request.headers_mut() = (&self.fields).into();
        request
    }
}

impl ResponseHead {
    /// One with this status and no fields.
    pub(crate) fn new(status: StatusCode) -> Self {
        Self { status, version: Version::HTTP_11, reason: None, fields: Fields::with_room() }
    }

    /// The response for a library, with a body.
    pub(crate) fn into_http<B>(self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.version_mut() = self.version;
        *response.headers_mut() = (&self.fields).into();
        response
    }
}

#[cfg(test)]
impl RequestHead {
    /// A POST of this target.
    pub(crate) fn post(uri: &'static str, fields: &[(&str, &str)]) -> Self {
        let (method, uri) = (Method::POST, Uri::from_static(uri));
        Self { method, uri, version: Version::HTTP_11, fields: fields.into() }
    }
}

#[cfg(test)]
impl ResponseHead {
    /// One with this status, of today, with these fields.
    pub(crate) fn of_today(status: u16, fields: &[(&str, &str)]) -> Self {
        let fields = [&[("date", "today")], fields].concat().as_slice().into();
        Self { fields, ..Self::new(StatusCode::from_u16(status).unwrap()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_from_a_library_and_back_is_the_same() {
        let request = Request::builder().method("PUT").uri("http://a/b?c").version(Version::HTTP_2).header("x-a", "1");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let again = RequestHead::from(parts.clone()).to_http(()).into_parts().0;
        assert_eq!(format!("{again:?}"), format!("{parts:?}"));
        let (parts, ()) = Response::builder().status(404).header("x-a", "1").body(()).unwrap().into_parts();
        let again = ResponseHead::from(parts.clone()).into_http(()).into_parts().0;
        assert_eq!(format!("{again:?}"), format!("{parts:?}"));
    }
}
