//! What one core counts: single-writer atomics, read by a scrape, with a bounded number of label combinations.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustc_hash::FxHashMap;

use super::{
    clock::nanos,
    error::Flag,
    grpc::GrpcStatus,
    identity::{IdentityId, UNKNOWN},
    reject::Reject,
    sniff::Protocol,
};

/// Upper bounds of the latency buckets in milliseconds: Istio's own, so that its dashboards fit.
pub(crate) const BUCKETS_MS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// A core that has not come round for this long stalls whatever it serves.
const STALL: Duration = Duration::from_millis(50);

/// One combination of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) listener: usize,
    pub(crate) source: IdentityId,
    pub(crate) destination: IdentityId,
    pub(crate) status: u16,
    pub(crate) flag: Flag,
    pub(crate) delayed: bool,
    /// Whether it was a gRPC call.
    pub(crate) call: bool,
    /// How that ended.
    pub(crate) grpc: Option<GrpcStatus>,
}

/// How long a request took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// From its head to the end of its response.
    pub(crate) latency: Duration,
    /// The part of it that was injected.
    pub(crate) delay: Duration,
}

/// The counts of one combination of labels.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The whole latency.
    pub(crate) total: Latencies,
    /// The latency without the injected delay; the same as `total` where nothing was delayed, and then not kept.
    pub(crate) own: Latencies,
}

/// A latency histogram with one writer.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    sum: AtomicU64,
}

/// A histogram as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LatencyCounts {
    /// Counts by bucket, the last for what is above every bound; not cumulated.
    pub(crate) buckets: [u64; BUCKETS_MS.len() + 1],
    /// The sum of all latencies in nanoseconds.
    pub(crate) sum: u64,
}

impl Latencies {
    /// Counts one. Only the owner of the shard writes, so a load and a store do.
    fn record(&self, latency: Duration) {
        let ms = latency.as_secs_f64() * 1e3;
        let index = BUCKETS_MS.partition_point(|bound| *bound < ms);
        if let Some(bucket) = self.buckets.get(index) {
            bump(bucket, 1);
        }
        bump(&self.sum, nanos(latency));
    }

    fn read_into(&self, counts: &mut LatencyCounts) {
        for (sum, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        counts.sum += self.sum.load(Ordering::Relaxed);
    }
}

impl LatencyCounts {
    /// The number of latencies.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds another histogram.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.sum += other.sum;
    }
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// One core's share of the metrics.
#[derive(Debug)]
pub(crate) struct Shard {
    series: RefCell<FxHashMap<SeriesKey, Arc<Series>>>,
    published: Arc<Published>,
    /// Series that all cores have made so far.
    made: Arc<AtomicUsize>,
    limit: usize,
}

/// The part of a shard that a scrape reads.
#[derive(Debug, Default)]
pub(crate) struct Published {
    series: Mutex<Vec<(SeriesKey, Arc<Series>)>>,
    rejected: [AtomicU64; Reject::ALL.len()],
    panics: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) active_connections: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    /// HTTP/2 streams that were refused because too many were open.
    pub(crate) streams_refused: AtomicU64,
    /// Requests of callers that are never faulted, while faults were on.
    pub(crate) exempt: AtomicU64,
    /// Lines of the access log that there was no room for.
    lines_lost: AtomicU64,
    /// Times that the core did not come round for [`STALL`], and the longest of them in nanoseconds.
    stalls: AtomicU64,
    longest_stall: AtomicU64,
    /// Rises whenever the core begins its periodic work.
    pub(crate) heartbeat: AtomicU64,
    /// When it last did.
    pub(crate) last_tick: AtomicU64,
    passed: Mutex<FxHashMap<(usize, Protocol), u64>>,
}

impl Shard {
    /// An empty shard; `made` is shared by all cores.
    pub(crate) fn new(published: Arc<Published>, made: Arc<AtomicUsize>, limit: usize) -> Self {
        Self { series: RefCell::default(), published, made, limit }
    }

    /// Counts a request.
    pub(crate) fn record(&self, key: SeriesKey, outcome: Outcome) {
        let mut series = self.series.borrow_mut();
        let found = match series.get(&key) {
            Some(found) => found,
            None => {
                let key = self.bounded(key);
                series.entry(key).or_insert_with(|| self.publish(key))
            }
        };
        found.total.record(outcome.latency);
        if !outcome.delay.is_zero() {
            found.own.record(outcome.latency.saturating_sub(outcome.delay));
        }
    }

