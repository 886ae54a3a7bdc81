//! What must not happen while an experiment runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    names::ResourceRef,
    quantity::{ComparisonOperator, GoDuration},
};

/// A condition that ends the experiment as `Failed` when it trips.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureCondition {
    /// Unique within the experiment; generated as `<index>-<unix nanoseconds of the start>` when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is observed, and when it trips: exactly one kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What a sample without data means. Default `Ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
}

/// What a sample without data (NaN, or nothing) means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// It never trips, as in the original.
    #[default]
    Ignore,
    /// It trips.
    Fail,
    /// It ends the experiment as `Inconclusive`.
    Inconclusive,
}

/// Exactly one kind of trigger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// A Prometheus query that is polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusTrigger>,
    /// A URL that is polled by GET; an answer other than 2xx trips. Only hosts that the operator allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// A metric of the requests that the proxy sees, evaluated in the proxy itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficTrigger>,
}

/// A Prometheus query and its threshold: exactly one of the two queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusTrigger {
    /// A query that gives a scalar or a vector of one element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_query: Option<String>,
    /// The share of requests to a Service that did not end in a 5xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<SuccessRate>,
    /// What the value is compared with. Default 0, as in the original.
    #[serde(default)]
    pub threshold_value: f64,
    /// How. Default `<`.
    #[serde(default)]
    pub comparison_operator: ComparisonOperator,
}

/// The prepared success-rate query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuccessRate {
    /// The Kubernetes Service (not an upstream).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ResourceRef>,
    /// The range of the rate. Default `1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
}

/// A metric of the proxied requests and its threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficTrigger {
    /// The service whose requests are measured, as in `destinationServices`.
    pub service: ResourceRef,
    /// What is measured.
    pub metric: TrafficMetric,
    /// The sliding window. Default `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
    /// A window with fewer requests has no value. Default 10; not for `RequestRate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u32>,
    /// Requests that we aborted do not count, delayed ones count with the upstream's own time. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_injected: Option<bool>,
    /// What the value is compared with: a share (0 to 1) for rates of errors or successes, requests per second for
    /// `RequestRate`, seconds for latencies.
    pub threshold_value: f64,
    /// How. Default `<`.
    #[serde(default)]
    pub comparison_operator: ComparisonOperator,
}

/// What a traffic condition measures over its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TrafficMetric {
    /// The share (0 to 1) of requests that ended in a 5xx or without an answer from the upstream.
    #[default]
    ErrorRate,
    /// One minus `ErrorRate`.
    SuccessRate,
    /// Requests per second.
    RequestRate,
    /// The median time from the request to the end of its response, in seconds.
    LatencyP50,
    /// The 90th percentile of the time from the request to the end of its response, in seconds.
    LatencyP90,
    /// The 99th percentile of the time from the request to the end of its response, in seconds.
    LatencyP99,
}

impl TrafficMetric {
    /// The quantile of a latency metric, as a share: 0.5, 0.9, 0.99.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::LatencyP50 => Some(0.5),
            Self::LatencyP90 => Some(0.9),
            Self::LatencyP99 => Some(0.99),
            Self::ErrorRate | Self::SuccessRate | Self::RequestRate => None,
        }
    }
}
