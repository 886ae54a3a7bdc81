//! Five thousand clients that are silent or slow (D1 to D5), each of whom comes again when it is cut off.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    task::LocalSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    attack::{Assault, Attack, End, Life, Target},
    floods::HEADER_LIST,
    frames::PREFACE,
    support::{finding::Finding, usage::time_of_this_thread},
};

/// Clients of all kinds come within this time.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Between two connections of one client.
const RECONNECT: Duration = Duration::from_millis(100);
/// The proxy's limit between two bytes of a body, set by this bench: the default of five minutes would take too long.
pub const STALLED: Duration = Duration::from_secs(5);

/// What one kind of client does.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    /// What it says at once.
    first: &'static [u8],
    /// What it says later, byte by byte, and how long it waits before each.
    then: &'static [u8],
    pause: Duration,
    /// The limit that ends it, counted from its beginning.
    limit: Duration,
    tls: bool,
}

const SECOND: Duration = Duration::from_secs(1);

const KINDS: [Kind; 5] = [
    // `first_byte`.
    Kind { name: "D1 silent", first: b"", then: b"", pause: SECOND, limit: Duration::from_secs(5), tls: false },
    // `handshake`, behind the header of a TLS record that does not come.
    Kind {
        name: "D2 silent in TLS",
        first: b"\x16\x03\x01\x02\x00",
        then: b"",
        pause: SECOND,
        limit: Duration::from_secs(5),
        tls: true,
    },
    // `first_byte` again: what has come could still be HTTP/2.
    Kind {
        name: "D3 preface dribble",
        first: b"",
        then: PREFACE,
        pause: Duration::from_secs(4),
        limit: Duration::from_secs(5),
        tls: false,
    },
    // `request_head`.
    Kind {
        name: "D4 head dribble",
        first: b"GET / HTTP/1.1\r\nHost: ratings\r\nx: ",
        then: b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        pause: SECOND,
        limit: Duration::from_secs(10),
        tls: false,
    },
    // Four bytes in as many seconds, then `stalled`.
    Kind {
        name: "D5 body dribble",
        first: b"POST / HTTP/1.1\r\nHost: ratings\r\nContent-Length: 1000\r\n\r\n",
        then: b"yyyy",
        pause: SECOND,
        limit: Duration::from_secs(4 + STALLED.as_secs()),
        tls: false,
    },
];

/// As many of each kind.
#[derive(Debug)]
pub struct SlowClients {
    pub of_each_kind: u32,
}

impl Attack for SlowClients {
    fn name(&self) -> (&'static str, &'static str) {
        ("slow", "D1-D5")
    }

    fn describe(&self) -> String {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        format!("{} connections, a fifth each: {}", self.crowd(), names.join(", "))
    }

    fn lasts(&self) -> Duration {
        Duration::from_secs(15)
    }

    fn crowd(&self) -> u32 {
        self.of_each_kind * 5
    }

    fn growth_allowed(&self) -> u64 {
        HEADER_LIST
    }

    fn run(&self, target: Target, until: Instant) -> Assault {
        let processor_time = time_of_this_thread();
        let lives = Rc::<RefCell<Vec<Life>>>::default();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let clients = LocalSet::new();
        for number in 0..self.crowd() {
            let kind = KINDS[number as usize % KINDS.len()];
            let arrival = ARRIVAL * number / self.crowd();
            clients.spawn_local(client(kind, number, arrival, target, until, Rc::clone(&lives)));
        }
        runtime.block_on(clients);
        let lives = lives.take();
        Assault { lives, processor_time: time_of_this_thread() - processor_time }
    }

    fn judge(&self, lives: &[Life], stalled: Duration) -> Vec<Finding> {
        let judge = |kind: &Kind| {
            let closed = || lives.iter().filter(|life| life.kind == kind.name && life.end == End::Closed);
            let shortest = closed().map(|life| life.lasted).min().unwrap_or_default();
            let longest = closed().map(|life| life.lasted).max().unwrap_or(Duration::MAX);
            let value = if closed().count() == 0 {
                "none closed".to_owned()
            } else {
                format!("{} closed after {shortest:.2?} to {longest:.2?}", closed().count())
            };
            let most = kind.limit.mul_f64(1.1) + stalled;
            let bar = format!("{:?} + 10 %, and a stall of {stalled:.2?}", kind.limit);
            Finding::judged(kind.name, value, bar, shortest >= kind.limit.mul_f64(0.9) && longest <= most)
        };
        KINDS.iter().map(judge).collect()
    }
}

/// One client; the whole crowd has one address for each kind, so that there are ports enough.
async fn client(
    kind: Kind,
    number: u32,
    arrival: Duration,
    target: Target,
    until: Instant,
    lives: Rc<RefCell<Vec<Life>>>,
) {
    let until = tokio::time::Instant::from_std(until);
    let mut next = tokio::time::Instant::now() + arrival;
    let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 5).unwrap());
    while next < until {
        sleep_until(next).await;
        let to = if kind.tls { target.tls } else { target.plain };
        if let Ok(stream) = connect(from, to).await {
            let begun = Instant::now();
            let end = dribble(kind, stream, until).await;
            let life = Life { kind: kind.name, lasted: begun.elapsed(), units: 0, units_to_goodbye: None, end };
            lives.borrow_mut().push(life);
        }
        next = tokio::time::Instant::now() + RECONNECT;
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Says what its kind says, until the proxy closes the connection or the attack ends.
async fn dribble(kind: Kind, mut stream: TcpStream, until: tokio::time::Instant) -> End {
    if stream.write_all(kind.first).await.is_err() {
        return End::Closed;
    }
    let mut pauses = interval(kind.pause);
    pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pauses.tick().await;
    let mut rest = kind.then.iter();
    let mut piece = [0; 512];
    loop {
        tokio::select! {
            read = stream.read(&mut piece) => {
                if !matches!(read, Ok(1..)) {
                    return End::Closed;
                }
            }
            _ = pauses.tick() => {
                if let Some(byte) = rest.next() && stream.write_all(&[*byte]).await.is_err() {
                    return End::Closed;
                }
            }
            () = sleep_until(until) => return End::Open,
        }
    }
}
