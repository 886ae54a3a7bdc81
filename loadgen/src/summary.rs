//! The result of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

/// Shortest latency that is told from zero, in microseconds.
const LOWEST_MICROS: u64 = 1;

/// Longest latency that is told apart; longer ones count as this, in microseconds.
const HIGHEST_MICROS: u64 = 60_000_000;

/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// From the start of the run to the end of its last request.
    pub elapsed: Duration,
    /// Requests started. `started = responses + errors.total() + cancelled`.
    pub started: u64,
    /// Complete responses, of any status.
    pub responses: u64,
    /// Responses by status code; at most 900 entries.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that ended without a complete response.
    pub errors: ErrorCounts,
    /// Requests given up because the run was cancelled.
    pub cancelled: u64,
    /// Requests of a constant rate that were due and never sent, because every connection was busy until the
    /// run ended. More than a few mean that the server, or the number of connections, cannot hold the rate.
    pub unsent: u64,
    /// Bytes of response bodies.
    pub body_bytes: u64,
    /// Latency as a user would feel it: from when a request was due to the last byte of its response. It
    /// includes timed out and unsent requests with the time that they had waited.
    pub latency: Latencies,
    /// From when a request was really sent to the last byte of its response; the same as `latency` for the
    /// closed loop. A difference between the two is time spent waiting for a free connection.
    pub service_time: Latencies,
}

impl Summary {
    /// Complete responses per second.
    #[must_use]
    pub fn responses_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.responses as f64 / seconds } else { 0.0 }
    }

    /// Responses whose status starts with `digit`: `status_class(5)` is the number of 5xx.
    #[must_use]
    pub fn status_class(&self, digit: u16) -> u64 {
        self.statuses.iter().filter(|(status, _)| **status / 100 == digit).map(|(_, count)| count).sum()
    }

    /// Whether no request at all was answered with a status below 400.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        self.statuses.range(..400).next().is_none()
    }
}

/// Why a request ended without a complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// No connection could be opened.
    Connect,
    /// The request's time was up.
    Timeout,
    /// The connection was reset or closed before the response head was complete.
    Io,
    /// What came back is not HTTP/1.1.
    Protocol,
    /// The response head came, its body broke off.
    Body,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Timeout, Self::Io, Self::Protocol, Self::Body];

    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Io => "io",
            Self::Protocol => "protocol",
            Self::Body => "body",
        }
    }
}

/// Errors by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// [`ErrorClass::Connect`]
    pub connect: u64,
    /// [`ErrorClass::Timeout`]
    pub timeout: u64,
    /// [`ErrorClass::Io`]
    pub io: u64,
    /// [`ErrorClass::Protocol`]
    pub protocol: u64,
    /// [`ErrorClass::Body`]
    pub body: u64,
}

impl ErrorCounts {
    /// Errors of one class.
    #[must_use]
    pub fn get(&self, class: ErrorClass) -> u64 {
        match class {
            ErrorClass::Connect => self.connect,
            ErrorClass::Timeout => self.timeout,
            ErrorClass::Io => self.io,
            ErrorClass::Protocol => self.protocol,
            ErrorClass::Body => self.body,
        }
    }

    /// All errors.
    #[must_use]
    pub fn total(&self) -> u64 {
        ErrorClass::ALL.into_iter().map(|class| self.get(class)).sum()
    }

    pub(crate) fn add(&mut self, class: ErrorClass) {
        self.add_many(class, 1);
    }

    pub(crate) fn add_many(&mut self, class: ErrorClass, count: u64) {
        let field = match class {
            ErrorClass::Connect => &mut self.connect,
            ErrorClass::Timeout => &mut self.timeout,
            ErrorClass::Io => &mut self.io,
            ErrorClass::Protocol => &mut self.protocol,
            ErrorClass::Body => &mut self.body,
        };
        *field += count;
    }
}

/// A distribution of latencies from 1 µs to 60 s, exact to three digits; longer ones count as 60 s.
#[derive(Clone, Debug)]
pub struct Latencies {
    micros: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self { micros: Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, DIGITS)? })
    }

    pub(crate) fn record(&mut self, latency: Duration, count: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(LOWEST_MICROS, HIGHEST_MICROS);
        self.micros.saturating_record_n(micros, count);
    }

    /// Number of latencies.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.micros.len()
    }

    /// The latency below or at which the fraction `quantile` (0 to 1) of all lie: 0.99 for p99. Zero if there
    /// are none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.micros.value_at_quantile(quantile).min(self.micros.max()))
    }

    /// The shortest latency; zero if there are none.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_micros(if self.micros.is_empty() { 0 } else { self.micros.min() })
    }

    /// The longest latency; zero if there are none.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn latencies_longer_than_a_minute_count_as_a_minute() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::from_secs(3600), 1);
        latencies.record(Duration::ZERO, 1);
        assert_eq!(latencies.count(), 2);
        let minute = Duration::from_secs(60).as_secs_f64();
        assert!((latencies.max().as_secs_f64() - minute).abs() < minute / 1000.0, "{:?}", latencies.max());
        assert_eq!(latencies.min(), Duration::from_micros(1));
    }

    #[test]
    fn no_latencies_are_all_zero() {
        let none = Latencies::new().unwrap();
        assert_eq!([none.min(), none.max(), none.mean(), none.quantile(0.99)], [Duration::ZERO; 4]);
    }
}
