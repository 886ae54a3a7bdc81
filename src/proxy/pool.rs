//! One core's idle connections to upstreams, the most recently used first.

use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, rc::Rc, time::Duration};

use hyper::client::conn::http1::SendRequest;
use rustc_hash::FxHashMap;

use super::{answered::Answered, body::RequestBody, clock::Moment};

/// The handle of a connection to an upstream.
pub(crate) type Sender = SendRequest<RequestBody>;

/// The idle connections of one core.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<FxHashMap<SocketAddr, VecDeque<Idle>>>,
    per_endpoint: usize,
    max_idle: Duration,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    answered: Answered,
    since: Moment,
}

/// A connection in use. Dropped, it is closed; given back, it waits for the next request.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) sender: Sender,
    /// Whether it has carried a request before: then it may have been closed by the upstream without our knowing.
    pub(crate) reused: bool,
    /// Whether a byte of an answer has come.
    pub(crate) answered: Answered,
    address: SocketAddr,
    pool: Rc<Pool>,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(per_endpoint: usize, max_idle: Duration) -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default(), per_endpoint, max_idle })
    }

    /// An idle connection to this endpoint that can take a request now.
    pub(crate) fn take(self: &Rc<Self>, address: SocketAddr) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&address)?;
        // From the back: the one used last is the least likely to have been closed.
        let position = waiting.iter().rposition(|idle| idle.sender.is_ready())?;
        let Idle { sender, answered, .. } = waiting.remove(position)?;
        answered.reset();
        Some(Lease { sender, reused: true, answered, address, pool: Rc::clone(self) })
    }

    /// A lease for a connection that was just made.
    pub(crate) fn adopt(self: &Rc<Self>, address: SocketAddr, sender: Sender, answered: Answered) -> Lease {
        Lease { sender, reused: false, answered, address, pool: Rc::clone(self) }
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
    /// Puts the connection back, unless it is closed or enough are waiting.
    pub(crate) fn give_back(self) {
        let Self { sender, answered, address, pool, .. } = self;
        if sender.is_closed() {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        let waiting = idle.entry(address).or_default();
        if waiting.len() < pool.per_endpoint {
            waiting.push_back(Idle { sender, answered, since: Moment::now() });
        }
    }
}
