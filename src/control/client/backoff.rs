//! How long to wait before the next attempt: longer after each failure, never the same for two proxies. Pure.

use std::time::Duration;

/// The first wait at the most.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait after an attempt that lasted so long; `dice` from 0 to 1 spreads it over its second half.
    pub(super) fn after(&mut self, lasted: Duration, dice: f64) -> Duration {
        // What held for long was no failure of the attempt.
        if lasted > LONGEST {
            self.next = FIRST;
        }
        let wait = self.next.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_long_connection() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.after(Duration::ZERO, 1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(backoff.after(Duration::from_secs(60), 1.0), FIRST);
    }

    #[test]
    fn proxies_that_fail_together_do_not_come_back_together() {
        assert_eq!(Backoff::default().after(Duration::ZERO, 0.0), FIRST / 2);
        assert_eq!(Backoff::default().after(Duration::ZERO, 0.5), FIRST * 3 / 4);
    }
}
