//! One client's connection: recognised by its first bytes, then served as HTTP/1 or HTTP/2, or passed through.

use std::{
    cell::Cell, convert::Infallible, error::Error as _, net::IpAddr, pin::pin, rc::Rc, sync::Arc, time::Duration,
};

use http::{HeaderValue, Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    activity::Activity,
    at_connect,
    body::{ResponseBody, Tunnel},
    client_tap::ClientTap,
    clock::Moment,
    connect::open,
    exec::OnThisCore,
    frontend::Frontend,
    handle::handle,
    head::RequestHead,
    http1::{self, Refused, Served, Service},
    http2_tap::Http2Tap,
    limits::CONNECTION_WINDOW,
    link::Link,
    patience::Patience,
    reject::Reject,
    respond::{Answer, named},
    sniff::{self, LOOK_AHEAD, Protocol},
    socket::Socket,
    tapped_io::TappedIo,
    tls::{ALPN_HTTP2, Offer, Termination, UpstreamTls},
    tunnel,
    unread::Unread,
    whole::Whole,
    worker::Worker,
};

/// For how long a client that still sends is listened to behind our last answer.
const LINGER: Duration = Duration::from_secs(2);

/// What requests of one connection have in common.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The Service port that it came to.
    pub(crate) front: Arc<Frontend>,
    /// The client's address.
    pub(crate) address: IpAddr,
    /// Whether its TLS ended here.
    pub(crate) secure: Cell<bool>,
    /// It and its requests are never faulted.
    pub(crate) exempt: bool,
    /// When something last happened on the connection.
    pub(crate) connection: Arc<Activity>,
    /// Responses that the client does not take.
    pub(crate) unread: Unread,
    /// How long its requests wait for answers, over HTTP/1.
    pub(crate) patience: Patience,
    /// The client's address as an entry of `X-Forwarded-For`.
    pub(crate) forwarded_for: HeaderValue,
    /// The client's address as an element of `Forwarded` (RFC 7239).
    pub(crate) forwarded: HeaderValue,
}

impl Caller {
    /// The timer for its requests, where they come one after the other.
    pub(crate) fn patience(&self) -> Option<&Patience> {
        (!self.connection.is_multiplexed()).then_some(&self.patience)
    }
}

/// What a connection can be: a socket, or what is spoken inside TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Stream for S {}

/// Serves a connection until it is closed.
pub(crate) async fn serve(worker: Rc<Worker>, caller: Rc<Caller>, stream: TcpStream) {
    let _count_panic = CountPanic(&worker);
    if at_connect::meet(&worker, &caller, &stream).await.is_break() {
        return;
    }
    let mut stream = Socket::new(stream, &worker.outbox);
    let mut first = Vec::new();
    let protocol = recognise(&worker, &mut stream, &mut first).await;
    match (protocol, &caller.front.tls) {
        (Some(Protocol::Tls), Some(termination)) => {
            Box::pin(serve_tls(&worker, Rc::clone(&caller), termination, first, stream)).await;
        }
        _ => speak(&worker, caller, protocol, first, stream).await,
    }
}

/// Ends the client's TLS session here, and serves what is spoken inside.
async fn serve_tls(worker: &Rc<Worker>, caller: Rc<Caller>, termination: &Termination, first: Vec<u8>, stream: Socket) {
    let Some(mut stream) = handshake(worker, termination, first, stream).await else { return };
    caller.secure.set(true);
    let mut first = Vec::new();
    let protocol = if stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2) {
        Some(Protocol::Http2)
    } else {
        recognise(worker, &mut stream, &mut first).await
    };
    speak(worker, caller, protocol, first, stream).await;
}

