//! One core's idle HTTP/1 connections to upstreams, the most recently used first; and a connection in use, of either version.

use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, rc::Rc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use rustc_hash::FxHashMap;
use tokio::task::AbortHandle;

use super::{
    answered::Answered, body::RequestBody, clock::Moment, limits::Limits, multiplex::Stream, transport::Wire,
    upload::Upload,
};

/// The handle of a connection to an upstream.
pub(crate) type Sender = SendRequest<RequestBody>;

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
    idle: RefCell<FxHashMap<PoolKey, VecDeque<Idle>>>,
    per_endpoint: usize,
    max_idle: Duration,
    stalled: Duration,
}

/// A connection that was given back.
#[derive(Debug)]
struct Idle {
    parts: Parts,
    since: Moment,
    /// The body that it may still be sending, where the answer was complete before it.
    upload: Option<Upload>,
}

/// A connection of HTTP/1.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) sender: Sender,
    pub(crate) answered: Answered,
    pub(crate) driver: Driver,
}

/// The task that drives a connection; aborted when it is dropped. By itself it would stay for as long as the upstream does not
/// take what has been written, even when nobody waits for an answer any more.
#[derive(Debug)]
pub(crate) struct Driver(Option<AbortHandle>);

impl Driver {
    /// Of the task with this handle.
    pub(crate) fn new(task: AbortHandle) -> Self {
        Self(Some(task))
    }

    /// Lets it end by itself.
    fn let_go(&mut self) {
        self.0 = None;
    }

    fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(AbortHandle::is_finished)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Idle {
    /// Whether it is worth keeping.
    fn may_stay(&mut self, now: Moment, max_idle: Duration, stalled: Duration) -> bool {
        if self.parts.driver.is_finished() {
            return false;
        }
        if self.parts.sender.is_ready() {
            let stays = now.since(self.since) < max_idle;
            if !stays {
                // It has nothing left to send, so that it closes in order.
                self.parts.driver.let_go();
            }
            return stays;
        }
        match &self.upload {
            Some(upload) => now.since(upload.last_moved()) < stalled,
            None => now.since(self.since) < max_idle,
        }
    }
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Connection,
    /// Whether it has carried a request before: then it may have been closed by the upstream without our knowing.
    pub(crate) reused: bool,
    /// The body of the request that it carries.
    pub(crate) upload: Option<Upload>,
}

#[derive(Debug)]
enum Connection {
    /// Dropped, it is closed; given back, it waits for the next request.
    Http1 { parts: Parts, key: PoolKey, pool: Rc<Pool> },
    /// Shared with other requests.
    Http2(Stream),
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(limits: &Limits) -> Rc<Self> {
        let Limits { idle_per_endpoint, idle_upstream, stalled, .. } = *limits;
        Rc::new(Self { idle: RefCell::default(), per_endpoint: idle_per_endpoint, max_idle: idle_upstream, stalled })
    }

    /// An idle connection to this endpoint that can take a request now.
    pub(crate) fn take(self: &Rc<Self>, key: PoolKey) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&key)?;
        // From the back: the one used last is the least likely to have been closed.
        let position = waiting.iter().rposition(|idle| idle.parts.sender.is_ready())?;
        let Idle { parts, .. } = waiting.remove(position)?;
        // One that has never been used may be waiting here, too.
        let reused = parts.answered.has_begun();
        parts.answered.reset();
        let connection = Connection::Http1 { parts, key, pool: Rc::clone(self) };
        Some(Lease { connection, reused, upload: None })
    }

    /// A lease for a connection that was just made.
    pub(crate) fn adopt(self: &Rc<Self>, key: PoolKey, parts: Parts) -> Lease {
        let connection = Connection::Http1 { parts, key, pool: Rc::clone(self) };
        Lease { connection, reused: false, upload: None }
    }

    /// Closes what has been idle for too long, or has been closed by the other side.
    pub(crate) fn sweep(&self, now: Moment) {
        let mut idle = self.idle.borrow_mut();
        for waiting in idle.values_mut() {
            waiting.retain_mut(|idle| idle.may_stay(now, self.max_idle, self.stalled));
        }
        idle.retain(|_, waiting| !waiting.is_empty());
    }

    /// Closes everything.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}

impl Lease {
    /// A lease for a place on a shared connection.
    pub(crate) fn of_stream(stream: Stream) -> Self {
        Self { reused: stream.reused, connection: Connection::Http2(stream), upload: None }
    }

    /// What goes over it.
    pub(crate) fn wire(&self) -> Wire {
        match self.connection {
            Connection::Http1 { .. } => Wire::Http1,
            Connection::Http2(_) => Wire::Http2,
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match &mut self.connection {
            Connection::Http1 { parts, .. } => parts.sender.try_send_request(request).await,
            Connection::Http2(stream) => stream.sender.try_send_request(request).await,
        }
    }

    /// Whether a byte of an answer has come. Over HTTP/2 a failed request never had one: its head would have been the answer.
    pub(crate) fn answer_has_begun(&self) -> bool {
        match &self.connection {
            Connection::Http1 { parts, .. } => parts.answered.has_begun(),
            Connection::Http2(_) => false,
        }
    }

    /// Sees to it that no other request gets this connection.
    pub(crate) fn retire(&self) {
        if let Connection::Http2(stream) = &self.connection {
            stream.retire();
        }
    }

    /// A switch of protocols was agreed on: the connection is no longer one of HTTP, and its task ends by itself.
    pub(crate) fn switched(self) {
        if let Connection::Http1 { mut parts, .. } = self.connection {
            parts.driver.let_go();
        }
    }

    /// Puts the connection back, unless it is closed or enough are waiting.
    pub(crate) fn give_back(self) {
        let Connection::Http1 { parts, key, pool } = self.connection else { return };
        if parts.driver.is_finished() {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        let waiting = idle.entry(key).or_default();
        if waiting.len() < pool.per_endpoint {
            waiting.push_back(Idle { parts, since: Moment::now(), upload: self.upload });
        }
    }
}
