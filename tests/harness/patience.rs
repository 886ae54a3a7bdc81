//! Waiting for a condition with a deadline: never a sleep that hopes.

use std::{
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for something that should happen at once, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The value that `probe` gives within [`PATIENCE`]; fails the test, saying what was awaited, when it gives none.
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// The value that `probe` gives before `limit` has passed; fails the test, saying what was awaited, when it gives none.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    match try_within(limit, probe) {
        Some(value) => value,
        None => panic!("not within {limit:?}: {what}"),
    }
}

/// The value that `probe` gives before `limit` has passed, if it gives one.
#[allow(clippy::disallowed_methods, reason = "the pause of a poll that has a condition and a deadline")]
pub fn try_within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(50);
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "this is the one place that waits for conditions with a deadline"
        )]
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Lets this much time pass, for what is about time itself. A thread that is parked may be woken before its time.
pub fn let_pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// A gate that a test opens: what waits at it goes on.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets everything that waits, and everything that comes later, go on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open; gives up after a minute, so that no thread outlives its test for long.
    pub fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        let (_open, _timeout) = self.0.1.wait_timeout_while(open, Duration::from_mins(1), |open| !*open).unwrap();
    }
}
