//! gRPC over HTTP/2, as far as an account of a request needs it: which requests are calls, and how they ended.

use http::StatusCode;

use super::{fields::Fields, name::Name};

/// How a call ended: a code from 0 to 16 (grpc.io, "Status codes and their use in gRPC").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GrpcStatus(u8);

/// The highest code that is defined; a peer that sends another one has a status of its own making.
const MAX: u8 = 16;
/// UNKNOWN: what a status that cannot be read stands for.
const UNKNOWN: GrpcStatus = GrpcStatus(2);

impl GrpcStatus {
    /// A code; UNKNOWN for those that are not defined.
    pub(crate) fn new(code: u16) -> Self {
        u8::try_from(code).ok().filter(|code| *code <= MAX).map_or(UNKNOWN, Self)
    }

    /// What a client of gRPC makes of an HTTP status (grpc.io, "HTTP to gRPC Status Code Mapping").
    pub(crate) fn of_http(status: StatusCode) -> Self {
        Self(match status.as_u16() {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        })
    }

    /// The status that is written so in a head or in trailers.
    pub(crate) fn read(text: &[u8]) -> Self {
        let code = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        code.map_or(UNKNOWN, Self::new)
    }

    /// The code.
    pub(crate) fn code(self) -> u8 {
        self.0
    }

    /// Whether the service is to blame: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. The same
    /// codes are errors of a server in OpenTelemetry's conventions for gRPC; the others are what a caller asked for.
    pub(crate) fn is_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12 | 13 | 14 | 15)
    }
}

/// Whether a request is a call: `application/grpc`, alone or with a suffix or parameters. gRPC-Web is plain HTTP to us.
pub(crate) fn is_call(fields: &Fields) -> bool {
    let Some(kind) = fields.get(Name::ContentType) else { return false };
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| matches!(byte, b'+' | b';' | b' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_content_type() {
        let is = |kind: &str| is_call(&[("content-type", kind)].into());
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(is(kind), "{kind}");
        }
        for kind in ["application/grpc-web", "application/json", "application/grpcx"] {
            assert!(!is(kind), "{kind}");
        }
        assert!(!is_call(&Fields::default()));
    }

    #[test]
    fn a_status_that_cannot_be_read_is_unknown_which_is_an_error() {
        let of = |text: &str| GrpcStatus::read(text.as_bytes());
        assert_eq!((of("0").code(), of("0").is_error()), (0, false));
        assert_eq!((of("14").code(), of("14").is_error()), (14, true));
        for text in ["17", "-1", "x", "", "99999999999"] {
            assert_eq!((of(text).code(), of(text).is_error()), (2, true), "{text}");
        }
    }

    #[test]
    fn an_http_status_becomes_what_clients_of_grpc_make_of_it() {
        let of = |status| GrpcStatus::of_http(StatusCode::from_u16(status).unwrap()).code();
        assert_eq!([503, 504, 429, 404, 500, 400].map(of), [14, 14, 14, 12, 2, 13]);
    }

    #[test]
    fn what_a_caller_asked_for_is_no_error_of_the_service() {
        for code in [0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 16] {
            assert!(!GrpcStatus::new(code).is_error(), "{code}");
        }
    }
}
