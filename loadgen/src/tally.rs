//! What happened on one core so far: written by its workers, turned into a [`Summary`] at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::CreationError;

use crate::client::Answer;
use crate::client::transport::Traffic;
use crate::latencies::Latencies;
use crate::live::Shard;
use crate::schedule::Schedule;
use crate::series::Recorder;
use crate::summary::{ErrorClass, ErrorCounts, Setup, Summary, TargetSummary};

/// Status codes are 100 to 999.
const STATUSES: usize = 900;

/// The beginning of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    /// From when its latency counts.
    pub(crate) due: Instant,
    /// When it is really sent.
    pub(crate) sent: Instant,
    /// Its worker was free before it was due.
    pub(crate) waited_for: bool,
}

/// Counters of one core. They are borrowed for a few additions, never across an await.
#[derive(Debug)]
pub(crate) struct Tally {
    live: Arc<Shard>,
    is_closed_loop: bool,
    counts: RefCell<Counts>,
}

#[derive(Debug)]
struct Counts {
    started: u64,
    responses: u64,
    statuses: Vec<u64>,
    errors: ErrorCounts,
    body_bytes: u64,
    latency: Latencies,
    service_time: Latencies,
    schedule_error: Latencies,
    connect_time: Latencies,
    /// By target; empty where there is only one.
    targets: Vec<TargetSummary>,
    series: Recorder,
}

impl Tally {
    /// `targets` are the names of the requests, in order.
    pub(crate) fn new(live: Arc<Shard>, schedule: &Schedule, targets: &[String]) -> Result<Self, CreationError> {
        let several = if targets.len() > 1 { targets } else { &[] };
        let counts = Counts {
            started: 0,
            responses: 0,
            statuses: vec![0; STATUSES],
            errors: ErrorCounts::default(),
            body_bytes: 0,
            latency: Latencies::new()?,
            service_time: Latencies::new()?,
            schedule_error: Latencies::new()?,
            connect_time: Latencies::new()?,
            targets: several.iter().map(|name| TargetSummary::new(name)).collect::<Result<_, _>>()?,
            series: Recorder::new(schedule.start())?,
        };
        Ok(Self { live, is_closed_loop: schedule.is_closed_loop(), counts: RefCell::new(counts) })
    }

    /// Counts the beginning of the request with this index.
    pub(crate) fn start(&self, request: usize, begin: Begin) {
        self.live.start();
        let mut counts = self.counts.borrow_mut();
        counts.started += 1;
        counts.series.at(begin.sent).0.started += 1;
        if begin.waited_for {
            counts.schedule_error.record(begin.sent.saturating_duration_since(begin.due), 1);
        }
        if let Some(target) = counts.targets.get_mut(request) {
            target.started += 1;
        }
    }

    /// Counts a request that ended at `now`.
    pub(crate) fn finish(&self, request: usize, outcome: Result<Answer, ErrorClass>, begin: Begin, now: Instant) {
        // A timeout is a latency of at least this much: without it the worst requests would be missing from
        // the percentiles. Other errors end early and would flatter them.
        let counts_as_latency = matches!(outcome, Ok(_) | Err(ErrorClass::Timeout));
        let latency = counts_as_latency.then(|| now.saturating_duration_since(begin.due));
        self.live.finish(outcome, latency);
        let mut counts = self.counts.borrow_mut();
        counts.finish(request, outcome, latency, now);
        // In a closed loop they are the same.
        if latency.is_some() && !self.is_closed_loop {
            counts.service_time.record(now.saturating_duration_since(begin.sent), 1);
        }
    }

    /// Counts a connection that took this long to open.
    pub(crate) fn connected(&self, took: Duration) {
        self.counts.borrow_mut().connect_time.record(took, 1);
    }

    /// The summary of a core that stopped at `now`.
    pub(crate) fn summary(self, schedule: &Schedule, traffic: &Traffic, targets: &[String], now: Instant) -> Summary {
        let mut counts = self.counts.into_inner();
        let unsent = counts.record_unsent(schedule, now);
        let statuses: BTreeMap<u16, u64> =
            (100_u16..).zip(counts.statuses.iter().copied()).filter(|(_, count)| *count > 0).collect();
        let service_time = if self.is_closed_loop { counts.latency.clone() } else { counts.service_time };
        let mut summary = Summary {
            setup: Setup::default(),
            elapsed: now.saturating_duration_since(schedule.start()),
            started: counts.started,
            responses: counts.responses,
            statuses,
            cancelled: counts.started.saturating_sub(counts.responses + counts.errors.total()),
            errors: counts.errors,
            unsent,
            body_bytes: counts.body_bytes,
            sent_bytes: traffic.sent(),
            received_bytes: traffic.received(),
            latency: counts.latency,
            service_time,
            schedule_error: counts.schedule_error,
            connect_time: counts.connect_time,
            targets: counts.targets,
            series: counts.series.finish(),
        };
        if let [name] = targets {
            summary.targets.push(TargetSummary::of_all(name, &summary));
        }
        summary
    }
}

