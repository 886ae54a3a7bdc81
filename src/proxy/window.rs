//! A sliding window of counters over one core's share of a service's requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::{Moment, nanos};

/// Slots of one window: the window slides in steps of a hundredth of its length.
const SLOTS: u64 = 100;
/// The finest step of a window.
const MIN_STEP: Duration = Duration::from_millis(1);

/// Sub-buckets of a doubling of the latency: values are kept to within 3 %.
const SUB_BITS: u32 = 5;
/// Doublings from 1 microsecond up: 2^27 microseconds are about two minutes, more than any timeout allows.
const DOUBLINGS: u32 = 27;
/// Buckets of a histogram. Proxies and controllers exchange counts by bucket, so that a change of the buckets is one of the protocol.
pub(crate) const BUCKETS: usize = ((DOUBLINGS + 1) << SUB_BITS) as usize;

/// What a window counts. Windows of several proxies are added up; what they send each other may be anything, so it saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Requests.
    pub total: u64,
    /// Requests that ended in an error.
    pub errors: u64,
    /// Requests that took less than a latency condition's threshold.
    pub below: u64,
    /// Requests that took exactly the threshold, to the nanosecond.
    pub equal: u64,
}

impl Tally {
    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            total: self.total.saturating_add(other.total),
            errors: self.errors.saturating_add(other.errors),
            below: self.below.saturating_add(other.below),
            equal: self.equal.saturating_add(other.equal),
        }
    }

    /// What is left when `other`, a part of this, has gone.
    const fn minus(self, other: Self) -> Self {
        Self {
            total: self.total.saturating_sub(other.total),
            errors: self.errors.saturating_sub(other.errors),
            below: self.below.saturating_sub(other.below),
            equal: self.equal.saturating_sub(other.equal),
        }
    }
}

/// One core's window.
#[derive(Debug)]
pub(crate) struct Window {
    step: u64,
    /// The step that the newest slot stands for.
    newest: u64,
    slots: Vec<Slot>,
    sum: Tally,
    histogram: Option<Histogram>,
}

#[derive(Debug, Default)]
struct Slot {
    tally: Tally,
    /// Counts by bucket; empty while the slot is, and for windows without latencies.
    latencies: Vec<(u16, u32)>,
}

impl Window {
    /// An empty window of this length; `latencies` keeps a histogram.
    pub(crate) fn new(length: Duration, latencies: bool) -> Self {
        let step = nanos(length / u32::try_from(SLOTS).unwrap_or(1)).max(nanos(MIN_STEP));
        let count = usize::try_from((nanos(length) / step).max(1)).unwrap_or(1);
        Self {
            step,
            newest: 0,
            slots: (0..count).map(|_| Slot::default()).collect(),
            sum: Tally::default(),
            histogram: latencies.then(Histogram::default),
        }
    }

    /// Counts one request, and its latency where those are kept; gives the sum with it.
    pub(crate) fn record(&mut self, now: Moment, one: Tally, latency: Duration) -> Tally {
        self.advance(now);
        let bucket = self.histogram.is_some().then(|| bucket_of(latency));
        let index = self.index(self.newest);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.tally = slot.tally.plus(one);
            if let Some(bucket) = bucket {
                slot.count(bucket);
            }
        }
        self.sum = self.sum.plus(one);
        if let (Some(histogram), Some(bucket)) = (&mut self.histogram, bucket) {
            histogram.add(bucket, 1);
        }
        self.sum
    }

    /// Forgets what has left the window, and gives the sum of the rest.
    pub(crate) fn sum(&mut self, now: Moment) -> Tally {
        self.advance(now);
        self.sum
    }

    /// Adds this window's latencies to `total`.
    pub(crate) fn add_latencies(&mut self, now: Moment, total: &mut Histogram) {
        self.advance(now);
        if let Some(own) = &self.histogram {
            total.merge(own);
        }
    }

    fn index(&self, step: u64) -> usize {
        usize::try_from(step % self.slots.len().max(1) as u64).unwrap_or(0)
    }

    /// Moves the newest slot to `now` and empties the slots that it passes.
    fn advance(&mut self, now: Moment) {
        let step = now.as_nanos() / self.step;
        if step <= self.newest {
            return;
        }
        let passed = (step - self.newest).min(self.slots.len() as u64);
        for back in 0..passed {
            let index = self.index(step - back);
            let Some(slot) = self.slots.get_mut(index) else { continue };
            self.sum = self.sum.minus(slot.tally);
            slot.tally = Tally::default();
            for (bucket, count) in slot.latencies.drain(..) {
                if let Some(histogram) = &mut self.histogram {
                    histogram.subtract(bucket, count);
                }
            }
        }
        self.newest = step;
    }
}

