//! What must not happen while an experiment runs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    names::ResourceRef,
    quantity::{ComparisonOperator, GoDuration},
    rules,
};

/// A condition that ends the experiment as `Failed` when it trips.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::required("trigger", "trigger is missing: say what must not happen, as in trigger: {traffic: {service: {name: reviews}, metric: ErrorRate, thresholdValue: 0.05, comparisonOperator: '>'}}"))]
#[x_kube(validation = Rule::new("!has(self.onNoData) || !has(self.trigger) || !has(self.trigger.webhookUrl)").message(
    "onNoData does not apply to webhookUrl: a webhook answers or it fails"
))]
#[x_kube(validation = Rule::new(
    "!has(self.onNoData) || !has(self.trigger) || !has(self.trigger.traffic) || self.trigger.traffic.metric != 'RequestRate'"
).message("onNoData does not apply to RequestRate: without requests the rate is 0"))]
pub struct FailureCondition {
    /// Unique within the experiment; generated as `<index>-<unix nanoseconds of the start>` when omitted.
    #[schemars(length(min = 1, max = 253))]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["prometheus", "webhookUrl", "traffic"], "a trigger is exactly one of prometheus, webhookUrl and traffic"))]
pub struct Trigger {
    /// A Prometheus query that is polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusTrigger>,
    /// A URL that is polled by GET; an answer other than 2xx trips. Only hosts that the operator allows.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@/?#]+([/?][^#]*)?$') && isURL(self)").message(
        "must be an absolute http or https URL with a host, without user name and fragment, as in https://checks.example.com/healthy"
    ))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// A metric of the requests that the proxy sees, evaluated in the proxy itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficTrigger>,
}

/// A Prometheus query and its threshold: exactly one of the two queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["customQuery", "successRate"], "a prometheus trigger is exactly one of customQuery and successRate"))]
#[x_kube(validation = Rule::new("!has(self.successRate) || !has(self.thresholdValue) || (self.thresholdValue >= 0.0 && self.thresholdValue <= 1.0)").message(
    "a success rate is a share from 0 to 1, as in thresholdValue: 0.95"
))]
#[x_kube(validation = Rule::new(
    "!has(self.successRate) || (has(self.comparisonOperator) && self.comparisonOperator != '<') || (has(self.thresholdValue) && self.thresholdValue > 0.0)"
).message("the condition can never trip: no share is below 0; set thresholdValue, as in 0.95"))]
pub struct PrometheusTrigger {
    /// A query that gives a scalar or a vector of one element.
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("self.matches('[^ \\\\t\\\\r\\\\n]')").message(
        "the query must not be blank, as in scalar(sum(rate(http_errors_total[1m])))"
    ))]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::required("service", "successRate needs a service, as in service: {name: ratings, namespace: bookinfo}"))]
pub struct SuccessRate {
    /// The Kubernetes Service (not an upstream).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ResourceRef>,
    /// The range of the rate. Default `1m`.
    #[x_kube(validation = rules::duration_up_to("1h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
}

/// A metric of the proxied requests and its threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!((!has(self.comparisonOperator) || self.comparisonOperator == '<') && self.thresholdValue <= 0.0) && !(self.metric in ['ErrorRate', 'SuccessRate'] && has(self.comparisonOperator) && self.comparisonOperator == '>' && self.thresholdValue >= 1.0)"
).message("the condition can never trip: no value is below 0, and no share is above 1; the operator is < unless comparisonOperator says otherwise"))]
#[x_kube(validation = Rule::new("!has(self.minRequests) || self.metric != 'RequestRate'").message(
    "minRequests does not apply to RequestRate: a window without requests has the rate 0"
))]
#[x_kube(validation = Rule::new("self.thresholdValue >= 0.0 && (!(self.metric in ['ErrorRate', 'SuccessRate']) || self.thresholdValue <= 1.0)").message(
    "thresholdValue must not be negative; for ErrorRate and SuccessRate it is a share from 0 to 1, as in 0.05"
))]
pub struct TrafficTrigger {
    /// The service whose requests are measured, as in `destinationServices`.
    pub service: ResourceRef,
    /// What is measured.
    pub metric: TrafficMetric,
    /// The sliding window. Default `5s`.
    #[x_kube(validation = rules::duration_up_to("10m"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
    /// A window with fewer requests has no value. Default 10; not for `RequestRate`.
    #[schemars(range(min = 1, max = 1_000_000))]
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
