//! One core's idle HTTP/1 connections to upstreams, the most recently used first.

use std::{
    cell::{Ref, RefCell, RefMut},
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::task::AbortHandle;

use super::{body::RequestBody, clock::Moment, http1, lease::Lease, limits::Limits, link::Link, upload::Upload};

/// For about this long what a connection needs is still in the processor's caches, on a core that is busy meanwhile: two steps of
/// [the clock](super::worker::Worker::coarse_now) behind it.
const WARM: Duration = Duration::from_millis(25);

/// Connections with the same key can stand in for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// The endpoint.
    pub(crate) address: SocketAddr,
    /// [`Transport::id`](super::transport::Transport::id).
    pub(crate) transport: usize,
}

/// The idle connections of one core.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<FxHashMap<PoolKey, Waiting>>,
    per_endpoint: usize,
    max_idle: Duration,
    stalled: Duration,
    bounds: http1::Bounds,
}

/// The idle connections to one endpoint.
///
/// The one used last is beside the key: of many endpoints most have one, and what is to be looked at in memory that was not
/// touched for long is most of what the pool costs.
#[derive(Debug, Default)]
struct Waiting {
    last: Option<Idle>,
    /// Those before it, the oldest first.
    others: Vec<Idle>,
}

/// A connection that was given back.
#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Moment,
    /// The body that it may still be sending, where the answer was complete before it.
    upload: Option<Upload>,
}

/// A connection of HTTP/1.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Rc<Shared>,
    sender: Sender,
}

/// What of it the task has that goes on sending.
#[derive(Debug)]
struct Shared {
    key: PoolKey,
    connection: RefCell<http1::Connection<Link, RequestBody>>,
}

/// The task that goes on sending a request whose answer came before its end; aborted when it is dropped.
#[derive(Debug, Default)]
struct Sender(Option<AbortHandle>);

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Connection {
    /// The connection, to look at.
    pub(crate) fn get(&self) -> Ref<'_, http1::Connection<Link, RequestBody>> {
        self.shared.connection.borrow()
    }

    /// The connection, to read from it, or to write to it.
    pub(crate) fn get_mut(&self) -> RefMut<'_, http1::Connection<Link, RequestBody>> {
        self.shared.connection.borrow_mut()
    }

    /// The answer has come. What is left of the request goes on in a task of its own: a client that sends all of it before it
    /// reads must not wait for itself.
    pub(crate) fn go_on_sending(&mut self) {
        if self.get().is_sending() {
            let shared = Rc::clone(&self.shared);
            let task = tokio::task::spawn_local(poll_fn(move |cx| shared.connection.borrow_mut().poll_send(cx)));
            self.sender = Sender(Some(task.abort_handle()));
        }
    }

    /// The stream, and what has come behind the head of the answer; `None` while something is being sent.
    pub(crate) fn into_stream(self) -> Option<(Link, Vec<u8>)> {
        let (link, come) = Rc::into_inner(self.shared)?.connection.into_inner().into_parts();
        Some((link, come.to_vec()))
    }

    /// Whether it can take a request now, as far as is known.
    fn is_ready(&self) -> bool {
        let connection = self.get();
        connection.may_go_on() && !connection.is_sending()
    }

    /// Whether it was not closed meanwhile, and nothing came that nobody had asked for.
    fn is_quiet(&self) -> bool {
        self.get_mut().stream().is_quiet()
    }

    /// Closes it in order.
    fn close(self) {
        if !self.get().is_sending() {
            self.get_mut().stream().say_goodbye();
        }
    }
}

impl Idle {
    /// Whether it is worth keeping.
    fn may_stay(&self, now: Moment, max_idle: Duration, stalled: Duration) -> bool {
        if !self.connection.get().may_go_on() {
            return false;
        }
        match &self.upload {
            Some(upload) if self.connection.get().is_sending() => now.since(upload.last_moved()) < stalled,
            _ => now.since(self.since) < max_idle && self.connection.is_quiet(),
        }
    }
}

impl Waiting {
    fn len(&self) -> usize {
        usize::from(self.last.is_some()) + self.others.len()
    }

    fn add(&mut self, idle: Idle) {
        self.others.extend(self.last.replace(idle));
    }

    /// The one used last of those that can take a request now: it is the least likely to have been closed.
    fn take(&mut self) -> Option<Idle> {
        let ready = |idle: &Idle| idle.connection.is_ready();
        self.last.take_if(|idle| ready(idle)).or_else(|| Some(self.others.remove(self.others.iter().rposition(ready)?)))
    }

    /// Those that are not worth keeping.
    fn remove(&mut self, mut may_stay: impl FnMut(&Idle) -> bool) -> Vec<Idle> {
        let last = self.last.take_if(|idle| !may_stay(idle));
        last.into_iter().chain(self.others.extract_if(.., |idle| !may_stay(idle))).collect()
    }
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(limits: &Limits) -> Self {
        let Limits { idle_per_endpoint, idle_upstream, stalled, .. } = *limits;
        Self {
            idle: RefCell::default(),
            per_endpoint: idle_per_endpoint,
            max_idle: idle_upstream,
            stalled,
            bounds: http1::Bounds { head_bytes: limits.head_bytes, fields: limits.response_headers },
        }
    }

    /// An idle connection to this endpoint that can take a request now.
    pub(crate) fn take(&self, key: PoolKey) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&key)?;
        loop {
            let Idle { connection, .. } = waiting.take()?;
            if connection.is_quiet() {
                return Some(Lease::of_connection(connection));
            }
        }
    }

    /// Whether a connection to this endpoint waits that was used a moment ago.
    pub(crate) fn is_warm(&self, key: PoolKey, now: Moment) -> bool {
        let idle = self.idle.borrow();
        let last = idle.get(&key).and_then(|waiting| waiting.last.as_ref());
        last.is_some_and(|idle| now.since(idle.since) < WARM)
    }

    /// A lease for a connection that was just made.
    pub(crate) fn adopt(&self, key: PoolKey, link: Link) -> Lease {
        let connection = RefCell::new(http1::Connection::new(link, self.bounds));
        let shared = Rc::new(Shared { key, connection });
        Lease::of_connection(Connection { shared, sender: Sender::default() })
    }

    /// Takes a connection back at `now`, unless it is over or enough are waiting.
    pub(crate) fn give_back(&self, connection: Connection, upload: Option<Upload>, now: Moment) {
        if !connection.get().may_go_on() {
            return connection.close();
        }
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.entry(connection.shared.key).or_default();
        if waiting.len() < self.per_endpoint {
            waiting.add(Idle { connection, since: now, upload });
        } else {
            connection.close();
        }
    }

    /// Closes what has been idle for too long, or has been closed by the other side.
    pub(crate) fn sweep(&self, now: Moment) {
        let mut idle = self.idle.borrow_mut();
        for waiting in idle.values_mut() {
            let gone = waiting.remove(|idle| idle.may_stay(now, self.max_idle, self.stalled));
            gone.into_iter().for_each(|idle| idle.connection.close());
        }
        idle.retain(|_, waiting| waiting.len() > 0);
    }

    /// Closes everything.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}
