//! Step 2, select: the group of endpoints that the request will go to, and the fault that hits it, if one does.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use http::Request;

use super::{
    clock::Moment,
    connection::Caller,
    fault::{Facts, LiveFault},
    live_plan::{LivePlan, RouteView},
    route::{LiveEndpoint, LiveRoute},
    worker::Worker,
};

/// Where a request goes, and what is done to it before.
#[derive(Debug)]
pub(crate) struct Selection {
    /// The endpoints of the Service port.
    route: Arc<LiveRoute>,
    /// The random number that chose among its groups; the same number chooses the same group again.
    random: u64,
    /// The fault that hits this request.
    pub(crate) fault: Option<Arc<LiveFault>>,
}

impl Selection {
    /// The endpoint to try next, leaving out those already `tried`.
    pub(crate) fn pick(&self, worker: &Worker, tried: &[SocketAddr], now: Moment) -> Option<&LiveEndpoint> {
        worker.balancer.pick(&self.route, self.random, tried, now)
    }
}

/// Chooses. Rolls the dice only where an armed experiment has a fault for this port.
pub(crate) fn select<B>(
    worker: &Worker,
    plan: &LivePlan,
    view: &RouteView,
    caller: &Caller,
    request: &Request<B>,
    now: Moment,
) -> Selection {
    let slot = &worker.shared.slot;
    let random = worker.random();
    let route = Arc::clone(view.endpoints(slot.is_fresh(now)));
    let injects = !view.faults.is_empty() && plan.experiment().is_some_and(|live| slot.injects(live, now));
    if injects && caller.exempt {
        worker.metrics.published().exempt.fetch_add(1, Ordering::Relaxed);
    }
    let fault =
        if injects && !caller.exempt { dice(worker, plan, view, &route, random, caller, request) } else { None };
    Selection { route, random, fault }
}

/// Rolls once for all faults that apply to this request.
fn dice<B>(
    worker: &Worker,
    plan: &LivePlan,
    view: &RouteView,
    route: &LiveRoute,
    random: u64,
    caller: &Caller,
    request: &Request<B>,
) -> Option<Arc<LiveFault>> {
    let endpoint = route.group(random).and_then(|group| group.endpoints.first());
    let facts = Facts {
        port: &caller.front.port,
        subset: endpoint.and_then(|endpoint| endpoint.subset.as_deref()),
        source: plan.source(caller.address).map(|source| &source.service),
        method: request.method(),
        path: request.uri().path(),
        headers: request.headers(),
    };
    let applying = view.faults.iter().filter(|fault| fault.applies(&facts));
    let applying = applying.inspect(|fault| fault.counters.matched());
    hit(worker.roll(plan), applying.map(|fault| (fault.share, fault))).cloned()
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
