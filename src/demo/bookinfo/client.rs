//! Calls to another service, over a bounded set of keep-alive connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{HOST, InvalidHeaderValue};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::config::Upstream;

/// Most calls to one service at a time; further ones wait for their turn within their timeout.
const MAX_CALLS: usize = 128;

/// Most connections that are kept when no call uses them.
const MAX_IDLE: usize = 16;

/// How long an unused connection is kept. Shorter than the servers' own patience, so that a call seldom meets
/// a connection that is just being closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(5);

/// How long a connection is used at all. A Service that leads elsewhere from now on is followed by new connections only.
const MAX_AGE: Duration = Duration::from_secs(2);

/// Most bytes of an answer.
const MAX_BODY: usize = 64 * 1024;

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 16 * 1024;

/// Headers that travel from a request to the calls that it causes: trace contexts, and whatever faults are
/// scoped by.
const PASSED_ON: [&str; 14] = [
    "baggage",
    "b3",
    "cookie",
    "end-user",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-ot-span-context",
    "x-request-id",
];

/// Calls one service.
#[derive(Debug)]
pub(super) struct Client {
    upstream: Upstream,
    /// Address of the calling service.
    own: IpAddr,
    calls: Semaphore,
    idle: Mutex<Vec<(Open, Instant)>>,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A call without a complete answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("broken exchange: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("broken or oversized body: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::uri::InvalidUri),
    #[error("the host cannot be written: {0}")]
    Host(#[from] InvalidHeaderValue),
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Empty<Bytes>>,
    since: Instant,
    /// Holds the task that moves the connection's bytes; dropping it closes the connection.
    _driver: JoinSet<()>,
}

impl Client {
    /// A client of `upstream` for a service that listens on `own`.
    pub(super) fn new(upstream: Upstream, own: IpAddr) -> Self {
        Self { upstream, own, calls: Semaphore::new(MAX_CALLS), idle: Mutex::default() }
    }

    /// Makes one GET request. `headers` are those of the request that causes it.
    ///
    /// Cancellation: may be dropped at any time; the connection in use is closed.
    pub(super) async fn get(&self, path: &str, headers: &HeaderMap, within: Duration) -> Result<Reply, CallError> {
        timeout(within, self.call(path, headers)).await.unwrap_or(Err(CallError::Timeout(within)))
    }

    async fn call(&self, path: &str, headers: &HeaderMap) -> Result<Reply, CallError> {
        // The semaphore is never closed.
        let _permit = self.calls.acquire().await;
        let mut request = self.request(path, headers)?;
        loop {
            let (mut open, reused) = match self.take_idle().await {
                Some(open) => (open, true),
                None => (self.connect().await?, false),
            };
            match open.sender.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = Limited::new(body, MAX_BODY).collect().await.map_err(CallError::Body)?.to_bytes();
                    self.keep(open);
                    return Ok(Reply { status: head.status, body });
                }
                // Given back unsent because the idle connection had just closed: it is sent on another one
                // (RFC 9112 §9.3.1). Each round uses up an idle connection, so this ends.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    fn request(&self, path: &str, headers: &HeaderMap) -> Result<Request<Empty<Bytes>>, CallError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse::<Uri>()?;
        for name in PASSED_ON {
            for value in headers.get_all(name) {
                request.headers_mut().append(name, value.clone());
            }
        }
        request.headers_mut().insert(HOST, HeaderValue::from_str(self.upstream.as_str())?);
        Ok(request)
    }

    async fn take_idle(&self) -> Option<Open> {
        loop {
            let (mut open, since) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if since.elapsed() < MAX_IDLE_TIME && open.sender.ready().await.is_ok() {
                return Some(open);
            }
        }
    }

    fn keep(&self, open: Open) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < MAX_IDLE_TIME);
        if idle.len() < MAX_IDLE && open.since.elapsed() < MAX_AGE && !open.sender.is_closed() {
            idle.push((open, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<Open, CallError> {
        let stream = self.connect_any().await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its error is also that of the call in flight.
            let _ = connection.await;
        });
        sender.ready().await?;
        Ok(Open { sender, since: Instant::now(), _driver: driver })
    }

    /// Connects to the first of the host's addresses that accepts.
    async fn connect_any(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host(self.upstream.as_str()).await? {
            match connect_from(source(self.own, address.ip()), address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The address from which a service listening on `own` calls `peer`: its own, unless it listens everywhere,
/// or `peer` cannot be reached from there.
fn source(own: IpAddr, peer: IpAddr) -> Option<IpAddr> {
    let reachable = own.is_ipv4() == peer.is_ipv4() && own.is_loopback() == peer.is_loopback();
    (reachable && !own.is_unspecified()).then_some(own)
}

async fn connect_from(source: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source {
        // A port in TIME_WAIT may be taken again: a bound socket picks its port before it knows its peer.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(address).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn calls_come_from_the_services_own_address_where_that_can_work() {
        let source = |own: &str, peer: &str| source(own.parse().unwrap(), peer.parse().unwrap());
        assert_eq!(source("127.0.0.5", "127.0.0.9"), Some("127.0.0.5".parse().unwrap()));
        assert_eq!(source("10.0.0.5", "10.1.0.9"), Some("10.0.0.5".parse().unwrap()));
        for (own, peer) in [("0.0.0.0", "127.0.0.9"), ("127.0.0.5", "10.0.0.9"), ("127.0.0.5", "::1")] {
            assert_eq!(source(own, peer), None, "{own} to {peer}");
        }
    }
}