impl Counts {
    fn finish(&mut self, request: usize, outcome: Result<Answer, ErrorClass>, latency: Option<Duration>, now: Instant) {
        let (interval, latencies) = self.series.at(now);
        let failed = match outcome {
            Ok(answer) => {
                self.responses += 1;
                self.body_bytes += answer.body_bytes;
                interval.responses += 1;
                interval.body_bytes += answer.body_bytes;
                if let Some(count) = self.statuses.get_mut(usize::from(answer.status).wrapping_sub(100)) {
                    *count += 1;
                }
                answer.status >= 400
            }
            Err(class) => {
                self.errors.add(class);
                true
            }
        };
        interval.failed += u64::from(failed);
        if let Some(latency) = latency {
            latencies.record(latency);
            self.latency.record(latency, 1);
        }
        if let Some(target) = self.targets.get_mut(request) {
            target.responses += u64::from(outcome.is_ok());
            target.failed += u64::from(failed);
            if let Some(latency) = latency {
                target.latency.record(latency, 1);
            }
        }
    }

    /// Records how long requests had waited that were due when the run stopped, and never sent. They are what
    /// a stalled server held up; leaving them out would hide the stall.
    fn record_unsent(&mut self, schedule: &Schedule, now: Instant) -> u64 {
        let mut unsent = 0;
        for (waited, count) in schedule.unsent(self.started, now) {
            self.latency.record(waited, count);
            unsent += count;
        }
        unsent
    }
}

impl TargetSummary {
    fn new(name: &str) -> Result<Self, CreationError> {
        Ok(Self { name: name.to_owned(), started: 0, responses: 0, failed: 0, latency: Latencies::new()? })
    }

    /// The only target of a run.
    fn of_all(name: &str, summary: &Summary) -> Self {
        Self {
            name: name.to_owned(),
            started: summary.started,
            responses: summary.responses,
            failed: summary.failed(),
            latency: summary.latency.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{Limit, Pace};
    use crate::schedule::Plan;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(pace: &Pace, limit: Limit) -> Schedule {
        Schedule::new(Arc::new(Plan::new(pace, limit, 1)), 0, Instant::now(), fastrand::Rng::new())
    }

    fn names() -> Vec<String> {
        vec!["GET http://h/".to_owned()]
    }

    fn tally(schedule: &Schedule) -> Tally {
        Tally::new(Arc::default(), schedule, &names()).unwrap()
    }

    fn summary(tally: Tally, schedule: &Schedule, now: Instant) -> Summary {
        tally.summary(schedule, &Traffic::default(), &names(), now)
    }

    #[test]
    fn requests_that_were_never_sent_count_with_the_time_they_waited() {
        let pace = Pace::Constant { rate_per_second: 100_000.0, connections: 1 };
        let schedule = schedule(&pace, Limit { duration: Some(SECOND), count: None });
        let start = schedule.start();
        let tally = tally(&schedule);
        let begin = Begin { due: start, sent: start, waited_for: true };
        tally.start(0, begin);
        tally.finish(0, Err(ErrorClass::Timeout), begin, start + SECOND);
        let summary = summary(tally, &schedule, start + SECOND);
        assert_eq!((summary.started, summary.unsent), (1, 99_999));
        assert_eq!(summary.latency.count(), 100_000);
        assert_eq!((summary.service_time.count(), summary.schedule_error.count()), (1, 1));
        let median = summary.latency.quantile(0.5).as_secs_f64();
        assert!((median - 0.5).abs() < 0.01, "{median}");
    }

    #[test]
    fn a_request_that_was_started_and_never_finished_is_cancelled() {
        let schedule = schedule(&Pace::Closed { connections: 1 }, Limit::default());
        let start = schedule.start();
        let tally = tally(&schedule);
        let begin = Begin { due: start, sent: start, waited_for: false };
        tally.start(0, begin);
        tally.start(0, begin);
        tally.finish(0, Ok(Answer { status: 999, body_bytes: 7 }), begin, start);
        let summary = summary(tally, &schedule, start);
        assert_eq!((summary.started, summary.responses, summary.cancelled, summary.unsent), (2, 1, 1, 0));
        assert_eq!(summary.statuses, BTreeMap::from([(999, 1)]));
        assert_eq!((summary.body_bytes, summary.failed()), (7, 1));
        assert_eq!((summary.latency.count(), summary.service_time.count()), (1, 1));
        assert_eq!((summary.targets[0].started, summary.targets[0].failed), (2, 1));
    }

    #[test]
    fn latency_counts_from_the_due_time_and_service_time_from_the_sending() {
        let pace = Pace::Constant { rate_per_second: 1.0, connections: 1 };
        let schedule = schedule(&pace, Limit { duration: Some(SECOND), count: None });
        let due = schedule.start();
        let tally = tally(&schedule);
        let begin = Begin { due, sent: due + SECOND, waited_for: false };
        tally.start(0, begin);
        tally.finish(0, Ok(Answer { status: 200, body_bytes: 0 }), begin, due + 3 * SECOND);
        let summary = summary(tally, &schedule, due + 3 * SECOND);
        assert_eq!(
            [&summary.latency, &summary.service_time].map(|times| times.max().as_secs_f64().round()),
            [3.0, 2.0]
        );
        assert_eq!(summary.schedule_error.count(), 0, "no connection was free");
        let seconds: Vec<_> =
            summary.series.intervals().map(|(at, interval)| (at, interval.started, interval.responses)).collect();
        assert_eq!(seconds, [(1, 1, 0), (3, 0, 1)]);
    }
}
