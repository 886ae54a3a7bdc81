//! The frames of an HTTP/2 connection, told from its bytes (RFC 9113 §4.1), and whether their mix is a flood; pure.

use std::time::Duration;

use super::clock::nanos;

/// Bytes of a frame's header.
const HEADER: usize = 9;
/// Bytes of the client's connection preface (RFC 9113 §3.4).
const PREFACE: u32 = 24;

/// A frame's type (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// The flag of a DATA frame that ends its stream.
const END_STREAM: u8 = 1;
/// The flag of a HEADERS or CONTINUATION frame that ends the field block.
const END_HEADERS: u8 = 4;
/// The error code of a stream that was not processed at all (RFC 9113 §8.7).
const REFUSED_STREAM: u32 = 7;

/// One frame, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    kind: u8,
    flags: u8,
    length: u32,
    /// The error code of a RST_STREAM, 0 of any other.
    code: u32,
}

impl Frame {
    /// Whether it refuses a stream.
    pub(crate) fn refuses_a_stream(self) -> bool {
        self.kind == RST_STREAM && self.code == REFUSED_STREAM
    }

    /// Whether it carries a body's bytes.
    pub(crate) fn is_data(self) -> bool {
        self.kind == DATA
    }

    /// Whether it is a part of a head (or of trailers), and whether it is the last part.
    fn is_of_a_head(self) -> Option<bool> {
        matches!(self.kind, HEADERS | CONTINUATION).then_some(self.flags & END_HEADERS != 0)
    }
}

/// Follows the bytes of one direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The header, and the error code of a RST_STREAM.
    head: [u8; HEADER + 4],
    have: usize,
    /// Bytes to pass over.
    skip: u32,
    /// Where the last frame is a part of a head: whether it is the last part.
    of_a_head: Option<bool>,
}

impl Frames {
    /// Of a client, who begins with the preface.
    pub(crate) fn of_a_client() -> Self {
        Self { skip: PREFACE, ..Self::default() }
    }

    /// Follows these bytes, and shows each frame as soon as its header is complete.
    pub(crate) fn follow(&mut self, mut bytes: &[u8], mut show: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                // `count` is at most `skip`.
                self.skip -= u32::try_from(count).unwrap_or(self.skip);
                bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            let (Some((byte, rest)), Some(place)) = (bytes.split_first(), self.head.get_mut(self.have)) else { return };
            *place = *byte;
            self.have += 1;
            bytes = rest;
            if let Some(frame) = self.complete() {
                self.have = 0;
                self.of_a_head = frame.is_of_a_head();
                show(frame);
            }
        }
    }

    /// Whether a head has begun, and its last byte has not come.
    pub(crate) fn is_within_a_head(&self) -> bool {
        self.of_a_head.is_some_and(|is_last| !is_last || self.skip > 0)
    }

    /// The frame, if enough of it has come; the rest of it is passed over.
    fn complete(&mut self) -> Option<Frame> {
        let [l1, l2, l3, kind, flags, _, _, _, _, c1, c2, c3, c4] = self.head;
        let length = u32::from_be_bytes([0, l1, l2, l3]);
        let has_code = kind == RST_STREAM && length >= 4;
        let needed = if has_code && self.have >= HEADER { HEADER + 4 } else { HEADER };
        if self.have < needed {
            return None;
        }
        self.skip = if has_code { length - 4 } else { length };
        let code = if has_code { u32::from_be_bytes([c1, c2, c3, c4]) } else { 0 };
        Some(Frame { kind, flags, length, code })
    }
}

/// Window updates that each DATA frame of ours allows beyond the control frames: clients answer one with two as a rule.
const UPDATES_PER_DATA: u32 = 10;
/// Frames that are still read while the connection says goodbye to a client that floods it.
const PATIENCE: u32 = 1_000;
/// What is counted is counted by the second.
const SECOND: Duration = Duration::from_secs(1);

/// What is to be done about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Nothing.
    Fine,
    /// It floods: say goodbye.
    Flood,
    /// It goes on flooding: cut.
    Cut,
}

/// Counts a client's frames.
#[derive(Debug)]
pub(crate) struct FloodWatch {
    /// Frames in a second that carry nothing (SETTINGS, PING, PRIORITY, empty DATA ...) beyond which they are a flood.
    most_control: u32,
    /// Resets in a second beyond which they are a flood, if more than half of the streams are reset (CVE-2023-44487).
    most_resets: u32,
    counts: Counts,
    /// Frames since the client was found to flood.
    after_flood: Option<u32>,
}

/// The frames of one second.
#[derive(Debug, Default)]
struct Counts {
    /// When the second began, in nanoseconds.
    since: u64,
    control: u32,
    updates: u32,
    opened: u32,
    resets: u32,
    data_sent: u32,
}

impl FloodWatch {
    /// A watch over a connection on which nothing has come.
    pub(crate) fn new(most_control: u32, most_resets: u32) -> Self {
        Self { most_control, most_resets, counts: Counts::default(), after_flood: None }
    }

    /// A frame with a body's bytes was sent to the client.
    pub(crate) fn sent_data(&mut self) {
        self.counts.data_sent = self.counts.data_sent.saturating_add(1);
    }

