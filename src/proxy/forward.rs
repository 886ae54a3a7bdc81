//! Step 4, forward: the request goes to an endpoint, over a pooled connection or a new one.
//!
//! It is sent again only while that is safe: no endpoint was reached, the bytes never left, the upstream says that it did
//! not process it (RFC 9113 §8.7), or a reused connection broke before the first byte of an answer to a request without a
//! body whose method is idempotent (RFC 9110 §9.2.2).

use std::{error::Error as _, net::SocketAddr, rc::Rc};

use http::{Method, Request, Response};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::TrySendError,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;

use super::{
    body::RequestBody,
    connect,
    connection::Caller,
    error::{Stop, UpstreamFailure},
    exchange::Exchange,
    pool::Lease,
    reject::Reject,
    rewrite::{self, Marks},
    select::Selection,
    transport::Wire,
    upload::{Upload, answer_in_time},
    worker::Worker,
};

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
    worker: &Rc<Worker>,
    caller: &Caller,
    exchange: &mut Exchange,
    selection: &Selection,
    mut request: Request<Incoming>,
) -> Result<Forwarded, Stop> {
    let transport = &caller.front.transport;
    let wire = transport.wire(request.version());
    let upgrade = rewrite::rewrite(&mut request, &marks(worker, caller)).then(|| hyper::upgrade::on(&mut request));
    // Only HTTP/1.1 can switch; an upstream that is said to speak HTTP/2 is not asked to.
    let upgrade = upgrade.filter(|_| wire == Wire::Http1);
    let upload = (!request.body().is_end_stream()).then(Upload::begin);
    let mut request = request.map(|body| RequestBody::of(body, upload.as_ref()));
    let (mut tried, mut pooled) = (Vec::new(), true);
    loop {
        let mut lease = connect(worker, caller, exchange, selection, wire, &mut tried, pooled).await?;
        match lease.wire() {
            Wire::Http1 => rewrite::to_http1(&mut request),
            Wire::Http2 => rewrite::to_http2(&mut request, &transport.scheme()),
        }
        lease.upload.clone_from(&upload);
        let spare = if lease.reused { spare(&request, lease.wire()) } else { None };
        let answer = answer_in_time(&worker.shared.limits, upload.as_ref(), lease.send(request)).await;
        // An upstream that answers nothing may be stuck with all that is on this connection.
        let answer = answer.inspect_err(|_| lease.retire())?;
        let mut failure = match answer {
            Ok(response) => return Ok(Forwarded { response, lease, upgrade }),
            Err(failure) => failure,
        };
        let again =
            failure.take_message().or_else(|| spare.filter(|spare| spare.may_follow(&failure)).map(Spare::into));
        match again {
            // Only a reused connection can have been closed without our knowing, so a second try goes over a new one.
            Some(unsent) if pooled && lease.reused && broke(&lease, &failure) => {
                lease.retire();
                request = unsent;
                pooled = false;
            }
            _ => return Err(blame(upload.as_ref(), failure.error())),
        }
    }
}

fn marks<'a>(worker: &Worker, caller: &'a Caller) -> Marks<'a> {
    Marks {
        via: &caller.front.via,
        forwarded_for: &caller.forwarded_for,
        forwarded: &caller.forwarded,
        mode: worker.shared.forwarded_for,
        tls_ended: caller.secure.get(),
    }
}

/// Whether the connection broke before anything of an answer came.
fn broke(lease: &Lease, failure: &TrySendError<Request<RequestBody>>) -> bool {
    !lease.answer_has_begun() && !failure.error().is_parse() && !failure.error().is_user()
}

/// Whose fault it is that no answer came.
fn blame(upload: Option<&Upload>, error: &hyper::Error) -> Stop {
    if error.is_user() || upload.is_some_and(Upload::has_failed) {
        Stop::Client(Reject::Body)
    } else if error.is_parse() {
        Stop::Upstream(UpstreamFailure::Garbage)
    } else {
        Stop::Upstream(UpstreamFailure::Reset)
    }
}

/// A copy of a request without a body.
struct Spare {
    request: Request<RequestBody>,
    idempotent: bool,
}

impl Spare {
    /// Whether it may be sent behind this failure.
    fn may_follow(&self, failure: &TrySendError<Request<RequestBody>>) -> bool {
        self.idempotent || was_not_processed(failure.error())
    }
}

impl From<Spare> for Request<RequestBody> {
    fn from(spare: Spare) -> Self {
        spare.request
    }
}

/// Whether the upstream says that it has not looked at the request: a refused stream, or a graceful GOAWAY before it.
fn was_not_processed(error: &hyper::Error) -> bool {
    let reason = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    reason.is_some_and(|error| {
        error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
    })
}

/// A copy of a request that may be sent twice in some case.
fn spare(request: &Request<RequestBody>, wire: Wire) -> Option<Spare> {
    let idempotent =
        matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    if !matches!(request.body(), RequestBody::Empty) || !(idempotent || wire == Wire::Http2) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(Spare { request: copy, idempotent })
}

/// A connection to an endpoint of the selected group, the first that accepts.
async fn connect(
    worker: &Rc<Worker>,
    caller: &Caller,
    exchange: &mut Exchange,
    selection: &Selection,
    wire: Wire,
    tried: &mut Vec<SocketAddr>,
    pooled: bool,
) -> Result<Lease, Stop> {
    let mut failure = UpstreamFailure::NoEndpoint;
    while tried.len() < worker.shared.limits.connect_attempts {
        let Some(endpoint) = selection.pick(worker, tried, exchange.started()) else { break };
        exchange.sent_to(endpoint);
        match connect::lease(worker, &caller.front.transport, endpoint.address, wire, pooled).await {
            Ok(lease) => return Ok(lease),
            Err(why) => failure = why,
        }
        tried.push(endpoint.address);
    }
    Err(Stop::Upstream(failure))
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
