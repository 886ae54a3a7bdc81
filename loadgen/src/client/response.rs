//! Reads one response of HTTP/1 from bytes as they come (RFC 9112): no socket here, and nothing allocated for
//! a head that comes in one piece.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, ParserConfig, Status};

use super::chunks::{Chunks, Step};
use super::{Answer, Kept};
use crate::summary::ErrorClass;

/// Most bytes of a response head.
const MAX_HEAD: usize = 64 * 1024;

/// Most header lines of a response.
const MAX_HEADERS: usize = 128;

/// Most interim responses (1xx) before the final one.
const MAX_INTERIM: u8 = 20;

/// How far the response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes are needed.
    More,
    /// It is complete.
    Complete,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Length(u64),
    Chunks(Chunks),
    UntilClose,
    Complete,
}

/// Reads the responses of one connection, one after the other.
#[derive(Debug)]
pub(super) struct Reader {
    state: State,
    /// The request is a HEAD: its response has no body.
    bodiless: bool,
    /// The beginning of a head that has not come in one piece.
    partial: Vec<u8>,
    interim: u8,
    status: u16,
    body_bytes: u64,
    reusable: bool,
    kept: Option<Kept>,
}

/// What a head says of the rest.
#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    status: u16,
    framing: Framing,
    keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Reader {
    /// For one more connection; `keep` if a hook will ask for [`kept`](Self::kept).
    pub(super) fn new(keep: bool) -> Self {
        Self {
            state: State::Complete,
            bodiless: false,
            partial: Vec::new(),
            interim: 0,
            status: 0,
            body_bytes: 0,
            reusable: false,
            kept: keep.then(Kept::default),
        }
    }

    /// Begins with the next response.
    pub(super) fn begin(&mut self, bodiless: bool) {
        self.state = State::Head;
        self.bodiless = bodiless;
        self.partial.clear();
        self.interim = 0;
        self.body_bytes = 0;
        if let Some(kept) = &mut self.kept {
            *kept = Kept::default();
        }
    }

    /// Whether some of the response has come.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head) || !self.partial.is_empty()
    }

    /// Takes the next bytes. Bytes behind the end make the connection unfit for another request.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<Progress, ErrorClass> {
        loop {
            bytes = match &mut self.state {
                State::Complete => {
                    self.reusable &= bytes.is_empty();
                    return Ok(Progress::Complete);
                }
                State::Head => match self.head(bytes)? {
                    Some(rest) => rest,
                    None => return Ok(Progress::More),
                },
                _ if bytes.is_empty() => return Ok(Progress::More),
                State::UntilClose => {
                    self.data(bytes);
                    return Ok(Progress::More);
                }
                State::Length(left) => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at_checked(size).ok_or(ErrorClass::Protocol)?;
                    let left = *left - size as u64;
                    self.state = if left == 0 { State::Complete } else { State::Length(left) };
                    self.data(data);
                    rest
                }
                State::Chunks(chunks) => match chunks.next(bytes).map_err(|_| ErrorClass::Protocol)? {
                    Step::Data(data, rest) => {
                        self.data(data);
                        rest
                    }
                    Step::End(rest) => {
                        self.state = State::Complete;
                        rest
                    }
                    Step::More => return Ok(Progress::More),
                },
            };
        }
    }

    /// The connection has ended: was the response complete?
    pub(super) fn end(&mut self) -> Result<(), ErrorClass> {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Complete;
        }
        if matches!(self.state, State::Complete) { Ok(()) } else { Err(self.broken()) }
    }

    /// What it means that the connection breaks here.
    pub(super) fn broken(&self) -> ErrorClass {
        if matches!(self.state, State::Head) { ErrorClass::Io } else { ErrorClass::Body }
    }

    pub(super) fn answer(&self) -> Answer {
        Answer { status: self.status, body_bytes: self.body_bytes }
    }

    /// Whether the connection can take another request.
    pub(super) fn is_reusable(&self) -> bool {
        self.reusable && matches!(self.state, State::Complete)
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    fn data(&mut self, data: &[u8]) {
        self.body_bytes += data.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.keep(data);
        }
    }

    /// Reads a head, and returns the bytes behind it; `None` if it is not complete.
    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, ErrorClass> {
        let before = self.partial.len();
        let whole = if before == 0 {
            bytes
        } else {
            self.partial.extend_from_slice(bytes);
            &self.partial
        };
        let Some(head) = parse(whole, self.kept.as_mut())? else {
            if before == 0 {
                self.partial.extend_from_slice(bytes);
            }
            return if self.partial.len() > MAX_HEAD { Err(ErrorClass::Protocol) } else { Ok(None) };
        };
        self.partial.clear();
        self.follow(head)?;
        Ok(bytes.get(head.length.saturating_sub(before)..))
    }

    fn follow(&mut self, head: Head) -> Result<(), ErrorClass> {
        self.status = head.status;
        self.reusable = head.keep_alive;
        self.state = match (head.status, head.framing) {
            // Another protocol would follow, and we did not ask for one.
            (101, _) => return Err(ErrorClass::Protocol),
            (100..200, _) => {
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(ErrorClass::Protocol);
                }
                State::Head
            }
            // No body, whatever the headers say (RFC 9112 §6.3).
            (204 | 304, _) => State::Complete,
            _ if self.bodiless => State::Complete,
            (_, Framing::Length(0)) => State::Complete,
            (_, Framing::Length(length)) => State::Length(length),
            (_, Framing::Chunked) => State::Chunks(Chunks::new()),
            (_, Framing::UntilClose) => {
                self.reusable = false;
                State::UntilClose
            }
        };
        Ok(())
    }
}

