//! One core's idle HTTP/1 connections to upstreams, the most recently used first; and a connection in use, of either version.

use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, rc::Rc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use rustc_hash::FxHashMap;

use super::{answered::Answered, body::RequestBody, clock::Moment, multiplex::Stream, transport::Wire};

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
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    answered: Answered,
    since: Moment,
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Connection,
    /// Whether it has carried a request before: then it may have been closed by the upstream without our knowing.
    pub(crate) reused: bool,
}

#[derive(Debug)]
enum Connection {
    /// Dropped, it is closed; given back, it waits for the next request.
    Http1 { sender: Sender, answered: Answered, key: PoolKey, pool: Rc<Pool> },
    /// Shared with other requests.
    Http2(Stream),
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(per_endpoint: usize, max_idle: Duration) -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default(), per_endpoint, max_idle })
    }

    /// An idle connection to this endpoint that can take a request now.
    pub(crate) fn take(self: &Rc<Self>, key: PoolKey) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&key)?;
        // From the back: the one used last is the least likely to have been closed.
        let position = waiting.iter().rposition(|idle| idle.sender.is_ready())?;
        let Idle { sender, answered, .. } = waiting.remove(position)?;
        answered.reset();
        let connection = Connection::Http1 { sender, answered, key, pool: Rc::clone(self) };
        Some(Lease { connection, reused: true })
    }

    /// A lease for a connection that was just made.
    pub(crate) fn adopt(self: &Rc<Self>, key: PoolKey, sender: Sender, answered: Answered) -> Lease {
        let connection = Connection::Http1 { sender, answered, key, pool: Rc::clone(self) };
        Lease { connection, reused: false }
    }

    /// Closes what has been idle for too long, or has been closed by the other side.
    pub(crate) fn sweep(&self, now: Moment) {
        let mut idle = self.idle.borrow_mut();
        for waiting in idle.values_mut() {
            waiting.retain(|idle| !idle.sender.is_closed() && now.since(idle.since) < self.max_idle);
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
    pub(crate) fn of_stream(stream: Stream, reused: bool) -> Self {
        Self { connection: Connection::Http2(stream), reused }
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
            Connection::Http1 { sender, .. } => sender.try_send_request(request).await,
            Connection::Http2(stream) => stream.sender.try_send_request(request).await,
        }
    }

    /// Whether a byte of an answer has come. Over HTTP/2 a failed request never had one: its head would have been the answer.
    pub(crate) fn answer_has_begun(&self) -> bool {
        match &self.connection {
            Connection::Http1 { answered, .. } => answered.has_begun(),
            Connection::Http2(_) => false,
        }
    }

    /// Sees to it that no other request gets this connection.
    pub(crate) fn retire(&self) {
        if let Connection::Http2(stream) = &self.connection {
            stream.retire();
        }
    }

    /// Puts the connection back, unless it is closed or enough are waiting.
    pub(crate) fn give_back(self) {
        let Connection::Http1 { sender, answered, key, pool } = self.connection else { return };
        if sender.is_closed() {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        let waiting = idle.entry(key).or_default();
        if waiting.len() < pool.per_endpoint {
            waiting.push_back(Idle { sender, answered, since: Moment::now() });
        }
    }
}
