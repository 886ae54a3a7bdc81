//! Requests from this machine to a Service, at fixed times whatever becomes of those before, and a log of what became of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::poll_fn,
    io::{self, ErrorKind},
    net::{self, SocketAddr},
    os::fd::AsFd,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{
    certificates::Authority,
    harness::{
        patience::within,
        wire::{self, Message, Parsed},
    },
};

/// A request that has no answer by then has failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What a client meets whose connection was closed while it rested.
const CLOSED: [ErrorKind; 3] = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
/// How long a kept connection rests between two requests.
const REST: Duration = Duration::from_millis(200);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The service answered, and well.
    Good,
    /// A proxy answered in its place, as it was told.
    Injected,
    /// Anything else, and what.
    Failed(String),
}

/// A request that is over.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was sent.
    pub sent: Instant,
    /// When it was over.
    pub over: Instant,
    /// What became of it.
    pub fate: Fate,
    /// How it went there.
    pub way: Way,
    /// The connection had been kept, and was closed before a byte of the answer came.
    found_closed: bool,
}

/// The way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    to: SocketAddr,
    /// Over a connection that earlier requests had used.
    kept: bool,
    /// From where.
    from: Option<SocketAddr>,
    /// How long it took to be connected, if it ever was.
    connected: Option<Duration>,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(from) = self.from {
            write!(f, "{from} ")?;
        }
        write!(f, "to {}, ", self.to)?;
        match self.connected {
            None => f.write_str("never connected"),
            Some(_) if self.kept => f.write_str("over a kept connection"),
            Some(took) => write!(f, "over a new connection, made in {took:.0?}"),
        }
    }
}

/// A connection, in the clear or inside TLS.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// One that is open.
struct Open {
    from: SocketAddr,
    stream: Box<dyn Connection>,
}

/// How clients speak inside TLS, and for whom the certificate must be.
#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// Requests that are sent until this is finished or dropped.
#[derive(Debug)]
pub struct Traffic {
    log: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
}

impl Traffic {
    /// So many requests a second, each over a connection of its own.
    pub fn new_connections(to: SocketAddr, per_second: u64) -> Self {
        Self::start(move |log, stop| one_connection_each(to, None, per_second, log, stop))
    }

    /// The same inside TLS, by clients who trust `authority` to have signed a certificate for `name`.
    pub fn new_sessions(to: SocketAddr, authority: &Authority, name: &str, per_second: u64) -> Self {
        let connector = TlsConnector::from(Arc::new(authority.client(&["http/1.1"])));
        let tls = Tls { connector, name: ServerName::try_from(name.to_owned()).unwrap() };
        Self::start(move |log, stop| one_connection_each(to, Some(tls), per_second, log, stop))
    }

    /// Five requests a second over each of so many connections, which are all open when this returns.
    pub fn kept_connections(to: SocketAddr, connections: usize) -> Self {
        Self::over_kept(to, connections, false)
    }

    /// The same, by clients that send a request again, once and over a new connection, when the kept one turns out to be closed: as
    /// clients do whose servers are restarted.
    pub fn reconnecting_connections(to: SocketAddr, connections: usize) -> Self {
        Self::over_kept(to, connections, true)
    }

    fn over_kept(to: SocketAddr, connections: usize, again: bool) -> Self {
        let traffic = Self::start(move |log, stop| keep_connections(to, connections, again, log, stop));
        within(ANSWERED_WITHIN, "as many answers as connections", || {
            (traffic.log.lock().unwrap().len() >= connections).then_some(())
        });
        traffic
    }