/// Parses a head; `None` if it is not complete.
fn parse(bytes: &[u8], kept: Option<&mut Kept>) -> Result<Option<Head>, ErrorClass> {
    let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut lines);
    let Status::Complete(length) = parsed.map_err(|_| ErrorClass::Protocol)? else { return Ok(None) };
    let mut keep_alive = response.version == Some(1);
    let mut content_length = None;
    let mut coding = None;
    for line in response.headers.iter() {
        if line.name.eq_ignore_ascii_case("content-length") {
            let value = number(line.value).ok_or(ErrorClass::Protocol)?;
            if content_length.replace(value).is_some_and(|other| other != value) {
                return Err(ErrorClass::Protocol);
            }
        } else if line.name.eq_ignore_ascii_case("transfer-encoding") {
            coding = Some(line.value);
        } else if line.name.eq_ignore_ascii_case("connection") {
            keep_alive = (keep_alive || names(line.value, b"keep-alive")) && !names(line.value, b"close");
        }
    }
    let framing = match (coding, content_length) {
        // The chunks win over a length, and such a connection is not to be trusted further (RFC 9112 §6.3).
        (Some(coding), length) => {
            keep_alive &= length.is_none();
            if ends_in_chunked(coding) { Framing::Chunked } else { Framing::UntilClose }
        }
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::UntilClose,
    };
    if let Some(kept) = kept {
        kept.headers = headers(response.headers);
    }
    let status = response.code.filter(|code| *code >= 100).ok_or(ErrorClass::Protocol)?;
    Ok(Some(Head { length, status, framing, keep_alive }))
}

fn headers(lines: &[Header<'_>]) -> HeaderMap {
    let line = |line: &Header<'_>| {
        Some((HeaderName::from_bytes(line.name.as_bytes()).ok()?, HeaderValue::from_bytes(line.value).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().filter_map(line) {
        headers.append(name, value);
    }
    headers
}

/// A content length: digits only (RFC 9110 §8.6).
fn number(value: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?))
}

/// Whether a list names `word`.
fn names(list: &[u8], word: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(word))
}