/// Serves what has been recognised. Each protocol has its room where it is spoken: together they would be in every connection.
async fn speak(
    worker: &Rc<Worker>,
    caller: Rc<Caller>,
    protocol: Option<Protocol>,
    first: Vec<u8>,
    stream: impl Stream,
) {
    match protocol {
        None => {
            if !first.is_empty() {
                worker.metrics.rejected(Reject::HeadTimeout);
            }
        }
        Some(Protocol::Http1) => Box::pin(serve_http1(worker, caller, first, stream)).await,
        Some(Protocol::Http2) => Box::pin(serve_http2(worker, caller, first, stream)).await,
        Some(protocol) => Box::pin(pass_through(worker, &caller, protocol, &first, stream)).await,
    }
}

/// Reads until the protocol is known; `None` when the client closes before, or takes too long.
async fn recognise(worker: &Worker, stream: &mut (impl AsyncRead + Unpin), first: &mut Vec<u8>) -> Option<Protocol> {
    let told = timeout(worker.shared.limits.first_byte, read_first(stream, first)).await;
    told.unwrap_or_else(|_| sniff::give_up(first))
}

async fn read_first(stream: &mut (impl AsyncRead + Unpin), first: &mut Vec<u8>) -> Option<Protocol> {
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

/// Ends the client's TLS session here.
async fn handshake(
    worker: &Worker,
    termination: &Termination,
    first: Vec<u8>,
    stream: Socket,
) -> Option<TlsStream<TappedIo<Socket, ()>>> {
    let acceptor = TlsAcceptor::from(Arc::clone(&termination.config));
    let session = acceptor.accept(TappedIo::new(first, stream, ()));
    match timeout(worker.shared.limits.handshake, session).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "no TLS session with a client"),
        Err(_) => tracing::debug!("a client's TLS handshake took too long"),
    }
    worker.metrics.rejected(Reject::Handshake);
    None
}

/// Serves HTTP/1 requests, one after the other.
async fn serve_http1(worker: &Rc<Worker>, caller: Rc<Caller>, first: Vec<u8>, stream: impl Stream) {
    let limits = &worker.shared.limits;
    let tap = ClientTap::new(Arc::clone(&caller.connection), worker.coarse_clock());
    let bounds = http1::Bounds { head_bytes: limits.head_bytes, fields: limits.request_headers };
    let requests = Requests { worker, caller: &caller };
    // A drain needs no word here: every answer then says `Connection: close`, and the sweep ends what is idle.
    match http1::serve(TappedIo::new(first, stream, tap), bounds, &requests).await {
        Served::Closed(stream) => linger(stream).await,
        Served::Malformed(stream) => {
            if !caller.connection.is_rejected() {
                worker.metrics.rejected(Reject::Syntax);
            }
            linger(stream).await;
        }
        Served::Switched(stream, come, ResponseBody::Switched(tunnel)) => {
            let Tunnel { upstream, mut exchange } = *tunnel;
            let client = TappedIo::new(come.to_vec(), stream, ());
            tunnel::splice(client, upstream, limits.tunnel_idle).await;
            exchange.complete();
        }
        Served::Switched(..) => tracing::error!("an answer agreed to a switch of protocols that nobody made"),
    }
}

/// Reads away what a client still sends, so that it can read our answer: a close with bytes unread is a reset, and takes back what
/// the client has not read yet (RFC 9112 §9.6).
async fn linger(stream: Option<impl Stream>) {
    if let Some(mut stream) = stream {
        // Boxed: few connections ever come here.
        let rest = Box::pin(timeout(LINGER, async move { copy(&mut stream, &mut sink()).await }));
        let _time_is_up = rest.await;
    }
}

/// What answers the requests of a connection of HTTP/1.
struct Requests<'c> {
    worker: &'c Rc<Worker>,
    caller: &'c Rc<Caller>,
}

impl Service for Requests<'_> {
    type Body = ResponseBody;

    async fn answer(&self, head: &mut RequestHead, body: http1::Incoming) -> Answer {
        handle(self.worker, self.caller, head, Whole::Http1(body)).await
    }

    fn refuse(&self, refused: Refused) -> Answer {
        let reject = match refused {
            Refused::Malformed => Reject::Syntax,
            Refused::TooLarge => Reject::TooManyHeaders,
        };
        self.worker.metrics.rejected(reject);
        let (head, text) = named(reject.verdict());
        (head, ResponseBody::Own(Some(text)))
    }
}

