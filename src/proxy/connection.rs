//! One client's connection: recognised by its first bytes, then served as HTTP/1 or passed through.

use std::{error::Error as _, net::IpAddr, rc::Rc, sync::Arc};

use glooshot_api::names::ServicePort;
use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    activity::Activity,
    admit::Gate,
    client_tap::ClientTap,
    clock::Moment,
    forward::dial,
    framing::Malformed,
    handle::handle,
    reject::Reject,
    sniff::{self, LOOK_AHEAD, Protocol},
    tapped_io::TappedIo,
    tunnel,
    worker::Worker,
};

/// What requests of one connection have in common.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The listener's index in the configuration.
    pub(crate) listener: usize,
    /// The Service port that it listens for.
    pub(crate) port: ServicePort,
    /// The client's address.
    pub(crate) address: IpAddr,
    /// When something last happened on the connection.
    pub(crate) connection: Arc<Activity>,
    /// What the gate knows of the listener.
    pub(crate) gate: Rc<Gate>,
    /// Our entry in `Via`.
    pub(crate) via: HeaderValue,
    /// The client's address as an entry of `X-Forwarded-For`.
    pub(crate) forwarded_for: HeaderValue,
    /// The client's address as an element of `Forwarded` (RFC 7239).
    pub(crate) forwarded: HeaderValue,
}

/// Serves a connection until it is closed.
pub(crate) async fn serve(worker: Rc<Worker>, caller: Rc<Caller>, mut stream: TcpStream) {
    let _count_panic = CountPanic(&worker);
    let limit = worker.shared.limits.first_byte;
    let mut first = Vec::new();
    let protocol = match timeout(limit, recognise(&mut stream, &mut first)).await {
        Ok(protocol) => protocol,
        Err(_) => sniff::give_up(&first),
    };
    match protocol {
        None => {
            if !first.is_empty() {
                worker.metrics.rejected(Reject::HeadTimeout);
            }
        }
        Some(Protocol::Http1) => serve_http(&worker, caller, first, stream).await,
        Some(protocol) => pass_through(&worker, &caller, protocol, &first, stream).await,
    }
}

/// Reads until the protocol is known; `None` when the client closes before.
async fn recognise(stream: &mut TcpStream, first: &mut Vec<u8>) -> Option<Protocol> {
    first.reserve(4096);
    loop {
        if stream.read_buf(first).await.ok()? == 0 {
            return None;
        }
        if let Some(protocol) = sniff::recognise(first) {
            return Some(protocol);
        }
        if first.len() > LOOK_AHEAD {
            return Some(Protocol::Opaque);
        }
    }
}

/// Serves HTTP/1 requests, one after the other.
async fn serve_http(worker: &Rc<Worker>, caller: Rc<Caller>, first: Vec<u8>, stream: TcpStream) {
    let limits = &worker.shared.limits;
    let tap = ClientTap::new(Arc::clone(&caller.connection), worker.coarse_clock());
    let io = TappedIo::new(first, stream, tap);
    let service = {
        let worker = Rc::clone(worker);
        let caller = Rc::clone(&caller);
        service_fn(move |request| handle(Rc::clone(&worker), Rc::clone(&caller), request))
    };
    let connection = hyper::server::conn::http1::Builder::new()
        // Our own sweep bounds the head and the idle time: hyper's would allocate a timer for every request.
        .header_read_timeout(None)
        .max_headers(limits.request_headers)
        .max_buf_size(limits.head_bytes)
        .half_close(false)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    // A drain needs no word here: every answer then says `Connection: close`, and the sweep ends what is idle.
    let ended = connection.await;
    if let Err(error) = ended {
        if !caller.connection.is_rejected() && (error.is_parse() || is_malformed(&error)) {
            worker.metrics.rejected(Reject::Syntax);
        }
        tracing::debug!(client = %caller.address, service = %caller.port, %error, "client connection ended");
    }
}

/// Whether the strict reading of the framing ended the connection.
fn is_malformed(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    let Some(inner) = io.and_then(std::io::Error::get_ref) else { return false };
    inner.is::<Malformed>()
}

/// Passes a connection that is not HTTP/1 through to an endpoint.
async fn pass_through(worker: &Worker, caller: &Caller, protocol: Protocol, first: &[u8], stream: TcpStream) {
    worker.metrics.passed_through(caller.listener, protocol);
    caller.connection.switch();
    let Some(mut upstream) = connect_any(worker, caller).await else { return };
    if upstream.write_all(first).await.is_ok() {
        tunnel::splice(stream, upstream, worker.shared.limits.tunnel_idle).await;
    }
}

/// Connects to an endpoint of the route, in turn.
async fn connect_any(worker: &Worker, caller: &Caller) -> Option<TcpStream> {
    let plan = worker.plan();
    let now = Moment::now();
    let route = Arc::clone(plan.route(caller.listener)?.endpoints(worker.shared.slot.is_fresh(now)));
    let random = worker.random();
    let mut tried = Vec::new();
    while tried.len() < worker.shared.limits.connect_attempts {
        let address = worker.balancer.pick(&route, random, &tried, now)?.address;
        if let Some(stream) = dial(worker, address).await {
            return Some(stream);
        }
        tried.push(address);
    }
    None
}

/// Counts a panic in a connection's task; the runtime keeps it from spreading.
struct CountPanic<'w>(&'w Worker);

impl Drop for CountPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.panicked();
        }
    }
}
