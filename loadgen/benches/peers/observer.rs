//! A server on one thread that notes when each request comes, and that can stall.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n\
                        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Observer {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    arrivals: Mutex<Vec<Instant>>,
    /// After the first request, and for how long.
    stall: Option<(Duration, Duration)>,
    stalled: AtomicBool,
    stop: tokio::sync::Notify,
}

impl Observer {
    /// Starts it on the second core. It stalls once: so long after the first request, for so long.
    pub(crate) fn start(stall: Option<(Duration, Duration)>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            arrivals: Mutex::default(),
            stall,
            stalled: AtomicBool::new(false),
            stop: tokio::sync::Notify::new(),
        });
        let shared = Arc::clone(&state);
        let serve = move || {
            let mut second = CpuSet::new();
            second.set(1);
            // On a machine with one core everything is on that one.
            let _ = sched_setaffinity(None, &second);
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let stream = accepted.unwrap().0;
                            tokio::spawn(answer(stream, Arc::clone(&shared)));
                        }
                        () = shared.stop.notified() => return,
                    }
                }
            });
        };
        Self { address, state, thread: Some(std::thread::spawn(serve)) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How late requests came that were due at `rate`, in microseconds, in rising order. Only the distances are
    /// known, so the schedule is taken to begin where the earliest requests are on time.
    pub(crate) fn lateness(&self, rate: u32) -> Vec<f64> {
        let mut arrivals = self.state.arrivals.lock().unwrap().clone();
        arrivals.sort();
        let Some(first) = arrivals.first().copied() else { return Vec::new() };
        let due = |index: u32| f64::from(index) * 1e6 / f64::from(rate);
        let since = |arrival: &Instant| arrival.duration_since(first).as_secs_f64() * 1e6;
        let mut late: Vec<f64> = (0..).zip(&arrivals).map(|(index, arrival)| since(arrival) - due(index)).collect();
        late.sort_by(f64::total_cmp);
        // Not the very earliest: a generator may send some requests early to catch up.
        let begin = late[late.len() / 1000];
        late.iter().map(|late| (late - begin).max(0.0)).collect()
    }
}

async fn answer(mut stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut bytes = [0; 4096];
    let mut head = Vec::new();
    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
        head.extend_from_slice(&bytes[..read]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        state.arrive();
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

impl State {
    fn arrive(&self) {
        let now = Instant::now();
        let first = {
            let mut arrivals = self.arrivals.lock().unwrap();
            arrivals.push(now);
            arrivals[0]
        };
        if let Some((after, length)) = self.stall
            && now.duration_since(first) >= after
            && !self.stalled.swap(true, Ordering::Relaxed)
        {
            #[allow(clippy::disallowed_methods, reason = "the stall itself: the whole thread stands still")]
            std::thread::sleep((first + after + length).saturating_duration_since(now));
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.state.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
