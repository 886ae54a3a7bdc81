//! What can be wrong with a request. What the client then sees is said in `error`.

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reject {
    /// The bytes are not HTTP.
    Syntax,
    /// CONNECT or TRACE (RFC 9110 §9.3.6, §9.3.8): a service proxy offers neither.
    Method,
    /// A target that is neither a path nor an absolute `http` URI (RFC 9112 §3.2).
    Target,
    /// A target longer than the limit.
    TargetTooLong,
    /// More header fields than the limit.
    TooManyHeaders,
    /// A field over HTTP/2 whose name is no token (RFC 9110 §5.1). Over HTTP/1 that is [`Self::Syntax`].
    FieldName,
    /// No Host, several, or one that is not a host and port (RFC 9112 §3.2).
    Host,
    /// A transfer coding other than `chunked` alone (RFC 9112 §6.1).
    TransferCoding,
    /// A length over HTTP/2 that is not one number, once (RFC 9110 §8.6). Over HTTP/1 that is [`Self::Syntax`].
    ContentLength,
    /// Our own name in Via (RFC 9110 §7.6.3): the request goes round in a circle.
    Loop,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    Expectation,
    /// The body broke off or was malformed after the head had been accepted.
    Body,
    /// The head did not arrive within the limit.
    HeadTimeout,
    /// No TLS session came about: the handshake failed or took too long.
    Handshake,
    /// A flood of HTTP/2 frames that carry nothing.
    Flood,
}

impl Reject {
    /// Every reason, for the metrics.
    pub(crate) const ALL: [Self; 15] = [
        Self::Syntax,
        Self::Method,
        Self::Target,
        Self::TargetTooLong,
        Self::TooManyHeaders,
        Self::FieldName,
        Self::Host,
        Self::TransferCoding,
        Self::ContentLength,
        Self::Loop,
        Self::Expectation,
        Self::Body,
        Self::HeadTimeout,
        Self::Handshake,
        Self::Flood,
    ];
}
