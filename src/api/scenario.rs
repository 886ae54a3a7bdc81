//! An experiment that has passed validation: every default filled in, every union an enum, every reference resolved.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    experiment::{NetworkPolicyMode, Reconnect},
    failure_condition::{OnNoData, TrafficMetric},
    names::{Destination, ServiceName},
    plan::{Disruption, MatchRule},
    quantity::{ComparisonOperator, Percent},
};

/// What is run. Can only be had from [`crate::validate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Namespace and name of the Experiment.
    pub experiment: ServiceName,
    /// How long the faults stay on at the most.
    pub duration: Duration,
    /// What is broken, in the order of the spec.
    pub faults: Vec<FaultRule>,
    /// What must not happen, in the order of the spec.
    pub conditions: Vec<ConditionRule>,
    /// No more than this many requests and connections are ever faulted.
    pub max_injected: Option<u64>,
    /// Requests and connections that are being delayed at one time.
    pub max_concurrent_delays: u32,
    /// Fewer injected requests and connections than this make the result `Inconclusive`.
    pub min_injected: u64,
    /// What is done where NetworkPolicies isolate the targets.
    pub network_policy: NetworkPolicyMode,
    /// Time between the routing and the start, with faults off.
    pub settle: Duration,
    /// What is done about connections that callers opened before the routing.
    pub reconnect: Reconnect,
}

impl Scenario {
    /// The Services that have to go through a data path: those that are broken, and those that are measured.
    pub fn services(&self) -> BTreeSet<ServiceName> {
        let broken = self.faults.iter().flat_map(|fault| &fault.destinations);
        let measured = self.conditions.iter().filter_map(|condition| match &condition.trigger {
            TriggerRule::Traffic(rule) => Some(&rule.service),
            TriggerRule::Prometheus { .. } | TriggerRule::Webhook { .. } => None,
        });
        broken.chain(measured).map(|destination| destination.service.clone()).collect()
    }
}

/// One fault of the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    /// Only requests sent by these services; any caller when empty.
    pub origins: Vec<ServiceName>,
    /// Requests sent to these. Never empty; without subsets where the fault is one of connections.
    pub destinations: Vec<Destination>,
    /// Only requests that match; all where the fault is one of connections.
    pub matches: MatchRule,
    /// The share of them.
    pub percentage: Percent,
    /// What is done to them.
    pub disruption: Disruption,
}

/// One failure condition of the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionRule {
    /// The name that its author gave it, if any.
    pub name: Option<String>,
    /// What a sample without data means.
    pub on_no_data: OnNoData,
    /// What is observed, and when it trips.
    pub trigger: TriggerRule,
}

/// A value and when it trips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold {
    /// What the value is compared with.
    pub value: f64,
    /// How.
    pub operator: ComparisonOperator,
}

impl Threshold {
    /// Whether `value` trips. NaN never does.
    pub fn trips(self, value: f64) -> bool {
        self.operator.trips(value, self.value)
    }
}

/// What is observed.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerRule {
    /// A Prometheus query, complete.
    Prometheus {
        /// The PromQL text, exactly as the author wrote it, or the prepared success-rate query.
        query: String,
        /// When it trips.
        threshold: Threshold,
    },
    /// A URL that is polled by GET; an answer other than 2xx trips.
    Webhook {
        /// The URL.
        url: String,
    },
    /// A metric of the proxied requests.
    Traffic(TrafficRule),
}

/// A metric of the proxied requests. A plan carries it to the data planes as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficRule {
    /// Whose requests are measured.
    pub service: Destination,
    /// What is measured.
    pub metric: TrafficMetric,
    /// The sliding window.
    pub interval: Duration,
    /// A window with fewer requests has no value; 0 for `RequestRate`.
    pub min_requests: u32,
    /// Requests that we aborted do not count, delayed ones count with the upstream's own time.
    pub exclude_injected: bool,
    /// When it trips.
    pub threshold: Threshold,
}
