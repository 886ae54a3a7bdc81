//! Whether a Service can be redirected, and what its owner should know before it is: a list of findings. Pure.

mod around;
mod policies;
mod restart;
mod service;
#[cfg(test)]
mod tests;
mod tls;

use std::{collections::BTreeSet, fmt};

use glooshot_api::{
    names::{Destination, ServiceName},
    plan::Disruption,
    scenario::{Scenario, TlsRule, TriggerRule},
};
use k8s_openapi::{
    api::{
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Pod, ResourceQuota, Service},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::DynamicObject;

use super::{Owner, restart::Keeper};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The run goes on; somebody should know.
    Warning,
    /// Nothing is changed in the cluster.
    Error,
}

/// What was found, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// There is no such Service.
    NotFound,
    /// Its namespace is one whose failure takes down the cluster.
    ProtectedNamespace,
    /// It is being deleted.
    BeingDeleted,
    /// It is one of our own.
    OwnObject,
    /// It has no address: clients dial pods.
    Headless,
    /// It is a name for something outside.
    ExternalName,
    /// It selects no pods: somebody writes its endpoints.
    NoSelector,
    /// It selects by a key that a controller writes to each pod.
    ControllerKey,
    /// It selects by a key that our pods need for themselves.
    ReservedKey,
    /// It has a port that is not one of TCP.
    NotTcp,
    /// A port leads to a name or number that no pod has.
    UnknownTargetPort,
    /// Two ports lead to the same port of the pods.
    SharedTargetPort,
    /// Another controller writes it.
    OwnedByController,
    /// A tool for rollouts changes its selector.
    RolloutTool,
    /// Nodes without a proxy would drop its traffic.
    LocalTrafficPolicy,
    /// Clients stay with a proxy, not with a pod.
    SessionAffinity,
    /// A load balancer outside checks health through us, or dials pods.
    LoadBalancer,
    /// No pod is ready.
    NoReadyPods,
    /// Its pods are in a mesh, which would refuse us.
    MeshedPods,
    /// A NetworkPolicy keeps us from its pods, or callers from us.
    NetworkPolicy,
    /// A quota leaves no room for proxies.
    Quota,
    /// Prometheus would scrape us in the place of its pods.
    ServiceMonitor,
    /// Its pods are scaled by what is measured of its requests.
    RequestAutoscaler,
    /// TLS passes through untouched, or cannot end at the proxies.
    Tls,
    /// TLS is to end for a port that it does not have.
    UnknownPort,
    /// Its namespace does not let proxies mount the Secret with the certificate.
    SecretNotAllowed,
    /// Its annotation is not one of ours.
    BrokenAnnotation,
    /// Another experiment has redirected it.
    AlreadyRedirected,
    /// The name of its origin is taken.
    OriginNameTaken,
    /// Its pods are to be restarted, and nobody would replace one of them.
    NotRestartable,
    /// Its workload has no pod for a while when it is restarted.
    RestartGap,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// What it is.
    pub reason: Reason,
    /// What it means here, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// Everything that is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The Service.
    pub service: Option<Service>,
    /// What stands in the place of its origin.
    pub origin: Option<Service>,
    /// The metadata of the namespace.
    pub namespace: ObjectMeta,
    /// All pods of the namespace.
    pub pods: Vec<Pod>,
    /// Who keeps its pods, where they are to be restarted.
    pub keepers: Vec<Keeper>,
    /// All NetworkPolicies of the namespace.
    pub network_policies: Vec<NetworkPolicy>,
    /// Those of all other namespaces.
    pub policies_elsewhere: Vec<NetworkPolicy>,
    /// All quotas of the namespace.
    pub quotas: Vec<ResourceQuota>,
    /// All autoscalers of the namespace.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    /// ServiceMonitors of the cluster; none where Prometheus has no operator.
    pub service_monitors: Vec<DynamicObject>,
}

/// What the experiment wants of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// Ports that a fault or a condition names.
    pub(super) ports: Vec<u16>,
    /// Whether a request is changed or measured, for which it must be seen.
    pub(super) requests: bool,
    /// Whether policies of ours are to stand for those that isolate its pods or its proxies.
    pub(super) mirror: bool,
    /// Where TLS is to end at its proxies, with the field that says so.
    pub(super) tls: Vec<(String, TlsRule)>,
    /// Secrets in its namespace that proxies are to mount, those of other Services as well.
    pub(super) secrets: BTreeSet<String>,
}

impl Wants {
    /// What `scenario` wants of this Service.
    pub(super) fn of(scenario: &Scenario, name: &ServiceName) -> Self {
        let mut wants = Self::default();
        let is_service = |destination: &&Destination| destination.service == *name;
        for fault in &scenario.faults {
            let here: Vec<&Destination> = fault.destinations.iter().filter(is_service).collect();
            let of_requests = match fault.disruption {
                Disruption::AbortHttp(_) | Disruption::AbortGrpc(_) | Disruption::Delay { .. } => true,
                Disruption::ResetConnection | Disruption::DelayConnection { .. } => false,
            };
            wants.requests |= of_requests && !here.is_empty();
            wants.ports.extend(here.iter().filter_map(|it| it.port));
        }
        for condition in &scenario.conditions {
            if let TriggerRule::Traffic(rule) = &condition.trigger
                && is_service(&&rule.service)
            {
                wants.requests = true;
                wants.ports.extend(rule.service.port);
            }
        }
        for (i, rule) in scenario.tls.iter().enumerate() {
            if rule.port.service.namespace == name.namespace {
                wants.secrets.insert(rule.certificate_secret.clone());
            }
            if rule.port.service == *name {
                wants.ports.push(rule.port.port);
                wants.tls.push((format!("spec.spec.tls[{i}]"), rule.clone()));
            }
        }
        wants
    }
}

/// Looks for everything that stands against a redirection for `owner`, worst first.
pub(super) fn inspect(seen: &Seen, namespace: &str, name: &str, owner: &Owner, wants: &Wants) -> Vec<Finding> {
    let mut findings = Findings::default();
    let Some(service) = &seen.service else {
        findings.error(
            Reason::NotFound,
            format!("there is no Service {namespace}/{name}; name one that exists in destinationServices"),
        );
        return findings.0;
    };
    service::inspect(seen, service, owner, wants, &mut findings);
    tls::inspect(seen, service, owner, wants, &mut findings);
    around::inspect(seen, service, &mut findings);
    policies::inspect(seen, service, owner, wants, &mut findings);
    restart::inspect(seen, &mut findings);
    findings.0.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.reason));
    findings.0
}

/// A list of findings in the making.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, reason: Reason, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Error, reason, message: message.into() });
    }

    fn warn(&mut self, reason: Reason, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Warning, reason, message: message.into() });
    }
}
