//! One frame as bytes (RFC 9113 section 4.1): nine of header, then the payload.

/// Kinds of frames (RFC 9113 section 6).
pub mod kind {
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags; END_STREAM and ACK are the same bit.
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// The length of a frame's header.
pub const HEAD: usize = 9;
/// The largest payload unless a setting allows more.
pub const MAX_PAYLOAD: usize = 16_384;

/// One frame, well formed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// The stream; 0 is the connection.
    pub stream: u32,
    /// The payload as it is sent, with any padding.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// DATA.
    pub fn data(stream: u32, bytes: &[u8], end: bool) -> Self {
        Self::new(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, bytes)
    }

    /// HEADERS with a whole field block.
    pub fn headers(stream: u32, block: &[u8], end: bool) -> Self {
        let end = if end { flag::END_STREAM } else { 0 };
        Self::new(kind::HEADERS, flag::END_HEADERS | end, stream, block)
    }

    /// CONTINUATION.
    pub fn continuation(stream: u32, block: &[u8], end_headers: bool) -> Self {
        Self::new(kind::CONTINUATION, if end_headers { flag::END_HEADERS } else { 0 }, stream, block)
    }

    /// PRIORITY: depends on no stream.
    pub fn priority(stream: u32) -> Self {
        Self::new(kind::PRIORITY, 0, stream, [0, 0, 0, 0, 15])
    }

    /// RST_STREAM.
    pub fn rst_stream(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// SETTINGS.
    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let payload = settings.iter().flat_map(|(id, value)| {
            let (id, value) = (id.to_be_bytes(), value.to_be_bytes());
            [id[0], id[1], value[0], value[1], value[2], value[3]]
        });
        Self::new(kind::SETTINGS, 0, 0, payload.collect::<Vec<_>>())
    }

    /// The acknowledgement of SETTINGS.
    pub fn settings_ack() -> Self {
        Self::new(kind::SETTINGS, flag::ACK, 0, [])
    }

    /// PING.
    pub fn ping(payload: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, payload)
    }

    /// GOAWAY.
    pub fn goaway(last_stream: u32, code: u32) -> Self {
        Self::new(kind::GOAWAY, 0, 0, [last_stream.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// WINDOW_UPDATE.
    pub fn window_update(stream: u32, increment: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
    }

    /// The same with `flags` added.
    pub fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// The same without `flags`.
    pub fn without(mut self, flags: u8) -> Self {
        self.flags &= !flags;
        self
    }

    /// The same with `length` bytes of padding (RFC 9113 section 6.1).
    pub fn padded(self, length: u8) -> Self {
        let payload = [&[length], self.payload.as_slice(), &vec![0; length.into()]].concat();
        Self { payload, ..self.with(flag::PADDED) }
    }

    /// Whether it has all of `flags`.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The frame at the beginning of `bytes`, if it is whole; it takes [`HEAD`] bytes and its payload.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        // The reserved bit is ignored on receipt.
        let stream = number(&head[5..9]) & 0x7fff_ffff;
        Some(Self { kind: head[3], flags: head[4], stream, payload: rest.get(..length)?.to_vec() })
    }

    /// The payload of DATA or HEADERS without padding and priority.
    pub fn content(&self) -> Result<&[u8], String> {
        let mut content = self.payload.as_slice();
        if self.has(flag::PADDED) {
            let (padding, rest) = content.split_first().ok_or("no length of the padding")?;
            let length = rest.len().checked_sub(usize::from(*padding)).ok_or("more padding than payload")?;
            content = &rest[..length];
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..).ok_or("no priority where the flag says so")?;
        }
        Ok(content)
    }
}

/// Four bytes as a number.
pub fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// Frames one behind the other, as bytes.
pub fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}