    /// The key itself, or past the limit one without the parts that a hostile peer can choose.
    fn bounded(&self, key: SeriesKey) -> SeriesKey {
        if self.made.load(Ordering::Relaxed) < self.limit {
            return key;
        }
        SeriesKey { source: UNKNOWN, destination: UNKNOWN, status: key.status / 100 * 100, ..key }
    }

    fn publish(&self, key: SeriesKey) -> Arc<Series> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let series = Arc::new(Series::default());
        let mut published = self.published.series.lock().unwrap_or_else(PoisonError::into_inner);
        published.push((key, Arc::clone(&series)));
        series
    }

    /// Counts a request that was refused.
    pub(crate) fn rejected(&self, reject: Reject) {
        let index = Reject::ALL.iter().position(|r| *r == reject);
        if let Some(counter) = index.and_then(|index| self.published.rejected.get(index)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that is passed through.
    pub(crate) fn passed_through(&self, listener: usize, protocol: Protocol) {
        let mut passed = self.published.passed.lock().unwrap_or_else(PoisonError::into_inner);
        *passed.entry((listener, protocol)).or_default() += 1;
    }

    /// Counts a line of the access log that there was no room for.
    pub(crate) fn line_lost(&self) {
        self.published.lines_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// The core's periodic work came this much late.
    pub(crate) fn ticked(&self, late: Duration) {
        if late >= STALL {
            self.published.stalls.fetch_add(1, Ordering::Relaxed);
            self.published.longest_stall.fetch_max(nanos(late), Ordering::Relaxed);
        }
    }

    /// Counts a task that panicked.
    pub(crate) fn panicked(&self) {
        self.published.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// The part that a scrape reads.
    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// The same, for those who count on their own.
    pub(crate) fn share(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }
}

/// Everything that all cores have counted, added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) series: FxHashMap<SeriesKey, (LatencyCounts, LatencyCounts)>,
    pub(crate) rejected: [u64; Reject::ALL.len()],
    pub(crate) panics: u64,
    pub(crate) connections: u64,
    pub(crate) active_connections: u64,
    pub(crate) accept_errors: u64,
    pub(crate) streams_refused: u64,
    pub(crate) exempt: u64,
    pub(crate) lines_lost: u64,
    pub(crate) stalls: u64,
    pub(crate) longest_stall: u64,
    pub(crate) passed: FxHashMap<(usize, Protocol), u64>,
}

impl Totals {
    /// Adds up the shards.
    pub(crate) fn of(shards: &[Arc<Published>]) -> Self {
        let mut totals = Self::default();
        for shard in shards {
            for (key, series) in shard.series.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let (total, own) = totals.series.entry(*key).or_default();
                series.total.read_into(total);
                series.own.read_into(own);
            }
            for (sum, count) in totals.rejected.iter_mut().zip(&shard.rejected) {
                *sum += count.load(Ordering::Relaxed);
            }
            totals.panics += shard.panics.load(Ordering::Relaxed);
            totals.connections += shard.connections.load(Ordering::Relaxed);
            totals.active_connections += shard.active_connections.load(Ordering::Relaxed);
            totals.accept_errors += shard.accept_errors.load(Ordering::Relaxed);
            totals.streams_refused += shard.streams_refused.load(Ordering::Relaxed);
            totals.exempt += shard.exempt.load(Ordering::Relaxed);
            totals.lines_lost += shard.lines_lost.load(Ordering::Relaxed);
            totals.stalls += shard.stalls.load(Ordering::Relaxed);
            totals.longest_stall = totals.longest_stall.max(shard.longest_stall.load(Ordering::Relaxed));
            for (key, count) in shard.passed.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                *totals.passed.entry(*key).or_default() += count;
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_comes_round_late_is_counted_and_the_longest_time_is_kept() {
        let shard = Shard::new(Arc::default(), Arc::default(), 10);
        let counted = || {
            let totals = Totals::of(&[shard.share()]);
            (totals.stalls, totals.longest_stall)
        };
        for (late, expected) in [(0, (0, 0)), (49, (0, 0)), (50, (1, 50)), (400, (2, 400)), (60, (3, 400))] {
            shard.ticked(Duration::from_millis(late));
            assert_eq!(counted(), (expected.0, expected.1 * 1_000_000), "{late} ms late");
        }
    }
}
