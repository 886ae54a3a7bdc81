//! When something last happened on a client's connection, so that one sweep per core can close those that are too slow.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use super::{clock::Moment, limits::Limits};

/// Marks of one connection, at the resolution of the core's coarse clock. Atomic only because its IO must be `Send`.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Requests that are under way: several only over HTTP/2.
    requests: AtomicU32,
    /// Those whose answer has begun.
    answers: AtomicU32,
    /// The connection speaks HTTP/2.
    multiplexed: AtomicBool,
    /// The client floods the connection.
    flooding: AtomicBool,
    /// It was found that nothing moves any more.
    stalled: AtomicBool,
    /// Rung when an HTTP/2 connection is to say goodbye.
    farewell: Notify,
    /// When that was; 0 before.
    goodbye_since: AtomicU64,
    /// A request on it was refused, and counted.
    rejected: AtomicBool,
    /// The connection has switched to another protocol.
    switched: AtomicBool,
    /// When the connection became idle.
    idle_since: AtomicU64,
    /// When the first byte of a head came; 0 while there is none.
    head_since: AtomicU64,
    /// When a byte last moved.
    moved: AtomicU64,
}

/// Why a connection is closed by the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooSlow {
    /// Nothing came for too long between requests.
    Idle,
    /// A head has begun and is not complete.
    Head,
    /// An answer is under way and nothing moves.
    Stalled,
    /// It floods the connection.
    Flood,
}

/// The time from a GOAWAY to the end of a connection that is too slow to answer it.
const GOODBYE: Duration = Duration::from_secs(2);

/// Changes a counter that only its own core changes: a load and a store do, which cost less than one operation that is both.
fn change(counter: &AtomicU32, to: impl FnOnce(u32) -> u32) {
    counter.store(to(counter.load(Ordering::Relaxed)), Ordering::Relaxed);
}

