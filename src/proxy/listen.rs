//! Listeners: one socket for each Service port and core, so that the kernel spreads connections over the cores.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::HeaderValue;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use super::{
    activity::Activity,
    clock::Moment,
    connection::{self, Caller},
    frontend::Frontend,
    patience::Patience,
    unread::Unread,
    worker::{Phase, Worker},
};

/// Connections that the kernel holds for one socket while we are busy.
const BACKLOG: i32 = 4096;
/// The first wait after an error of accept (no file descriptors left, say); doubled up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(5);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// How long a closing listener goes on accepting what is in its queue.
const EMPTY_QUEUE: Duration = Duration::from_millis(20);

/// One core's socket of a Service port.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) front: Arc<Frontend>,
    pub(crate) socket: StdListener,
}

/// Opens one socket for each core at the same address; port 0 is chosen by the first.
pub(crate) fn bind(address: SocketAddr, cores: usize) -> io::Result<Vec<StdListener>> {
    let mut sockets = Vec::with_capacity(cores);
    let mut address = address;
    for _ in 0..cores {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = StdListener::from(socket);
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Accepts connections until the proxy closes, then what is still in the queue: closing one of several sockets of an
/// address resets the connections in its queue.
pub(crate) async fn accept(worker: Rc<Worker>, listener: Listener, mut phase: watch::Receiver<Phase>) {
    let Listener { front, socket } = listener;
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, service = %front.port, "cannot listen");
            return;
        }
    };
    let limits = &worker.shared.limits;
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut back_off = BACK_OFF;
    loop {
        // The permit comes before the connection: at the limit the kernel's queue holds new ones back.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = closing(&mut phase) => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            biased;
            () = closing(&mut phase) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                back_off = BACK_OFF;
                open(&worker, caller(&worker, &front, peer), stream, permit);
            }
            Err(error) => {
                worker.metrics.published().accept_errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, service = %front.port, "cannot accept");
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
        }
    }
    let queue = async {
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let Ok((stream, peer)) = socket.accept().await else { break };
            open(&worker, caller(&worker, &front, peer), stream, permit);
        }
    };
    // The time is the bound, not the queue: clients may reconnect as fast as they are answered.
    let _ = tokio::time::timeout(EMPTY_QUEUE, queue).await;
}

/// Returns when the proxy closes.
async fn closing(phase: &mut watch::Receiver<Phase>) {
    // An error means that the proxy's handle is gone, which closes, too.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

/// Serves a connection in a task of its own.
fn open(worker: &Rc<Worker>, caller: Rc<Caller>, stream: TcpStream, permit: tokio::sync::OwnedSemaphorePermit) {
    worker.metrics.published().connections.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "the client has already gone");
    }
    let (own, served) = (Rc::clone(worker), Rc::clone(&caller));
    let task = tokio::task::spawn_local(async move {
        connection::serve(own, served, stream).await;
        drop(permit);
    });
    worker.opened(caller, task.abort_handle());
}

/// What requests of a new connection have in common.
fn caller(worker: &Worker, front: &Arc<Frontend>, peer: SocketAddr) -> Rc<Caller> {
    // An IPv4 client of a dual-stack socket is known by its IPv4 address everywhere else.
    let address = peer.ip().to_canonical();
    let text = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
    let element = if address.is_ipv6() { format!("for=\"[{address}]\"") } else { format!("for={address}") };
    Rc::new(Caller {
        front: Arc::clone(front),
        address,
        secure: Cell::new(false),
        exempt: worker.shared.exempt.contains(&address),
        connection: Arc::new(Activity::new(Moment::now())),
        unread: Unread::default(),
        patience: Patience::default(),
        forwarded_for: text(address.to_string()),
        forwarded: text(element),
    })
}
