//! A hundred good clients with a keep-alive connection each: every one asks ten times a second, whatever the answers do.
//!
//! A client whose last answer came late sends the next request late too: that one's latency counts from the moment at which it
//! was due, so that whatever holds one request up is seen by those behind it. All others count from the sending: how late a
//! timer wakes an idle client is no matter of the proxy.
//!
//! Requests that were under way while the machine itself stood still are not judged, with an attack as without: what they waited
//! for was no proxy. They must be answered all the same.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    sync::oneshot,
    task::LocalSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    harness::{
        patience::{try_within, within},
        wire::find,
    },
    support::{
        figures::at_quantile,
        standstill::{Span, Standstills, touched},
    },
};

/// Clients.
const CLIENTS: u32 = 100;
/// Between two requests of one client.
const INTERVAL: Duration = Duration::from_millis(100);
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: ratings\r\n\r\n";
/// Answered so late that all clients wait at the same time.
const SLOW_REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nHost: ratings\r\n\r\n";
const HEAD_OK: &[u8] = b"HTTP/1.1 200 ";

/// The clients, on a thread of their own; they end when this is dropped.
#[derive(Debug)]
pub struct GoodClients {
    shared: Arc<Mutex<Shared>>,
    standstills: Option<Standstills>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Requests that are due from the first to before the second are sent.
    window: Option<(Instant, Instant)>,
    answered: Vec<Span>,
    failed: u32,
    /// Clients that have asked once.
    warm: u32,
}

/// What they saw in some time.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub p50: Duration,
    pub p99: Duration,
    pub requests: u32,
    pub failed: u32,
    /// The share of the requests that p50 and p99 are of.
    pub judged: f64,
}

impl GoodClients {
    /// Starts them, and waits until each has asked once.
    pub fn start(to: SocketAddr) -> Self {
        let shared = Arc::<Mutex<Shared>>::default();
        let clients = Arc::clone(&shared);
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let start = Instant::now();
                for number in 0..CLIENTS {
                    let first = start + INTERVAL * number / CLIENTS;
                    tokio::task::spawn_local(client(to, first, Arc::clone(&clients)));
                }
                let _dropped = stopped.await;
            });
        };
        thread::Builder::new().name("good".into()).spawn(run).unwrap();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let standstills = Standstills::watch(0..cores);
        if standstills.is_none() {
            println!("all requests are judged: to see when the machine stands still takes CAP_SYS_NICE");
        }
        let good = Self { shared, standstills, _stop: stop };
        within(PATIENCE, "all good clients are served once", || (good.lock().warm == CLIENTS).then_some(()));
        good
    }

    /// Lets them ask for this long (a multiple of the interval), doing `meanwhile`, until all are answered or have failed.
    pub fn ask_for<T>(&self, duration: Duration, meanwhile: impl FnOnce(std::time::Instant) -> T) -> (Seen, T) {
        let start = Instant::now() + Duration::from_millis(5);
        let end = start + duration;
        self.standstills.iter().for_each(Standstills::forget);
        *self.lock() = Shared { window: Some((start, end)), ..Shared::default() };
        let result = meanwhile(end.into_std());
        let expected = CLIENTS * u32::try_from(duration.as_millis() / INTERVAL.as_millis()).unwrap();
        let counted = |shared: &Shared| u32::try_from(shared.answered.len()).unwrap() + shared.failed;
        let deadline = end.saturating_duration_since(Instant::now()) + 3 * PATIENCE;
        let _some_are_missing = try_within(deadline, || (counted(&self.lock()) >= expected).then_some(()));
        let seen = std::mem::take(&mut *self.lock());
        let missing = expected.saturating_sub(counted(&seen));
        let now = Instant::now().into_std();
        let standstills = self.standstills.as_ref().map_or_else(Vec::new, |standstills| standstills.until(now));
        let judged = seen.answered.iter().filter(|time| !touched(**time, &standstills));
        let mut latencies: Vec<Duration> = judged.map(|time| time.end - time.begin).collect();
        latencies.sort();
        let (p50, p99) = (at_quantile(&latencies, 0.5), at_quantile(&latencies, 0.99));
        let judged = latencies.len() as f64 / f64::from(expected);
        (Seen { p50, p99, requests: expected, failed: seen.failed + missing, judged }, result)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client: asks whenever it is due, over one connection as long as it lasts.
async fn client(to: SocketAddr, mut due: Instant, shared: Arc<Mutex<Shared>>) {
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut connection, mut answer) = (None, Vec::new());
    // All at the same time, so that the proxy has the memory that this takes before anything is measured.
    let warm = ask(&mut connection, to, SLOW_REQUEST, &mut answer).await;
    assert!(warm.is_some(), "a good client is not served at the beginning");
    while due < Instant::now() {
        due += INTERVAL;
    }
    lock().warm += 1;
    loop {
        let was_late = due < Instant::now();
        sleep_until(due).await;
        let asked = lock().window.is_some_and(|(start, end)| start <= due && due < end);
        if asked {
            let begun = if was_late { due } else { Instant::now() };
            let answered = timeout(PATIENCE, ask(&mut connection, to, REQUEST, &mut answer)).await.unwrap_or(None);
            let mut shared = lock();
            match answered {
                Some(()) => shared.answered.push(Span { begin: begun.into_std(), end: std::time::Instant::now() }),
                None => shared.failed += 1,
            }
            drop(shared);
            if answered.is_none() {
                connection = None;
            }
        }
        due += INTERVAL;
    }
}

/// Asks once; `None` unless the whole answer is a 200.
async fn ask(connection: &mut Option<TcpStream>, to: SocketAddr, request: &[u8], answer: &mut Vec<u8>) -> Option<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect(to).await?),
    };
    stream.write_all(request).await.ok()?;
    answer.clear();
    loop {
        if stream.read_buf(answer).await.ok()? == 0 {
            return None;
        }
        let Some(head) = find(answer, b"\r\n\r\n") else { continue };
        if answer.len() >= head + 4 + crate::ANSWER.len() {
            return answer.starts_with(HEAD_OK).then_some(());
        }
    }
}

async fn connect(to: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(to).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}