    /// A frame came from the client at `now` (nanoseconds).
    pub(crate) fn received(&mut self, frame: Frame, now: u64) -> Conduct {
        if let Some(after) = &mut self.after_flood {
            *after += 1;
            return if *after > PATIENCE { Conduct::Cut } else { Conduct::Fine };
        }
        let counts = &mut self.counts;
        if now.saturating_sub(counts.since) >= nanos(SECOND) {
            *counts = Counts { since: now, ..Counts::default() };
        }
        match frame.kind {
            HEADERS => counts.opened += 1,
            RST_STREAM => counts.resets += 1,
            WINDOW_UPDATE => counts.updates += 1,
            DATA | CONTINUATION if frame.length > 0 || frame.flags & END_STREAM != 0 => {}
            _ => counts.control += 1,
        }
        let updates_allowed = self.most_control.saturating_add(counts.data_sent.saturating_mul(UPDATES_PER_DATA));
        let floods = counts.control > self.most_control
            || counts.updates > updates_allowed
            || (counts.resets > self.most_resets && counts.resets.saturating_mul(2) > counts.opened);
        if floods {
            self.after_flood = Some(0);
            return Conduct::Flood;
        }
        Conduct::Fine
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn of(kind: u8, length: u32) -> Frame {
        Frame { kind, flags: 0, length, code: 0 }
    }

    /// What the watch says of `count` such frames within one second, at the end.
    fn conduct(frames: &[Frame], count: usize) -> Vec<Conduct> {
        let mut watch = FloodWatch::new(1_000, 500);
        let all = frames.iter().cycle().take(count);
        let mut said: Vec<Conduct> = all.map(|frame| watch.received(*frame, 5)).collect();
        said.dedup();
        said
    }

    #[test]
    fn a_head_goes_on_until_the_last_byte_of_its_last_frame() {
        let mut frames = Frames::default();
        for (byte, within) in [
            (frame(6, 0, &[0; 8]), false),
            (frame(HEADERS, 1, &[0x82; 3]), true),
            (frame(CONTINUATION, 0, &[]), true),
            (frame(CONTINUATION, END_HEADERS, &[0x84])[..HEADER].to_vec(), true),
            (vec![0x84], false),
            (frame(HEADERS, END_HEADERS, &[0x82; 3]), false),
            (frame(DATA, 0, &[0x82; 3])[..HEADER].to_vec(), false),
        ] {
            frames.follow(&byte, |_| {});
            assert_eq!(frames.is_within_a_head(), within, "{byte:?}");
        }
    }

    #[test]
    fn frames_that_carry_nothing_are_a_flood_beyond_a_thousand_in_a_second() {
        for kind in [2, 4, 6, 7, DATA, CONTINUATION, 77] {
            assert_eq!(conduct(&[of(kind, 0)], 1_000), [Conduct::Fine], "type {kind}");
            assert_eq!(conduct(&[of(kind, 0)], 1_001), [Conduct::Fine, Conduct::Flood], "type {kind}");
        }
    }

    #[test]
    fn who_goes_on_flooding_is_cut_off() {
        assert_eq!(conduct(&[of(6, 8)], 2_002), [Conduct::Fine, Conduct::Flood, Conduct::Fine, Conduct::Cut]);
    }

    #[test]
    fn bodies_are_never_a_flood() {
        assert_eq!(conduct(&[of(HEADERS, 20), of(DATA, 1)], 100_000), [Conduct::Fine]);
        let end = Frame { kind: DATA, flags: END_STREAM, length: 0, code: 0 };
        assert_eq!(conduct(&[of(HEADERS, 20), end], 100_000), [Conduct::Fine]);
    }

    #[test]
    fn resets_are_a_flood_when_most_streams_are_reset() {
        assert_eq!(conduct(&[of(HEADERS, 20), of(RST_STREAM, 4)], 1_002), [Conduct::Fine, Conduct::Flood]);
        assert_eq!(
            conduct(&[of(HEADERS, 20), of(HEADERS, 20), of(HEADERS, 20), of(RST_STREAM, 4)], 9_000),
            [Conduct::Fine]
        );
    }

    #[test]
    fn window_updates_are_measured_by_what_was_sent() {
        let mut watch = FloodWatch::new(1_000, 500);
        for _ in 0..1_000 {
            watch.sent_data();
        }
        let said: Vec<Conduct> = (0..11_001).map(|_| watch.received(of(WINDOW_UPDATE, 4), 5)).collect();
        assert!(said[..11_000].iter().all(|said| *said == Conduct::Fine));
        assert_eq!(said[11_000], Conduct::Flood);
    }

    #[test]
    fn each_second_counts_anew() {
        let mut watch = FloodWatch::new(1_000, 500);
        for second in 1..10 {
            for _ in 0..900 {
                assert_eq!(watch.received(of(6, 8), second * 1_000_000_000), Conduct::Fine);
            }
        }
    }

    proptest! {
        #[test]
        fn every_split_shows_the_same_frames(cuts in prop::collection::vec(1usize..20, 0..60)) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(frame(4, 0, &[0; 12]));
            bytes.extend(frame(1, 4, &[0x82; 30]));
            bytes.extend(frame(3, 0, &7u32.to_be_bytes()));
            bytes.extend(frame(0, 1, &[]));
            bytes.extend(frame(3, 0, &8u32.to_be_bytes()));
            let mut frames = Frames::of_a_client();
            let mut shown = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (part, left) = rest.split_at(cut.min(rest.len()));
                frames.follow(part, |frame| shown.push(frame));
                rest = left;
            }
            frames.follow(rest, |frame| shown.push(frame));
            let kinds: Vec<_> = shown.iter().map(|frame| (frame.kind, frame.length, frame.refuses_a_stream())).collect();
            prop_assert_eq!(kinds, [(4, 12, false), (1, 30, false), (3, 4, true), (0, 0, false), (3, 4, false)]);
        }
    }
}
