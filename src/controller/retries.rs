//! How long is waited after failures: twice as long after each, for each Experiment by itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// After the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// At the most.
const LONGEST: Duration = Duration::from_secs(60);
/// Experiments whose failures are counted at the most; what fails beyond them waits for the longest time.
const MOST: usize = 10_000;

/// Failures in a row, by uid.
#[derive(Debug, Default)]
pub(crate) struct Retries(Mutex<BTreeMap<String, u32>>);

impl Retries {
    /// It failed once more: the time to wait.
    pub(crate) fn next(&self, uid: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST && !failures.contains_key(uid) {
            return LONGEST;
        }
        let count = failures.entry(uid.to_owned()).or_default();
        let wait = FIRST.saturating_mul(1 << (*count).min(16)).min(LONGEST);
        *count = count.saturating_add(1);
        wait
    }

    /// It went well, or is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_of_its_own_experiment() {
        let retries = Retries::default();
        let waits: Vec<u128> = (0..12).map(|_| retries.next("a").as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000, 60_000]);
        assert_eq!(retries.next("b"), FIRST);
        retries.forget("a");
        assert_eq!(retries.next("a"), FIRST);
    }

    #[test]
    fn the_number_of_those_that_are_counted_is_bounded() {
        let retries = Retries::default();
        for i in 0..MOST {
            retries.next(&i.to_string());
        }
        assert_eq!(retries.next("one more"), LONGEST);
        assert_eq!(retries.next("0"), FIRST * 2);
    }
}
