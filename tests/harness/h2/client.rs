//! A raw HTTP/2 client with prior knowledge: one connection, streams in order, every answer checked.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use super::{
    endpoint::Endpoint,
    fields::{Field, fields},
    frame::{Frame, kind},
    state::{GoAway, Role, State, Stream, Terms},
};
use crate::harness::{client::Ending, patience::PATIENCE};

/// The fields of a GET of `path`.
pub fn get(path: &str) -> Vec<Field> {
    request("GET", path)
}

/// The fields of a request by `method`.
pub fn request(method: &str, path: &str) -> Vec<Field> {
    fields(&[(":method", method), (":scheme", "http"), (":authority", "ratings"), (":path", path)])
}

/// `fields` and more behind them.
pub fn with(mut fields: Vec<Field>, more: &[(&str, &str)]) -> Vec<Field> {
    fields.extend(super::fields(more));
    fields
}

/// One connection; closed when it is dropped.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    next: u32,
}

impl Client {
    /// Connects, sends preface and SETTINGS, and reads from then on.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Self {
        Self::on(to, Terms::default())
    }

    /// The same on other terms.
    #[track_caller]
    pub fn on(to: SocketAddr, terms: Terms) -> Self {
        let client = Self::deaf(to, terms);
        client.endpoint.listen();
        client
    }

    /// The same from the loopback address `from`.
    #[track_caller]
    pub fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let endpoint = Endpoint::silent(socket.into(), Role::Client, Terms::default());
        endpoint.greet();
        endpoint.listen();
        Self { endpoint, next: 1 }
    }

    /// Connects and sends preface and SETTINGS, but reads nothing until [`Endpoint::listen`].
    #[track_caller]
    pub fn deaf(to: SocketAddr, terms: Terms) -> Self {
        let client = Self::silent(to, terms);
        client.endpoint.greet();
        client
    }

    /// Connects, and neither sends nor reads.
    #[track_caller]
    pub fn silent(to: SocketAddr, terms: Terms) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        Self { endpoint: Endpoint::silent(stream, Role::Client, terms), next: 1 }
    }

    /// The connection.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Writes bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        self.endpoint.send(bytes);
    }

    /// Writes one frame.
    pub fn send_frame(&self, frame: &Frame) {
        self.endpoint.send_frame(frame);
    }

    /// The number of the next stream, which is used up.
    pub fn next_stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Opens a stream with `head`; its number.
    pub fn open(&mut self, head: &[Field], end: bool) -> u32 {
        let stream = self.next_stream();
        let is_head = head.iter().any(|(name, value)| name == ":method" && value == "HEAD");
        self.endpoint.state().stream(stream).answers_head = is_head;
        self.endpoint.send_fields(stream, head, end);
        stream
    }

    /// A whole request without a body; the number of its stream.
    pub fn request(&mut self, head: &[Field]) -> u32 {
        self.open(head, true)
    }

    /// A whole request with a body, as the windows allow; the number of its stream.
    pub fn request_with_body(&mut self, head: &[Field], body: &[u8]) -> u32 {
        let stream = self.open(head, false);
        self.endpoint.send_body(stream, body, true);
        stream
    }

    /// What has come on `stream` so far.
    pub fn stream(&self, stream: u32) -> Stream {
        self.endpoint.state().stream(stream).clone()
    }

    /// Waits until `stream` is over: whole, or cut off. It is neither where the connection ended before.
    #[track_caller]
    pub fn outcome(&self, stream: u32) -> Stream {
        let over = self.endpoint.try_wait(PATIENCE, |state| state.stream(stream).is_over().then_some(()));
        let (broken, ending) = {
            let state = self.endpoint.state();
            (state.broken.clone(), state.ending)
        };
        assert_eq!(broken, None, "the peer broke the protocol");
        assert!(
            over.is_some() || ending != Ending::StillOpen,
            "stream {stream} got no answer: {:?}",
            self.stream(stream)
        );
        self.stream(stream)
    }

    /// The whole answer on `stream`; fails the test when there is none.
    #[track_caller]
    pub fn answer(&self, stream: u32) -> Stream {
        let outcome = self.outcome(stream);
        assert!(outcome.is_whole(), "no whole answer on stream {stream}: {outcome:?}, {:?}", self.goaways());
        outcome
    }

    /// Sends a request without a body and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, head: &[Field]) -> Stream {
        let stream = self.request(head);
        self.answer(stream)
    }

    /// Sends a request with a body and reads its answer.
    #[track_caller]
    pub fn ask_with_body(&mut self, head: &[Field], body: &[u8]) -> Stream {
        let stream = self.request_with_body(head, body);
        self.answer(stream)
    }

    /// Waits until the state satisfies `probe`.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, probe: impl FnMut(&mut State) -> Option<T>) -> T {
        self.endpoint.wait(PATIENCE, what, probe)
    }

    /// Waits until the peer has read everything that was sent so far: it answers in order.
    #[track_caller]
    pub fn ping(&self) {
        let before = self.endpoint.state().pings_answered;
        self.send_frame(&Frame::ping(*b"are you "));
        self.wait("the answer to a PING", |state| (state.pings_answered > before).then_some(()));
    }

    /// Each GOAWAY so far.
    pub fn goaways(&self) -> Vec<GoAway> {
        self.endpoint.state().goaways.clone()
    }

    /// Waits until the peer ends the connection, at most for `limit`; how it did, and its last GOAWAY.
    #[track_caller]
    pub fn end_within(&self, limit: Duration) -> (Ending, Option<GoAway>) {
        self.endpoint.try_wait(limit, |_| None::<()>);
        let state = self.endpoint.state();
        (state.ending, state.goaways.last().copied())
    }

    /// Waits until the peer ends the connection; fails the test if it stays.
    #[track_caller]
    pub fn expect_end(&self) -> Option<GoAway> {
        let (ending, goaway) = self.end_within(PATIENCE);
        assert_ne!(ending, Ending::StillOpen, "the connection was not closed");
        goaway
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.endpoint.close();
    }
}

/// A stream is opened and cut off at once, as often as `count` says: the frames, and the number of the next stream.
pub fn rapid_resets(first: u32, head: &[Field], count: u32) -> Vec<u8> {
    let block = super::hpack::block(head);
    let streams = (0..count).map(|nth| first + 2 * nth);
    let pair = |stream| [Frame::headers(stream, &block, true), Frame::new(kind::RST_STREAM, 0, stream, [0, 0, 0, 8])];
    streams.flat_map(pair).flat_map(|frame| frame.bytes()).collect()
}
