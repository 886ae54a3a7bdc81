//! Many connections at a time that are slow in the same way, and good clients beside them; all on one thread.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{client::Ending, get};

/// No connection of a crowd is watched for longer than this.
const GIVE_UP: Duration = Duration::from_secs(30);
/// New connections come this far apart, so that they overflow no queue of a listener.
const APART: Duration = Duration::from_millis(1);
/// A good client asks this often.
const GOOD_PACE: Duration = Duration::from_millis(20);
/// The beat by which the lateness of this machine is measured.
const BEAT: Duration = Duration::from_millis(10);

/// How each connection of a crowd behaves.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What it sends at once.
    pub opening: Vec<u8>,
    /// What it sends behind that, byte for byte, again and again; nothing where it falls silent.
    pub drip: Vec<u8>,
    /// The time between two of those bytes.
    pub every: Duration,
}

impl Manner {
    /// Sends `opening` and then nothing more.
    pub fn silent_after(opening: impl Into<Vec<u8>>) -> Self {
        Self { opening: opening.into(), drip: Vec::new(), every: GIVE_UP }
    }

    /// Sends `opening`, and then one byte of `drip` every so often.
    pub fn dripping(opening: impl Into<Vec<u8>>, drip: impl Into<Vec<u8>>, every: Duration) -> Self {
        Self { opening: opening.into(), drip: drip.into(), every }
    }
}

/// How long a connection was allowed to stay.
#[derive(Debug)]
pub struct Stay {
    /// From before it was made to its end.
    pub lasted: Duration,
    /// What it was told.
    pub told: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
}

/// What became of a crowd and of the good clients beside it.
#[derive(Debug)]
pub struct Crowd {
    /// Each connection of the crowd.
    pub stays: Vec<Stay>,
    /// Requests of good clients that were answered.
    pub answered: u64,
    /// What the slowest of those took.
    pub slowest: Duration,
    /// What happened to those that were not.
    pub failed: Vec<String>,
    /// How late this machine was at the most in what it had to do at a certain time.
    pub lateness: Duration,
}

/// Connects `count` slow clients and `good` good ones to `to`, whose service answers `ok`; returns when the slow ones are gone.
pub fn crowd(to: SocketAddr, count: u64, manner: &Manner, good: u64) -> Crowd {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let over = Arc::<AtomicBool>::default();
        let lateness = tokio::spawn(measure_lateness(over.clone()));
        let mut clients = JoinSet::new();
        for _ in 0..good {
            clients.spawn(behave(to, over.clone()));
        }
        let mut crowd = JoinSet::new();
        for nth in 0..count {
            crowd.spawn(stay(to, APART * u32::try_from(nth).unwrap(), manner.clone()));
        }
        let stays = crowd.join_all().await;
        over.store(true, Ordering::Relaxed);
        let good = clients.join_all().await;
        Crowd {
            stays,
            answered: good.iter().map(|client| client.answered).sum(),
            slowest: good.iter().map(|client| client.slowest).max().unwrap_or_default(),
            failed: good.into_iter().filter_map(|client| client.failure).collect(),
            lateness: lateness.await.unwrap(),
        }
    })
}

async fn stay(to: SocketAddr, delay: Duration, manner: Manner) -> Stay {
    sleep(delay).await;
    let began = Instant::now();
    let mut told = Vec::new();
    let ending = timeout(GIVE_UP, until_the_end(to, &manner, &mut told)).await.unwrap_or(Ending::StillOpen);
    Stay { lasted: began.elapsed(), told, ending }
}

async fn until_the_end(to: SocketAddr, manner: &Manner, told: &mut Vec<u8>) -> Ending {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let _peer_may_have_closed = stream.write_all(&manner.opening).await;
    let mut drip = manner.drip.iter().cycle();
    loop {
        tokio::select! {
            read = stream.read_buf(told) => match read {
                Ok(0) => return Ending::Closed,
                Ok(_) => {}
                Err(_) => return Ending::Reset,
            },
            () = sleep(manner.every) => if let Some(byte) = drip.next() {
                let _peer_may_have_closed = stream.write_all(&[*byte]).await;
            },
        }
    }
}

/// What a good client has seen.
#[derive(Debug, Default)]
struct Good {
    answered: u64,
    slowest: Duration,
    failure: Option<String>,
}

/// Asks again and again over one connection, until all is over or it fails.
async fn behave(to: SocketAddr, over: Arc<AtomicBool>) -> Good {
    let (mut good, mut stream) = (Good::default(), None);
    while !over.load(Ordering::Relaxed) && good.failure.is_none() {
        let asked = Instant::now();
        match timeout(GIVE_UP, ask(to, &mut stream)).await {
            Ok(Ok(())) => good.answered += 1,
            failure => good.failure = Some(format!("{failure:?} after {} answers", good.answered)),
        }
        good.slowest = good.slowest.max(asked.elapsed());
        sleep(GOOD_PACE).await;
    }
    good
}

async fn ask(to: SocketAddr, kept: &mut Option<TcpStream>) -> io::Result<()> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(TcpStream::connect(to).await?),
    };
    stream.write_all(&get("/good")).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(io::Error::other(format!("{answer:?}"))) }
}

async fn measure_lateness(over: Arc<AtomicBool>) -> Duration {
    let mut most = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let before = Instant::now();
        sleep(BEAT).await;
        most = most.max(before.elapsed().saturating_sub(BEAT));
    }
    most
}

/// Open files that everything else in this process needs.
const OTHER_FILES: u64 = 1_000;

/// Lets this process, and those that it starts from now on, have enough open files for `connections` with both their ends.
pub fn allow(connections: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = current.map(|current| current.max(2 * connections + OTHER_FILES));
    setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).expect("so many open files are allowed");
}

/// The connections of all rooms, and who is told when one goes.
static TAKEN: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

/// Open files for many connections, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Room(u64);

/// Waits until this process may have so many connections with both their ends, beside those of other tests.
pub fn room_for(connections: u64) -> Room {
    allow(connections);
    let most = getrlimit(Resource::Nofile).current.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES) / 2);
    let (taken, gone) = &TAKEN;
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let too_many = |taken: &mut u64| *taken > 0 && *taken + connections > most;
    *gone.wait_while(taken, too_many).unwrap_or_else(PoisonError::into_inner) += connections;
    Room(connections)
}

impl Drop for Room {
    fn drop(&mut self) {
        let (taken, gone) = &TAKEN;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        gone.notify_all();
    }
}