    fn start<F: Future<Output = ()>>(
        send: impl FnOnce(Arc<Mutex<Vec<Seen>>>, Arc<AtomicBool>) -> F + Send + 'static,
    ) -> Self {
        let (log, stop) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let (written, stopped) = (log.clone(), stop.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = thread::spawn(move || runtime.block_on(send(written, stopped)));
        Self { log, stop, sender: Some(sender) }
    }

    /// The first request of this kind that was sent after `since`.
    #[track_caller]
    pub fn first(&self, kind: &Fate, since: Instant, limit: Duration) -> Seen {
        within(limit, &format!("a request that is {kind:?}"), || {
            let log = self.log.lock().unwrap();
            log.iter()
                .rev()
                .take_while(|seen| seen.over > since)
                .filter(|seen| seen.sent > since && seen.fate == *kind)
                .last()
                .cloned()
        })
    }

    /// Sends no more, waits for the answers, and gives the log in the order of sending.
    pub fn finish(mut self) -> Log {
        self.end();
        let mut seen = std::mem::take(&mut *self.log.lock().unwrap());
        seen.sort_by_key(|seen| seen.sent);
        Log(seen)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().unwrap();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What became of all requests, in the order of sending.
#[derive(Debug)]
pub struct Log(pub Vec<Seen>);

impl Log {
    /// How many requests became this.
    pub fn count(&self, fate: &Fate) -> usize {
        self.0.iter().filter(|seen| seen.fate == *fate).count()
    }

    /// Those that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter().filter(|seen| matches!(seen.fate, Fate::Failed(_)))
    }

    /// How many failed in which way.
    pub fn failures(&self) -> BTreeMap<&str, usize> {
        let mut ways = BTreeMap::new();
        for seen in self.failed() {
            if let Fate::Failed(why) = &seen.fate {
                *ways.entry(why.as_str()).or_default() += 1;
            }
        }
        ways
    }

    /// No request failed.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        let Some(first) = self.0.first() else { return };
        let failed: Vec<String> = self.failed().take(REPORTED).map(|seen| self.story(seen, first.sent)).collect();
        let (count, all) = (self.failed().count(), self.0.len());
        assert!(failed.is_empty(), "{count} of {all} failed: {failed:#?}\nall since {}", self.phases().join(", "));
    }

    /// What became of a request, with those before and behind it, for somebody who has to find out why.
    fn story(&self, seen: &Seen, began: Instant) -> String {
        let wall = Timestamp::now() - SignedDuration::try_from(seen.sent.elapsed()).unwrap();
        let (at, took) = (seen.sent - began, seen.over - seen.sent);
        format!("{wall:.3} ({at:.3?} after the first), {}: {:?} after {took:.3?}", seen.way, seen.fate)
    }

    /// When answers changed from the service's to ours, or back.
    fn phases(&self) -> Vec<String> {
        let whole = self.0.iter().filter(|seen| !matches!(seen.fate, Fate::Failed(_)));
        let mut phases: Vec<(&Seen, usize)> = Vec::new();
        for seen in whole {
            match phases.last_mut() {
                Some((first, count)) if first.fate == seen.fate => *count += 1,
                _ => phases.push((seen, 1)),
            }
        }
        let began = self.0.first().map(|seen| seen.sent);
        let at = |seen: &Seen| seen.sent - began.unwrap_or(seen.sent);
        phases.iter().map(|(first, count)| format!("{:.3?} {count} {:?}", at(first), first.fate)).collect()
    }

    /// How long the slowest took to be connected, and to be over.
    pub fn slowest(&self) -> (Duration, Duration) {
        let connected = self.0.iter().filter_map(|seen| seen.way.connected);
        let over = self.0.iter().map(|seen| seen.over - seen.sent);
        (connected.max().unwrap_or_default(), over.max().unwrap_or_default())
    }

    /// When the last answer of ours came, before a second without any; the time itself if none came.
    pub fn injected_until(&self, since: Instant) -> Instant {
        let mut times: Vec<Instant> = self
            .0
            .iter()
            .filter(|seen| seen.fate == Fate::Injected && seen.over > since)
            .map(|seen| seen.over)
            .collect();
        times.sort_unstable();
        // What comes after a quiet second is another phase.
        let mut until = since;
        for time in times {
            if time - until > QUIET {
                break;
            }
            until = time;
        }
        until
    }

    /// From when on all requests for a second were good, the first time after `since`.
    pub fn good_again(&self, since: Instant) -> Option<Instant> {
        let mut began = None;
        for seen in self.0.iter().filter(|seen| seen.sent >= since) {
            match (&seen.fate, began) {
                (Fate::Good, None) => began = Some(seen.sent),
                (Fate::Good, Some(first)) if seen.sent - first >= QUIET => return began,
                (Fate::Good, Some(_)) => {}
                _ => began = None,
            }
        }
        None
    }

    /// For how long faults were on: the tenths of a second in which one of our answers came.
    pub fn injected_for(&self) -> Duration {
        TENTH * u32::try_from(self.tenths(&Fate::Injected).len()).unwrap()
    }

    /// For how long faults were seen to be off in a run that is so long: the tenths of a second, from our first answer on, in which
    /// answers came and all of them were the service's own. Of one in which nobody was answered nothing can be said.
    pub fn untouched_within(&self, run: Duration) -> Duration {
        let (injected, good) = (self.tenths(&Fate::Injected), self.tenths(&Fate::Good));
        let Some(first) = injected.first() else { return run };
        let end = first + run.as_millis() / TENTH.as_millis();
        let off = good.difference(&injected).filter(|tenth| (*first..end).contains(tenth)).count();
        TENTH * u32::try_from(off).unwrap()
    }

    /// In which tenths of a second such answers came, counted from the first request.
    fn tenths(&self, fate: &Fate) -> BTreeSet<u128> {
        let Some(first) = self.0.first().map(|first| first.sent) else { return BTreeSet::new() };
        let seen = self.0.iter().filter(|seen| seen.fate == *fate);
        seen.map(|seen| seen.over.saturating_duration_since(first).as_millis() / TENTH.as_millis()).collect()
    }
}

/// What is looked at as one.
const TENTH: Duration = Duration::from_millis(100);
/// How many requests that failed are told of.
const REPORTED: usize = 20;
/// Between two phases of a run.
const QUIET: Duration = Duration::from_secs(1);

async fn one_connection_each(
    to: SocketAddr,
    tls: Option<Tls>,
    per_second: u64,
    log: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
) {
    let (began, mut sent) = (Instant::now(), 0);
    let mut requests = JoinSet::new();
    let mut beat = interval(Duration::from_millis(1));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        // Those that are due; a late beat catches up.
        while sent < (began.elapsed().as_secs_f64() * per_second as f64) as u64 {
            sent += 1;
            let (log, tls) = (log.clone(), tls.clone());
            requests.spawn(async move {
                let seen = ask(to, tls.as_ref(), &mut None, "close").await;
                log.lock().unwrap().push(seen);
            });
        }
        while requests.try_join_next().is_some() {}
        beat.tick().await;
    }
    requests.join_all().await;
}

