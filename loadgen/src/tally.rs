//! What happened in a run so far: written by the workers, turned into a [`Summary`] at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::Answer;
use crate::live::LiveStats;
use crate::schedule::{Begin, Schedule};
use crate::summary::{ErrorClass, ErrorCounts, Latencies, Summary};

/// Status codes are 100 to 999.
const STATUSES: usize = 900;

/// Most points at which the waiting times of unsent requests are sampled.
const UNSENT_POINTS: u64 = 10_000;

/// Counters of one run. The lock is held for two histogram updates, never across an await.
#[derive(Debug)]
pub(crate) struct Tally {
    live: Arc<LiveStats>,
    started: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug)]
struct Counts {
    responses: u64,
    statuses: Vec<u64>,
    errors: ErrorCounts,
    body_bytes: u64,
    latency: Latencies,
    service_time: Latencies,
}

impl Tally {
    pub(crate) fn new(live: Arc<LiveStats>) -> Result<Self, hdrhistogram::CreationError> {
        let counts = Counts {
            responses: 0,
            statuses: vec![0; STATUSES],
            errors: ErrorCounts::default(),
            body_bytes: 0,
            latency: Latencies::new()?,
            service_time: Latencies::new()?,
        };
        Ok(Self { live, started: AtomicU64::new(0), counts: Mutex::new(counts) })
    }

    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.live.start();
    }

    /// Counts a request that ended at `now`.
    pub(crate) fn finish(&self, outcome: Result<Answer, ErrorClass>, begin: Begin, now: Instant) {
        self.live.finish(outcome);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(answer) => counts.answer(answer),
            Err(class) => counts.errors.add(class),
        }
        // A timeout is a latency of at least this much: without it the worst requests would be missing from
        // the percentiles. Other errors end early and would flatter them.
        if matches!(outcome, Ok(_) | Err(ErrorClass::Timeout)) {
            counts.latency.record(now.saturating_duration_since(begin.due), 1);
            counts.service_time.record(now.saturating_duration_since(begin.sent), 1);
        }
    }

    /// The summary of a run that stopped at `now`.
    pub(crate) fn summary(&self, schedule: &Schedule, now: Instant) -> Summary {
        let started = self.started.load(Ordering::Relaxed);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stopped = schedule.stopped_at(now);
        let due = schedule.due_by(stopped).unwrap_or(started);
        counts.record_unsent(schedule, started, due, stopped);
        let statuses: BTreeMap<u16, u64> =
            (100_u16..).zip(counts.statuses.iter().copied()).filter(|(_, count)| *count > 0).collect();
        Summary {
            elapsed: now.saturating_duration_since(schedule.start()),
            started,
            responses: counts.responses,
            statuses,
            cancelled: started.saturating_sub(counts.responses + counts.errors.total()),
            errors: counts.errors,
            body_bytes: counts.body_bytes,
            unsent: due.saturating_sub(started),
            latency: counts.latency,
            service_time: counts.service_time,
        }
    }
}

impl Counts {
    fn answer(&mut self, answer: Answer) {
        self.responses += 1;
        self.body_bytes += answer.body_bytes;
        if let Some(count) = self.statuses.get_mut(usize::from(answer.status).wrapping_sub(100)) {
            *count += 1;
        }
    }

    /// Records how long the requests `from..to` had waited when the run stopped, without ever being sent.
    ///
    /// They are what a stalled server held up; leaving them out would hide the stall. Many are recorded in
    /// groups, so that the work stays bounded.
    fn record_unsent(&mut self, schedule: &Schedule, from: u64, to: u64, stopped: Instant) {
        let group = to.saturating_sub(from).div_ceil(UNSENT_POINTS).max(1);
        let mut index = from;
        while index < to {
            let size = group.min(to - index);
            let waited = schedule.due(index).map_or(Duration::ZERO, |due| stopped.saturating_duration_since(due));
            self.latency.record(waited, size);
            index += size;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{Limit, Pace};

    #[test]
    fn requests_that_were_never_sent_count_with_the_time_they_waited() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let pace = Pace::Constant { rate_per_second: 100_000.0, connections: 1 };
        let schedule = Schedule::new(pace, Limit { duration: Some(second), count: None }, start);
        let tally = Tally::new(Arc::default()).unwrap();
        tally.start();
        tally.finish(Err(ErrorClass::Timeout), Begin { due: start, sent: start }, start + second);
        let summary = tally.summary(&schedule, start + second);
        assert_eq!((summary.started, summary.unsent), (1, 99_999));
        assert_eq!(summary.latency.count(), 100_000);
        assert_eq!(summary.service_time.count(), 1);
        let median = summary.latency.quantile(0.5).as_secs_f64();
        assert!((median - 0.5).abs() < 0.01, "{median}");
    }

    #[test]
    fn a_request_that_was_started_and_never_finished_is_cancelled() {
        let start = Instant::now();
        let schedule = Schedule::new(Pace::Closed { connections: 1 }, Limit::default(), start);
        let tally = Tally::new(Arc::default()).unwrap();
        tally.start();
        tally.start();
        tally.finish(Ok(Answer { status: 999, body_bytes: 7 }), Begin { due: start, sent: start }, start);
        let summary = tally.summary(&schedule, start);
        assert_eq!((summary.started, summary.responses, summary.cancelled, summary.unsent), (2, 1, 1, 0));
        assert_eq!(summary.statuses, BTreeMap::from([(999, 1)]));
        assert_eq!(summary.body_bytes, 7);
    }
}
