//! A scripted upstream on loopback that logs every byte of every connection and can misbehave in every way a test needs.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use super::{
    answer,
    patience::{Gate, PATIENCE},
    wire::{self, Message, Parsed, readable},
};

/// One thing that the upstream does about a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes bytes.
    Send(Vec<u8>),
    /// Waits for the test.
    Wait(Gate),
    /// Reads and logs until the peer closes.
    Hang,
    /// Closes the connection, with a FIN.
    Close,
    /// Closes the connection with a RST.
    Reset,
    /// Closes the writing side only.
    HalfClose,
    /// From now on sends back every byte that comes, until the peer's FIN; then closes the writing side.
    Echo,
}

/// A whole request, as a script sees it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Which request on its connection, counted from 0.
    pub nth: usize,
    /// The request.
    pub request: Message,
}

/// What is known of one connection.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Every byte that came.
    pub bytes: Vec<u8>,
    /// It is over, ended by the peer or by the script.
    pub ended: bool,
}

/// What the bytes of all connections amount to.
#[derive(Debug, Default)]
pub struct Account {
    /// The whole requests, connection by connection.
    pub requests: Vec<Message>,
    /// What stands behind the last whole request of a connection: the beginning of one, or bytes that are none.
    pub rests: Vec<String>,
}

/// A point in time, as the length of each connection's log.
#[derive(Debug)]
pub struct Mark(Vec<usize>);

type Script = dyn Fn(&Exchange) -> Vec<Step> + Send + Sync;
type Handler = dyn Fn(&TcpStream, &Recorder) + Send + Sync;
type Log = (Mutex<Vec<Connection>>, Condvar);

/// Logs the bytes of one connection.
#[derive(Clone, Debug)]
pub struct Recorder {
    log: Arc<Log>,
    /// Which connection, counted from 0 in the order of acceptance.
    connection: usize,
}

impl Recorder {
    /// Reads once and logs it; false at the end of the connection.
    pub fn read(&self, mut stream: &TcpStream) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = stream.read(&mut buffer).unwrap_or(0);
        let mut log = self.log.0.lock().unwrap();
        log[self.connection].bytes.extend_from_slice(&buffer[..count]);
        log[self.connection].ended |= count == 0;
        self.log.1.notify_all();
        count > 0
    }

    /// Notes that the connection is over.
    fn end(&self) {
        self.log.0.lock().unwrap()[self.connection].ended = true;
        self.log.1.notify_all();
    }

    /// The bytes so far, from `from` on.
    pub fn bytes(&self, from: usize) -> Vec<u8> {
        self.log.0.lock().unwrap()[self.connection].bytes[from..].to_vec()
    }
}

/// A server on loopback whose every connection is logged; it ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    log: Arc<Log>,
    streams: Arc<Mutex<Vec<Weak<TcpStream>>>>,
    stopped: Arc<AtomicBool>,
}

impl Upstream {
    /// An upstream that answers every whole request with `200` and the body `ok`.
    pub fn ok() -> Self {
        Self::answering(answer("ok"))
    }

    /// An upstream that answers every whole request with `bytes`.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::scripted(move |_| vec![Step::Send(bytes.clone())])
    }

    /// An upstream that answers every request with `200` and its own target as the body.
    pub fn naming_the_target() -> Self {
        Self::scripted(|exchange| vec![Step::Send(answer(exchange.request.target()))])
    }

    /// An upstream that does what `script` says about each whole request.
    pub fn scripted(script: impl Fn(&Exchange) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        Self::raw(move |stream, recorder| serve(stream, recorder, &*script))
    }

    /// An upstream whose connections are handled by `handler`, without any notion of requests.
    pub fn raw(handler: impl Fn(&TcpStream, &Recorder) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
            streams: Arc::default(),
            stopped: Arc::default(),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, streams, stopped) = (upstream.log.clone(), upstream.streams.clone(), upstream.stopped.clone());
        thread::spawn(move || accept(&listener, &log, &streams, &stopped, &handler));
        upstream
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections so far.
    pub fn connections(&self) -> Vec<Connection> {
        self.log.0.lock().unwrap().clone()
    }

    /// How many bytes have come, over all connections.
    pub fn byte_count(&self) -> usize {
        self.log.0.lock().unwrap().iter().map(|connection| connection.bytes.len()).sum()
    }

    /// What the bytes so far amount to.
    pub fn account(&self) -> Account {
        account(&self.log.0.lock().unwrap())
    }

    /// How far each connection's log has come, for [`Upstream::since`].
    pub fn mark(&self) -> Mark {
        Mark(self.log.0.lock().unwrap().iter().map(|connection| connection.bytes.len()).collect())
    }

    /// The logs from `mark` on: the connections that have got anything since, or are new.
    pub fn since(&self, mark: &Mark) -> Vec<Connection> {
        let log = self.log.0.lock().unwrap();
        let from = |at: usize| mark.0.get(at).copied();
        log.iter()
            .enumerate()
            .filter(|(at, connection)| from(*at).is_none_or(|length| length < connection.bytes.len()))
            .map(|(at, connection)| Connection {
                bytes: connection.bytes[from(at).unwrap_or(0)..].to_vec(),
                ended: connection.ended,
            })
            .collect()
    }

    /// The whole requests so far; fails the test if anything else came.
    #[track_caller]
    pub fn requests(&self) -> Vec<Message> {
        let account = self.account();
        assert!(account.rests.is_empty(), "the upstream got more than whole requests: {:?}", account.rests);
        account.requests
    }

    /// The only request so far; fails the test if there are more or none, or anything else came.
    #[track_caller]
    pub fn only_request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "the upstream got {requests:#?}");
        requests.remove(0)
    }

    /// Waits until the log satisfies `condition`.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn(&[Connection]) -> bool) {
        self.wait_within(PATIENCE, what, condition);
    }

    /// Waits until the log satisfies `condition`, at most for `limit`.
    #[track_caller]
    pub fn wait_within(&self, limit: Duration, what: &str, condition: impl Fn(&[Connection]) -> bool) {
        let log = self.log.0.lock().unwrap();
        let (log, timeout) = self.log.1.wait_timeout_while(log, limit, |log| !condition(log)).unwrap();
        let come = timeout.timed_out().then(|| account(&log));
        // Failing while the log is locked would make its threads fail too.
        drop(log);
        assert!(come.is_none(), "the upstream did not see within {limit:?}: {what}; its log: {come:?}");
    }

    /// Waits until `count` whole requests have come.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        self.wait_until(&format!("{count} requests"), |log| account(log).requests.len() >= count);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        let _woken = TcpStream::connect(self.address);
        for stream in self.streams.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A port where nothing listens and nothing else can start to: connecting to it is refused.
