//! How much of what a run may inject each proxy is given: for the whole run, and never more than there is. Pure.

use std::collections::BTreeMap;

/// Pods that are given a share in one run at the most; a Service has few proxies, and they are seldom replaced.
const MAX_PODS: usize = 1_024;

/// The shares of a run. What a proxy that has gone did not use is lost: nobody can tell how much that was.
#[derive(Debug, Default)]
pub(super) struct Deal {
    run: String,
    pods: BTreeMap<String, u64>,
}

impl Deal {
    /// The share of `pod` in the `total` of a run that `sharers` proxies have in common.
    pub(super) fn share(&mut self, run: &str, total: u64, sharers: usize, pod: &str) -> u64 {
        if self.run != run {
            run.clone_into(&mut self.run);
            self.pods.clear();
        }
        if let Some(share) = self.pods.get(pod) {
            return *share;
        }
        if self.pods.len() >= MAX_PODS {
            return 0;
        }
        let left = self.pods.values().fold(total, |left, share| left.saturating_sub(*share));
        let waiting = sharers.saturating_sub(self.pods.len()).max(1);
        let share = left.div_ceil(waiting as u64);
        self.pods.insert(pod.to_owned(), share);
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_total_and_stay_for_the_whole_run() {
        for (total, sharers) in [(0_u64, 2_usize), (1, 2), (7, 3), (100, 1)] {
            let mut deal = Deal::default();
            let mut shares =
                |_| (0..sharers).map(|pod| deal.share("run", total, sharers, &pod.to_string())).sum::<u64>();
            assert_eq!([0, 1].map(&mut shares), [total, total], "{total} among {sharers}");
        }
    }

    #[test]
    fn a_proxy_that_comes_later_gets_what_nobody_was_given() {
        let mut deal = Deal::default();
        assert_eq!(deal.share("run", 10, 2, "a"), 5);
        assert_eq!(deal.share("run", 10, 2, "b"), 5);
        assert_eq!(deal.share("run", 10, 2, "in the place of a"), 0);
        assert_eq!(deal.share("next", 10, 2, "a"), 5, "another run has shares of its own");
    }
}
