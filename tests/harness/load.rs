//! A fast keep-alive load: a few connections, one blocking thread each, every answer looked at.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    patience::PATIENCE,
    upstream::{Recorder, Upstream},
    wire::{find, latin1},
};

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Whole answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Whole answers by the value of the marker header; those without it are not here.
    pub by_marker: BTreeMap<String, u64>,
    /// Requests without a whole answer.
    pub unanswered: u64,
    /// When the first byte of the last marked answer came.
    pub last_marked: Option<Instant>,
}

impl Tally {
    /// Whole answers.
    pub fn answered(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Answers with a marker.
    pub fn marked(&self) -> u64 {
        self.by_marker.values().sum()
    }

    /// Answers with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    fn see(&mut self, seen: Seen) {
        *self.by_status.entry(seen.status).or_default() += 1;
        if let Some(marker) = seen.marker {
            *self.by_marker.entry(marker).or_default() += 1;
            self.last_marked = self.last_marked.max(Some(seen.began));
        }
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (marker, count) in other.by_marker {
            *self.by_marker.entry(marker).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.last_marked = self.last_marked.max(other.last_marked);
    }
}

/// One whole answer.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its status.
    pub status: u16,
    /// The value of its marker header.
    pub marker: Option<String>,
    /// Its body.
    pub body: String,
    /// From before it was asked for to its last byte.
    #[allow(dead_code, reason = "only the suite control looks at it")]
    pub took: Duration,
    /// When its first byte came.
    began: Instant,
}

/// Stops a load when it is dropped: also when a test fails meanwhile, whose scope would wait for the load for ever.
pub struct Stopping<'a>(pub &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends `total` requests to `to` over `connections` connections; `request` makes the request number `n`.
pub fn send(to: SocketAddr, connections: usize, total: u64, request: impl Fn(u64) -> Vec<u8> + Sync) -> Tally {
    send_until(to, connections, total, &AtomicBool::new(false), request)
}

/// The same, ended early when `stop` is set or a connection cannot be made any more.
pub fn send_until(
    to: SocketAddr,
    connections: usize,
    total: u64,
    stop: &AtomicBool,
    request: impl Fn(u64) -> Vec<u8> + Sync,
) -> Tally {
    watch_until(to, connections, total, stop, request, |_| {})
}

/// The same; every answer is shown to `look`.
pub fn watch_until(
    to: SocketAddr,
    connections: usize,
    total: u64,
    stop: &AtomicBool,
    request: impl Fn(u64) -> Vec<u8> + Sync,
    look: impl Fn(&Seen) + Sync,
) -> Tally {
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let tally = one_connection_after_the_other(to, total, &next, stop, &request, &look);
                sum.lock().unwrap().add(tally);
            });
        }
    });
    sum.into_inner().unwrap()
}

/// Sends requests to `to` while `act` goes on; what came of both.
pub fn during<T>(
    to: SocketAddr,
    connections: usize,
    request: impl Fn(u64) -> Vec<u8> + Sync,
    act: impl FnOnce() -> T,
) -> (T, Tally) {
    watch_during(to, connections, request, |_| {}, act)
}

/// The same; every answer is shown to `look`.
pub fn watch_during<T>(
    to: SocketAddr,
    connections: usize,
    request: impl Fn(u64) -> Vec<u8> + Sync,
    look: impl Fn(&Seen) + Sync,
    act: impl FnOnce() -> T,
) -> (T, Tally) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopping = Stopping(&stop);
        let load = scope.spawn(|| watch_until(to, connections, u64::MAX, &stop, &request, &look));
        let done = act();
        drop(stopping);
        (done, load.join().unwrap())
    })
}

fn one_connection_after_the_other(
    to: SocketAddr,
    total: u64,
    next: &AtomicU64,
    stop: &AtomicBool,
    request: &(impl Fn(u64) -> Vec<u8> + Sync),
    look: &(impl Fn(&Seen) + Sync),
) -> Tally {
    let mut tally = Tally::default();
    let mut buffer = Vec::new();
    let mut kept: Option<TcpStream> = None;
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= total {
            break;
        }
        let Some(mut stream) = kept.take().or_else(|| connect(to)) else {
            tally.unanswered += 1;
            break;
        };
        buffer.clear();
        let Some((seen, keep)) = exchange(&mut stream, &request(number), &mut buffer) else {
            tally.unanswered += 1;
            continue;
        };
        look(&seen);
        tally.see(seen);
        kept = keep.then_some(stream);
    }
    tally
}

fn connect(to: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_mins(1))).ok()?;
    Some(stream)
}

/// One request and its answer, which must have a Content-Length or no body; whether the connection can be kept.
fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Option<(Seen, bool)> {
    let asked = Instant::now();
    stream.write_all(request).ok()?;
    let mut first_byte = None;
    let head_end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        read_more(stream, buffer)?;
        first_byte.get_or_insert_with(Instant::now);
    };
    let head = latin1(&buffer[..head_end]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut marker, mut keep) = (None, None, true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<usize>().ok(),
            "x-glooshot-fault" => marker = Some(value.to_owned()),
            "connection" => keep &= !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let bodiless = request.starts_with(b"HEAD ") || status == 204 || status == 304;
    let length = if bodiless { 0 } else { length? };
    while buffer.len() < head_end + 4 + length {
        read_more(stream, buffer)?;
    }
    // Bytes that nobody asked for would be taken for the next answer: the request counts as unanswered instead.
    if buffer.len() > head_end + 4 + length {
        return None;
    }
    let (body, took) = (latin1(&buffer[head_end + 4..]), asked.elapsed());
    Some((Seen { status, marker, body, took, began: first_byte? }, keep))
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    match stream.read(&mut piece) {
        Ok(count @ 1..) => {
            buffer.extend_from_slice(&piece[..count]);
            Some(())
        }
        _ => None,
    }
}

/// An upstream for loads: answers each request without a body at once, counts, and logs no bytes.
#[derive(Debug)]
pub struct CountingUpstream {
    upstream: Upstream,
    count: std::sync::Arc<AtomicU64>,
}

impl CountingUpstream {
    /// Starts it.
    pub fn start() -> Self {
        let count = std::sync::Arc::<AtomicU64>::default();
        let counted = count.clone();
        Self { upstream: Upstream::raw(move |stream, _: &Recorder| count_and_answer(stream, &counted)), count }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }
}

fn count_and_answer(mut stream: &TcpStream, count: &AtomicU64) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const HEAD_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    let mut unread = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        unread.extend_from_slice(&piece[..read]);
        while let Some(end) = find(&unread, b"\r\n\r\n") {
            count.fetch_add(1, Ordering::AcqRel);
            let answer = if unread.starts_with(b"HEAD ") { HEAD_ANSWER } else { ANSWER };
            unread.drain(..end + 4);
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}
