//! Step 4, forward: the request goes to an endpoint, over a pooled connection or a new one.
//!
//! It is sent again only while that is safe: no endpoint was reached, the bytes never left, or a reused connection broke
//! before the first byte of an answer to a request without a body whose method is idempotent (RFC 9110 §9.2.2).

use std::{net::SocketAddr, rc::Rc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version,
    header::{TRANSFER_ENCODING, VIA},
};
use hyper::{
    body::{Body as _, Incoming},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    answered::Answered,
    body::RequestBody,
    clock::Moment,
    connection::Caller,
    error::{Stop, UpstreamFailure},
    exchange::Exchange,
    hop_by_hop,
    pool::Lease,
    reject::Reject,
    select::Selection,
    tapped_io::TappedIo,
    worker::{ForwardedFor, Worker},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// An upstream's answer, and what it takes to end the exchange.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    /// The client's side of a switch of protocols that it asked for.
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// Sends the request, and waits for the head of the answer.
pub(crate) async fn forward(
    worker: &Worker,
    caller: &Caller,
    exchange: &mut Exchange,
    selection: &Selection,
    mut request: Request<Incoming>,
) -> Result<Forwarded, Stop> {
    let upgrade = prepare(worker, caller, &mut request);
    let mut request =
        request.map(|body| if body.is_end_stream() { RequestBody::Empty } else { RequestBody::Client(body) });
    let mut tried = Vec::new();
    let mut pooled = true;
    loop {
        let mut lease = connect(worker, exchange, selection, &mut tried, pooled).await?;
        let spare = if lease.reused { repeatable(&request) } else { None };
        let answer = timeout(worker.shared.limits.response_head, lease.sender.try_send_request(request)).await;
        let mut failure = match answer {
            Err(_) => return Err(Stop::Upstream(UpstreamFailure::Timeout)),
            Ok(Ok(response)) => return Ok(Forwarded { response, lease, upgrade }),
            Ok(Err(failure)) => failure,
        };
        let broke = !lease.answered.has_begun() && !failure.error().is_parse() && !failure.error().is_user();
        let again = failure.take_message().or(spare);
        match again {
            // Only a reused connection can have been closed without our knowing, so a second try goes over a new one.
            Some(unsent) if broke && pooled && lease.reused => {
                request = unsent;
                pooled = false;
            }
            _ => return Err(blame(failure.error())),
        }
    }
}

/// Whose fault it is that no answer came.
fn blame(error: &hyper::Error) -> Stop {
    if error.is_user() {
        Stop::Client(Reject::Body)
    } else if error.is_parse() {
        Stop::Upstream(UpstreamFailure::Garbage)
    } else {
        Stop::Upstream(UpstreamFailure::Reset)
    }
}

/// A copy of a request that may be sent twice.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let idempotent =
        matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    if !idempotent || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// A connection to an endpoint of the selected group: an idle one, or a new one to the first endpoint that accepts.
async fn connect(
    worker: &Worker,
    exchange: &mut Exchange,
    selection: &Selection,
    tried: &mut Vec<SocketAddr>,
    pooled: bool,
) -> Result<Lease, Stop> {
    let limits = &worker.shared.limits;
    while tried.len() < limits.connect_attempts {
        let Some(endpoint) = selection.pick(worker, tried, exchange.started()) else { break };
        exchange.sent_to(endpoint);
        if pooled && let Some(lease) = worker.pool.take(endpoint.address) {
            return Ok(lease);
        }
        if let Some(stream) = dial(worker, endpoint.address).await {
            return handshake(worker, endpoint.address, stream).await;
        }
        tried.push(endpoint.address);
    }
    let nothing_to_try = tried.is_empty();
    Err(Stop::Upstream(if nothing_to_try { UpstreamFailure::NoEndpoint } else { UpstreamFailure::Connect }))
}

/// Connects within the limit, and lets the balancer learn from the result.
pub(crate) async fn dial(worker: &Worker, address: SocketAddr) -> Option<TcpStream> {
    let stream = timeout(worker.shared.limits.connect, TcpStream::connect(address)).await;
    let stream = stream.ok().and_then(Result::ok).filter(|stream| stream.set_nodelay(true).is_ok());
    match &stream {
        Some(_) => worker.balancer.succeeded(address),
        None => worker.balancer.failed(address, Moment::now()),
    }
    stream
}

async fn handshake(worker: &Worker, address: SocketAddr, stream: TcpStream) -> Result<Lease, Stop> {
    let limits = &worker.shared.limits;
    let answered = Answered::default();
    let made = hyper::client::conn::http1::Builder::new()
        .max_headers(limits.response_headers)
        .max_buf_size(limits.head_bytes)
        .handshake(TokioIo::new(TappedIo::new(Vec::new(), stream, answered.clone())))
        .await;
    let (sender, connection) = made.map_err(|error| blame(&error))?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%address, %error, "upstream connection ended");
        }
    });
    Ok(worker.pool.adopt(address, sender, answered))
}

/// Makes the client's request ours: nothing of the client's connection in it, our own marks added behind.
fn prepare(worker: &Worker, caller: &Caller, request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let token = if request.version() == Version::HTTP_11 { hop_by_hop::upgrade_token(request.headers()) } else { None };
    let upgrade = token.is_some().then(|| hyper::upgrade::on(&mut *request));
    *request.version_mut() = Version::HTTP_11;
    let request_has_chunks = request.headers().contains_key(TRANSFER_ENCODING);
    let headers = request.headers_mut();
    hop_by_hop::strip(headers);
    if let Some(token) = token {
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(http::header::UPGRADE, token);
    }
    headers.append(VIA, caller.via.clone());
    if request_has_chunks {
        // hyper writes a body of unknown length for GET and HEAD only when the head says so.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    forwarded_for(worker.shared.forwarded_for, caller, headers);
    upgrade
}

/// Says who the client is, in one form only: two that disagree are worse than none.
fn forwarded_for(mode: ForwardedFor, caller: &Caller, headers: &mut HeaderMap) {
    match mode {
        // A caller that speaks Forwarded alone (RFC 7239) gets the next hop in it.
        ForwardedFor::Append if headers.contains_key(FORWARDED) && !headers.contains_key(X_FORWARDED_FOR) => {
            headers.append(FORWARDED, caller.forwarded.clone());
        }
        ForwardedFor::Append => {
            headers.remove(FORWARDED);
            headers.append(X_FORWARDED_FOR, caller.forwarded_for.clone());
        }
        ForwardedFor::Overwrite => {
            headers.remove(FORWARDED);
            headers.insert(X_FORWARDED_FOR, caller.forwarded_for.clone());
        }
    }
}

/// Keeps an upgraded pair of connections together until both ends are closed.
pub(crate) fn splice(worker: &Rc<Worker>, client: OnUpgrade, upstream: OnUpgrade, exchange: Exchange) {
    let idle = worker.shared.limits.tunnel_idle;
    tokio::task::spawn_local(async move {
        let mut exchange = exchange;
        match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => {
                super::tunnel::splice(TokioIo::new(client), TokioIo::new(upstream), idle).await;
            }
            Err(error) => tracing::debug!(%error, "the switch of protocols did not complete"),
        }
        exchange.complete();
    });
}