impl Activity {
    /// A connection that was just accepted.
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            requests: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            multiplexed: AtomicBool::new(false),
            flooding: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            farewell: Notify::new(),
            goodbye_since: AtomicU64::new(0),
            rejected: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            idle_since: AtomicU64::new(now.as_nanos()),
            head_since: AtomicU64::new(0),
            moved: AtomicU64::new(now.as_nanos()),
        }
    }

    /// Bytes came from the client over HTTP/1: where no request is under way, they begin a head.
    pub(crate) fn received(&self, now: u64) {
        self.moved(now);
        if !self.is_busy() && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(now, Ordering::Relaxed);
        }
    }

    /// Bytes moved.
    pub(crate) fn moved(&self, now: u64) {
        self.moved.store(now, Ordering::Relaxed);
    }

    /// Bytes came from the client over HTTP/2, where a head may begin beside requests that are under way.
    pub(crate) fn within_a_head(&self, within: bool, now: u64) {
        let since = self.head_since.load(Ordering::Relaxed);
        if within != (since != 0) {
            self.head_since.store(if within { now } else { 0 }, Ordering::Relaxed);
        }
    }

    /// A request has begun. Over HTTP/1 its head is complete then; over HTTP/2 the next one may have begun meanwhile.
    pub(crate) fn request_begins(&self) {
        change(&self.requests, |requests| requests.wrapping_add(1));
        if !self.is_multiplexed() {
            self.head_since.store(0, Ordering::Relaxed);
        }
    }

    /// The answer to a request has begun.
    pub(crate) fn answer_begins(&self, now: u64) {
        self.moved(now);
        change(&self.answers, |answers| answers.wrapping_add(1));
    }

    /// A request is over, with or without an answer.
    pub(crate) fn request_ends(&self, now: Moment, answered: bool) {
        self.idle_since.store(now.as_nanos(), Ordering::Relaxed);
        change(&self.requests, |requests| requests.wrapping_sub(1));
        change(&self.answers, |answers| answers.wrapping_sub(u32::from(answered)));
    }

    fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// The connection speaks HTTP/2: it can be asked to say goodbye.
    pub(crate) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    /// Whether the connection speaks HTTP/2.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// The client floods the connection, which is to end.
    pub(crate) fn flood(&self, now: u64) {
        self.flooding.store(true, Ordering::Relaxed);
        self.say_goodbye(Moment::from_nanos(now));
    }

    /// It is ended because nothing moves any more.
    pub(crate) fn stall(&self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    /// Whether it is ended because nothing moves any more.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Whether the client floods the connection.
    pub(crate) fn is_flooding(&self) -> bool {
        self.flooding.load(Ordering::Relaxed)
    }

    /// Asks an HTTP/2 connection to say goodbye, once.
    pub(crate) fn say_goodbye(&self, now: Moment) {
        let first = self.goodbye_since.compare_exchange(0, now.as_nanos(), Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() {
            self.farewell.notify_one();
        }
    }

    /// Whether it has had time enough to say goodbye.
    pub(crate) fn has_had_its_goodbye(&self, now: Moment) -> bool {
        let since = self.goodbye_since.load(Ordering::Relaxed);
        since != 0 && now.since(Moment::from_nanos(since)) > GOODBYE
    }

    /// Returns when the connection is to say goodbye.
    pub(crate) async fn farewell(&self) {
        self.farewell.notified().await;
    }

    /// A request was refused, and counted.
    pub(crate) fn reject(&self) {
        self.rejected.store(true, Ordering::Relaxed);
    }

    /// Whether a request was refused, and counted.
    pub(crate) fn is_rejected(&self) -> bool {
        self.rejected.load(Ordering::Relaxed)
    }

    /// A switch of protocols has been agreed on: what follows are not requests.
    pub(crate) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Whether the connection speaks another protocol now.
    pub(crate) fn is_switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// How long no request has been under way and none has begun to arrive; `None` otherwise.
    pub(crate) fn idle_for(&self, now: Moment) -> Option<Duration> {
        let idle = !self.is_busy() && self.head_since.load(Ordering::Relaxed) == 0;
        idle.then(|| now.since(Moment::from_nanos(self.idle_since.load(Ordering::Relaxed))))
    }

    /// Whether the connection has exceeded a limit.
    pub(crate) fn too_slow(&self, limits: &Limits, now: Moment) -> Option<TooSlow> {
        let since = |mark: &AtomicU64| now.since(Moment::from_nanos(mark.load(Ordering::Relaxed)));
        // A tunnel has its own limit.
        if self.is_switched() {
            return None;
        }
        if self.is_flooding() {
            return Some(TooSlow::Flood);
        }
        let within_a_head = self.head_since.load(Ordering::Relaxed) != 0;
        if within_a_head && since(&self.head_since) > limits.request_head {
            return Some(TooSlow::Head);
        }
        if self.is_busy() {
            // A request that waits for its answer has limits of its own, which know who is to blame.
            let answers = self.answers.load(Ordering::Relaxed) > 0;
            return (answers && since(&self.moved) > limits.stalled).then_some(TooSlow::Stalled);
        }
        if within_a_head {
            return None;
        }
        (since(&self.idle_since) > limits.idle_client).then_some(TooSlow::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn an_idle_connection_is_closed_after_its_limit() {
        let activity = Activity::new(at(100));
        assert_eq!(activity.too_slow(&Limits::default(), at(160)), None);
        assert_eq!(activity.too_slow(&Limits::default(), at(161)), Some(TooSlow::Idle));
    }

    #[test]
    fn a_head_that_dribbles_is_bounded_from_its_first_byte() {
        let activity = Activity::new(at(100));
        for second in 101..111 {
            activity.received(at(second).as_nanos());
            assert_eq!(activity.too_slow(&Limits::default(), at(second)), None);
        }
        assert_eq!(activity.too_slow(&Limits::default(), at(112)), Some(TooSlow::Head));
    }

    #[test]
    fn a_head_of_http_2_is_bounded_beside_requests_that_are_under_way() {
        let activity = Activity::new(at(100));
        activity.multiplex();
        activity.request_begins();
        for second in 101..111 {
            activity.moved(at(second).as_nanos());
            activity.within_a_head(true, at(second).as_nanos());
            assert_eq!(activity.too_slow(&Limits::default(), at(second)), None);
        }
        activity.request_begins();
        assert_eq!(activity.too_slow(&Limits::default(), at(112)), Some(TooSlow::Head));
        activity.within_a_head(false, at(112).as_nanos());
        assert_eq!(activity.too_slow(&Limits::default(), at(112)), None);
    }

    #[test]
    fn an_answer_may_take_long_as_long_as_bytes_move() {
        let activity = Activity::new(at(100));
        activity.received(at(100).as_nanos());
        activity.request_begins();
        activity.answer_begins(at(200).as_nanos());
        activity.moved(at(1_000).as_nanos());
        assert_eq!(activity.too_slow(&Limits::default(), at(1_300)), None);
        assert_eq!(activity.too_slow(&Limits::default(), at(1_301)), Some(TooSlow::Stalled));
        activity.request_ends(at(1_301), true);
        assert_eq!(activity.too_slow(&Limits::default(), at(1_360)), None);
    }

    #[test]
    fn a_request_that_waits_for_its_answer_is_left_to_its_own_limits() {
        let activity = Activity::new(at(100));
        activity.received(at(100).as_nanos());
        activity.request_begins();
        assert_eq!(activity.too_slow(&Limits::default(), at(1_000)), None);
        activity.answer_begins(at(1_000).as_nanos());
        assert_eq!(activity.too_slow(&Limits::default(), at(1_300)), None);
    }
}
