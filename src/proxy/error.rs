//! Why a request was not simply forwarded, whose fault that is, and the one place that says what the client then sees.

use std::sync::Arc;

use http::StatusCode;

use super::{fault::LiveFault, reject::Reject};

/// Why a request ends before an upstream has answered it.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// The client sent something that must not be forwarded.
    Client(Reject),
    /// An experiment answers in the place of the service.
    Injected(Arc<LiveFault>),
    /// The upstream did not answer.
    Upstream(UpstreamFailure),
    /// More requests are under way than this core takes on.
    Overloaded,
    /// The proxy answers for itself (`OPTIONS` with `Max-Forwards: 0`).
    Own,
}

/// How an upstream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamFailure {
    /// There is no endpoint.
    NoEndpoint,
    /// No endpoint accepted a connection.
    Connect,
    /// The connection broke before the answer's head was complete.
    Reset,
    /// No TLS session came about: the certificate is not for the name, or not of the authority.
    Tls,
    /// The answer is not HTTP.
    Garbage,
    /// The answer's head did not arrive within the limit.
    Timeout,
    /// It switched protocols although nobody had asked.
    Switched,
}

/// What the client sees of a [`Stop`], and how it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// The `x-glooshot-error` header: whose fault, and the reason; also the metric's label.
    pub(crate) header: &'static str,
    /// The reason alone, as a metric label.
    pub(crate) reason: &'static str,
    /// Istio's response flag.
    pub(crate) flag: Flag,
    /// Whether the connection is closed behind the answer.
    pub(crate) close: bool,
}

impl Reject {
    /// The status of the answer, the header and the label.
    pub(crate) const fn verdict(self) -> Verdict {
        let (status, header, reason) = match self {
            Self::Syntax => (StatusCode::BAD_REQUEST, "client; syntax", "syntax"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "client; method", "method"),
            Self::Target => (StatusCode::BAD_REQUEST, "client; target", "target"),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "client; target-too-long", "target-too-long"),
            Self::TooManyHeaders => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "client; too-many-headers", "too-many-headers")
            }
            Self::Host => (StatusCode::BAD_REQUEST, "client; host", "host"),
            Self::TransferCoding => (StatusCode::BAD_REQUEST, "client; transfer-coding", "transfer-coding"),
            Self::FieldName => (StatusCode::BAD_REQUEST, "client; field-name", "field-name"),
            Self::ContentLength => (StatusCode::BAD_REQUEST, "client; content-length", "content-length"),
            Self::Loop => (StatusCode::LOOP_DETECTED, "client; loop", "loop"),
            Self::Expectation => (StatusCode::EXPECTATION_FAILED, "client; expectation", "expectation"),
            Self::Body => (StatusCode::BAD_REQUEST, "client; body", "body"),
            Self::HeadTimeout => (StatusCode::REQUEST_TIMEOUT, "client; head-timeout", "head-timeout"),
            Self::Handshake => (StatusCode::BAD_REQUEST, "client; tls-handshake", "tls-handshake"),
            Self::Flood => (StatusCode::TOO_MANY_REQUESTS, "client; flood", "flood"),
        };
        Verdict { status, header, reason, flag: Flag::Rejected, close: true }
    }
}

/// The answer of a core that has more requests under way than it takes on.
pub(crate) const OVERLOADED: Verdict = Verdict {
    status: StatusCode::SERVICE_UNAVAILABLE,
    header: "proxy; overloaded",
    reason: "overloaded",
    flag: Flag::Overloaded,
    close: false,
};

impl UpstreamFailure {
    /// The status of the answer, the header and the label.
    pub(crate) const fn verdict(self) -> Verdict {
        let (status, header, reason, flag) = match self {
            Self::NoEndpoint => {
                (StatusCode::SERVICE_UNAVAILABLE, "upstream; no-endpoint", "no-endpoint", Flag::NoEndpoint)
            }
            Self::Connect => (StatusCode::SERVICE_UNAVAILABLE, "upstream; connect", "connect", Flag::ConnectFailed),
            Self::Tls => (StatusCode::SERVICE_UNAVAILABLE, "upstream; tls", "tls", Flag::ConnectFailed),
            Self::Reset => (StatusCode::BAD_GATEWAY, "upstream; reset", "reset", Flag::UpstreamReset),
            Self::Garbage => (StatusCode::BAD_GATEWAY, "upstream; garbage", "garbage", Flag::UpstreamProtocol),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "upstream; timeout", "timeout", Flag::UpstreamTimeout),
            Self::Switched => (StatusCode::BAD_GATEWAY, "upstream; switched", "switched", Flag::UpstreamProtocol),
        };
        Verdict { status, header, reason, flag, close: false }
    }
}

/// Istio's `response_flags`: who is to blame for how an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Flag {
    /// Nothing happened.
    #[default]
    None,
    /// An injected abort.
    FaultAbort,
    /// The request was refused.
    Rejected,
    /// The client went away.
    ClientGone,
    /// There was no endpoint.
    NoEndpoint,
    /// No connection could be made.
    ConnectFailed,
    /// The upstream broke the connection.
    UpstreamReset,
    /// The upstream took too long.
    UpstreamTimeout,
    /// The upstream did not speak HTTP.
    UpstreamProtocol,
    /// The proxy had too much to do.
    Overloaded,
}

impl Flag {
    /// The flag as Envoy writes it; `delayed` adds the one of an injected delay.
    pub(crate) const fn as_str(self, delayed: bool) -> &'static str {
        match (self, delayed) {
            (Self::None, false) => "-",
            (Self::None, true) => "DI",
            (Self::FaultAbort, _) => "FI",
            (Self::Rejected, _) => "DPE",
            (Self::ClientGone, false) => "DC",
            (Self::ClientGone, true) => "DC,DI",
            (Self::NoEndpoint, false) => "UH",
            (Self::NoEndpoint, true) => "UH,DI",
            (Self::ConnectFailed, false) => "UF",
            (Self::ConnectFailed, true) => "UF,DI",
            (Self::UpstreamReset, false) => "UC",
            (Self::UpstreamReset, true) => "UC,DI",
            (Self::UpstreamTimeout, false) => "UT",
            (Self::UpstreamTimeout, true) => "UT,DI",
            (Self::UpstreamProtocol, false) => "UPE",
            (Self::UpstreamProtocol, true) => "UPE,DI",
            (Self::Overloaded, _) => "OM",
        }
    }

    /// Whether the request came as far as the upstream; a client that went away did so behind an answer or before it.
    pub(crate) const fn reached_upstream(self, answered: bool) -> bool {
        match self {
            Self::None | Self::UpstreamReset | Self::UpstreamTimeout | Self::UpstreamProtocol => true,
            Self::ClientGone => answered,
            Self::FaultAbort | Self::Rejected | Self::NoEndpoint | Self::ConnectFailed | Self::Overloaded => false,
        }
    }

    /// Whether the upstream is to blame.
    pub(crate) const fn is_upstream_failure(self) -> bool {
        matches!(
            self,
            Self::NoEndpoint
                | Self::ConnectFailed
                | Self::UpstreamReset
                | Self::UpstreamTimeout
                | Self::UpstreamProtocol
        )
    }
}
