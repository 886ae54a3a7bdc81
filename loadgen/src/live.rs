//! Counters that can be read while a run is going on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Answer;
use crate::latencies::micros;
use crate::summary::{ErrorClass, ErrorCounts};

/// Totals since the start of the run, written by [`run`](crate::run()) and readable by anyone at any time.
///
/// Two [snapshots](LiveStats::snapshot) and the difference of their times give the rates of an interval.
/// One `LiveStats` may be given to several runs; it then holds their sum.
#[derive(Debug, Default)]
pub struct LiveStats {
    began: OnceLock<Instant>,
    /// One for each core of the runs that are going on, and the first one for all that have ended.
    shards: Mutex<Vec<Arc<Shard>>>,
}

/// The counters at one moment. Each is exact; they are read one after the other, not at the same instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveSnapshot {
    /// Time since the run started; zero before.
    pub elapsed: Duration,
    /// Requests started.
    pub started: u64,
    /// Complete responses, of any status.
    pub responses: u64,
    /// Requests that ended without a complete response.
    pub errors: ErrorCounts,
    /// Bytes of response bodies.
    pub body_bytes: u64,
    classes: [u64; 9],
}

/// What one core counts. Only that core writes, so no addition needs to be atomic.
#[derive(Debug)]
pub(crate) struct Shard {
    started: AtomicU64,
    body_bytes: AtomicU64,
    /// Responses by the first digit of their status, 1 to 9.
    classes: [AtomicU64; 9],
    /// Errors in the order of [`ErrorClass::ALL`].
    errors: [AtomicU64; 6],
    latencies: [AtomicU64; BUCKETS],
}

/// Parts of an octave that are told apart in the live latencies: to 6 %.
const PARTS: u64 = 16;

/// Up to 2^26 µs, a little more than a minute.
const BUCKETS: usize = 384;

/// Latencies of a run so far, exact to 6 %.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLatencies {
    counts: Vec<u64>,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            started: AtomicU64::default(),
            body_bytes: AtomicU64::default(),
            classes: Default::default(),
            errors: Default::default(),
            latencies: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl Shard {
    pub(crate) fn start(&self) {
        add(&self.started, 1);
    }

    /// Counts the end of a request, with its latency if that says something about the server.
    pub(crate) fn finish(&self, outcome: Result<Answer, ErrorClass>, latency: Option<Duration>) {
        let counter = match outcome {
            Ok(answer) => {
                add(&self.body_bytes, answer.body_bytes);
                self.classes.get(usize::from(answer.status / 100).wrapping_sub(1))
            }
            Err(class) => {
                ErrorClass::ALL.iter().zip(&self.errors).find_map(|(at, count)| (*at == class).then_some(count))
            }
        };
        let latency = latency.and_then(|latency| self.latencies.get(bucket(micros(latency))));
        for counter in counter.into_iter().chain(latency) {
            add(counter, 1);
        }
    }

    fn counters(&self) -> impl Iterator<Item = &AtomicU64> {
        [&self.started, &self.body_bytes].into_iter().chain(&self.classes).chain(&self.errors).chain(&self.latencies)
    }
}

/// The bucket of a latency: exact below 16 µs, 16 parts of each octave above.
fn bucket(micros: u64) -> usize {
    let octave = u64::from(micros.max(PARTS).ilog2()) - u64::from(PARTS.ilog2());
    let bucket = if micros < PARTS { micros } else { octave * PARTS + (micros >> octave) };
    usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The middle of a bucket in microseconds.
fn middle(bucket: u64) -> f64 {
    let octave = (bucket / PARTS).saturating_sub(1);
    ((bucket - octave * PARTS) as f64 + 0.5) * (octave as f64).exp2()
}

impl LiveStats {
    /// Reads the counters. Costs a few loads for each core.
    #[must_use]
    pub fn snapshot(&self) -> LiveSnapshot {
        let mut snapshot = LiveSnapshot { elapsed: self.elapsed(), ..LiveSnapshot::default() };
        for shard in &*self.shards.lock().unwrap_or_else(PoisonError::into_inner) {
            snapshot.started += shard.started.load(Ordering::Relaxed);
            snapshot.body_bytes += shard.body_bytes.load(Ordering::Relaxed);
            for (sum, count) in snapshot.classes.iter_mut().zip(&shard.classes) {
                *sum += count.load(Ordering::Relaxed);
            }
            for (class, count) in ErrorClass::ALL.into_iter().zip(&shard.errors) {
                snapshot.errors.add_many(class, count.load(Ordering::Relaxed));
            }
        }
        snapshot.responses = snapshot.classes.iter().sum();
        snapshot
    }

    /// Reads the latencies of all requests that have ended.
    #[must_use]
    pub fn latencies(&self) -> LiveLatencies {
        let mut counts = vec![0; BUCKETS];
        for shard in &*self.shards.lock().unwrap_or_else(PoisonError::into_inner) {
            for (sum, count) in counts.iter_mut().zip(&shard.latencies) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        LiveLatencies { counts }
    }

    fn elapsed(&self) -> Duration {
        self.began.get().map_or(Duration::ZERO, |began| Instant::now().saturating_duration_since(*began))
    }

    pub(crate) fn begin(&self, start: Instant) {
        self.began.get_or_init(|| start);
    }

    /// Counters for one more core.
    pub(crate) fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::default());
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if shards.is_empty() {
            shards.push(Arc::default());
        }
        shards.push(Arc::clone(&shard));
        shard
    }

    /// Keeps the counts of a core that has ended, and forgets the core.
    pub(crate) fn retire(&self, shard: &Arc<Shard>) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = shards.iter().position(|known| Arc::ptr_eq(known, shard)) else { return };
        shards.swap_remove(at);
        if let Some(ended) = shards.first() {
            for (sum, count) in ended.counters().zip(shard.counters()) {
                add(sum, count.load(Ordering::Relaxed));
            }
        }
    }
}

