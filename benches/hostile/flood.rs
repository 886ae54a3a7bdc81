//! An attacker with one HTTP/2 connection at a time: it writes frames at a bounded rate, and comes again when it is cut off.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    attack::{Assault, Attack, End, Life, Target},
    frames::{GOAWAY, HEADER},
    support::{figures::median, finding::Finding, usage::time_of_this_thread},
};

/// The attacker writes what is due this often.
const TICK: Duration = Duration::from_millis(1);
/// What it could not send in time is made up for, as far back as this.
const ARREARS: Duration = Duration::from_millis(20);
/// Between two connections.
const RECONNECT: Duration = Duration::from_millis(10);
/// Connections at a time where memory is measured.
const CROWD: u32 = 32;
/// A connection that takes nothing for this long is given up.
const STUCK: Duration = Duration::from_secs(5);

/// One attack with frames.
#[derive(Clone)]
pub struct Flood {
    pub name: &'static str,
    pub case: &'static str,
    /// What it does, in words.
    pub what: &'static str,
    /// What is counted: streams or frames.
    pub unit: &'static str,
    /// Units in a second.
    pub rate: u32,
    pub lasts: Duration,
    /// Whether it reads what the proxy says.
    pub reads: bool,
    /// What a connection begins with.
    pub opening: Vec<u8>,
    /// Appends the unit with this number of a connection.
    pub nth: fn(u32, &mut Vec<u8>),
    /// Units that a connection may send before the proxy's goodbye at the most, or where the attacker reads nothing, before
    /// its end; `None` where they are allowed.
    pub most_units: Option<u32>,
    /// The most bytes by which the proxy may grow.
    pub growth_allowed: u64,
}

impl Attack for Flood {
    fn name(&self) -> (&'static str, &'static str) {
        (self.name, self.case)
    }

    fn describe(&self) -> String {
        let reads = if self.reads { "" } else { ", reads nothing" };
        format!("{}; {} {} a second, one connection at a time{reads}", self.what, self.rate, self.unit)
    }

    fn lasts(&self) -> Duration {
        self.lasts
    }

    fn crowd(&self) -> u32 {
        CROWD
    }

    fn growth_allowed(&self) -> u64 {
        self.growth_allowed
    }

    fn run(&self, target: Target, until: Instant) -> Assault {
        let processor_time = time_of_this_thread();
        let mut lives = Vec::new();
        let mut connection: Option<Connection> = None;
        let mut next_connection = Instant::now();
        let mut paid_until = Instant::now();
        loop {
            let now = Instant::now();
            if now >= until {
                break;
            }
            if connection.is_none() && now >= next_connection {
                next_connection = now + RECONNECT;
                connection = Connection::open(target.plain, &self.opening).ok();
                paid_until = now;
            }
            if let Some(open) = &mut connection {
                paid_until = paid_until.max(now.checked_sub(ARREARS).unwrap_or(now));
                let due = now.duration_since(paid_until).as_nanos() * u128::from(self.rate) / 1_000_000_000;
                let due = u32::try_from(due).unwrap_or(u32::MAX);
                paid_until += Duration::from_secs(1) * due / self.rate;
                if let Some(end) = open.go_on(self, due, now) {
                    lives.push(open.life(self.name, end));
                    connection = None;
                }
            }
            #[allow(clippy::disallowed_methods, reason = "the pace of the attack")]
            thread::sleep(TICK);
        }
        lives.extend(connection.map(|open| open.life(self.name, End::Open)));
        Assault { lives, processor_time: time_of_this_thread() - processor_time }
    }

    fn run_as_crowd(&self, target: Target, until: Instant) -> bool {
        let one = Self { rate: self.rate.div_ceil(CROWD), ..self.clone() };
        thread::scope(|scope| {
            for _ in 0..CROWD {
                scope.spawn(|| one.run(target, until));
            }
        });
        true
    }