/// Serves HTTP/2 requests, many at a time.
async fn serve_http2(worker: &Rc<Worker>, caller: Rc<Caller>, first: Vec<u8>, stream: impl Stream) {
    let limits = &worker.shared.limits;
    let activity = Arc::clone(&caller.connection);
    activity.multiplex();
    let tap = Http2Tap::new(limits, Arc::clone(&activity), worker.coarse_clock(), worker.metrics.share());
    let io = TappedIo::new(first, stream, tap);
    let service = {
        let worker = Rc::clone(worker);
        let caller = Rc::clone(&caller);
        service_fn(move |request: Request<Incoming>| {
            let (worker, caller) = (Rc::clone(&worker), Rc::clone(&caller));
            async move {
                let (parts, body) = request.into_parts();
                let (head, body) = handle(&worker, &caller, &mut parts.into(), Whole::Http2(body)).await;
                Ok::<_, Infallible>(head.into_http(body))
            }
        })
    };
    let connection = hyper::server::conn::http2::Builder::new(OnThisCore(Rc::clone(worker)))
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(limits.stream_window as usize)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    if worker.is_draining() {
        connection.as_mut().graceful_shutdown();
    }
    let mut told = false;
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = activity.farewell() => {
            if activity.is_flooding() {
                // Now: the sweep may end this task before the connection does.
                worker.metrics.rejected(Reject::Flood);
                told = true;
            }
            // GOAWAY: nothing new is taken, and what is under way is finished. The sweep ends who takes too long.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        let reject = if activity.is_flooding() { Some(Reject::Flood) } else { misconduct(&error) };
        if let Some(reject) = reject.filter(|_| !told) {
            worker.metrics.rejected(reject);
        }
        tracing::debug!(client = %caller.address, service = %caller.front.port, %error, "client connection ended");
    }
}

/// What a client did that made us end its HTTP/2 connection.
fn misconduct(error: &hyper::Error) -> Option<Reject> {
    let http2 = error.source()?.downcast_ref::<h2::Error>()?;
    if !http2.is_go_away() || !http2.is_library() {
        return None;
    }
    Some(if http2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) { Reject::Flood } else { Reject::Syntax })
}

/// Passes a connection that is not HTTP through to an endpoint.
async fn pass_through(worker: &Rc<Worker>, caller: &Caller, protocol: Protocol, first: &[u8], stream: impl Stream) {
    worker.metrics.passed_through(caller.front.index, protocol);
    caller.connection.switch();
    let idle = worker.shared.limits.tunnel_idle;
    // TLS that does not end here is the client's own.
    let is_the_clients = protocol == Protocol::Tls && caller.front.tls.is_none();
    let tls = if is_the_clients { None } else { caller.front.transport.tls.as_deref() };
    if let Some(mut upstream) = connect_any(worker, caller, tls).await
        && upstream.write_all(first).await.is_ok()
    {
        tunnel::splice(stream, upstream, idle).await;
    }
}

/// Connects to an endpoint of the route, in turn.
async fn connect_any(worker: &Worker, caller: &Caller, tls: Option<&UpstreamTls>) -> Option<Link> {
    let random = worker.random();
    let mut tried = Vec::new();
    while tried.len() < worker.shared.limits.connect_attempts {
        let route = worker.route_now(caller)?;
        let address = worker.balancer.pick(&route, random, &tried, Moment::now(), |_| false)?.address;
        if let Ok(link) = open(worker, tls, address, Offer::Nothing).await {
            return Some(link);
        }
        tried.push(address);
    }
    None
}

/// Counts a panic in a connection's task; the runtime keeps it from spreading.
pub(crate) struct CountPanic<'w>(pub(crate) &'w Worker);

impl Drop for CountPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.panicked();
        }
    }
}