impl LiveLatencies {
    /// The time below or at which the fraction `quantile` (0 to 1) of the latencies lie that came after `before`
    /// was read; `None` if there are none.
    #[must_use]
    pub fn quantile_since(&self, before: &Self, quantile: f64) -> Option<Duration> {
        let new = || self.counts.iter().zip(&before.counts).map(|(now, before)| now.saturating_sub(*before));
        let rank = ((new().sum::<u64>() as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let (bucket, _) = (0_u64..).zip(new()).find(|(_, count)| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_secs_f64(middle(bucket) / 1e6))
    }
}

impl LiveSnapshot {
    /// Responses whose status starts with `digit`: `status_class(5)` is the number of 5xx.
    #[must_use]
    pub fn status_class(&self, digit: u16) -> u64 {
        self.classes.get(usize::from(digit).wrapping_sub(1)).copied().unwrap_or(0)
    }

    /// Requests that have ended, with a response or an error.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.responses + self.errors.total()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn count(shard: &Shard) {
        for outcome in [
            Ok(Answer { status: 200, body_bytes: 5 }),
            Ok(Answer { status: 503, body_bytes: 0 }),
            Ok(Answer { status: 599, body_bytes: 0 }),
            Err(ErrorClass::Connect),
            Err(ErrorClass::Body),
        ] {
            shard.start();
            shard.finish(outcome, Some(MS));
        }
    }

    #[test]
    fn a_snapshot_shows_what_was_counted_by_class() {
        let live = LiveStats::default();
        assert_eq!(live.snapshot(), LiveSnapshot::default());
        count(&live.shard());
        let snapshot = live.snapshot();
        assert_eq!((snapshot.started, snapshot.responses, snapshot.finished(), snapshot.body_bytes), (5, 3, 5, 5));
        assert_eq!([0, 1, 2, 5, 9, 10].map(|digit| snapshot.status_class(digit)), [0, 0, 1, 2, 0, 0]);
        assert_eq!((snapshot.errors.connect, snapshot.errors.body, snapshot.errors.total()), (1, 1, 2));
    }

    #[test]
    fn the_counts_of_cores_that_have_ended_are_kept_and_the_cores_are_not() {
        let live = LiveStats::default();
        for _ in 0..10 {
            let shard = live.shard();
            count(&shard);
            let before = live.snapshot();
            live.retire(&shard);
            assert_eq!(live.snapshot(), before);
        }
        assert_eq!(live.snapshot().responses, 30);
        assert_eq!(live.shards.lock().unwrap().len(), 1);
    }

    #[test]
    fn live_latencies_are_exact_to_six_percent() {
        for micros in (1..100).chain([1_000, 12_345, 1_000_000, 59_000_000]) {
            let live = LiveStats::default();
            let before = live.latencies();
            live.shard().finish(Err(ErrorClass::Timeout), Some(Duration::from_micros(micros)));
            let found = live.latencies().quantile_since(&before, 0.99).unwrap().as_secs_f64() * 1e6;
            assert!((found - micros as f64).abs() <= (micros as f64 * 0.06).max(0.5), "{micros}: {found}");
            assert_eq!(live.latencies().quantile_since(&live.latencies(), 0.5), None);
        }
    }
}
