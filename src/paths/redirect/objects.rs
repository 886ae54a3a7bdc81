//! What we create for one redirected Service: the origin, and the proxies with all that belongs to them. Pure.

use std::collections::BTreeMap;

use glooshot_api::scenario::TlsRule;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Owner, Settings,
    names::{self, AUDIENCE, CONTROL_CA, EXPERIMENT, EXPERIMENT_UID, MANAGED_BY, SERVICE, SERVICE_UID, US},
    ports::Listen,
    tls,
};

/// Labels that keep others from putting containers of their own into our pods.
pub(super) const NOT_MESHED_LABELS: [(&str, &str); 3] = [
    ("sidecar.istio.io/inject", "false"),
    ("istio.io/dataplane-mode", "none"),
    ("kuma.io/sidecar-injection", "disabled"),
];
const NOT_MESHED_ANNOTATIONS: [(&str, &str); 5] = [
    ("sidecar.istio.io/inject", "false"),
    ("linkerd.io/inject", "disabled"),
    ("kuma.io/sidecar-injection", "disabled"),
    ("consul.hashicorp.com/connect-inject", "false"),
    ("openservicemesh.io/sidecar-injection", "disabled"),
];
/// Where metrics and health are served, or on the next free port above it.
const METRICS_PORT: u16 = 9901;
/// Linux lets everybody listen from here on.
const UNPRIVILEGED: u16 = 1024;
/// A proxy that stops accepts connections for at least as long as kube-proxies may need to hear of it ...
const DRAIN_AT_LEAST: &str = "30s";
/// ... and until none has come for this long.
const DRAIN_QUIET: &str = "5s";
/// The longest that all of this takes with the proxy's own limits, with a margin.
const GRACE_SECONDS: i64 = 130;
/// Nobody in the image or on a node is called this.
const USER: i64 = 65_532;
const FILES: &str = "/var/run/glooshot";

/// What a proxy pod may use.
pub(super) const REQUEST_CPU: &str = "100m";
pub(super) const REQUEST_MEMORY: &str = "64Mi";
pub(super) const LIMIT_CPU: &str = "2";
pub(super) const LIMIT_MEMORY: &str = "256Mi";

/// Everything about one redirection that its objects depend on.
#[derive(Clone, Debug)]
pub(super) struct Parts<'a> {
    /// The Service, as it was when nothing had been changed, apart from its selector.
    pub(super) service: &'a Service,
    /// The selector that it has while nothing redirects it.
    pub(super) selector: &'a BTreeMap<String, String>,
    /// What the proxies listen on.
    pub(super) listens: &'a [Listen],
    /// Where the clients' TLS ends at the proxies.
    pub(super) tls: &'a [TlsRule],
    /// For whom it is redirected.
    pub(super) owner: &'a Owner,
    pub(super) settings: &'a Settings,
}

