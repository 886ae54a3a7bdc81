//! Traffic in the background: clients that go on, a little apart, until what a test does meanwhile is done.

use std::{net::SocketAddr, thread, time::Duration};

use crate::harness::{
    get,
    load::{self, Tally},
};

/// Between two requests of one client; enough for any window of these tests, and little work for the machine.
const PACE: Duration = Duration::from_millis(5);

/// How many there are.
pub const CLIENTS: usize = 2;

/// Sends GETs to `to` while `act` goes on.
pub fn during<T>(to: SocketAddr, act: impl FnOnce() -> T) -> (T, Tally) {
    during_paced(to, "/ratings/7", PACE, act)
}

/// Sends GETs of `path`, each client one per `pace` at the most, while `act` goes on.
pub fn during_paced<T>(to: SocketAddr, path: &str, pace: Duration, act: impl FnOnce() -> T) -> (T, Tally) {
    let paced = |_| {
        pass(pace);
        get(path)
    };
    load::during(to, CLIENTS, paced, act)
}

/// Lets time pass: the time between two requests, or the time that a slow service takes.
pub fn pass(time: Duration) {
    #[allow(clippy::disallowed_methods, reason = "nothing is waited for: the time is what the test is about")]
    thread::sleep(time);
}