impl Slot {
    fn count(&mut self, bucket: u16) {
        match self.latencies.iter_mut().find(|(b, _)| *b == bucket) {
            Some((_, count)) => *count += 1,
            None => self.latencies.push((bucket, 1)),
        }
    }
}

/// Counts of latencies in buckets that grow with the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: Vec<u32>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }
}

impl Histogram {
    fn add(&mut self, bucket: u16, count: u32) {
        if let Some(slot) = self.counts.get_mut(usize::from(bucket)) {
            *slot = slot.saturating_add(count);
        }
    }

    /// Adds another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(*count);
        }
    }

    /// The buckets whose counts differ from those of `before`, with their counts now.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<(u16, u32)> {
        let both = self.counts.iter().zip(&before.counts);
        (0u16..).zip(both).filter(|(_, (now, before))| now != before).map(|(bucket, (now, _))| (bucket, *now)).collect()
    }

    /// Takes over what [`Histogram::changes_since`] gave; buckets that do not exist are ignored.
    pub(crate) fn apply(&mut self, changes: &[(u16, u32)]) {
        for (bucket, count) in changes {
            if let Some(slot) = self.counts.get_mut(usize::from(*bucket)) {
                *slot = *count;
            }
        }
    }

    /// How many values it holds.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    fn subtract(&mut self, bucket: u16, count: u32) {
        if let Some(slot) = self.counts.get_mut(usize::from(bucket)) {
            *slot = slot.saturating_sub(count);
        }
    }

    /// The value at `rank` (1 is the smallest), as the upper end of its bucket; `None` if there are fewer values.
    pub(crate) fn at_rank(&self, rank: u64) -> Option<Duration> {
        let mut seen = 0u64;
        self.counts.iter().enumerate().find_map(|(bucket, count)| {
            seen += u64::from(*count);
            (seen >= rank).then(|| upper_end(bucket))
        })
    }
}

/// The bucket of a latency: exact below 32 us, then 32 steps for each doubling.
fn bucket_of(latency: Duration) -> u16 {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let doubling = (63 - (micros | (1 << SUB_BITS)).leading_zeros()) - SUB_BITS;
    let index = (u64::from(doubling) << SUB_BITS) + (micros >> doubling);
    u16::try_from(index.min(BUCKETS as u64 - 1)).unwrap_or(u16::MAX)
}

/// The largest latency of a bucket.
fn upper_end(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let sub = 1u64 << SUB_BITS;
    if bucket < 2 * sub {
        return Duration::from_micros(bucket + 1);
    }
    let doubling = bucket / sub - 1;
    let within = bucket - doubling * sub;
    Duration::from_micros((within + 1) << doubling)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos((1_000_000 + ms) * 1_000_000)
    }

    const ONE: Tally = Tally { total: 1, errors: 1, below: 0, equal: 0 };

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = Window::new(Duration::from_secs(1), false);
        window.record(at(0), ONE, Duration::ZERO);
        window.record(at(500), ONE, Duration::ZERO);
        assert_eq!(window.sum(at(900)).total, 2);
        assert_eq!(window.sum(at(1_010)).total, 1);
        assert_eq!(window.sum(at(1_510)).total, 0);
        assert_eq!(window.sum(at(99_999)).total, 0);
    }

    #[test]
    fn a_window_that_was_not_touched_for_long_starts_empty() {
        let mut window = Window::new(Duration::from_secs(5), true);
        for i in 0..1_000 {
            window.record(at(i * 3), ONE, Duration::from_millis(i));
        }
        assert_eq!(window.sum(at(1_000_000)), Tally::default());
        let mut histogram = Histogram::default();
        window.add_latencies(at(1_000_000), &mut histogram);
        assert_eq!(histogram.at_rank(1), None);
    }

    proptest! {
        #[test]
        fn the_sum_equals_a_plain_recount(times in prop::collection::vec(0u64..5_000, 1..200)) {
            let mut times = times;
            times.sort_unstable();
            let mut window = Window::new(Duration::from_secs(1), true);
            for t in &times {
                window.record(at(*t), ONE, Duration::from_micros(*t));
            }
            let end = *times.last().unwrap_or(&0);
            // The window holds the newest step and the 99 before it.
            let first = ((1_000_000 + end) / 10).saturating_sub(99) * 10;
            let expected = times.iter().filter(|t| 1_000_000 + **t >= first).count() as u64;
            prop_assert_eq!(window.sum(at(end)).total, expected);
        }

        #[test]
        fn a_bucket_holds_its_value_within_a_thirtieth(micros in 0u64..100_000_000) {
            let end = upper_end(usize::from(bucket_of(Duration::from_micros(micros)))).as_micros() as f64;
            let value = micros as f64;
            prop_assert!(end > value);
            prop_assert!(end <= value * (1.0 + 1.0 / 31.0) + 1.0, "{value} {end}");
        }
    }
}
