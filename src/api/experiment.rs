//! The `Experiment` resource, as its author writes it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    failure_condition::FailureCondition, fault::InjectedFault, names::ResourceRef, quantity::GoDuration,
    status::ExperimentStatus,
};

/// The outer `spec`. Everything the author writes stands under its inner `spec`, as in the original system.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "glooshot.solo.io",
    version = "v1",
    kind = "Experiment",
    namespaced,
    status = "ExperimentStatus",
    derive = "PartialEq",
    shortname = "exp",
    shortname = "gsexp",
    category = "chaos"
)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentSpec {
    /// The experiment itself.
    pub spec: ExperimentBody,
}

/// Which services to break, how, for how long, and what must not happen meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentBody {
    /// How long the faults stay on when no failure condition trips; default `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// The data path, by the name of its Mesh; chosen automatically when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_mesh: Option<ResourceRef>,
    /// What to break. None makes a control experiment: only the conditions are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<InjectedFault>,
    /// What must not happen while the faults are on. The first that trips ends the experiment as `Failed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_conditions: Vec<FailureCondition>,
    /// Bounds on what may be injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How the target is routed through the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// TLS of the targets on the proxy path; without an entry TLS ports are passed through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<TlsTarget>,
}

/// Bounds on what an experiment may inject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// No more than this many requests are ever faulted, exactly. Unlimited when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_injected: Option<u64>,
    /// Requests that are being delayed at one time; one over the cap passes without a delay and is counted. Default 5000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_delays: Option<u32>,
    /// Fewer injected requests than this make the result `Inconclusive`. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_injected: Option<u64>,
}

/// How the target is routed through the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Time between the routing and the start, with faults off. Default `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<GoDuration>,
    /// What is done about connections that callers opened before the routing. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Reconnect>,
    /// How long the route stays after the end. Default `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_routed: Option<GoDuration>,
    /// Whether NetworkPolicies that isolate the target are mirrored for the proxy. Default `Refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicyMode>,
}

/// What is done about connections that callers opened before the routing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reconnect {
    /// Nothing: they bypass the proxy until their callers open new ones.
    #[default]
    None,
    /// The target's workload is restarted in a rolling way, so that callers reconnect.
    RestartTargets,
}

/// What is done where a NetworkPolicy isolates the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// The experiment is refused.
    #[default]
    Refuse,
    /// The rules are mirrored for the proxy.
    Mirror,
}

/// TLS of one target port on the proxy path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsTarget {
    /// The target, as in `destinationServices`.
    pub service: ResourceRef,
    /// The Service's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The Secret (`kubernetes.io/tls`) in the target's namespace that the proxy's pods mount to terminate TLS.
    pub certificate_secret: String,
    /// How the proxy speaks to the target's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<TlsUpstream>,
}

/// How the proxy speaks to the pods of a target whose TLS it terminates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsUpstream {
    /// The ConfigMap with the CA (`ca.crt`) that the pods' certificates are checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<String>,
    /// The name that the pods' certificates are checked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The pods speak plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<bool>,
}
