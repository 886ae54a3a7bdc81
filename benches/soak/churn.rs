//! Ten plans a second: runs that begin and end, faults on and off, other shares, other endpoints, other callers.

use std::{net::SocketAddr, time::Duration};

use glooshot::{
    api::{
        failure_condition::TrafficMetric,
        names::{Destination, ServiceName},
        plan::{
            Disruption, Endpoint, MatchRule, Plan, PlannedCondition, PlannedExperiment, PlannedFault, PlannedRoute,
            PlannedSource, SubsetWeight, TIME_TO_LIVE, TextMatch,
        },
        quantity::{ComparisonOperator, Percent},
        scenario::{Threshold, TrafficRule},
    },
    proxy::Control,
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::time::{MissedTickBehavior, interval};

use crate::proxied::port;

/// Between two plans.
const TICK: Duration = Duration::from_millis(100);
/// Plans of a run, those of it with the faults on, and those without a run behind it.
const RUN: u64 = 50;
const ARMED: u64 = 45;
const BETWEEN: u64 = 20;
/// The delay that is injected.
const DELAY: Duration = Duration::from_millis(20);

/// What all runs have done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub plans: Counter,
    pub runs: Counter,
    pub aborted: Counter,
    pub delayed: Counter,
}

impl Counts {
    /// Adds them to the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("soak_plans", "Plans taken", self.plans.clone());
        registry.register("soak_runs", "Runs that have ended", self.runs.clone());
        registry.register("soak_aborted", "Requests aborted in runs that have ended", self.aborted.clone());
        registry.register("soak_delayed", "Requests delayed in runs that have ended", self.delayed.clone());
    }
}

/// Where requests go.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub origin: SocketAddr,
    pub refusing: SocketAddr,
}

/// Makes plan after plan.
#[derive(Debug)]
pub struct Churn {
    control: Control,
    addresses: Addresses,
    counts: Counts,
}

impl Churn {
    /// For this proxy.
    pub fn new(control: Control, addresses: Addresses, counts: Counts) -> Self {
        Self { control, addresses, counts }
    }

    /// Never ends.
    pub async fn go_on(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            ticks.tick().await;
            self.control.accept(self.plan(number), TIME_TO_LIVE).unwrap();
            self.counts.plans.inc();
            if number % (RUN + BETWEEN) == RUN - 1 {
                // The faults have been off for some plans: no decision of this run is under way.
                self.control.settled().await;
                for fault in self.control.injection() {
                    self.counts.aborted.inc_by(fault.aborted);
                    self.counts.delayed.inc_by(fault.delayed);
                }
                self.counts.runs.inc();
            }
        }
    }

    fn plan(&self, number: u64) -> Plan {
        let (run, step) = (number / (RUN + BETWEEN), number % (RUN + BETWEEN));
        let endpoint = |address, subset: &str| Endpoint { address, subset: Some(subset.to_owned()) };
        let mut endpoints = vec![endpoint(self.addresses.origin, "v1")];
        let mut weights = Vec::new();
        if number.is_multiple_of(3) {
            endpoints.push(endpoint(self.addresses.refusing, "v1"));
        }
        if number.is_multiple_of(4) {
            endpoints.push(endpoint(self.addresses.origin, "v2"));
            weights = ["v1", "v2"].map(|subset| SubsetWeight { subset: subset.into(), weight: 50 }).to_vec();
        }
        let source = |number: u64| PlannedSource {
            address: [127, 0, 2, u8::try_from(number).unwrap()].into(),
            service: ServiceName { namespace: "soak".into(), name: format!("caller-{number}") },
            version: None,
        };
        Plan {
            generation: number + 1,
            routes: vec![PlannedRoute { port: port("good", 80), endpoints, weights }],
            sources: (0..number % 50).map(source).collect(),
            experiment: (step < RUN).then(|| experiment(run, step)),
            ..Plan::default()
        }
    }
}

/// A run: of the requests that can be faulted some are aborted, and as many are held back.
fn experiment(run: u64, step: u64) -> PlannedExperiment {
    let destination = || Destination { service: port("good", 80).service, port: None, subset: None };
    let matches = || MatchRule { path: Some(TextMatch::Regex("/(small|download)".into())), ..MatchRule::default() };
    let percentage = Percent::try_from(if step.is_multiple_of(2) { 5.0 } else { 10.0 }).unwrap();
    let fault = |disruption| PlannedFault {
        origins: vec![],
        destinations: vec![destination()],
        matches: matches(),
        percentage,
        disruption,
    };
    // It is evaluated all the time, and never trips: no share is above 1.
    let rule = TrafficRule {
        service: destination(),
        metric: TrafficMetric::ErrorRate,
        interval: Duration::from_secs(1),
        min_requests: 0,
        exclude_injected: true,
        threshold: Threshold { value: 1.0, operator: ComparisonOperator::Greater },
    };
    PlannedExperiment {
        name: ServiceName { namespace: "soak".into(), name: "churn".into() },
        uid: run.to_string(),
        armed: step < ARMED,
        faults: vec![
            fault(Disruption::AbortHttp(503)),
            fault(Disruption::Delay { duration: DELAY, jitter: DELAY / 2 }),
        ],
        conditions: vec![PlannedCondition::new(0, &rule)],
        max_injected: None,
        max_concurrent_delays: 5_000,
        seed: None,
    }
}