    fn judge(&self, lives: &[Life], _: Duration) -> Vec<Finding> {
        let unit = self.unit;
        let sent = lives.iter().map(|life| u64::from(life.units)).sum::<u64>();
        let count = |end: End| lives.iter().filter(|life| life.end == end).count();
        let mut findings = vec![Finding::shown(
            "connections",
            format!("{} closed, {} left open; {sent} {unit}", count(End::Closed), count(End::Open)),
        )];
        let closed = || lives.iter().filter(|life| life.end == End::Closed);
        let goodbyes: Vec<u32> = closed().filter_map(|life| life.units_to_goodbye).collect();
        let ends: Vec<u32> = closed().map(|life| life.units).collect();
        if self.reads {
            findings.push(self.few(format!("{unit} to the goodbye"), &goodbyes, self.most_units));
        }
        findings.push(self.few(format!("{unit} to the end"), &ends, self.most_units.filter(|_| !self.reads)));
        let stuck = count(End::Stuck);
        findings.push(Finding::judged("connections stuck", stuck.to_string(), "none", stuck == 0));
        findings
    }
}

impl Flood {
    /// How many units were sent, and whether they were few enough.
    fn few(&self, what: String, units: &[u32], allowed: Option<u32>) -> Finding {
        let most = units.iter().max().copied().unwrap_or(0);
        let middle = median(units.iter().map(|units| f64::from(*units)).collect());
        let value = if units.is_empty() { "none".to_owned() } else { format!("{middle:.0}, at the most {most}") };
        match allowed {
            Some(allowed) => {
                // Of a proxy that stood still for a moment more is on its way than it will ever read.
                Finding::judged(what, value, format!("median at the most {allowed}"), middle <= f64::from(allowed))
            }
            None => Finding::shown(what, value),
        }
    }
}

/// One connection of the attacker.
struct Connection {
    stream: TcpStream,
    begun: Instant,
    /// What is to be written, and how much of it has been.
    pending: Vec<u8>,
    written: usize,
    /// When it last took something.
    moved: Instant,
    units: u32,
    /// What came and is no whole frame yet.
    unread: Vec<u8>,
    units_to_goodbye: Option<u32>,
}

impl Connection {
    fn open(to: SocketAddr, opening: &[u8]) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, STUCK)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let now = Instant::now();
        Ok(Self {
            stream,
            begun: now,
            pending: opening.to_vec(),
            written: 0,
            moved: now,
            units: 0,
            unread: Vec::new(),
            units_to_goodbye: None,
        })
    }

    fn life(&self, kind: &'static str, end: End) -> Life {
        let Self { units, units_to_goodbye, .. } = *self;
        Life { kind, lasted: self.begun.elapsed(), units, units_to_goodbye, end }
    }

    /// Writes what is due, and reads; how the connection ended, if it did.
    fn go_on(&mut self, flood: &Flood, due: u32, now: Instant) -> Option<End> {
        // What is not taken is not made more.
        if self.written == self.pending.len() {
            self.pending.clear();
            self.written = 0;
            for _ in 0..due {
                (flood.nth)(self.units, &mut self.pending);
                self.units += 1;
            }
        }
        while self.written < self.pending.len() {
            match self.stream.write(&self.pending[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.moved = now;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    // What came before the end is still there.
                    if flood.reads {
                        self.read();
                    }
                    return Some(End::Closed);
                }
            }
        }
        if flood.reads && !self.read() {
            return Some(End::Closed);
        }
        (self.written < self.pending.len() && now.duration_since(self.moved) > STUCK).then_some(End::Stuck)
    }

    /// Reads all that is there; false at the end.
    fn read(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        // The goodbye and the end may come together.
        let goes_on = loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break false,
                Ok(count) => self.unread.extend(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
        };
        while let Some([l1, l2, l3, kind]) = self.unread.first_chunk() {
            let whole = HEADER + u32::from_be_bytes([0, *l1, *l2, *l3]) as usize;
            if self.unread.len() < whole {
                break;
            }
            if *kind == GOAWAY {
                self.units_to_goodbye.get_or_insert(self.units);
            }
            self.unread.drain(..whole);
        }
        goes_on
    }
}
