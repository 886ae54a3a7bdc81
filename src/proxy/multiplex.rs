//! One core's HTTP/2 connections to upstreams: each carries many requests at a time.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use hyper::client::conn::http2::SendRequest;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::{body::RequestBody, clock::Moment, error::UpstreamFailure, pool::PoolKey};

/// The handle of a connection.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) sender: SendRequest<RequestBody>,
    /// Streams that the upstream takes at a time, as it last said.
    pub(crate) most: Rc<Cell<usize>>,
}

/// The HTTP/2 connections of one core.
#[derive(Debug)]
pub(crate) struct Multiplexer {
    endpoints: RefCell<FxHashMap<PoolKey, Endpoint>>,
    /// Requests on one connection at a time, also where the upstream would take more.
    streams: usize,
    max_idle: Duration,
}

/// What is known of one endpoint.
#[derive(Debug, Default)]
struct Endpoint {
    connections: Vec<Rc<Shared>>,
    /// Somebody is making a connection.
    dialing: bool,
    dialed: Rc<Dialed>,
    /// When its TLS was found to offer HTTP/1 only.
    http1_since: Option<Moment>,
}

/// How the making of a connection ends, for those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Dialed {
    ended: Notify,
    /// How the last one ended.
    last: Cell<Option<UpstreamFailure>>,
}

impl Dialed {
    /// Returns when the one under way has ended, with its failure if it failed.
    pub(crate) async fn ended(&self) -> Result<(), UpstreamFailure> {
        self.ended.notified().await;
        self.last.get().map_or(Ok(()), Err)
    }
}

/// For how long an endpoint is taken to speak HTTP/1 only.
const HTTP1_KNOWN: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
struct Shared {
    handle: Handle,
    streams: Cell<usize>,
    /// It has carried a request.
    used: Cell<bool>,
    idle_since: Cell<Moment>,
    retired: Cell<bool>,
}

/// A place on a connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) sender: SendRequest<RequestBody>,
    /// Whether the connection had carried a request before.
    pub(crate) reused: bool,
    shared: Rc<Shared>,
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Turn {
    /// There is a place.
    Stream(Stream),
    /// There is none: make a connection. Nobody else does as long as the first is held; all wait for the second, then ask again.
    Dial(Dialing, Rc<Dialed>),
    /// There is none, and a connection is being made: wait for that, then ask again.
    Wait(Rc<Dialed>),
    /// The endpoint speaks HTTP/1 only.
    Http1,
}

/// The right to make a connection to an endpoint.
#[derive(Debug)]
pub(crate) struct Dialing {
    key: PoolKey,
    multiplexer: Rc<Multiplexer>,
    failure: Option<UpstreamFailure>,
}

impl Multiplexer {
    /// Without connections.
    pub(crate) fn new(streams: usize, max_idle: Duration) -> Rc<Self> {
        Rc::new(Self { endpoints: RefCell::default(), streams, max_idle })
    }

    /// A place on a connection to this endpoint, or what to do to get one. One connection is made at a time, so that a burst
    /// of requests shares it.
    pub(crate) fn turn(self: &Rc<Self>, key: PoolKey) -> Turn {
        let mut endpoints = self.endpoints.borrow_mut();
        let endpoint = endpoints.entry(key).or_default();
        if endpoint.http1_since.is_some() {
            return Turn::Http1;
        }
        let free = endpoint.connections.iter().find(|shared| shared.has_room(self.streams));
        if let Some(shared) = free {
            return Turn::Stream(Stream::on(shared));
        }
        if endpoint.dialing {
            return Turn::Wait(Rc::clone(&endpoint.dialed));
        }
        endpoint.dialing = true;
        // Given up without a word, it has failed.
        let failure = Some(UpstreamFailure::Connect);
        Turn::Dial(Dialing { key, multiplexer: Rc::clone(self), failure }, Rc::clone(&endpoint.dialed))
    }

    /// Whether there is a connection to this endpoint that takes requests at all, or none is needed.
    pub(crate) fn is_live(&self, key: PoolKey) -> bool {
        self.endpoints.borrow().get(&key).is_some_and(|endpoint| {
            endpoint.http1_since.is_some()
                || endpoint.connections.iter().any(|shared| !shared.is_over() && shared.handle.most.get() > 0)
        })
    }

    /// Closes what has been idle for too long, or has been closed by the other side.
    pub(crate) fn sweep(&self, now: Moment) {
        let mut endpoints = self.endpoints.borrow_mut();
        for endpoint in endpoints.values_mut() {
            endpoint.connections.retain(|shared| {
                let idle = shared.streams.get() == 0 && now.since(shared.idle_since.get()) >= self.max_idle;
                !shared.is_over() && !idle
            });
            endpoint.http1_since = endpoint.http1_since.filter(|since| now.since(*since) < HTTP1_KNOWN);
        }
        endpoints.retain(|_, endpoint| {
            endpoint.dialing || endpoint.http1_since.is_some() || !endpoint.connections.is_empty()
        });
    }

    /// Closes everything, each connection when its last request has ended.
    pub(crate) fn clear(&self) {
        self.endpoints.borrow_mut().clear();
    }
}

impl Shared {
    fn has_room(&self, most: usize) -> bool {
        // The upstream's own limit counts as soon as it has told it.
        let most = most.min(self.handle.most.get());
        !self.is_over() && self.streams.get() < most
    }

    fn is_over(&self) -> bool {
        self.retired.get() || self.handle.sender.is_closed()
    }
}

impl Stream {
    fn on(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        let reused = shared.used.replace(true);
        Self { sender: shared.handle.sender.clone(), reused, shared: Rc::clone(shared) }
    }

    /// Sees to it that the connection gets no more requests: the upstream refuses them, or it is broken.
    pub(crate) fn retire(&self) {
        self.shared.retired.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.streams.set(self.shared.streams.get().saturating_sub(1));
        self.shared.idle_since.set(Moment::now());
    }
}

impl Dialing {
    /// The connection was made: there is room for requests.
    pub(crate) fn done(mut self, handle: Handle) {
        self.failure = None;
        let shared = Rc::new(Shared {
            handle,
            streams: Cell::new(0),
            used: Cell::new(false),
            idle_since: Cell::new(Moment::now()),
            retired: Cell::new(false),
        });
        self.multiplexer.endpoints.borrow_mut().entry(self.key).or_default().connections.push(shared);
    }

    /// It could not be made.
    pub(crate) fn failed(mut self, failure: UpstreamFailure) {
        self.failure = Some(failure);
    }

    /// The endpoint turned out to speak HTTP/1 only.
    pub(crate) fn http1_only(mut self) {
        self.failure = None;
        self.multiplexer.endpoints.borrow_mut().entry(self.key).or_default().http1_since = Some(Moment::now());
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        if let Some(endpoint) = self.multiplexer.endpoints.borrow_mut().get_mut(&self.key) {
            endpoint.dialing = false;
            endpoint.dialed.last.set(self.failure);
            endpoint.dialed.ended.notify_waiters();
        }
    }
}
