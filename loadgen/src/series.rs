//! What happened when: counts and latencies by the second, in a bounded number of intervals.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::CreationError;

use crate::latencies::{Counted, Rough};

/// Length of an interval, until a run takes so long that intervals are put together.
const WIDTH: Duration = Duration::from_secs(1);

/// Most intervals of a series. Beyond them their length doubles.
pub(crate) const MAX_INTERVALS: u64 = 600;

/// What happened in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Requests started.
    pub started: u64,
    /// Complete responses, of any status.
    pub responses: u64,
    /// Requests without a complete response, and responses with a status of 400 or more.
    pub failed: u64,
    /// Bytes of response bodies.
    pub body_bytes: u64,
    /// Latencies, counted from when requests were due, of those that ended in the interval.
    pub latencies: Counted,
}

/// The intervals of a run, each of the same length. Intervals in which nothing happened are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    width: Duration,
    intervals: BTreeMap<u64, Interval>,
}

impl Default for Series {
    fn default() -> Self {
        Self { width: WIDTH, intervals: BTreeMap::new() }
    }
}

impl Interval {
    fn merge(&mut self, other: &Self) {
        self.started += other.started;
        self.responses += other.responses;
        self.failed += other.failed;
        self.body_bytes += other.body_bytes;
        self.latencies.merge(&other.latencies);
    }
}

impl Series {
    pub(crate) fn new(width: Duration, intervals: BTreeMap<u64, Interval>) -> Self {
        Self { width, intervals }
    }

    /// Length of an interval.
    #[must_use]
    pub fn width(&self) -> Duration {
        self.width
    }

    /// The intervals in which something happened, each with its number from the start of the run.
    pub fn intervals(&self) -> impl Iterator<Item = (u64, &Interval)> {
        self.intervals.iter().map(|(index, interval)| (*index, interval))
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        while self.width < other.width {
            self.widen();
        }
        let mut other = std::borrow::Cow::Borrowed(other);
        while other.width < self.width {
            other.to_mut().widen();
        }
        for (index, interval) in &other.intervals {
            self.intervals.entry(*index).or_default().merge(interval);
        }
    }

    /// Puts each two intervals together.
    fn widen(&mut self) {
        self.width *= 2;
        for (index, interval) in std::mem::take(&mut self.intervals) {
            self.intervals.entry(index / 2).or_default().merge(&interval);
        }
    }
}

/// Writes the series of one core.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    series: Series,
    /// Number of the interval that is being recorded, and when it ends.
    index: u64,
    ends: Instant,
    current: Interval,
    latencies: Rough,
}

impl Recorder {
    pub(crate) fn new(start: Instant) -> Result<Self, CreationError> {
        Ok(Self {
            start,
            series: Series::default(),
            index: 0,
            ends: start + WIDTH,
            current: Interval::default(),
            latencies: Rough::new()?,
        })
    }

    /// The interval of `now`, which must not go back.
    pub(crate) fn at(&mut self, now: Instant) -> (&mut Interval, &mut Rough) {
        if now >= self.ends {
            self.advance(now);
        }
        (&mut self.current, &mut self.latencies)
    }

    fn advance(&mut self, now: Instant) {
        self.close();
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        let number = |width: Duration| u64::try_from(elapsed / width.as_nanos().max(1)).unwrap_or(u64::MAX);
        while number(self.series.width) >= MAX_INTERVALS {
            self.series.widen();
        }
        self.index = number(self.series.width);
        let end = self.series.width.as_secs_f64() * (self.index + 1) as f64;
        self.ends = self.start + Duration::from_secs_f64(end);
    }

    /// Adds what is being recorded to the series.
    fn close(&mut self) {
        let mut interval = std::mem::take(&mut self.current);
        interval.latencies = self.latencies.take();
        if interval != Interval::default() {
            self.series.intervals.entry(self.index).or_default().merge(&interval);
        }
    }

    pub(crate) fn finish(mut self) -> Series {
        self.close();
        self.series
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A series in which a request ends every `step` seconds.
    fn series(seconds: u64, step: usize) -> Series {
        let start = Instant::now();
        let mut recorder = Recorder::new(start).unwrap();
        for second in (0..seconds).step_by(step) {
            let (interval, latencies) = recorder.at(start + Duration::from_millis(second * 1000 + 500));
            interval.responses += 1;
            latencies.record(Duration::from_millis(second));
        }
        recorder.finish()
    }

    fn responses(series: &Series) -> Vec<(u64, u64)> {
        series.intervals().map(|(index, interval)| (index, interval.responses)).collect()
    }

    #[test]
    fn seconds_in_which_nothing_happened_are_left_out() {
        assert_eq!(responses(&series(10, 3)), [(0, 1), (3, 1), (6, 1), (9, 1)]);
    }

    #[test]
    fn a_long_run_has_longer_intervals_and_loses_nothing() {
        let long = series(5000, 1);
        assert_eq!(long.width(), Duration::from_secs(16));
        assert!(long.intervals().count() as u64 <= MAX_INTERVALS);
        assert_eq!(responses(&long).iter().map(|(_, count)| count).sum::<u64>(), 5000);
        let (index, interval) = long.intervals().nth(100).unwrap();
        assert_eq!((index, interval.responses), (100, 16));
        assert!(interval.latencies.quantile(1.0).unwrap() >= Duration::from_millis(1600));
    }

    #[test]
    fn series_of_different_lengths_are_put_together_in_either_order() {
        let (long, short) = (series(1300, 1), series(10, 1));
        let mut one = long.clone();
        one.merge(&short);
        let mut other = short;
        other.merge(&long);
        assert_eq!(one, other);
        assert_eq!(responses(&one)[..4], [(0, 8), (1, 8), (2, 6), (3, 4)]);
    }
}