impl Parts<'_> {
    pub(super) fn uid(&self) -> String {
        self.service.uid().unwrap_or_default()
    }

    /// The name of everything but the origin.
    pub(super) fn name(&self) -> String {
        names::proxy(&self.uid())
    }

    pub(super) fn namespace(&self) -> String {
        self.service.namespace().unwrap_or_default()
    }

    /// The metadata of an object of ours. It goes with the Service, and never keeps it from going.
    pub(super) fn metadata(&self, name: &str) -> Value {
        let Owner { namespace, name: experiment, uid, kind: _ } = self.owner;
        json!({
            "name": name,
            "namespace": self.namespace(),
            "labels": {MANAGED_BY: US, SERVICE_UID: self.uid(), EXPERIMENT_UID: uid},
            "annotations": {SERVICE: self.service.name_any(), EXPERIMENT: format!("{namespace}/{experiment}")},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": self.service.name_any(), "uid": self.uid(),
                "controller": false, "blockOwnerDeletion": false,
            }],
        })
    }

    /// The Service that keeps the list of the real pods.
    pub(super) fn origin(&self) -> Result<Service, serde_json::Error> {
        let spec = self.service.spec.as_ref();
        let ports: Vec<Value> = super::ports::ports(self.service)
            .filter(|port| super::ports::is_tcp(port))
            .map(|port| {
                json!({
                    "name": port.name, "port": port.port, "targetPort": port.target_port, "protocol": "TCP",
                    "appProtocol": port.app_protocol,
                })
            })
            .collect();
        typed(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(&names::origin(&self.service.name_any())),
            "spec": {
                "type": "ClusterIP",
                "selector": self.selector,
                "ports": ports,
                "ipFamilies": spec.and_then(|spec| spec.ip_families.clone()),
                "ipFamilyPolicy": spec.and_then(|spec| spec.ip_family_policy.clone()),
                "publishNotReadyAddresses": spec.and_then(|spec| spec.publish_not_ready_addresses),
            },
        }))
    }

    /// An account without any right: its name is what a proxy's token says.
    pub(super) fn account(&self) -> Result<ServiceAccount, serde_json::Error> {
        typed(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self.metadata(&self.name()),
            "automountServiceAccountToken": false,
        }))
    }

    /// No node is drained of the last proxy.
    pub(super) fn budget(&self) -> Result<PodDisruptionBudget, serde_json::Error> {
        typed(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": self.metadata(&self.name()),
            "spec": {
                "maxUnavailable": 1,
                "selector": {"matchLabels": {SERVICE_UID: self.uid()}},
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }))
    }

    /// The proxies, which forward to `origin` from their first second.
    pub(super) fn deployment(&self, origin: std::net::IpAddr) -> Result<Deployment, serde_json::Error> {
        let ours = json!({"matchLabels": {SERVICE_UID: self.uid()}});
        let secrets: Vec<Value> = self.settings.pull_secrets.iter().map(|name| json!({"name": name})).collect();
        let lowest = self.listens.iter().map(|listen| listen.number).min().unwrap_or(UNPRIVILEGED);
        let sysctls = (lowest < UNPRIVILEGED)
            .then(|| json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": lowest.to_string()}]));
        let control = json!({"name": "control", "projected": {"defaultMode": 0o444, "sources": [
            {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}},
            {"downwardAPI": {"items": [{
                "path": "ca.pem",
                "fieldRef": {"fieldPath": format!("metadata.annotations['{CONTROL_CA}']")},
            }]}},
        ]}});
        let volumes: Vec<Value> = std::iter::once(control).chain(tls::volumes(self.tls)).collect();
        typed(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self.metadata(&self.name()),
            "spec": {
                "replicas": self.settings.replicas.max(2),
                "revisionHistoryLimit": 1,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "selector": {"matchLabels": {SERVICE_UID: self.uid()}},
                "template": {
                    "metadata": {"labels": pod_labels(&self.uid(), self.selector), "annotations": self.pod_annotations()},
                    "spec": {
                        "serviceAccountName": self.name(),
                        "automountServiceAccountToken": false,
                        "enableServiceLinks": false,
                        "terminationGracePeriodSeconds": GRACE_SECONDS,
                        "imagePullSecrets": secrets,
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
                            "seccompProfile": {"type": "RuntimeDefault"},
                            "sysctls": sysctls,
                        },
                        "topologySpreadConstraints": [{
                            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": ours,
                        }],
                        // No second constraint: nodes that lack the key of one of them are left out by the scheduler for all.
                        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                            "weight": 100,
                            "podAffinityTerm": {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": ours},
                        }]}},
                        "containers": [self.container(origin)],
                        "volumes": volumes,
                    },
                },
            },
        }))
    }

    fn container(&self, origin: std::net::IpAddr) -> Value {
        let metrics = self.metrics_port();
        let probe = |path: &str, period: u16, failures: u16| {
            json!({
                "httpGet": {"path": path, "port": metrics},
                "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": 2,
            })
        };
        let named = self.listens.iter().flat_map(|listen| {
            listen.names.iter().map(|name| json!({"name": name, "containerPort": listen.number, "protocol": "TCP"}))
        });
        let unnamed = self.listens.iter().filter(|listen| listen.names.is_empty());
        let unnamed = unnamed.map(|listen| json!({"containerPort": listen.number, "protocol": "TCP"}));
        let admin = json!({"containerPort": metrics, "protocol": "TCP"});
        let control = json!({"name": "control", "mountPath": FILES, "readOnly": true});
        let mounts: Vec<Value> = std::iter::once(control).chain(tls::mounts(self.tls)).collect();
        json!({
            "name": "proxy",
            "image": self.settings.image,
            "args": self.arguments(origin),
            "ports": named.chain(unnamed).chain([admin]).collect::<Vec<_>>(),
            "resources": {
                "requests": {"cpu": REQUEST_CPU, "memory": REQUEST_MEMORY},
                "limits": {"cpu": LIMIT_CPU, "memory": LIMIT_MEMORY},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "readinessProbe": probe("/readyz", 1, 2),
            "livenessProbe": probe("/healthz", 5, 3),
            "volumeMounts": mounts,
        })
    }

    fn arguments(&self, origin: std::net::IpAddr) -> Vec<String> {
        let service = format!("{}/{}", self.namespace(), self.service.name_any());
        let listen = self.listen_address();
        let routes = self.listens.iter().flat_map(|it| {
            let upstream = std::net::SocketAddr::new(origin, it.service_port);
            ["--route".to_owned(), format!("{service}:{}={listen}:{}->{upstream}", it.service_port, it.number)]
        });
        let address = &self.settings.control_address;
        let name = address.rsplit_once(':').map_or(address.as_str(), |(name, _)| name);
        let rest = [
            ("--listen-metrics", format!("{listen}:{}", self.metrics_port())),
            ("--drain-at-least", DRAIN_AT_LEAST.to_owned()),
            ("--drain-quiet", DRAIN_QUIET.to_owned()),
            ("--control", address.clone()),
            ("--control-name", name.to_owned()),
            ("--control-ca", format!("{FILES}/ca.pem")),
        ];
        let rest = rest.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        // In one argument, so that an admission policy can tell that no other file is shown to anybody.
        let token = format!("--control-token={FILES}/token");
        // Behind the image's entry point, which is glooshot.
        let command = std::iter::once("proxy".to_owned());
        command.chain(routes).chain(tls::options(self.tls)).chain(rest).chain([token]).collect()
    }

    /// Every address of the pod; of both families only where the Service has both, since a node may know but one.
    fn listen_address(&self) -> &'static str {
        let families = self.service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
        let has_ipv6 = families.is_some_and(|families| families.iter().any(|family| family == "IPv6"));
        if has_ipv6 { "[::]" } else { "0.0.0.0" }
    }

    /// A port that the Service has no use for.
    fn metrics_port(&self) -> u16 {
        let is_taken = |port: &u16| self.listens.iter().any(|listen| listen.number == *port);
        (METRICS_PORT..u16::MAX).find(|port| !is_taken(port)).unwrap_or(METRICS_PORT)
    }

    fn pod_annotations(&self) -> BTreeMap<String, String> {
        let ours = [(SERVICE, self.service.name_any()), (CONTROL_CA, self.settings.control_ca.clone())];
        let scraped =
            [("prometheus.io/scrape", "true".to_owned()), ("prometheus.io/port", self.metrics_port().to_string())];
        let others = NOT_MESHED_ANNOTATIONS.map(|(key, value)| (key, value.to_owned()));
        ours.into_iter().chain(scraped).chain(others).map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// The labels of the proxies for the Service with this uid, which selects by this while nothing redirects it.
pub(super) fn pod_labels(service_uid: &str, selector: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let ours = [(MANAGED_BY, US.to_owned()), (SERVICE_UID, service_uid.to_owned())];
    let others = NOT_MESHED_LABELS.map(|(key, value)| (key, value.to_owned()));
    let selected = selector.keys().map(|key| (key.clone(), names::proxy(service_uid)));
    ours.into_iter().chain(others).map(|(key, value)| (key.to_owned(), value)).chain(selected).collect()
}

/// The object that a text of ours means. Where `null` stands nothing is said.
pub(super) fn typed<T: DeserializeOwned>(object: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(object)
}

#[cfg(test)]
mod tests;
