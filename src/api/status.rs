//! What Glooshot says of an experiment: phase, result, what was injected.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::GoDuration;

/// The `status` of an `Experiment`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is known, each with an enumerated reason.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<StatusCondition>,
    /// Which data path was chosen, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_path: Option<DataPathStatus>,
    /// What was injected, one entry for each fault of the spec.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub injection: Vec<InjectionStatus>,
    /// The time from the observation that crossed the threshold to the last fault that was switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_latency: Option<GoDuration>,
    /// The result, as the tutorial prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ExperimentResult>,
}

/// One condition of the status, in the form that Kubernetes uses everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusCondition {
    /// What is stated.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, as one word of a fixed list.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// Why, as a sentence.
    #[schemars(length(max = 4096))]
    #[serde(default)]
    pub message: String,
    /// When `status` last changed (RFC 3339).
    #[schemars(length(max = 64))]
    pub last_transition_time: String,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What a status condition states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The spec is valid and its author is allowed to run it.
    Accepted,
    /// The targets' traffic goes through the data path.
    Routed,
    /// The callers that were named as origins have been seen.
    CallersSeen,
    /// Faults are being injected.
    FaultsActive,
    /// The failure conditions have values.
    ConditionsObserved,
    /// Everything is as it was before.
    Restored,
}

/// Whether a status condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

/// Which data path was chosen, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataPathStatus {
    /// `Proxy`, `Istio` or `Standalone`.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Why it was chosen.
    #[schemars(length(max = 4096))]
    pub reason: String,
}

/// What one fault of the spec did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InjectionStatus {
    /// Requests, or new connections, that the fault applied to, whether the percentage hit them or not.
    pub requests: u64,
    /// Requests that were answered in the place of the service, or connections that were reset.
    pub aborted: u64,
    /// Requests or connections that were held back.
    pub delayed: u64,
}

impl InjectionStatus {
    /// Adds what several did, fault by fault: as many as the longest of them has.
    pub fn sums(all: impl IntoIterator<Item = impl AsRef<[Self]>>) -> Vec<Self> {
        let mut sums: Vec<Self> = Vec::new();
        for one in all {
            let one = one.as_ref();
            sums.resize(sums.len().max(one.len()), Self::default());
            for (sum, one) in sums.iter_mut().zip(one) {
                sum.requests = sum.requests.saturating_add(one.requests);
                sum.aborted = sum.aborted.saturating_add(one.aborted);
                sum.delayed = sum.delayed.saturating_add(one.delayed);
            }
        }
        sums
    }
}

/// The result of an experiment, field for field as the tutorial prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentResult {
    /// Why the experiment failed or is inconclusive: `failure_type`, and for a threshold `value`, `threshold`, `comparison_operator`.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failure_report: BTreeMap<String, String>,
    /// Where the experiment stands.
    pub state: ResultState,
    /// When it ended: RFC 3339, UTC, nanoseconds.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_finished: Option<String>,
    /// When its faults were switched on: RFC 3339, UTC, nanoseconds.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_started: Option<String>,
}

/// Where an experiment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ResultState {
    /// Not started.
    #[default]
    Pending,
    /// Running.
    Started,
    /// A failure condition tripped.
    Failed,
    /// The duration passed and no condition tripped.
    Succeeded,
    /// Nothing can be concluded, and `failureReport` says why.
    Inconclusive,
}

impl ResultState {
    /// Whether an experiment in this state never changes again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Succeeded | Self::Inconclusive)
    }
}

/// Why an experiment failed or is inconclusive: the `failure_type` of the failure report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureType {
    /// A condition's value crossed its threshold (the original's word, whatever the operator).
    ValueExceededThreshold,
    /// A webhook condition answered with something other than 2xx.
    WebhookFailed,
    /// A condition had no data, and its `onNoData` says `Fail` or `Inconclusive`.
    NoData,
    /// Fewer requests were injected than `limits.minInjected`.
    NoFaultInjected,
    /// The metrics could not be queried several times in a row.
    MetricsUnavailable,
    /// The target was changed or taken away, or the faults were off for too long.
    Interrupted,
    /// A caller that was named as an origin never came through the proxy.
    TrafficBypassed,
    /// A person stopped it.
    Stopped,
    /// The spec cannot be run (the original's word for a stored object that is invalid).
    InvalidConfig,
}

impl FailureType {
    /// The word in the failure report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ValueExceededThreshold => "value_exceeded_threshold",
            Self::WebhookFailed => "webhook_failed",
            Self::NoData => "no_data",
            Self::NoFaultInjected => "no_fault_injected",
            Self::MetricsUnavailable => "metrics_unavailable",
            Self::Interrupted => "interrupted",
            Self::TrafficBypassed => "traffic_bypassed",
            Self::Stopped => "stopped",
            Self::InvalidConfig => "invalid_config",
        }
    }
}
