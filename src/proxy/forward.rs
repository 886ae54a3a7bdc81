//! Step 4, forward: the request goes to an endpoint, over a pooled connection or a new one.
//!
//! It is sent again only while that is safe: no endpoint was reached, the bytes never left, the upstream says that it did
//! not process it (RFC 9113 §8.7), or a reused connection broke before the first byte of an answer to a request without a
//! body whose method is idempotent (RFC 9110 §9.2.2).

use std::{net::SocketAddr, pin::pin, rc::Rc};

use http::Method;
use hyper::body::Body as _;

use super::{
    body::RequestBody,
    clock::Moment,
    connect,
    connection::Caller,
    error::{Stop, UpstreamFailure},
    exchange::Exchange,
    head::{RequestHead, ResponseHead},
    lease::{AnswerError, Failed, Lease, Left},
    pool::PoolKey,
    reject::Reject,
    rewrite::{self, Marks},
    select::Selection,
    transport::Wire,
    upload::{Upload, answer_in_time},
    whole::Whole,
    worker::Worker,
};

/// An upstream's answer, and what it takes to end the exchange.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) response: ResponseHead,
    /// Where the answer's body comes from.
    pub(crate) lease: Lease,
    /// The client asked for a switch of protocols.
    pub(crate) may_switch: bool,
}

/// Sends the request, and waits for the head of the answer.
pub(crate) async fn forward(
    worker: &Rc<Worker>,
    caller: &Caller,
    exchange: &mut Exchange,
    selection: &Selection<'_>,
    head: &mut RequestHead,
    body: Whole,
) -> Result<Forwarded, Stop> {
    let transport = &caller.front.transport;
    let wire = transport.wire(head.version);
    // Only HTTP/1.1 can switch; an upstream that is said to speak HTTP/2 is not asked to.
    let may_switch = rewrite::rewrite(head, &marks(worker, caller)) && wire == Wire::Http1;
    let upload = (!body.is_end_stream()).then(Upload::begin);
    let mut body = RequestBody::of(body, upload.as_ref());
    let scheme = transport.scheme();
    let (mut tried, mut pooled) = (Vec::new(), true);
    loop {
        let mut lease = connect(worker, caller, exchange, selection, wire, &mut tried, pooled).await?;
        lease.upload.clone_from(&upload);
        let answer = {
            // Pinned here: whatever awaits it by value has room for it once more.
            let sending = pin!(lease.send(head, &scheme, body));
            answer_in_time(&worker.shared.limits, upload.as_ref(), caller.patience(), sending).await
        };
        // An upstream that answers nothing may be stuck with all that is on this connection.
        let answer = answer.inspect_err(|_| lease.retire())?;
        let Failed { error, left } = match answer {
            Ok(response) => return Ok(Forwarded { response, lease, may_switch }),
            Err(failed) => failed,
        };
        let again = match left {
            Left::Everything(body) => Some(body),
            Left::Head if may_follow(&head.method, &error) => Some(RequestBody::Empty),
            Left::Head | Left::Nothing => None,
        };
        match again {
            // Only a reused connection can have been closed without our knowing, so a second try goes over a new one.
            Some(again) if pooled && lease.reused && broke(&lease, &error) => {
                lease.retire();
                body = again;
                pooled = false;
            }
            _ => return Err(blame(upload.as_ref(), &error)),
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
fn broke(lease: &Lease, error: &AnswerError) -> bool {
    !lease.answer_has_begun() && !error.is_garbage() && !error.is_the_clients()
}

/// Whether a request without a body may be sent again behind this failure.
fn may_follow(method: &Method, error: &AnswerError) -> bool {
    let idempotent = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    idempotent || error.was_not_processed()
}

/// Whose fault it is that no answer came.
fn blame(upload: Option<&Upload>, error: &AnswerError) -> Stop {
    if error.is_the_clients() || upload.is_some_and(Upload::has_failed) {
        Stop::Client(Reject::Body)
    } else if error.is_garbage() {
        Stop::Upstream(UpstreamFailure::Garbage)
    } else {
        Stop::Upstream(UpstreamFailure::Reset)
    }
}

/// A connection to an endpoint of the selected group, the first that accepts.
async fn connect(
    worker: &Rc<Worker>,
    caller: &Caller,
    exchange: &mut Exchange,
    selection: &Selection<'_>,
    wire: Wire,
    tried: &mut Vec<SocketAddr>,
    pooled: bool,
) -> Result<Lease, Stop> {
    let (transport, mut failure) = (&caller.front.transport, UpstreamFailure::NoEndpoint);
    while tried.len() < worker.shared.limits.connect_attempts {
        // While a request waited for an endpoint that is gone, the plan may have learned of another.
        let renewed = if tried.is_empty() { None } else { worker.route_now(caller) };
        let route = renewed.as_ref().unwrap_or(selection.route);
        // By the clock that tells when connections are given back; a delayed request began long before.
        let now = Moment::from_nanos(worker.coarse_now());
        let is_warm = |address| pooled && worker.pool.is_warm(PoolKey { address, transport: transport.id }, now);
        let picked = worker.balancer.pick(route, selection.random, tried, exchange.started(), is_warm);
        let Some(endpoint) = picked else { break };
        exchange.sent_to(endpoint);
        match connect::lease(worker, transport, endpoint.address, wire, pooled).await {
            Ok(lease) => return Ok(lease),
            Err(why) => failure = why,
        }
        tried.push(endpoint.address);
    }
    Err(Stop::Upstream(failure))
}
