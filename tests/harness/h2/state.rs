//! What is known of one connection: its streams, its windows, what the peer has said about itself.

use std::collections::BTreeMap;

use super::{fields::Field, frame::Frame, hpack::Decoder, setting};
use crate::harness::{
    client::Ending,
    wire::{latin1, values},
};

/// The flow-control window of a stream and of a connection unless a setting says otherwise.
pub const INITIAL_WINDOW: i64 = 65_535;

/// Which end of the connection is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We ask; the peer answers.
    Client,
    /// The peer asks; we answer.
    Server,
}

/// How our end behaves.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The settings that are sent first.
    pub settings: Vec<(u16, u32)>,
    /// Whatever is received may be sent again: windows are never exhausted.
    pub grants: bool,
    /// Bodies are kept, not only counted.
    pub keeps_bodies: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { settings: vec![(setting::ENABLE_PUSH, 0)], grants: true, keeps_bodies: true }
    }
}

impl Terms {
    /// The same with the setting `id`.
    pub fn with(mut self, id: u16, value: u32) -> Self {
        self.settings.push((id, value));
        self
    }

    /// Nothing that is received may be sent again, until the test grants it.
    pub fn without_grants(mut self) -> Self {
        self.grants = false;
        self
    }

    /// Bodies are counted and not kept.
    pub fn without_bodies(mut self) -> Self {
        self.keeps_bodies = false;
        self
    }

    /// The window of each stream that these terms give the peer.
    pub fn window(&self) -> i64 {
        self.setting(setting::INITIAL_WINDOW_SIZE).map_or(INITIAL_WINDOW, i64::from)
    }

    /// The value of the setting `id`, if it is set.
    pub fn setting(&self, id: u16) -> Option<u32> {
        self.settings.iter().rev().find(|(setting, _)| *setting == id).map(|(_, value)| *value)
    }
}

/// What has come on one stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The interim answers (1xx).
    pub interim: Vec<Vec<Field>>,
    /// The head of the request or of the answer; empty until it has come.
    pub head: Vec<Field>,
    /// The body so far, if bodies are kept.
    pub body: Vec<u8>,
    /// The bytes of the body so far.
    pub received: u64,
    /// The fields behind the body.
    pub trailers: Vec<Field>,
    /// The peer has said that this is all.
    pub ended: bool,
    /// The peer has cut it off, with this code.
    pub reset: Option<u32>,
    /// It answers a HEAD: the length of its head is not that of its body.
    pub answers_head: bool,
    /// What we may send.
    pub(super) send_window: i64,
    /// What the peer may send.
    pub(super) receive_window: i64,
}

impl Stream {
    /// All values of the field `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }

    /// The value of the field `name` if it is there exactly once.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether the field `name` is there at all.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The status of an answer; 0 when there is none yet.
    pub fn status(&self) -> u16 {
        self.one(":status").and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The `:path` of a request.
    pub fn path(&self) -> &str {
        self.one(":path").unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        latin1(&self.body)
    }

    /// Nothing more comes on it.
    pub fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }

    /// It has come whole.
    pub fn is_whole(&self) -> bool {
        self.ended && !self.head.is_empty()
    }
}

/// The peer takes no further streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// The last stream that it has taken.
    pub last_stream: u32,
    /// Why.
    pub code: u32,
}

/// Everything that is known of a connection.
#[derive(Debug)]
pub struct State {
    /// The streams by their number.
    pub streams: BTreeMap<u32, Stream>,
    /// Each GOAWAY, in order.
    pub goaways: Vec<GoAway>,
    /// What the peer has set; none until its SETTINGS have come.
    pub settings: Option<BTreeMap<u16, u32>>,
    /// How many of our SETTINGS the peer has acknowledged.
    pub settings_acked: usize,
    /// How many of our PINGs the peer has answered.
    pub pings_answered: usize,
    /// How many frames have come.
    pub frames: usize,
    /// How the peer has ended the connection.
    pub ending: Ending,
    /// What the peer did that no correct peer does.
    pub broken: Option<String>,
    pub(super) role: Role,
    pub(super) terms: Terms,
    pub(super) decoder: Decoder,
    /// The HEADERS frame whose block is not complete.
    pub(super) open_block: Option<Frame>,
    /// What we may send on all streams together.
    pub send_window: i64,
    pub(super) receive_window: i64,
}

impl State {
    /// A connection on which nothing has come.
    pub fn new(role: Role, terms: Terms) -> Self {
        let table = terms.setting(setting::HEADER_TABLE_SIZE);
        Self {
            streams: BTreeMap::new(),
            goaways: Vec::new(),
            settings: None,
            settings_acked: 0,
            pings_answered: 0,
            frames: 0,
            ending: Ending::StillOpen,
            broken: None,
            role,
            terms,
            decoder: table.map_or_else(Decoder::default, |size| Decoder::with_table_of(size as usize)),
            open_block: None,
            send_window: INITIAL_WINDOW,
            receive_window: INITIAL_WINDOW,
        }
    }

    /// The stream `id`, known from now on.
    pub fn stream(&mut self, id: u32) -> &mut Stream {
        let send_window = self.peer_window();
        // What we have set counts as soon as the peer has acknowledged it.
        let receive_window = if self.settings_acked > 0 { self.terms.window() } else { INITIAL_WINDOW };
        self.streams.entry(id).or_insert_with(|| Stream { send_window, receive_window, ..Stream::default() })
    }

    /// The value that the peer has given to the setting `id`.
    pub fn setting(&self, id: u16) -> Option<u32> {
        self.settings.as_ref().and_then(|settings| settings.get(&id).copied())
    }

    /// The connection is over, or the peer has said that it will be.
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::StillOpen || !self.goaways.is_empty()
    }

    /// What may be sent on the stream `id` now, and by how much both windows shrink then.
    pub fn take_window(&mut self, id: u32, most: usize) -> usize {
        let stream = self.stream(id).send_window;
        let free = usize::try_from(self.send_window.min(stream)).unwrap_or(0).min(most);
        let taken = i64::try_from(free).unwrap();
        self.send_window -= taken;
        self.stream(id).send_window -= taken;
        free
    }

    /// The peer may send `increment` more bytes on the stream `id`, or on the connection (0).
    pub fn grant(&mut self, id: u32, increment: u32) {
        let window = if id == 0 { &mut self.receive_window } else { &mut self.stream(id).receive_window };
        *window += i64::from(increment);
    }

    pub(super) fn peer_window(&self) -> i64 {
        self.setting(setting::INITIAL_WINDOW_SIZE).map_or(INITIAL_WINDOW, i64::from)
    }
}
