//! F1, F2: a proxy that is killed, and proxies that are restarted in turn, while their clients go on.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{
    Client, Glooshot, Setup, eventually,
    experiment::Experiment,
    get,
    glooshot::SERVICE,
    h2,
    load::{self, CountingUpstream, Stopping, Tally},
    patience::PATIENCE,
    scale,
    sockets::own_address,
    wire::find,
};

const SOON: Duration = Duration::from_secs(10);

/// Waits until `moment`.
fn wait_until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

#[test]
fn f1_after_a_kill_and_a_restart_clients_go_on_and_no_fault_is_left() {
    let upstream = CountingUpstream::start();
    let address = own_address(9080);
    let at = |setup: Setup| setup.route(SERVICE, &address.to_string(), upstream.address());
    let experiment = Experiment::named("f1").abort(500, "50").yaml();
    let mut faulty = at(Setup::run(&experiment)).start_with_faults_on();
    let (stop, tallies) = (AtomicBool::new(false), Mutex::new(Vec::<Tally>::new()));
    let client = || {
        while !stop.load(Ordering::Relaxed) {
            // It ends whenever nobody listens.
            let tally = load::send_until(address, 1, 20, &stop, |_| get("/"));
            tallies.lock().unwrap().push(tally);
            thread::park_timeout(Duration::from_millis(1));
        }
    };
    let seen = |count: fn(&Tally) -> u64| tallies.lock().unwrap().iter().map(count).sum::<u64>();
    thread::scope(|scope| {
        let stopping = Stopping(&stop);
        (0..4).for_each(|_| drop(scope.spawn(client)));
        eventually("faults are injected", || (seen(Tally::marked) > 100).then_some(()));
        faulty.signal(Signal::KILL);
        faulty.wait_for_exit(SOON);
        let killed = Instant::now();
        eventually("clients find nobody", || (seen(|tally| tally.unanswered) > 0).then_some(()));
        let _well = at(Setup::proxy()).start();
        let before = seen(|tally| tally.status(200));
        eventually("clients are served again", || (seen(|tally| tally.status(200)) >= before + 400).then_some(()));
        drop(stopping);
        let last = tallies.lock().unwrap().iter().filter_map(|tally| tally.last_marked).max();
        assert!(
            last.unwrap() <= killed,
            "a fault of the one that was killed was met {:?} later",
            last.unwrap() - killed
        );
    });
}

/// The addresses that clients know of; what they know lags behind.
#[derive(Clone, Debug, Default)]
struct View(Arc<Mutex<Vec<SocketAddr>>>);

impl View {
    fn pick(&self, number: usize) -> SocketAddr {
        let addresses = self.0.lock().unwrap();
        addresses[number % addresses.len()]
    }

    fn add(&self, address: SocketAddr) {
        self.0.lock().unwrap().push(address);
    }

    fn remove(&self, address: SocketAddr) {
        self.0.lock().unwrap().retain(|known| *known != address);
    }
}

/// Asks the proxy at an address once; what went wrong, if anything did.
trait Asks: Default {
    fn ask(&mut self, to: SocketAddr) -> io::Result<Told>;
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It was answered with 200.
    Answered,
    /// It was certainly not processed, so that it may be sent again somewhere else (RFC 9113 section 8.7).
    NotTaken,
}

/// Keeps a connection to each address until it is told to close it.
#[derive(Debug, Default)]
struct KeepsAlive(HashMap<SocketAddr, TcpStream>);

impl Asks for KeepsAlive {
    fn ask(&mut self, to: SocketAddr) -> io::Result<Told> {
        let mut stream = match self.0.remove(&to) {
            Some(stream) if !is_closed(&stream) => stream,
            _ => TcpStream::connect_timeout(&to, PATIENCE)?,
        };
        if !exchange(&mut stream, &get("/"))? {
            self.0.insert(to, stream);
        }
        Ok(Told::Answered)
    }
}

/// Makes a new connection for each request.
#[derive(Debug, Default)]
struct ConnectsAnew;

impl Asks for ConnectsAnew {
    fn ask(&mut self, to: SocketAddr) -> io::Result<Told> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: ratings\r\nConnection: close\r\n\r\n")?;
        Ok(Told::Answered)
    }
}

/// Whether the peer has closed a connection on which nothing is awaited.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// One request and its answer, which must be a 200; whether the connection is to be closed.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<bool> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while find(&answer, b"\r\n\r\nok").is_none() {
        match stream.read(&mut piece)? {
            0 => return Err(io::Error::other(format!("the end after {answer:?}"))),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("{answer:?}")));
    }
    Ok(find(&answer.to_ascii_lowercase(), b"connection: close").is_some())
}

/// Keeps a connection of HTTP/2 to each address until a GOAWAY comes.
#[derive(Debug, Default)]
struct Streams(HashMap<SocketAddr, h2::Client>);

