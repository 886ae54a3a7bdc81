//! A raw client: writes bytes in the segments that it is given, and reads with a deadline.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use super::{
    patience::PATIENCE,
    sockets::wait_until_read,
    wire::{self, Message, Parsed, readable},
};

/// How the peer ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a FIN.
    Closed,
    /// With a RST.
    Reset,
    /// Not at all, until the deadline.
    StillOpen,
}

/// Why no whole answer could be read.
#[derive(Debug)]
pub struct NoAnswer {
    /// How the connection ended.
    pub ending: Ending,
    /// The bytes that came instead.
    pub bytes: Vec<u8>,
    /// What is wrong with them, if they can never become an answer.
    pub broken: Option<String>,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    sent: u64,
    unparsed: Vec<u8>,
    ending: Ending,
}

impl Client {
    /// Connects.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&to, PATIENCE).unwrap(), to)
    }

    /// Connects, if somebody listens.
    pub fn try_connect(to: SocketAddr) -> Option<Self> {
        TcpStream::connect_timeout(&to, PATIENCE).ok().map(|stream| Self::over(stream, to))
    }

    /// Connects from the loopback address `from`.
    #[track_caller]
    pub fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        Self::over(socket.into(), to)
    }

    fn over(stream: TcpStream, remote: SocketAddr) -> Self {
        stream.set_nodelay(true).unwrap();
        let local = stream.local_addr().unwrap();
        Self { stream, local, remote, sent: 0, unparsed: Vec::new(), ending: Ending::StillOpen }
    }

    /// Writes `bytes`; a peer that has closed meanwhile is no error here, it shows when reading.
    pub fn send(&mut self, bytes: &[u8]) {
        let _peer_may_have_closed = self.stream.write_all(bytes);
        self.sent += bytes.len() as u64;
    }

    /// Writes each segment by itself: the next one only after the peer has read the last one.
    pub fn send_segments<'a>(&mut self, segments: impl IntoIterator<Item = &'a [u8]>) {
        for segment in segments {
            self.send(segment);
            wait_until_read(self.local, self.remote, self.sent);
        }
    }

    /// Closes the writing side.
    pub fn finish_sending(&self) {
        let _peer_may_have_closed = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// A second handle for another thread.
    pub fn stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// The next answer, to a request by `method`; interim answers (1xx) are answers of their own.
    pub fn try_read_answer_to(&mut self, method: &str) -> Result<Message, NoAnswer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.ending != Ending::StillOpen;
            let broken = match wire::response(&self.unparsed, method, ended) {
                Parsed::Whole(message) => {
                    self.unparsed.drain(..message.length);
                    return Ok(*message);
                }
                Parsed::Broken(why) => Some(why),
                Parsed::Partial => None,
            };
            if broken.is_some() || ended || !self.read_more(deadline) && self.ending == Ending::StillOpen {
                return Err(NoAnswer { ending: self.ending, bytes: std::mem::take(&mut self.unparsed), broken });
            }
        }
    }

    /// The next answer to a GET or the like; fails the test when there is none.
    #[track_caller]
    pub fn read_answer(&mut self) -> Message {
        self.read_answer_to("GET")
    }

    /// The next answer to a request by `method`; fails the test when there is none.
    #[track_caller]
    pub fn read_answer_to(&mut self, method: &str) -> Message {
        match self.try_read_answer_to(method) {
            Ok(message) => message,
            Err(no_answer) => panic!("no answer: {no_answer:?}, as text: {}", readable(&no_answer.bytes)),
        }
    }

    /// Sends `request` and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, request: &[u8]) -> Message {
        self.send(request);
        let method = wire::latin1(request.split(|byte| *byte == b' ').next().unwrap_or(b""));
        self.read_answer_to(&method)
    }

    /// Waits until at least `count` bytes that no answer has taken are there, and gives all that are there.
    #[track_caller]
    pub fn read_at_least(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.unparsed.len() < count {
            assert!(
                self.read_more(deadline),
                "{:?} after {} bytes: {}",
                self.ending,
                self.unparsed.len(),
                readable(&self.unparsed)
            );
        }
        std::mem::take(&mut self.unparsed)
    }

    /// Waits until at least `count` bytes are there, and leaves them there.
    pub fn peek_at_least(&mut self, count: usize) -> Result<&[u8], Ending> {
        let deadline = Instant::now() + PATIENCE;
        while self.unparsed.len() < count {
            if !self.read_more(deadline) {
                return Err(self.ending);
            }
        }
        Ok(&self.unparsed)
    }

    /// The bytes that have been read and that no answer has taken.
    pub fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unparsed)
    }

    /// Everything until the peer ends the connection, and how it did.
    pub fn read_to_end(&mut self) -> (Vec<u8>, Ending) {
        self.read_to_end_within(PATIENCE)
    }

    /// Everything until the peer ends the connection, at most for `limit`, and how it did.
    pub fn read_to_end_within(&mut self, limit: Duration) -> (Vec<u8>, Ending) {
        let deadline = Instant::now() + limit;
        while self.read_more(deadline) {}
        (std::mem::take(&mut self.unparsed), self.ending)
    }

    /// Reads until the peer ends the connection; fails the test if it sends anything more, or stays.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let (bytes, ending) = self.read_to_end();
        assert!(bytes.is_empty(), "more bytes before the end: {}", readable(&bytes));
        assert_ne!(ending, Ending::StillOpen, "the connection was not closed");
    }

    /// Reads once; false at the end or the deadline.
    fn read_more(&mut self, deadline: Instant) -> bool {
        if self.ending != Ending::StillOpen {
            return false;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ending = Ending::Closed,
            Ok(count) => {
                self.unparsed.extend_from_slice(&buffer[..count]);
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(_) => self.ending = Ending::Reset,
        }
        false
    }
}
