//! Takes connections: each gets a place at the gate, a meter and a deadline, until its peer is authenticated.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    super::{PING, PONG},
    Bounds, Hub,
    auth::Authenticator,
    call::{Call, Progress},
    gate::{Gate, Ticket},
    meter::{Meter, Metered},
};

/// The wait after the system had no resources for a connection.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Bytes of all header fields of the one request at the most, the token among them.
const HEADERS: u32 = 32 << 10;

/// What all connections have in common.
pub(super) struct Shared<A> {
    tls: TlsAcceptor,
    pub(super) authenticator: A,
    pub(super) hub: Hub,
    pub(super) bounds: Bounds,
    pub(super) places: Arc<Semaphore>,
    gate: Arc<Gate>,
}

impl<A> Shared<A> {
    pub(super) fn new(tls: ServerConfig, authenticator: A, hub: Hub, bounds: Bounds) -> Self {
        Self {
            tls: TlsAcceptor::from(Arc::new(tls)),
            authenticator,
            hub,
            bounds,
            places: Arc::new(Semaphore::new(bounds.proxies)),
            gate: Arc::new(Gate::new(bounds.waiting, bounds.waiting_per_address)),
        }
    }
}

/// Takes connections until it is aborted; then they all end.
pub(super) async fn run<A: Authenticator>(listener: TcpListener, shared: Arc<Shared<A>>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                while connections.try_join_next().is_some() {}
                let cut = CancellationToken::new();
                match shared.gate.enter(peer.ip(), cut.clone()) {
                    Some(ticket) => drop(connections.spawn(serve(socket, peer, Arc::clone(&shared), ticket, cut))),
                    None => tracing::debug!(%peer, "too many connections of one address wait for authentication"),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a proxy's connection");
                sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Serves one connection until either side ends it.
async fn serve<A: Authenticator>(
    socket: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared<A>>,
    ticket: Ticket,
    cut: CancellationToken,
) {
    let progress = Arc::new(Progress::new(ticket, Meter::new(shared.bounds.bytes), cut.clone()));
    let too_late = async {
        sleep(shared.bounds.time).await;
        // Once authenticated there is no hurry any more.
        progress.unless_authenticated().await;
    };
    let ended = tokio::select! {
        ended = talk(socket, peer, Arc::clone(&shared), Arc::clone(&progress)) => ended,
        () = too_late => Err(io::Error::other("not authenticated in time")),
        () = cut.cancelled() => Ok(()),
    };
    // What the call has started ends with its connection.
    cut.cancel();
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a proxy's connection ended");
    }
}

async fn talk<A: Authenticator>(
    socket: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared<A>>,
    progress: Arc<Progress>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let tls = shared.tls.accept(Metered::new(socket, Arc::clone(&progress.meter))).await?;
    let call = Arc::new(Call::new(shared, progress, peer.ip()));
    let service = service_fn(move |request| {
        let call = Arc::clone(&call);
        async move { Ok::<_, Infallible>(call.answer(request).await) }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(1)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(tls), service)
        .await
        .map_err(io::Error::other)
}
