//! The head of a request, written as HTTP/1.1; pure. The framing is always ours: what the client said of it is not repeated.

use http::HeaderName;
use http_body::Body;

use super::super::{
    fields::Fields,
    head::RequestHead,
    hop_by_hop::tokens,
    name::{Name, Names},
};

/// How the end of a body is told (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunks,
    /// By the end of the connection; only an answer's.
    UntilClose,
}

impl Framing {
    /// How this request's body is framed: what came in chunks goes on in chunks, and so does what is of unknown length.
    pub(crate) fn of<B: Body>(request: &RequestHead, body: &B) -> Self {
        if body.is_end_stream() {
            return Self::Nothing;
        }
        match body.size_hint().exact() {
            _ if request.fields.has(Name::TransferEncoding) => Self::Chunks,
            // Over HTTP/2 its end may come later; nobody waits for that.
            Some(0) => Self::Nothing,
            Some(length) => Self::Length(length),
            None => Self::Chunks,
        }
    }
}

/// What is written before the fields of a request, or behind them, or means nothing over HTTP/1: what trailers a client takes, we do not say.
const WRITTEN_APART: Names =
    Names::NONE.and(Name::Host).and(Name::ContentLength).and(Name::Te).and(Name::TransferEncoding);

/// Writes the head of a request, Host first (RFC 9112 §3.2).
pub(crate) fn head(request: &RequestHead, framing: Framing, out: &mut Vec<u8>) {
    let RequestHead { method, uri, fields, .. } = request;
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(uri.path().as_bytes());
    if let Some(query) = uri.query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for host in fields.all(Name::Host) {
        field(Name::Host.as_bytes(), host, out);
    }
    fields.write(WRITTEN_APART, out);
    match framing {
        Framing::Chunks => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => {
            content_length(length, out);
        }
        // Who said that there is nothing goes on saying so: some servers want to hear it of a POST.
        Framing::Nothing if fields.has(Name::ContentLength) => out.extend_from_slice(b"content-length: 0\r\n"),
        Framing::Nothing | Framing::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the length of a body.
pub(crate) fn content_length(length: u64, out: &mut Vec<u8>) {
    field(Name::ContentLength.as_bytes(), itoa::Buffer::new().format(length).as_bytes(), out);
}

/// Writes one field.
pub(crate) fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The names of the trailers that the head announces; no others are sent (RFC 9110 §6.6.2).
pub(crate) fn announced(fields: &Fields) -> Vec<HeaderName> {
    let names = fields.all(Name::Trailer).flat_map(tokens);
    names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn request(fields: &[(&str, &str)]) -> RequestHead {
        RequestHead::post("/a?b=c", fields)
    }

    fn written(fields: &[(&str, &str)], framing: Framing) -> String {
        let mut out = Vec::new();
        head(&request(fields), framing, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_host_comes_first_and_the_framing_last() {
        let fields = [("x-a", "1"), ("host", "ratings"), ("x-a", "2")];
        assert_eq!(
            written(&fields, Framing::Length(5)),
            "POST /a?b=c HTTP/1.1\r\nhost: ratings\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 5\r\n\r\n"
        );
    }

    #[test]
    fn what_the_client_said_of_the_framing_is_not_repeated() {
        let fields = [("content-length", "7"), ("transfer-encoding", "chunked"), ("te", "trailers")];
        for (framing, said) in [
            (Framing::Length(5), "content-length: 5\r\n\r\n"),
            (Framing::Chunks, "transfer-encoding: chunked\r\n\r\n"),
            (Framing::Nothing, "content-length: 0\r\n\r\n"),
        ] {
            assert_eq!(written(&fields, framing), format!("POST /a?b=c HTTP/1.1\r\n{said}"));
        }
        assert_eq!(written(&[], Framing::Nothing), "POST /a?b=c HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn a_body_is_framed_by_its_length_unless_it_came_in_chunks() {
        let five = "hello".to_owned();
        assert_eq!(Framing::of(&request(&[]), &five), Framing::Length(5));
        assert_eq!(Framing::of(&request(&[("transfer-encoding", "chunked")]), &five), Framing::Chunks);
        assert_eq!(Framing::of(&request(&[("transfer-encoding", "chunked")]), &String::new()), Framing::Nothing);
        let unknown = five.map_frame(|frame| frame);
        assert_eq!(Framing::of(&request(&[]), &unknown), Framing::Chunks, "whatever the method is");
    }

    #[test]
    fn nobody_waits_for_the_end_of_a_body_of_no_bytes() {
        /// A body of which only the end has to come.
        struct EndToCome;

        impl Body for EndToCome {
            type Data = bytes::Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
                std::task::Poll::Pending
            }

            fn size_hint(&self) -> http_body::SizeHint {
                http_body::SizeHint::with_exact(0)
            }
        }

        assert_eq!(Framing::of(&request(&[("content-length", "0")]), &EndToCome), Framing::Nothing);
    }

    #[test]
    fn the_names_of_announced_trailers_are_read_from_every_line() {
        let names = announced(&Fields::from([("trailer", "X-Sum, ,b@d"), ("trailer", "x-other")]));
        assert_eq!(names, ["x-sum", "x-other"]);
    }
}
