//! Every limit of the data plane: its default, the reason, and what happens when it is reached.

use std::time::Duration;

/// The limits of one proxy. Nothing is unbounded.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections on one listener and core; at the limit no more are accepted until one ends.
    pub connections: usize,
    /// Time for the first bytes of a connection, from which its protocol is recognised; then it is closed.
    pub first_byte: Duration,
    /// Time for a complete request head, from its first byte; then the connection is closed.
    pub request_head: Duration,
    /// Time that a client's connection may be idle between requests; then it is closed.
    pub idle_client: Duration,
    /// Time that a pooled upstream connection may be idle; then it is closed.
    pub idle_upstream: Duration,
    /// Time without a single byte in either direction while a request is under way; then the connection is closed.
    pub stalled: Duration,
    /// Bytes of a request or response head; a request over it is answered with 431.
    pub head_bytes: usize,
    /// Header fields of a request; over it 431.
    pub request_headers: usize,
    /// Header fields of a response; over it 502.
    pub response_headers: usize,
    /// Bytes of a request target; over it 414.
    pub target_bytes: usize,
    /// Time to connect to an endpoint; then the next one is tried.
    pub connect: Duration,
    /// Endpoints that are tried for one request.
    pub connect_attempts: usize,
    /// Time from the forwarded request to the head of its answer; then 504.
    pub response_head: Duration,
    /// Idle connections that are kept for one endpoint on one core; more are closed.
    pub idle_per_endpoint: usize,
    /// Time without a byte on a passed-through or upgraded connection; then it is closed.
    pub tunnel_idle: Duration,
    /// Time that a drain waits for requests under way.
    pub drain: Duration,
    /// Label combinations of the request metrics; more are counted under `unknown`.
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            first_byte: Duration::from_secs(5),
            request_head: Duration::from_secs(10),
            idle_client: Duration::from_secs(60),
            idle_upstream: Duration::from_secs(30),
            stalled: Duration::from_secs(300),
            head_bytes: 64 * 1024,
            request_headers: 100,
            response_headers: 256,
            target_bytes: 16 * 1024,
            connect: Duration::from_secs(1),
            connect_attempts: 3,
            response_head: Duration::from_secs(15),
            idle_per_endpoint: 1_024,
            tunnel_idle: Duration::from_secs(3_600),
            drain: Duration::from_secs(30),
            series: 2_000,
        }
    }
}