impl Asks for Streams {
    fn ask(&mut self, to: SocketAddr) -> io::Result<Told> {
        let kept = self.0.remove(&to).filter(|client| !client.endpoint().state().is_ending());
        let mut client = kept.unwrap_or_else(|| h2::Client::connect(to));
        let stream = client.request(&h2::client::get("/"));
        let outcome = client.outcome(stream);
        let not_taken = client.goaways().iter().any(|goaway| goaway.last_stream < stream);
        if outcome.is_whole() && outcome.status() == 200 {
            self.0.insert(to, client);
            Ok(Told::Answered)
        } else if outcome.head.is_empty() && (not_taken || outcome.reset == Some(h2::code::REFUSED_STREAM)) {
            Ok(Told::NotTaken)
        } else {
            Err(io::Error::other(format!("{outcome:?}, {:?}", client.goaways())))
        }
    }
}

/// Clients at a time, and requests of each in a second: 1,000 in all.
const CLIENTS: usize = 10;
const PER_SECOND: u32 = 100;

/// Answers for each second that a test is long, half of what clients ask for: with fewer, what restarts do to them is not told.
const ANSWERS_PER_SECOND: u64 = 500;

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    answered: u64,
    sent_again: u64,
    failed: Vec<String>,
}

/// Asks at its pace until it is told to stop.
fn go_on<A: Asks>(view: &View, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let (mut client, began) = (A::default(), Instant::now());
    for number in 0.. {
        wait_until(began + Duration::from_secs(1) * number / PER_SECOND);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // The first attempt, and one at the next address.
        for attempt in 0..5 {
            let to = view.pick(usize::try_from(number).unwrap() + attempt);
            let told = client.ask(to);
            let mut seen = seen.lock().unwrap();
            match told {
                Ok(Told::Answered) => seen.answered += 1,
                Ok(Told::NotTaken) => {
                    seen.sent_again += 1;
                    continue;
                }
                Err(error) => seen.failed.push(format!("at {to}: {error}")),
            }
            break;
        }
    }
}

/// A proxy that is restarted at the same address again and again.
struct Instance<'a> {
    address: SocketAddr,
    upstream: &'a CountingUpstream,
    process: Glooshot,
}

impl<'a> Instance<'a> {
    fn start(address: SocketAddr, upstream: &'a CountingUpstream) -> Self {
        let protocol = format!("{SERVICE}=http1");
        let process = Setup::proxy()
            .route(SERVICE, &address.to_string(), upstream.address())
            .with(["--drain-at-least", "700ms", "--upstream-protocol", &protocol])
            .start();
        Self { address, upstream, process }
    }

    /// Ends it as a Pod ends: the signal comes first, and clients hear of it later.
    fn restart(&mut self, view: &View) {
        const LAG: Duration = Duration::from_millis(100);
        self.process.signal(Signal::TERM);
        wait_until(Instant::now() + LAG);
        view.remove(self.address);
        assert_eq!(self.process.wait_for_exit(SOON).code(), Some(0));
        *self = Self::start(self.address, self.upstream);
        let ready = Client::connect(self.process.metrics_address()).ask(&get("/readyz"));
        assert_eq!(ready.status(), 200, "{ready:?}");
        view.add(self.address);
    }
}

/// Restarts two proxies in turn while clients of this kind go on.
#[track_caller]
fn nobody_notices<A: Asks>() {
    let upstream = CountingUpstream::start();
    let mut instances = [own_address(9080), own_address(9080)].map(|address| Instance::start(address, &upstream));
    let (view, stop, seen) = (View::default(), AtomicBool::new(false), Mutex::<Seen>::default());
    instances.iter().for_each(|instance| view.add(instance.address));
    let seconds = scale::ROLLING_SECONDS.get();
    let (began, time, enough) = (Instant::now(), Duration::from_secs(seconds), ANSWERS_PER_SECOND * seconds);
    // A machine that is busy with other tests answers as many in a longer time, and there are more restarts.
    let deadline = began + 2 * time + PATIENCE;
    let answered = || seen.lock().unwrap().answered;
    let failed = || seen.lock().unwrap().failed.first().cloned();
    let mut restarts = 0;
    thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        (0..CLIENTS).for_each(|_| drop(scope.spawn(|| go_on::<A>(&view, &stop, &seen))));
        while began.elapsed() < time || answered() < enough {
            assert!(Instant::now() < deadline, "only {} of {enough} answers; {:?}", answered(), failed());
            let before = answered();
            instances[restarts % 2].restart(&view);
            restarts += 1;
            assert!(answered() > before, "nobody is answered while a proxy is restarted; {:?}", failed());
        }
    });
    let (seen, took) = (seen.into_inner().unwrap(), began.elapsed());
    println!("F2: {restarts} restarts in {took:?}: {} answered, {} sent again", seen.answered, seen.sent_again);
    assert!(
        seen.failed.is_empty(),
        "{} failed, as: {:#?}",
        seen.failed.len(),
        &seen.failed[..seen.failed.len().min(5)]
    );
    assert!(restarts >= 2);
}

#[test]
fn f2_a_rolling_restart_fails_no_request_over_kept_connections() {
    nobody_notices::<KeepsAlive>();
}

#[test]
fn f2_a_rolling_restart_fails_no_request_over_new_connections() {
    nobody_notices::<ConnectsAnew>();
}

#[test]
fn f2_a_rolling_restart_fails_no_request_over_http_2() {
    nobody_notices::<Streams>();
}
