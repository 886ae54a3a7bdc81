//! The least that a proxy can cost: the calls of the system that every proxy makes for a request, and next to nothing between them.
//!
//! It sends on what it reads, as it is, over connections that stay open; where it aborts, it answers whatever it reads. It takes
//! what one call reads for a whole message, which holds for the requests and answers of the cases in which it takes part. It
//! knows no HTTP, counts nothing and limits nothing. It reads from all sockets that have something before it writes.
//!
//! There is a second one which is an HTTP proxy in so far as it reads heads and writes them anew, see `least.rs`, and a third that does
//! the same on tokio, see `on_tokio.rs`.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Range,
    os::fd::AsRawFd as _,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::{AsFd, OwnedFd},
};

use crate::{case::port, least, rules, subject::Subject};

/// The first argument of the process that is a relay; the second is the key of its subject.
pub const ARGUMENT: &str = "--relay";

pub const ABORT: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
/// The most that one call reads.
pub const MESSAGE: usize = 16 * 1024;
/// What is read before it is written.
const GATHERED: usize = 1024 * 1024;
/// Events of one call.
const EVENTS: usize = 256;

/// What is at a descriptor.
enum Peer {
    Listener {
        listener: TcpListener,
        aborts: bool,
    },
    Client {
        stream: TcpStream,
        aborts: bool,
    },
    /// A connection to an endpoint, and the client whose request it carries or carried last.
    Upstream {
        stream: TcpStream,
        endpoint: usize,
        client: Option<usize>,
    },
}

/// To whom, and what of that which was gathered.
type Writes = Vec<(usize, Range<usize>)>;

struct Relay {
    epoll: OwnedFd,
    /// By the number of their descriptor.
    peers: Vec<Option<Peer>>,
    endpoints: Vec<SocketAddr>,
    /// Connections without a request, by endpoint.
    idle: Vec<Vec<usize>>,
    /// The endpoint whose turn it is.
    next: usize,
    /// Where messages are read that are written anew; `None` where they go on as they are.
    scratch: Option<Vec<u8>>,
}

/// Relays until it is killed.
pub fn run(subject: Subject) -> ! {
    let endpoints = match subject {
        Subject::Relay1000 => rules::endpoints().collect(),
        _ => vec![Subject::Direct.at(port::PLAIN)],
    };
    let mut relay = Relay {
        epoll: epoll::create(CreateFlags::CLOEXEC).unwrap(),
        peers: Vec::new(),
        idle: vec![Vec::new(); endpoints.len()],
        endpoints,
        next: 0,
        scratch: (subject == Subject::Least).then(|| vec![0; MESSAGE]),
    };
    for (port, aborts) in [(port::PLAIN, false), (port::ABORT_100, true)] {
        let listener = TcpListener::bind(subject.at(port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        relay.add(Peer::Listener { listener, aborts });
    }
    let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
    let mut gathered = vec![0; GATHERED];
    let mut writes = Writes::new();
    loop {
        epoll::wait(&relay.epoll, spare_capacity(&mut events), None).unwrap();
        let mut end = 0;
        for event in events.drain(..) {
            let from = usize::try_from(event.data.u64()).unwrap();
            if matches!(relay.peers[from], Some(Peer::Listener { .. })) {
                relay.accept(from);
            } else if let Some((to, length)) = relay.read(from, &mut gathered[end..end + MESSAGE]) {
                writes.push((to, end..end + length));
                end += length;
            }
            if end + MESSAGE > GATHERED {
                relay.write(&mut writes, &gathered);
                end = 0;
            }
        }
        relay.write(&mut writes, &gathered);
    }
}

impl Relay {
    fn add(&mut self, peer: Peer) -> usize {
        let source = match &peer {
            Peer::Listener { listener, .. } => listener.as_fd(),
            Peer::Client { stream, .. } | Peer::Upstream { stream, .. } => stream.as_fd(),
        };
        let at = usize::try_from(source.as_raw_fd()).unwrap();
        self.peers.resize_with(self.peers.len().max(at + 1), || None);
        epoll::add(&self.epoll, source, EventData::new_u64(at as u64), EventFlags::IN | EventFlags::ET).unwrap();
        self.peers[at] = Some(peer);
        at
    }

    fn accept(&mut self, from: usize) {
        let Some(Peer::Listener { listener, aborts }) = &self.peers[from] else { return };
        let aborts = *aborts;
        let accepted: Vec<TcpStream> = std::iter::from_fn(|| Some(listener.accept().ok()?.0)).collect();
        for stream in accepted {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            self.add(Peer::Client { stream, aborts });
        }
    }

    /// Reads a message: to whom it goes, and how long it is. Of a client that is answered here nothing is sent on.
    fn read(&mut self, from: usize, into: &mut [u8]) -> Option<(usize, usize)> {
        let Some(Peer::Client { stream, .. } | Peer::Upstream { stream, .. }) = &mut self.peers[from] else {
            return None;
        };
        let length = match stream.read(self.scratch.as_mut().map_or(&mut *into, |scratch| scratch)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Ok(length) if length > 0 => length,
            _ => {
                self.close(from);
                return None;
            }
        };
        let is_request = matches!(self.peers[from], Some(Peer::Client { .. }));
        let length = self.scratch.as_ref().map_or(length, |scratch| least::anew(is_request, &scratch[..length], into));
        match &mut self.peers[from] {
            Some(Peer::Client { aborts: true, .. }) => {
                into[..ABORT.len()].copy_from_slice(ABORT);
                Some((from, ABORT.len()))
            }
            Some(Peer::Upstream { endpoint, client, .. }) => {
                self.idle[*endpoint].push(from);
                Some(((*client)?, length))
            }
            _ => Some((self.take_upstream(from), length)),
        }
    }

    /// A connection to the endpoint whose turn it is.
    fn take_upstream(&mut self, client: usize) -> usize {
        let endpoint = self.next;
        self.next = (endpoint + 1) % self.endpoints.len();
        let at = self.idle[endpoint].pop().unwrap_or_else(|| {
            let stream = TcpStream::connect(self.endpoints[endpoint]).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            self.add(Peer::Upstream { stream, endpoint, client: None })
        });
        if let Some(Peer::Upstream { client: carries, .. }) = &mut self.peers[at] {
            *carries = Some(client);
        }
        at
    }

    fn write(&mut self, writes: &mut Writes, gathered: &[u8]) {
        for (to, bytes) in writes.drain(..) {
            if let Some(Peer::Client { stream, .. } | Peer::Upstream { stream, .. }) = &mut self.peers[to] {
                // Whoever has gone gets nothing; what it has closed is seen when it is read from.
                let _gone = stream.write(&gathered[bytes]);
            }
        }
    }

    /// Forgets a connection that has ended. A client whose connection to the service has ended is closed with it.
    fn close(&mut self, at: usize) {
        match self.peers[at].take() {
            Some(Peer::Client { .. }) => {
                // Another client may have this number next.
                for peer in self.peers.iter_mut().flatten() {
                    if let Peer::Upstream { client, .. } = peer {
                        client.take_if(|client| *client == at);
                    }
                }
            }
            Some(Peer::Upstream { endpoint, client, .. }) => {
                self.idle[endpoint].retain(|idle| *idle != at);
                if let Some(client) = client {
                    self.peers[client] = None;
                }
            }
            _ => {}
        }
    }
}
