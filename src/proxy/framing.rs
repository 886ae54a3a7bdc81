//! A strict reading of the framing of a client's requests, beside hyper's lenient one.
//!
//! hyper accepts chunk lines that RFC 9112 §7.1 does not (blanks behind the size, bare LF, control characters in extensions).
//! We frame anew what we forward, so nothing can be smuggled, but a client whose idea of a body's end differs from ours must
//! not go on. The follower reads the same bytes and refuses them before hyper sees them; it never changes any.

use super::chunks::{Chunk, Malformed};

/// Follows one connection's requests.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    state: State,
    /// The beginning of the head's current line: enough to know the two fields that matter.
    line: Vec<u8>,
    /// What the head has said so far.
    head: Head,
}

/// Bytes of a header line that are looked at.
const LINE: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Something but empty lines has come.
    begun: bool,
    chunked: bool,
    length: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// A body of a known length, and what is left of it.
    Length(u64),
    /// A chunked body.
    Chunk(Chunk),
    /// The connection speaks another protocol now.
    Off,
}

impl Follower {
    /// Stops following: the connection has switched to another protocol.
    pub(crate) fn off(&mut self) {
        self.state = State::Off;
    }

    /// Follows these bytes.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Off => return Ok(()),
                State::Head => self.head(bytes),
                State::Length(left) => self.skip(bytes, left, State::Length, State::Head),
                State::Chunk(Chunk::Data(left)) => {
                    self.skip(bytes, left, |left| State::Chunk(Chunk::Data(left)), State::Chunk(Chunk::DataCr))
                }
                State::Chunk(chunk) => {
                    let (first, rest) = bytes.split_at(1);
                    self.state = match chunk.behind(first.first().copied().unwrap_or_default())? {
                        Chunk::End => State::Head,
                        chunk => State::Chunk(chunk),
                    };
                    rest
                }
            };
        }
        Ok(())
    }

    /// Passes over a body's bytes.
    fn skip<'b>(&mut self, bytes: &'b [u8], left: u64, within: fn(u64) -> State, after: State) -> &'b [u8] {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - count as u64;
        self.state = if left == 0 { after } else { within(left) };
        bytes.get(count..).unwrap_or_default()
    }

    /// Reads a part of the head, up to the end of a line.
    fn head<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = bytes.iter().position(|b| *b == b'\n');
        let (part, rest) = match end {
            Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
            None => (bytes, &[][..]),
        };
        let room = LINE.saturating_sub(self.line.len()).min(part.len());
        self.line.extend_from_slice(part.get(..room).unwrap_or_default());
        if end.is_some() {
            self.line_ends();
            self.line.clear();
        }
        rest
    }

    fn line_ends(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if !line.is_empty() {
            if self.head.begun {
                self.head.field(line);
            }
            self.head.begun = true;
        } else if self.head.begun {
            let Head { chunked, length, .. } = std::mem::take(&mut self.head);
            self.state = match (chunked, length) {
                (true, _) => State::Chunk(Chunk::BEGIN),
                (false, 0) => State::Head,
                (false, length) => State::Length(length),
            };
        }
    }
}

impl Head {
    /// Notes a field that frames the body. What is malformed here is refused by hyper and the gate; this only follows.
    fn field(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return };
        let (name, value) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value.trim_ascii()).ok();
            self.length = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\ntransfer-Encoding: chunked\r\n\r\n";

    fn follow(text: &str) -> Result<Follower, Malformed> {
        let mut follower = Follower::default();
        follower.follow(text.as_bytes()).map(|()| follower)
    }

    #[test]
    fn well_formed_requests_are_followed_to_the_next_head() {
        for body in ["5\r\nhello\r\n0\r\n\r\n", "1;a=b;c=\"d\"\r\nx\r\n00\r\nx-sum: 1\r\n\r\n", "0\r\n\r\n"] {
            let text = format!("\r\n{POST}{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let follower = follow(&text).unwrap();
            assert_eq!(follower.state, State::Head, "{body:?}");
            assert!(!follower.head.begun, "{body:?}");
        }
        let sized = follow("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n5 \r\nGET /").unwrap();
        assert_eq!(sized.state, State::Head);
    }

    #[test]
    fn a_transfer_coding_wins_over_a_length_in_either_order() {
        for fields in
            ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
        {
            let follower = follow(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n")).unwrap();
            assert_eq!(follower.state, State::Chunk(Chunk::BEGIN));
        }
    }

    #[test]
    fn chunk_lines_that_are_not_of_the_grammar_are_refused() {
        for body in [
            "0x5\r\n",
            "+5\r\n",
            "5_\r\n",
            " 5\r\n",
            "5 \r\n",
            "\r\n",
            "G\r\n",
            "10000000000000000\r\n",
            "5\n",
            "5\r\r\n",
            "5;\r\n",
            "5;a\nX",
            "5;\0\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "0\r\n\n",
            "0\r\nx: 1\n",
            "0\r\n\r\r",
        ] {
            assert_eq!(follow(&format!("{POST}{body}")).err(), Some(Malformed), "{body:?}");
        }
    }

    #[test]
    fn behind_a_switch_of_protocols_nothing_is_looked_at() {
        let mut follower = Follower::default();
        follower.off();
        assert_eq!(follower.follow(format!("{POST}nonsense").as_bytes()), Ok(()));
    }

    proptest! {
        #[test]
        fn every_split_of_the_bytes_gives_the_same_answer(cut in prop::collection::vec(1usize..9, 0..40), bad: bool) {
            let text = format!("{POST}5\r\nhello\r\n{}0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n", if bad { "5 \r\n" } else { "" });
            let mut rest = text.as_bytes();
            let mut follower = Follower::default();
            let mut result = Ok(());
            for n in cut {
                let (part, left) = rest.split_at(n.min(rest.len()));
                result = result.and_then(|()| follower.follow(part));
                rest = left;
            }
            result = result.and_then(|()| follower.follow(rest));
            prop_assert_eq!(result, follow(&text).map(|_| ()));
        }
    }
}