#[derive(Debug)]
pub struct RefusingPort(Socket);

impl RefusingPort {
    /// Reserves the port.
    pub fn new() -> Self {
        Self(bound())
    }

    /// The address that refuses.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// A listener that never accepts and whose queue is full: connecting to it gets no answer, as from a black hole.
#[derive(Debug)]
pub struct BlackHole {
    listener: Socket,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    /// Listens, and fills the queue until the kernel drops further connections.
    pub fn new() -> Self {
        let listener = bound();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queue.push(stream);
            assert!(queue.len() < 100, "the queue of the listener does not fill");
        }
        Self { listener, _queue: queue }
    }

    /// The address that never answers.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

fn accept(
    listener: &TcpListener,
    log: &Arc<Log>,
    streams: &Mutex<Vec<Weak<TcpStream>>>,
    stopped: &AtomicBool,
    handler: &Arc<Handler>,
) {
    while let Ok((stream, _)) = listener.accept() {
        if stopped.load(Ordering::Acquire) {
            return;
        }
        stream.set_nodelay(true).unwrap();
        let stream = Arc::new(stream);
        streams.lock().unwrap().push(Arc::downgrade(&stream));
        let recorder = {
            let mut connections = log.0.lock().unwrap();
            connections.push(Connection::default());
            Recorder { log: log.clone(), connection: connections.len() - 1 }
        };
        log.1.notify_all();
        let handler = handler.clone();
        thread::spawn(move || handler(&stream, &recorder));
    }
}

/// Answers one connection's requests by `script` until the peer or the script ends it.
fn serve(stream: &TcpStream, recorder: &Recorder, script: &Script) {
    let mut done = 0;
    let mut nth = 0;
    loop {
        match wire::request(&recorder.bytes(done)) {
            Parsed::Whole(request) => {
                done += request.length;
                let exchange = Exchange { nth, request: *request };
                nth += 1;
                for step in script(&exchange) {
                    if !perform(stream, recorder, step, &mut done) {
                        return;
                    }
                }
            }
            Parsed::Partial => {
                if !recorder.read(stream) {
                    return;
                }
            }
            // What is broken stays so: log the rest for the judge.
            Parsed::Broken(_) => {
                while recorder.read(stream) {}
                return;
            }
        }
    }
}

/// One step of a script; false when the connection is over.
fn perform(mut stream: &TcpStream, recorder: &Recorder, step: Step, done: &mut usize) -> bool {
    match step {
        Step::Send(bytes) => stream.write_all(&bytes).is_ok(),
        Step::Wait(gate) => {
            gate.wait();
            true
        }
        Step::Hang => {
            while recorder.read(stream) {}
            false
        }
        Step::Close => {
            let _gone = stream.shutdown(Shutdown::Both);
            recorder.end();
            false
        }
        Step::Reset => {
            recorder.end();
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
            false
        }
        Step::HalfClose => stream.shutdown(Shutdown::Write).is_ok(),
        Step::Echo => {
            loop {
                let come = recorder.bytes(*done);
                *done += come.len();
                if stream.write_all(&come).is_err() || !recorder.read(stream) {
                    break;
                }
            }
            let _gone = stream.shutdown(Shutdown::Write);
            false
        }
    }
}

/// What the bytes of `log` amount to.
pub fn account(log: &[Connection]) -> Account {
    let mut account = Account::default();
    for connection in log {
        let mut rest = connection.bytes.as_slice();
        while !rest.is_empty() {
            match wire::request(rest) {
                Parsed::Whole(request) => {
                    rest = &rest[request.length..];
                    account.requests.push(*request);
                }
                Parsed::Partial => {
                    account.rests.push(format!("unfinished: {}", readable(rest)));
                    break;
                }
                Parsed::Broken(why) => {
                    account.rests.push(format!("{why}: {}", readable(rest)));
                    break;
                }
            }
        }
    }
    account
}
