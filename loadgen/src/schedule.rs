//! Which request is due when: the one place in which the two paces differ.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::{Limit, Pace};

/// How late a timer may wake an idle worker before that is counted as latency.
///
/// Timers tick in milliseconds and round up. A request that was sent late only because of that has not waited
/// for the server. Beyond the slack the lateness counts, whoever caused it.
const TIMER_SLACK: Duration = Duration::from_millis(5);

/// Hands out the requests of a run, shared by all workers.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    end: Option<Instant>,
    /// Requests per second, `None` for the closed loop.
    rate: Option<f64>,
    /// Requests in the whole run, where that is known beforehand.
    total: Option<u64>,
    taken: AtomicU64,
}

/// One request that may be sent.
#[derive(Debug, PartialEq)]
pub(crate) struct Slot {
    /// When it is due; `None` for at once.
    due: Option<Instant>,
}

impl Schedule {
    pub(crate) fn new(pace: Pace, limit: Limit, start: Instant) -> Self {
        let rate = match pace {
            Pace::Closed { .. } => None,
            Pace::Constant { rate_per_second, .. } => Some(rate_per_second),
        };
        let end = limit.duration.and_then(|duration| start.checked_add(duration));
        let mut schedule = Self { start, end, rate, total: limit.count, taken: AtomicU64::new(0) };
        schedule.total = end.and_then(|end| schedule.due_by(end)).or(limit.count);
        schedule
    }

    /// Takes the next request, or `None` when the run is over.
    pub(crate) fn take(&self, now: Instant) -> Option<Slot> {
        if self.end.is_some_and(|end| now >= end) {
            return None;
        }
        let total = self.total.unwrap_or(u64::MAX);
        let next = |taken: u64| (taken < total).then_some(taken + 1);
        let index = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Slot { due: self.due(index) })
    }

    /// How many requests are due before `moment`; `None` for the closed loop, where none ever is.
    pub(crate) fn due_by(&self, moment: Instant) -> Option<u64> {
        let moment = self.end.map_or(moment, |end| end.min(moment));
        let elapsed = moment.saturating_duration_since(self.start).as_secs_f64();
        let due = (elapsed * self.rate?).ceil() as u64;
        Some(self.total.map_or(due, |total| due.min(total)))
    }

    /// When request number `index` is due; `None` for the closed loop.
    pub(crate) fn due(&self, index: u64) -> Option<Instant> {
        let after = Duration::try_from_secs_f64(index as f64 / self.rate?).ok()?;
        self.start.checked_add(after)
    }

    pub(crate) fn is_closed_loop(&self) -> bool {
        self.rate.is_none()
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The moment up to which requests were due in a run that stopped at `now`.
    pub(crate) fn stopped_at(&self, now: Instant) -> Instant {
        self.end.map_or(now, |end| end.min(now))
    }
}

/// The beginning of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    /// From when its latency counts.
    pub(crate) due: Instant,
    /// When it is really sent.
    pub(crate) sent: Instant,
}

impl Slot {
    /// Waits until the request is due.
    pub(crate) async fn wait(&self) -> Begin {
        let free_since = Instant::now();
        let Some(due) = self.due else {
            return Begin { due: free_since, sent: free_since };
        };
        let mut sent = free_since;
        if due > free_since {
            sleep_until(due).await;
            sent = Instant::now();
        }
        Begin { due: latency_start(due, free_since, sent), sent }
    }
}

/// From when the latency of a request counts that was due at `due`, whose worker was free at `free_since` and
/// sends at `sent`: from when it was due, unless nothing but the granularity of the timer held it back.
fn latency_start(due: Instant, free_since: Instant, sent: Instant) -> Instant {
    let was_idle = free_since <= due;
    if was_idle && sent.saturating_duration_since(due) <= TIMER_SLACK { sent } else { due }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn constant(rate_per_second: f64, limit: Limit, start: Instant) -> Schedule {
        Schedule::new(Pace::Constant { rate_per_second, connections: 1 }, limit, start)
    }

    #[test]
    fn a_constant_rate_is_due_at_equal_distances_from_the_start() {
        let start = Instant::now();
        let schedule = constant(4.0, Limit::default(), start);
        for index in 0..5_u32 {
            assert_eq!(schedule.take(start).unwrap().due, Some(start + 250 * MS * index));
        }
    }

    #[test]
    fn a_duration_allows_exactly_the_requests_that_are_due_within_it() {
        let start = Instant::now();
        let schedule = constant(10.0, Limit { duration: Some(1000 * MS), count: None }, start);
        let taken = std::iter::from_fn(|| schedule.take(start)).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn nothing_is_handed_out_after_the_end_in_either_pace() {
        let start = Instant::now();
        let limit = Limit { duration: Some(MS), count: None };
        assert_eq!(constant(1e6, limit, start).take(start + MS), None);
        let closed = Schedule::new(Pace::Closed { connections: 1 }, limit, start);
        assert!(closed.take(start).is_some());
        assert_eq!(closed.take(start + MS), None);
    }

    #[test]
    fn the_smaller_of_count_and_duration_decides() {
        let start = Instant::now();
        let limit = |count| Limit { duration: Some(1000 * MS), count: Some(count) };
        assert_eq!(constant(10.0, limit(3), start).due_by(start + 5000 * MS), Some(3));
        assert_eq!(constant(10.0, limit(30), start).due_by(start + 5000 * MS), Some(10));
        assert_eq!(constant(10.0, limit(30), start).due_by(start + 250 * MS), Some(3));
    }

    #[test]
    fn latency_counts_from_the_due_time_unless_only_the_timer_was_late() {
        let due = Instant::now() + 1000 * MS;
        let idle_since = due - 500 * MS;
        assert_eq!(latency_start(due, idle_since, due + 2 * MS), due + 2 * MS, "timer granularity");
        assert_eq!(latency_start(due, idle_since, due + 6 * MS), due, "beyond the slack");
        assert_eq!(latency_start(due, due + MS, due + MS), due, "the worker was busy");
    }
}
