//! Distributions of times: exact ones for results, small ones for each interval of a series.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

/// Shortest time that is told from zero, in microseconds.
const LOWEST_MICROS: u64 = 1;

/// Longest time that is told apart; longer ones count as this, in microseconds.
const HIGHEST_MICROS: u64 = 60_000_000;

/// Significant decimal digits of a time in a result.
const DIGITS: u8 = 3;

/// Significant decimal digits of a time in an interval of a series.
const ROUGH_DIGITS: u8 = 2;

/// A distribution of times from 1 µs to 60 s, exact to three digits; longer ones count as 60 s.
#[derive(Clone)]
pub struct Latencies {
    micros: Histogram<u64>,
}

impl fmt::Debug for Latencies {
    /// In one line; the histogram has thousands of counters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|quantile| self.quantile(quantile));
        write!(f, "{} times, min {:?}, p50 {p50:?}, p99 {p99:?}, max {:?}", self.count(), self.min(), self.max())
    }
}

/// Whole microseconds, within what is told apart.
pub(crate) fn micros(time: Duration) -> u64 {
    let micros = time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into());
    micros.clamp(LOWEST_MICROS, HIGHEST_MICROS)
}

impl Latencies {
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self { micros: Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, DIGITS)? })
    }

    pub(crate) fn record(&mut self, time: Duration, count: u64) {
        self.micros.saturating_record_n(micros(time), count);
    }

    /// Adds another distribution.
    pub(crate) fn merge(&mut self, other: &Self) {
        // Fails for values beyond the highest only, and both have the same.
        let _ = self.micros.add(&other.micros);
    }

    /// A distribution from a histogram in microseconds that may have other bounds.
    pub(crate) fn from_histogram(histogram: &Histogram<u64>) -> Result<Self, CreationError> {
        let mut latencies = Self::new()?;
        for bucket in histogram.iter_recorded() {
            latencies.record(Duration::from_micros(bucket.value_iterated_to()), bucket.count_at_value());
        }
        Ok(latencies)
    }

    /// Number of times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.micros.len()
    }

    /// The time below or at which the fraction `quantile` (0 to 1) of all lie: 0.99 for p99. Zero if there
    /// are none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.micros.value_at_quantile(quantile).min(self.micros.max()))
    }

    /// The shortest time; zero if there are none.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_micros(if self.micros.is_empty() { 0 } else { self.micros.min() })
    }

    /// The longest time; zero if there are none.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.micros.max())
    }

    /// The mean; zero if there are none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.micros.mean() / 1e6)
    }

    /// The histogram itself, in microseconds, for whoever wants to merge or export it.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.micros
    }
}

/// A distribution while it is being recorded in an interval.
#[derive(Debug)]
pub(crate) struct Rough {
    micros: Histogram<u64>,
}

impl Rough {
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self { micros: Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, ROUGH_DIGITS)? })
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.micros.saturating_record(micros(time));
    }

    /// What was recorded, in a small form; begins anew.
    pub(crate) fn take(&mut self) -> Counted {
        let counts = self.micros.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value()));
        let counts = Counted { counts: counts.collect() };
        if !counts.counts.is_empty() {
            self.micros.reset();
        }
        counts
    }
}

/// A distribution as a list: microseconds, exact to two digits, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    counts: BTreeMap<u64, u64>,
}

impl Counted {
    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self { counts: pairs.into_iter().collect() }
    }

    /// Microseconds and how often, in rising order.
    pub fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|(micros, count)| (*micros, *count))
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (micros, count) in other.pairs() {
            *self.counts.entry(micros).or_default() += count;
        }
    }

    /// The time below or at which the fraction `quantile` (0 to 1) of all lie; `None` if there are none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let total: u64 = self.counts.values().sum();
        let rank = ((total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.pairs().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        at.map(|(micros, _)| Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_longer_than_a_minute_count_as_a_minute() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::from_secs(3600), 1);
        latencies.record(Duration::ZERO, 1);
        assert_eq!(latencies.count(), 2);
        let minute = Duration::from_secs(60).as_secs_f64();
        assert!((latencies.max().as_secs_f64() - minute).abs() < minute / 1000.0, "{:?}", latencies.max());
        assert_eq!(latencies.min(), Duration::from_micros(1));
    }

    #[test]
    fn no_times_are_all_zero() {
        let none = Latencies::new().unwrap();
        assert_eq!([none.min(), none.max(), none.mean(), none.quantile(0.99)], [Duration::ZERO; 4]);
        assert_eq!(Counted::default().quantile(0.5), None);
    }

    #[test]
    fn the_small_form_has_the_quantiles_to_two_digits() {
        let mut rough = Rough::new().unwrap();
        for micros in 1..=10_000 {
            rough.record(Duration::from_micros(micros));
        }
        let mut counted = rough.take();
        for quantile in [0.01, 0.5, 0.99, 1.0] {
            let found = counted.quantile(quantile).unwrap().as_micros() as f64;
            assert!((found / (quantile * 10_000.0) - 1.0).abs() < 0.01, "{quantile}: {found}");
        }
        assert_eq!(rough.take(), Counted::default(), "taken once");
        counted.merge(&counted.clone());
        assert_eq!(counted.pairs().map(|(_, count)| count).sum::<u64>(), 20_000);
    }
}
