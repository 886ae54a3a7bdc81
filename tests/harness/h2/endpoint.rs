//! One end of an HTTP/2 connection on a blocking socket: a thread reads, checks and answers; the test writes and waits.

use std::{
    io::{Error, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use super::{
    PREFACE,
    fields::Field,
    frame::{Frame, HEAD, MAX_PAYLOAD, bytes_of, flag},
    hpack,
    state::{Role, State, Terms},
};
use crate::harness::{client::Ending, patience::PATIENCE, wire::readable};

/// A handle on the connection; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stream: TcpStream,
    writing: Mutex<()>,
    state: Mutex<State>,
    news: Condvar,
}

impl Endpoint {
    /// An end that has sent nothing and reads nothing yet.
    pub fn silent(stream: TcpStream, role: Role, terms: Terms) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let state = Mutex::new(State::new(role, terms));
        Self(Arc::new(Inner { stream, writing: Mutex::default(), state, news: Condvar::new() }))
    }

    /// Sends what comes first: of a client the preface, of both the SETTINGS.
    pub fn greet(&self) {
        let (role, settings) = {
            let state = self.state();
            (state.role, Frame::settings(&state.terms.settings).bytes())
        };
        let preface = if role == Role::Client { PREFACE } else { &[] };
        self.send(&[preface, &settings].concat());
    }

    /// How long a write waits for a peer that does not read.
    pub fn set_write_timeout(&self, limit: Duration) {
        self.0.stream.set_write_timeout(Some(limit)).unwrap();
    }

    /// Reads from now on, until the end of the connection.
    pub fn listen(&self) {
        let endpoint = self.clone();
        thread::spawn(move || endpoint.read_all());
    }

    /// Writes `bytes`; a peer that has closed meanwhile is no error here, it shows when reading.
    pub fn send(&self, bytes: &[u8]) {
        let _peer_may_have_closed = self.try_send(bytes);
    }

    /// Writes `bytes`.
    pub fn try_send(&self, bytes: &[u8]) -> Result<(), Error> {
        let _writing = self.0.writing.lock().unwrap();
        (&self.0.stream).write_all(bytes)
    }

    /// Writes one frame.
    pub fn send_frame(&self, frame: &Frame) {
        self.send(&frame.bytes());
    }

    /// Writes `fields` as HEADERS, and CONTINUATION where they are too long for one frame.
    pub fn send_fields(&self, stream: u32, fields: &[Field], end: bool) {
        let block = hpack::block(fields);
        let mut pieces = block.chunks(MAX_PAYLOAD);
        let mut frames = vec![Frame::headers(stream, pieces.next().unwrap_or(&[]), end).without(flag::END_HEADERS)];
        frames.extend(pieces.map(|piece| Frame::continuation(stream, piece, false)));
        frames.last_mut().unwrap().flags |= flag::END_HEADERS;
        self.send(&bytes_of(&frames));
    }

    /// Writes `body` as the windows allow; false when the stream is cut off or the connection ends before.
    pub fn send_body(&self, stream: u32, body: &[u8], end: bool) -> bool {
        let mut rest = body;
        while !rest.is_empty() {
            let taken = self.try_wait(2 * PATIENCE, |state| {
                let over = state.stream(stream).reset.is_some() || state.ending != Ending::StillOpen;
                let taken = if over { 0 } else { state.take_window(stream, rest.len().min(MAX_PAYLOAD)) };
                (over || taken > 0).then_some(taken)
            });
            let Some(taken @ 1..) = taken else { return false };
            let (piece, later) = rest.split_at(taken);
            rest = later;
            self.send_frame(&Frame::data(stream, piece, end && rest.is_empty()));
        }
        if end && body.is_empty() {
            self.send_frame(&Frame::data(stream, &[], true));
        }
        true
    }

    /// Lets the peer send `increment` more bytes on `stream`, or on the connection (0).
    pub fn grant(&self, stream: u32, increment: u32) {
        self.state().grant(stream, increment);
        self.send_frame(&Frame::window_update(stream, increment));
    }

    /// Ends the connection for good.
    pub fn close(&self) {
        let _gone = self.0.stream.shutdown(Shutdown::Both);
    }

    /// Closes the writing side.
    pub fn finish_sending(&self) {
        let _gone = self.0.stream.shutdown(Shutdown::Write);
    }

    /// The state as it is now.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// What `probe` finds in the state within `limit`; fails the test when it finds nothing, the peer breaks the protocol,
    /// or the connection ends before.
    #[track_caller]
    pub fn wait<T>(&self, limit: Duration, what: &str, probe: impl FnMut(&mut State) -> Option<T>) -> T {
        let found = self.try_wait(limit, probe);
        let state = self.state();
        let (broken, ending, goaways) = (state.broken.clone(), state.ending, state.goaways.clone());
        // Failing while the state is locked would make its reader fail too.
        drop(state);
        assert_eq!(broken, None, "the peer broke the protocol; awaited: {what}");
        found.unwrap_or_else(|| panic!("not within {limit:?}: {what}; the connection: {ending:?}, {goaways:?}"))
    }

    /// What `probe` finds in the state within `limit` and before the connection ends.
    pub fn try_wait<T>(&self, limit: Duration, mut probe: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        loop {
            let found = probe(&mut state);
            if found.is_some() || state.ending != Ending::StillOpen || Instant::now() >= deadline {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            state = self.0.news.wait_timeout(state, left).unwrap().0;
        }
    }

    fn read_all(&self) {
        let mut unread = Vec::new();
        let mut preface = if self.state().role == Role::Server { PREFACE } else { &[] };
        let mut buffer = vec![0; 64 * 1024];
        let ending = loop {
            match (&self.0.stream).read(&mut buffer) {
                Ok(0) => break Ending::Closed,
                Ok(count) => unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break Ending::Reset,
            }
            let taken = preface.len().min(unread.len());
            if unread[..taken] != preface[..taken] {
                self.state().broken = Some(format!("not the preface: {}", readable(&unread)));
                break Ending::Closed;
            }
            preface = &preface[taken..];
            unread.drain(..taken);
            if !self.take_frames(&mut unread) {
                break Ending::Closed;
            }
        };
        // A peer that breaks the protocol must not be left waiting.
        if self.state().broken.is_some() {
            self.close();
        }
        self.state().ending = ending;
        self.0.news.notify_all();
    }

    /// Takes in the whole frames at the beginning of `unread`; false when the peer has broken the protocol.
    fn take_frames(&self, unread: &mut Vec<u8>) -> bool {
        let mut at = 0;
        let mut answers = Vec::new();
        let mut state = self.state();
        while let Some(frame) = Frame::parse(&unread[at..]) {
            at += HEAD + frame.payload.len();
            match state.take(frame) {
                Ok(more) => answers.extend(more),
                Err(what) => {
                    state.broken = Some(what);
                    break;
                }
            }
        }
        let holds = state.broken.is_none();
        unread.drain(..at);
        // Nobody may use a setting before its acknowledgement has gone.
        if answers.contains(&Frame::settings_ack()) {
            self.send(&bytes_of(&answers));
            answers.clear();
        }
        drop(state);
        self.0.news.notify_all();
        if !answers.is_empty() {
            self.send(&bytes_of(&answers));
        }
        holds
    }
}