fn ends_in_chunked(list: &[u8]) -> bool {
    list.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What became of a response that comes in these pieces, and then the connection's end.
    fn read(bodiless: bool, pieces: &[&[u8]]) -> Result<(u16, u64, bool), ErrorClass> {
        let mut reader = Reader::new(false);
        reader.begin(bodiless);
        for piece in pieces {
            if reader.feed(piece)? == Progress::Complete {
                return Ok((reader.status, reader.body_bytes, reader.is_reusable()));
            }
        }
        reader.end()?;
        Ok((reader.status, reader.body_bytes, reader.is_reusable()))
    }

    fn whole(response: &str) -> Result<(u16, u64, bool), ErrorClass> {
        read(false, &[response.as_bytes()])
    }

    #[test]
    fn every_framing_is_read_wherever_the_bytes_are_split() {
        for (response, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", (200, 5, true)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, 0, true)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", (200, 3, true)),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", (200, 13, false)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nzzzz", (200, 4, false)),
            ("HTTP/1.1 204 No Content\r\n\r\n", (204, 0, true)),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", (304, 0, true)),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 C\r\ncontent-length: 1\r\n\r\n!",
                (201, 1, true),
            ),
            ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", (200, 2, false)),
            ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", (200, 2, true)),
            ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nhi", (200, 2, false)),
            ("HTTP/1.1 599 \r\ncontent-length: 2\r\n\r\nhi", (599, 2, true)),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
                (200, 1, false),
            ),
        ] {
            assert_eq!(whole(response), Ok(expected), "{response}");
            for split in 1..response.len() {
                let (first, second) = response.as_bytes().split_at(split);
                assert_eq!(read(false, &[first, second]), Ok(expected), "{response} at {split}");
            }
            let bytes: Vec<&[u8]> = response.as_bytes().chunks(1).collect();
            assert_eq!(read(false, &bytes), Ok(expected), "{response} byte by byte");
        }
    }

    #[test]
    fn the_answer_to_a_head_request_has_no_body() {
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n";
        assert_eq!(read(true, &[response.as_bytes()]), Ok((200, 0, true)));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(read(true, &[chunked.as_bytes()]), Ok((200, 0, true)));
    }

    #[test]
    fn bytes_behind_a_response_make_the_connection_unfit() {
        assert_eq!(whole("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200"), Ok((200, 1, false)));
        assert_eq!(whole("HTTP/1.1 204 No\r\n\r\nx"), Ok((204, 0, false)));
    }

    #[test]
    fn an_end_within_the_head_is_io_and_within_the_body_is_body() {
        assert_eq!(whole(""), Err(ErrorClass::Io));
        assert_eq!(whole("HTTP/1.1 200 OK\r\ncontent-le"), Err(ErrorClass::Io));
        assert_eq!(whole("HTTP/1.1 100 Continue\r\n\r\n"), Err(ErrorClass::Io));
        assert_eq!(whole("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"), Err(ErrorClass::Body));
        assert_eq!(whole("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"), Err(ErrorClass::Body));
    }

    #[test]
    fn what_is_not_http_1_is_a_protocol_error() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(21);
        for wrong in [
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
            "HTTP/1.1 99 Low\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnone",
            &long,
            &many,
            &interim,
        ] {
            assert_eq!(whole(wrong), Err(ErrorClass::Protocol), "{:?}", &wrong[..wrong.len().min(70)]);
        }
    }

    #[test]
    fn one_reader_reads_one_response_after_the_other() {
        let mut reader = Reader::new(true);
        for length in ["3", "1"] {
            reader.begin(false);
            let response =
                format!("HTTP/1.1 200 OK\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: {length}\r\n\r\n");
            assert_eq!(reader.feed(response.as_bytes()), Ok(Progress::More));
            assert_eq!(reader.feed(&b"abc"[..length.parse().unwrap()]), Ok(Progress::Complete));
            assert_eq!(reader.answer().body_bytes.to_string(), length);
            let kept = reader.kept().unwrap();
            assert_eq!(kept.headers.get_all("set-cookie").iter().count(), 2);
            assert_eq!(kept.body.len() as u64, reader.answer().body_bytes);
        }
    }
}
