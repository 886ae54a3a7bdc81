//! What is done next on the way of one Service to the proxies: a decision about what is seen. Pure.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::{Step, patch::Selects};

/// Proxies that must be ready before a Service selects them: the loss of one is no outage.
pub(super) const ENOUGH_PROXIES: usize = 2;
/// For an origin to find the ready pods.
const ORIGIN_LIMIT: Duration = Duration::from_secs(30);
/// For proxies to be scheduled, started, connected, and to acknowledge the plan.
const PROXY_LIMIT: Duration = Duration::from_secs(60);
/// For a connection to the Service to arrive at a proxy.
const VERIFY_LIMIT: Duration = Duration::from_secs(30);

/// For a workload to be restarted: what Kubernetes itself gives a Deployment.
const RESTART_LIMIT: Duration = Duration::from_secs(600);

/// What is seen of one Service's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// The address of its origin.
    pub(super) origin: Option<IpAddr>,
    /// Endpoints of the origin that are ready.
    pub(super) endpoints: usize,
    /// The proxies have been asked for.
    pub(super) deployed: bool,
    /// Proxies that are asked for.
    pub(super) wanted: usize,
    /// Proxies that Kubernetes finds ready.
    pub(super) ready: usize,
    /// Proxies that are connected and have acknowledged the plan, faults off.
    pub(super) obeying: usize,
    /// Why a proxy is not ready, in the words of Kubernetes.
    pub(super) obstacle: Option<String>,
    /// Whom the Service selects.
    pub(super) selects: Selects,
    /// Its annotation is ours.
    pub(super) ours: bool,
    /// A connection has arrived at a proxy since the Service was seen to select them.
    pub(super) arrived: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for the origin.
    MakeOrigin,
    /// Ask for the proxies.
    MakeProxies,
    /// Make the Service select the proxies.
    Flip,
    /// Open a connection to the Service, and see whether it arrives.
    Probe,
    /// Wait for this.
    Wait(String),
    /// Leave it: somebody else wants it otherwise.
    GiveWay,
    /// All of it is done.
    Done,
}

/// The step that is being taken, and what is to be done for it.
pub(super) fn next(sight: &Sight) -> (Step, Next) {
    // The selector and the annotation are changed in one write: where they differ somebody else has written.
    if sight.ours && sight.selects != Selects::Proxies {
        return (Step::Flipped, Next::GiveWay);
    }
    if sight.origin.is_none() {
        return (Step::OriginReady, Next::MakeOrigin);
    }
    // Nothing is changed for a Service whose pods could not be reached; but what has been changed stays while they restart.
    if sight.endpoints == 0 && !sight.ours {
        return (Step::OriginReady, Next::Wait("the origin has no ready endpoint".to_owned()));
    }
    if !sight.deployed {
        return (Step::ProxyReady, Next::MakeProxies);
    }
    let enough = sight.wanted.max(ENOUGH_PROXIES);
    let told = || sight.obstacle.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    if sight.ready < enough {
        let what = format!("{} of {enough} proxies are ready{}", sight.ready, told());
        return (Step::ProxyReady, Next::Wait(what));
    }
    if sight.obeying < enough {
        let what = format!(
            "{} of {enough} proxies are connected to this controller and have acknowledged the plan{}",
            sight.obeying,
            told()
        );
        return (Step::ProxyReady, Next::Wait(what));
    }
    if !sight.ours {
        return (Step::Flipped, Next::Flip);
    }
    if sight.arrived { (Step::Verified, Next::Done) } else { (Step::Verified, Next::Probe) }
}

/// How long a step may take.
pub(super) fn limit(step: Step) -> Duration {
    match step {
        Step::ProxyReady => PROXY_LIMIT,
        Step::Verified => VERIFY_LIMIT,
        Step::Restarted => RESTART_LIMIT,
        _ => ORIGIN_LIMIT,
    }
}

/// Whether connections have arrived at proxies since they were first counted.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    before: Option<BTreeMap<String, u64>>,
    seen: bool,
}

impl Arrivals {
    pub(super) fn note(&mut self, accepted: impl Iterator<Item = (String, u64)>) {
        let now: BTreeMap<String, u64> = accepted.collect();
        let before = self.before.get_or_insert_with(|| now.clone());
        self.seen |= now.iter().any(|(pod, count)| *count > before.get(pod).copied().unwrap_or(0));
    }

    pub(super) fn is_seen(&self) -> bool {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Sight {
        Sight {
            origin: Some([10, 0, 0, 1].into()),
            endpoints: 1,
            deployed: true,
            wanted: 2,
            ready: 2,
            obeying: 2,
            obstacle: None,
            selects: Selects::Proxies,
            ours: true,
            arrived: true,
        }
    }

    /// What was seen, the step that it stands for, and whether what is next is as it should be.
    type Case = (&'static str, fn(&mut Sight), Step, fn(&Next) -> bool);

    #[test]
    fn each_step_is_taken_when_the_ones_before_it_hold() {
        let cases: [Case; 12] = [
            ("all is done", |_| {}, Step::Verified, |next| *next == Next::Done),
            ("nothing is there", |it| it.origin = None, Step::OriginReady, |next| *next == Next::MakeOrigin),
            (
                "no pod",
                |it| (it.endpoints, it.ours, it.selects) = (0, false, Selects::Others),
                Step::OriginReady,
                is_waiting,
            ),
            ("no pod, but flipped", |it| it.endpoints = 0, Step::Verified, |next| *next == Next::Done),
            ("no proxies", |it| it.deployed = false, Step::ProxyReady, |next| *next == Next::MakeProxies),
            ("one proxy", |it| it.ready = 1, Step::ProxyReady, is_waiting),
            ("one is not wanted", |it| (it.wanted, it.ready) = (1, 1), Step::ProxyReady, is_waiting),
            ("one has not acknowledged", |it| it.obeying = 1, Step::ProxyReady, is_waiting),
            (
                "not flipped",
                |it| (it.ours, it.selects) = (false, Selects::Others),
                Step::Flipped,
                |next| *next == Next::Flip,
            ),
            ("selected by others", |it| it.selects = Selects::Others, Step::Flipped, |next| *next == Next::GiveWay),
            ("half by others", |it| it.selects = Selects::Both, Step::Flipped, |next| *next == Next::GiveWay),
            ("nothing has arrived", |it| it.arrived = false, Step::Verified, |next| *next == Next::Probe),
        ];
        for (case, change, step, expected) in cases {
            let mut sight = done();
            change(&mut sight);
            let (taken, next) = super::next(&sight);
            assert!(taken == step && expected(&next), "{case}: {taken:?}, {next:?}");
        }
    }

    fn is_waiting(next: &Next) -> bool {
        matches!(next, Next::Wait(_))
    }

    #[test]
    fn the_reason_of_kubernetes_is_told() {
        let sight = Sight { ready: 0, obstacle: Some("pod p: ImagePullBackOff".to_owned()), ..done() };
        let (_, next) = super::next(&sight);
        assert_eq!(next, Next::Wait("0 of 2 proxies are ready (pod p: ImagePullBackOff)".to_owned()));
    }
}
