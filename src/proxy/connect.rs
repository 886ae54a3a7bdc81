//! A connection to an endpoint: one that is idle, a place on a shared one, or a new one, inside TLS or not.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    clock::Moment,
    error::UpstreamFailure,
    exec::OnThisCore,
    greeting::{Greeted, Greeting, GreetingTap},
    lease::Lease,
    limits::CONNECTION_WINDOW,
    link::Link,
    multiplex::{self, Dialing, Turn},
    pool::PoolKey,
    socket::Socket,
    tapped_io::TappedIo,
    tls::{ALPN_HTTP2, Offer, UpstreamTls},
    transport::{Transport, Wire},
    worker::Worker,
};

/// A connection over which a request can be sent.
pub(crate) async fn lease(
    worker: &Rc<Worker>,
    transport: &Transport,
    address: SocketAddr,
    wire: Wire,
    pooled: bool,
) -> Result<Lease, UpstreamFailure> {
    let key = PoolKey { address, transport: transport.id };
    if wire == Wire::Http2
        && let Some(lease) = shared(worker, transport, key).await?
    {
        return Ok(lease);
    }
    if pooled && let Some(lease) = worker.pool.take(key) {
        return Ok(lease);
    }
    // Few requests need one: the others do not carry the room for it.
    let link = Box::pin(open(worker, transport.tls.as_deref(), address, Offer::Http1)).await?;
    Ok(worker.pool.adopt(key, link))
}

/// Connections that one request sees end before it is sent.
const DEAD_ENDS: usize = 1;

/// A place on a connection that speaks HTTP/2; `None` when the endpoint turns out to speak HTTP/1 only.
async fn shared(worker: &Rc<Worker>, transport: &Transport, key: PoolKey) -> Result<Option<Lease>, UpstreamFailure> {
    let mut dead_ends = 0;
    loop {
        let dialed = match worker.multiplexer.turn(key) {
            Turn::Stream(stream) => return Ok(Some(Lease::of_stream(stream))),
            Turn::Http1 => return Ok(None),
            Turn::Wait(dialed) => dialed,
            Turn::Dial(dialing, dialed) => {
                // In a task of its own: the request that needs it first may be given up by its client, and others wait too.
                tokio::task::spawn_local(make_shared(Rc::clone(worker), transport.clone(), key, dialing));
                dialed
            }
        };
        let limits = &worker.shared.limits;
        // Whoever waits shares the failure too: one after the other they would wait for a dead endpoint in a queue.
        let most = limits.connect + limits.handshake * 2;
        timeout(most, dialed.ended()).await.unwrap_or(Err(UpstreamFailure::Connect))?;
        // A connection may be full already, but one that is over at once will be so again.
        dead_ends += usize::from(!worker.multiplexer.is_live(key));
        if dead_ends > DEAD_ENDS {
            return Err(UpstreamFailure::Reset);
        }
    }
}

/// Makes a connection that many requests share.
async fn make_shared(worker: Rc<Worker>, transport: Transport, key: PoolKey, dialing: Dialing) {
    let offer = if transport.falls_back() { Offer::Either } else { Offer::Http2 };
    let made = match open(&worker, transport.tls.as_deref(), key.address, offer).await {
        Ok(Link::Tls(stream)) if stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) => {
            if offer == Offer::Http2 {
                return dialing.failed(UpstreamFailure::Tls);
            }
            worker.pool.adopt(key, Link::Tls(stream)).give_back(&worker.pool, Moment::now());
            return dialing.http1_only();
        }
        Ok(link) => http2(&worker, link).await,
        Err(failure) => Err(failure),
    };
    match made {
        Ok(handle) => dialing.done(handle),
        Err(failure) => dialing.failed(failure),
    }
}

/// Connects, and begins a TLS session where the upstream wants one.
pub(crate) async fn open(
    worker: &Worker,
    tls: Option<&UpstreamTls>,
    address: SocketAddr,
    offer: Offer,
) -> Result<Link, UpstreamFailure> {
    let stream = dial(worker, address).await.ok_or(UpstreamFailure::Connect)?;
    let stream = Socket::new(stream, &worker.outbox);
    let Some(tls) = tls else { return Ok(Link::Plain(stream)) };
    let connector = TlsConnector::from(tls.config(offer));
    let session = timeout(worker.shared.limits.handshake, connector.connect(tls.server_name.clone(), stream)).await;
    match session {
        Ok(Ok(session)) => Ok(Link::Tls(Box::new(session))),
        Ok(Err(error)) => {
            tracing::warn!(%address, %error, "no TLS session with the upstream");
            Err(UpstreamFailure::Tls)
        }
        Err(_) => Err(UpstreamFailure::Tls),
    }
}

/// Connects within the limit, and lets the balancer learn from the result.
async fn dial(worker: &Worker, address: SocketAddr) -> Option<TcpStream> {
    let stream = timeout(worker.shared.limits.connect, TcpStream::connect(address)).await;
    let stream = stream.ok().and_then(Result::ok).filter(|stream| set_up(worker, stream).is_ok());
    match &stream {
        Some(_) => worker.balancer.succeeded(address),
        None => worker.balancer.failed(address, Moment::now()),
    }
    stream
}

const SECOND: Duration = Duration::from_secs(1);

/// Sees to it that small writes leave at once, and that a host that has gone is noticed: by the kernel, since servers of gRPC
/// close connections on which they get PINGs that they did not ask for.
fn set_up(worker: &Worker, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // The kernel counts in whole seconds.
    let every = worker.shared.limits.keep_alive.max(4 * SECOND);
    let probes = TcpKeepalive::new().with_time(every).with_interval(every / 4).with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

async fn http2(worker: &Rc<Worker>, link: Link) -> Result<multiplex::Handle, UpstreamFailure> {
    let limits = &worker.shared.limits;
    let greeted = Arc::<Greeted>::default();
    let head_bytes = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    let made = hyper::client::conn::http2::Builder::new(OnThisCore(Rc::clone(worker)))
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(head_bytes)
        .max_send_buf_size(limits.stream_window as usize)
        .handshake(TokioIo::new(TappedIo::new(Vec::new(), link, GreetingTap::new(Arc::clone(&greeted)))));
    let made = timeout(limits.handshake, made).await.map_err(|_| UpstreamFailure::Connect)?;
    let (sender, connection) = made.map_err(|_| UpstreamFailure::Reset)?;
    let most = Rc::new(Cell::new(connection.current_max_send_streams()));
    let told = Rc::clone(&most);
    let mut driver = tokio::task::spawn_local(async move {
        let mut connection = pin!(connection);
        let driven = poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            told.set(connection.current_max_send_streams());
            polled
        });
        if let Err(error) = driven.await {
            tracing::trace!(%error, "upstream connection ended");
        }
    });
    // One that does not speak HTTP/2, or is stuck, gets no requests.
    tokio::select! {
        greeting = greeted.said() => match greeting {
            Greeting::NotHttp2 => return Err(UpstreamFailure::Garbage),
            Greeting::Settings(Some(streams)) => most.set(usize::try_from(streams).unwrap_or(usize::MAX)),
            Greeting::Settings(None) => {}
        },
        _ = &mut driver => return Err(UpstreamFailure::Garbage),
        () = sleep(limits.handshake) => return Err(UpstreamFailure::Connect),
    }
    Ok(multiplex::Handle { sender, most })
}
