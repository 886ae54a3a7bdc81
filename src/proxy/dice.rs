//! The dice: one roll decides which fault hits a request or a new connection, if one does.

use std::sync::Arc;

use super::{
    fault::{Facts, FaultHere, LiveFault},
    live_plan::LivePlan,
};

/// The dice of one run: seeded by its plan, or at random.
#[derive(Debug, Default)]
pub(crate) struct Dice {
    seed: Option<u64>,
    rng: fastrand::Rng,
}

impl Dice {
    /// A roll; `salt` tells apart the dice of one run.
    pub(crate) fn roll(&mut self, plan: &LivePlan, salt: u64) -> u64 {
        let seed = plan.experiment().and_then(|experiment| experiment.seed);
        if self.seed != seed {
            self.seed = seed;
            self.rng = seed.map_or_else(fastrand::Rng::new, |seed| fastrand::Rng::with_seed(seed ^ salt));
        }
        self.rng.u64(..)
    }
}

/// The fault that a roll makes hit a request; every fault that applies counts it.
pub(crate) fn of_request<'f>(faults: &'f [FaultHere], facts: &Facts<'_>, roll: u64) -> Option<&'f Arc<LiveFault>> {
    let applying = faults.iter().filter(|here| here.applies(facts)).map(|here| &here.fault);
    hit(roll, applying.inspect(|fault| fault.counters.matched()).map(|fault| (fault.share, fault)))
}

/// The fault whose part of the dice a roll falls into: each has its own percentage of all requests, the first the lowest part.
///
/// One roll for all keeps every percentage exact, and never injects two faults into one request.
pub(crate) fn hit<T>(roll: u64, shares: impl Iterator<Item = (u128, T)>) -> Option<T> {
    let mut end = 0u128;
    let mut found = None;
    for (share, fault) in shares {
        end += share;
        if found.is_none() && u128::from(roll) < end {
            found = Some(fault);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use glooshot_api::quantity::Percent;

    use super::hit;

    fn shares(percents: &[f64]) -> Vec<(u128, usize)> {
        percents.iter().map(|p| Percent::try_from(*p).unwrap().of_two_to_the_64()).zip(0..).collect()
    }

    /// How often each of the faults hits in `n` rolls of a seeded dice; the last count is for none.
    fn counts(percents: &[f64], seed: u64, n: usize) -> Vec<usize> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut counts = vec![0; percents.len() + 1];
        for _ in 0..n {
            counts[hit(rng.u64(..), shares(percents).into_iter()).unwrap_or(percents.len())] += 1;
        }
        counts
    }

    #[test]
    fn a_hundred_percent_hits_every_request_and_no_fault_none() {
        assert_eq!(counts(&[100.0], 1, 10_000), [10_000, 0]);
        assert_eq!(hit(0, shares(&[]).into_iter()), None::<usize>);
        assert_eq!(hit(u64::MAX, shares(&[100.0]).into_iter()), Some(0));
        assert_eq!(hit(u64::MAX, shares(&[99.999_999]).into_iter()), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        assert_eq!(counts(&[10.0, 5.0], 42, 100_000), counts(&[10.0, 5.0], 42, 100_000));
        assert_eq!(counts(&[10.0, 5.0], 42, 10_000), [985, 495, 8_520]);
    }

    #[test]
    fn any_seed_keeps_every_percentage_within_five_sigma_over_100_000_requests() {
        let n = 100_000.0;
        for (seed, percents) in [(3, vec![0.5]), (4, vec![10.0, 5.0]), (5, vec![33.3, 33.3, 33.3]), (6, vec![50.0])] {
            let counts = counts(&percents, seed, 100_000);
            for (percent, count) in percents.iter().zip(counts) {
                let p = percent / 100.0;
                let sigma = (n * p * (1.0 - p)).sqrt();
                assert!((count as f64 - n * p).abs() < 5.0 * sigma, "{percent}%: {count}");
            }
        }
    }
}
