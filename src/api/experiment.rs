//! The `Experiment` resource, as its author writes it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    failure_condition::FailureCondition, fault::InjectedFault, names::ResourceRef, quantity::GoDuration, rules,
    status::ExperimentStatus,
};

/// The outer `spec`. Everything the author writes stands under its inner `spec`, as in the original system.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "glooshot.solo.io",
    version = "v1",
    kind = "Experiment",
    namespaced,
    status = "ExperimentStatus",
    derive = "PartialEq",
    shortname = "exp",
    shortname = "gsexp",
    category = "chaos",
    doc = "A chaos experiment: which services to break, how, for how long, and what must not happen meanwhile.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.result.state"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".spec.spec.duration"),
    printcolumn(name = "Data path", type_ = "string", json_path = ".status.dataPath.kind"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(
        "self.spec == oldSelf.spec || !has(oldSelf.status) || !has(oldSelf.status.result) || !has(oldSelf.status.result.state) || oldSelf.status.result.state == 'Pending'"
    )
    .message("the spec of an experiment that has started cannot be changed: create another one under a new name")
)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentSpec {
    /// The experiment itself.
    pub spec: ExperimentBody,
}

/// Which services to break, how, for how long, and what must not happen meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::windows_shorter_than_the_run())]
pub struct ExperimentBody {
    /// How long the faults stay on when no failure condition trips: above 0 and at most 1h; default `10m`.
    #[x_kube(validation = rules::duration_up_to("1h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// The data path, by the name of its Mesh; chosen automatically when omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_mesh: Option<ResourceRef>,
    /// What to break; at most 16. None makes a control experiment: only the conditions are watched.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<InjectedFault>,
    /// What must not happen while the faults are on. The first that trips ends the experiment as `Failed`. At most 16.
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && b.name == a.name))").message(
        "the names of failure conditions must be unique"
    ))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_conditions: Vec<FailureCondition>,
    /// Bounds on what may be injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How the target is routed through the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// TLS of the targets on the proxy path, which ends at the proxies; without an entry it is passed through unread.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<TlsTarget>,
}

/// Bounds on what an experiment may inject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxInjected) || !has(self.minInjected) || self.minInjected <= self.maxInjected").message(
    "minInjected must not be above maxInjected"
))]
pub struct Limits {
    /// No more than this many requests and connections are ever faulted, exactly. Unlimited when omitted.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_injected: Option<u64>,
    /// Requests and connections that are being delayed at one time; one over the cap passes without a delay and is
    /// counted. Default 5000.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_delays: Option<u32>,
    /// Fewer injected requests and connections than this make the result `Inconclusive`. Default 1.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_injected: Option<u64>,
}

/// How the target is routed through the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Time between the routing and the start, with faults off: at most 5m. Default `5s`.
    #[x_kube(validation = rules::duration_from_zero_up_to("5m"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<GoDuration>,
    /// What is done about connections that callers opened before the routing. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Reconnect>,
    /// How long the route stays behind `Succeeded` or `Failed`, without faults: at most 1h. Default `0s`.
    #[x_kube(validation = rules::duration_from_zero_up_to("1h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_routed: Option<GoDuration>,
    /// What is done where a NetworkPolicy isolates the target. Default `Refuse`.
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
    /// The proxies let in whom the target's pods let in, and these let the proxies in, by policies of our own for as long as the
    /// target goes through them.
    Mirror,
}

/// TLS of one target port on the proxy path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsTarget {
    /// The target, as in `destinationServices`.
    pub service: ResourceRef,
    /// The Service's port; may be left out where it has only one.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The Secret (`kubernetes.io/tls`) in the target's namespace that the proxy's pods mount to terminate TLS. The namespace
    /// allows it by its annotation `glooshot.solo.io/tls-secrets`.
    #[schemars(length(min = 1, max = 253))]
    pub certificate_secret: String,
    /// How the proxy speaks to the target's pods. Default: inside TLS again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<TlsUpstream>,
}

/// How the proxy speaks to the pods of a target whose TLS it terminates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.plaintext) || !self.plaintext || (!has(self.caConfigMap) && !has(self.serverName))").message(
    "plaintext excludes caConfigMap and serverName: plain HTTP has no certificate to check"
))]
pub struct TlsUpstream {
    /// The ConfigMap in the target's namespace with the CA (`ca.crt`) that the pods' certificates are checked against. Default: the
    /// authorities that browsers trust.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<String>,
    /// The name that the pods' certificates are checked for. Default: `SERVICE.NAMESPACE.svc`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The pods speak plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<bool>,
}