async fn keep_connections(
    to: SocketAddr,
    connections: usize,
    again: bool,
    log: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
) {
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (log, stop) = (log.clone(), stop.clone());
        clients.spawn(async move {
            let mut kept = None;
            let mut beat = interval(REST);
            while !stop.load(Ordering::Relaxed) {
                beat.tick().await;
                let mut seen = ask(to, None, &mut kept, "keep-alive").await;
                if again && seen.found_closed {
                    seen = ask(to, None, &mut kept, "keep-alive").await;
                }
                log.lock().unwrap().push(seen);
            }
        });
    }
    clients.join_all().await;
}

fn fate(answer: &io::Result<Message>) -> Fate {
    match answer {
        Ok(answer) if answer.has("x-glooshot-fault") => Fate::Injected,
        Ok(answer) if answer.status() == 200 => Fate::Good,
        Ok(answer) => Fate::Failed(format!("{} {:?}", answer.start_line, answer.one("x-glooshot-error"))),
        Err(error) => Fate::Failed(error.to_string()),
    }
}

/// One request and its answer, over the connection that is kept, if there is one.
async fn ask(to: SocketAddr, tls: Option<&Tls>, kept: &mut Option<Open>, connection: &str) -> Seen {
    let request = format!("GET /ratings/7 HTTP/1.1\r\nHost: ratings\r\nConnection: {connection}\r\n\r\n");
    let sent = Instant::now();
    let mut way = Way { to, kept: kept.is_some(), from: None, connected: None };
    let mut bytes = Vec::new();
    let exchanged =
        timeout(ANSWERED_WITHIN, exchange(kept.take(), tls, request.as_bytes(), &mut way, &mut bytes)).await;
    let answer = exchanged.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())).map(|(answer, open)| {
        *kept = Some(open).filter(|_| !answer.says_close());
        answer
    });
    let is_closed = |error: &io::Error| CLOSED.contains(&error.kind());
    let found_closed = way.kept && bytes.is_empty() && answer.as_ref().is_err_and(is_closed);
    Seen { sent, over: Instant::now(), fate: fate(&answer), way, found_closed }
}

async fn exchange(
    kept: Option<Open>,
    tls: Option<&Tls>,
    request: &[u8],
    way: &mut Way,
    bytes: &mut Vec<u8>,
) -> io::Result<(Message, Open)> {
    let began = Instant::now();
    let mut open = match kept {
        Some(open) => open,
        None => connect(tls, way).await?,
    };
    way.from = Some(open.from);
    way.connected.get_or_insert(began.elapsed());
    open.stream.write_all(request).await?;
    loop {
        match wire::response(bytes, "GET", false) {
            Parsed::Whole(answer) => return Ok((*answer, open)),
            Parsed::Broken(why) => return Err(io::Error::other(why)),
            Parsed::Partial => {}
        }
        if open.stream.read_buf(bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn connect(tls: Option<&Tls>, way: &mut Way) -> io::Result<Open> {
    let began = Instant::now();
    let stream = connect_from(way).await?;
    let from = stream.local_addr()?;
    // From here on it is the other end that is slow, not the network.
    way.connected = Some(began.elapsed());
    let stream: Box<dyn Connection> = match tls {
        None => Box::new(stream),
        Some(Tls { connector, name }) => Box::new(connector.connect(name.clone(), stream).await?),
    };
    Ok(Open { from, stream })
}

/// Notes from where as soon as that is chosen: by it the nodes' tables tell what became of one that is never answered.
async fn connect_from(way: &mut Way) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let same = net::TcpStream::from(socket.as_fd().try_clone_to_owned()?);
    let mut connecting = pin!(socket.connect(way.to));
    poll_fn(|context| {
        let connected = connecting.as_mut().poll(context);
        way.from = way.from.or_else(|| same.local_addr().ok());
        connected
    })
    .await
}
