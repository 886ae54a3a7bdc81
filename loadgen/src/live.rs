//! Counters that can be read while a run is going on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::connection::Answer;
use crate::summary::{ErrorClass, ErrorCounts};

/// Totals since the start of the run, written by [`run`](crate::run()) and readable by anyone at any time.
///
/// Two [snapshots](LiveStats::snapshot) and the difference of their times give the rates of an interval.
/// One `LiveStats` may be given to several runs; it then holds their sum.
#[derive(Debug, Default)]
pub struct LiveStats {
    began: OnceLock<Instant>,
    started: AtomicU64,
    body_bytes: AtomicU64,
    /// Responses by the first digit of their status, 1 to 9.
    classes: [AtomicU64; 9],
    /// Errors in the order of [`ErrorClass::ALL`].
    errors: [AtomicU64; 5],
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

impl LiveStats {
    /// Reads the counters. Costs a few loads.
    #[must_use]
    pub fn snapshot(&self) -> LiveSnapshot {
        let classes = self.classes.each_ref().map(|count| count.load(Ordering::Relaxed));
        let mut errors = ErrorCounts::default();
        for (class, count) in ErrorClass::ALL.into_iter().zip(&self.errors) {
            errors.add_many(class, count.load(Ordering::Relaxed));
        }
        LiveSnapshot {
            elapsed: self.began.get().map_or(Duration::ZERO, Instant::elapsed),
            started: self.started.load(Ordering::Relaxed),
            responses: classes.iter().sum(),
            errors,
            body_bytes: self.body_bytes.load(Ordering::Relaxed),
            classes,
        }
    }

    pub(crate) fn begin(&self) {
        self.began.get_or_init(Instant::now);
    }

    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finish(&self, outcome: Result<Answer, ErrorClass>) {
        let counter = match outcome {
            Ok(answer) => {
                self.body_bytes.fetch_add(answer.body_bytes, Ordering::Relaxed);
                self.classes.get(usize::from(answer.status / 100).wrapping_sub(1))
            }
            Err(class) => {
                ErrorClass::ALL.iter().zip(&self.errors).find_map(|(at, count)| (*at == class).then_some(count))
            }
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
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
    use super::*;

    #[test]
    fn a_snapshot_shows_what_was_counted_by_class() {
        let live = LiveStats::default();
        assert_eq!(live.snapshot(), LiveSnapshot::default());
        for outcome in [
            Ok(Answer { status: 200, body_bytes: 5 }),
            Ok(Answer { status: 503, body_bytes: 0 }),
            Ok(Answer { status: 599, body_bytes: 0 }),
            Err(ErrorClass::Connect),
            Err(ErrorClass::Body),
        ] {
            live.start();
            live.finish(outcome);
        }
        let snapshot = live.snapshot();
        assert_eq!((snapshot.started, snapshot.responses, snapshot.finished(), snapshot.body_bytes), (5, 3, 5, 5));
        assert_eq!([0, 1, 2, 5, 9, 10].map(|digit| snapshot.status_class(digit)), [0, 0, 1, 2, 0, 0]);
        assert_eq!((snapshot.errors.connect, snapshot.errors.body, snapshot.errors.total()), (1, 1, 2));
    }
}
