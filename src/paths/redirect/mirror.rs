//! NetworkPolicies of ours for as long as a Service is redirected: its proxies let in whom its pods let in, and its pods let its proxies
//! in. Pure.
//!
//! Nothing of others is changed, and nobody gets further than before: policies only ever add up, so the proxies' one has the rules of those
//! that isolate the pods, and no more; and the pods have one only where others isolate them already.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::{Pod, ServicePort},
        networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{
    isolation::{Isolation, ingress, is_ours},
    names::{self, MANAGED_BY, SERVICE_UID, US},
    objects::{Parts, typed},
    ports,
};
use crate::cluster::install::{CONTROLLER, NAME};

/// What there should be of ours; where nothing stands there should be nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mirror {
    /// On the proxies.
    pub(super) proxies: Option<NetworkPolicy>,
    /// On the real pods.
    pub(super) pods: Option<NetworkPolicy>,
}

impl Mirror {
    /// What is there of ours for the Service with this uid, as it was made: whom pods let in that are away for a while nobody can tell.
    pub(super) fn standing(policies: &[NetworkPolicy], service_uid: &str) -> Self {
        let find = |name: &str| {
            let ours = policies.iter().find(|policy| is_ours(policy) && policy.name_any() == name)?;
            let ObjectMeta { name, namespace, labels, annotations, owner_references, .. } = ours.metadata.clone();
            let metadata =
                ObjectMeta { name, namespace, labels, annotations, owner_references, ..ObjectMeta::default() };
            Some(NetworkPolicy { metadata, spec: ours.spec.clone() })
        };
        Self { proxies: find(&names::proxy(service_uid)), pods: find(&names::let_in(service_uid)) }
    }
}

impl Parts<'_> {
    /// For a Service with these real pods, which is isolated like this.
    pub(super) fn mirror(&self, isolation: &Isolation<'_>, pods: &[&Pod]) -> Result<Mirror, serde_json::Error> {
        let (ingress, egress) = (self.let_in(isolation, pods), self.let_out(isolation));
        let types = [("Ingress", ingress.is_some()), ("Egress", egress.is_some())];
        let types: Vec<&str> = types.into_iter().filter(|(_, is_said)| *is_said).map(|(name, _)| name).collect();
        let proxies = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": self.metadata(&self.name()),
            "spec": {
                "podSelector": {"matchLabels": self.proxies()}, "policyTypes": types, "ingress": ingress, "egress": egress,
            },
        });
        let real = self.narrowed(isolation).map(|selector| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": self.metadata(&names::let_in(&self.uid())),
                "spec": {
                    "podSelector": selector, "policyTypes": ["Ingress"],
                    "ingress": [{"from": [{"podSelector": {"matchLabels": self.proxies()}}], "ports": self.target_ports()}],
                },
            })
        });
        Ok(Mirror {
            proxies: if types.is_empty() { None } else { Some(typed(proxies)?) },
            pods: real.map(typed).transpose()?,
        })
    }

    /// What tells our proxies of this Service from all other pods.
    fn proxies(&self) -> Value {
        json!({MANAGED_BY: US, SERVICE_UID: self.uid()})
    }

    /// Whom the proxies let in; nothing where that is nobody's concern.
    fn let_in(&self, isolation: &Isolation<'_>, pods: &[&Pod]) -> Option<Vec<NetworkPolicyIngressRule>> {
        if !isolation.pods.is_empty() {
            let rules = isolation.pods.iter().flat_map(|policy| ingress(policy));
            return Some(rules.filter_map(|rule| self.at_proxies(rule, pods)).collect());
        }
        // The pods are open to all, so the proxies are as well.
        let open = || NetworkPolicyIngressRule { from: None, ports: Some(self.target_ports()) };
        (!isolation.proxies.is_empty()).then(|| vec![open()])
    }

    /// The same rule where the proxies listen; nothing if it is about none of their ports, since a rule without ports is about all.
    fn at_proxies(&self, rule: &NetworkPolicyIngressRule, pods: &[&Pod]) -> Option<NetworkPolicyIngressRule> {
        let Some(ports) = rule.ports.as_ref().filter(|ports| !ports.is_empty()) else { return Some(rule.clone()) };
        let ports: Vec<NetworkPolicyPort> = ports.iter().filter_map(|port| self.port_at_proxies(port, pods)).collect();
        (!ports.is_empty()).then(|| NetworkPolicyIngressRule { from: rule.from.clone(), ports: Some(ports) })
    }

    /// Proxies have the names by which the Service finds its pods' ports. Another one becomes the number that it has in every pod.
    fn port_at_proxies(&self, port: &NetworkPolicyPort, pods: &[&Pod]) -> Option<NetworkPolicyPort> {
        let Some(IntOrString::String(name)) = &port.port else { return Some(port.clone()) };
        if self.listens.iter().any(|listen| listen.names.contains(name)) {
            return Some(port.clone());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let all: Vec<BTreeSet<i32>> = pods.iter().map(|pod| ports::named(pod, name, protocol)).collect();
        let number = all.first()?.iter().copied().find(|number| all.iter().all(|numbers| numbers.contains(number)))?;
        Some(NetworkPolicyPort { port: Some(IntOrString::Int(number)), ..port.clone() })
    }

    /// Whom the proxies may reach, where others say that they may not reach everybody.
    fn let_out(&self, isolation: &Isolation<'_>) -> Option<Vec<Value>> {
        let port = |protocol: &str, port: u16| json!({"protocol": protocol, "port": port});
        // A headless Service leads to the very port that is called.
        let control = self.settings.control_address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let control = control.map(|number| [port("TCP", number)]);
        let controllers = json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.settings.namespace}},
            "podSelector": {"matchLabels": {NAME: CONTROLLER}},
        });
        (!isolation.egress.is_empty()).then(|| {
            vec![
                json!({"to": [{"podSelector": {"matchLabels": self.selector}}], "ports": self.target_ports()}),
                json!({"to": [controllers], "ports": control}),
                // Name servers may be pods or on nodes.
                json!({"ports": [port("UDP", 53), port("TCP", 53)]}),
            ]
        })
    }

    /// The ports of the pods that the Service leads to.
    fn target_ports(&self) -> Vec<NetworkPolicyPort> {
        let target = |port: &ServicePort| match &port.target_port {
            None | Some(IntOrString::Int(0)) => IntOrString::Int(port.port),
            Some(target) => target.clone(),
        };
        let mut targets: Vec<IntOrString> = Vec::new();
        for target in ports::ports(self.service).filter(|port| ports::is_tcp(port)).map(target) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let port = |target| NetworkPolicyPort { port: Some(target), protocol: Some("TCP".to_owned()), end_port: None };
        targets.into_iter().map(port).collect()
    }

    /// The Service's pods, as far as one of the policies that isolate them is about them: a pod that comes later and is not isolated must
    /// not become so by us. Of several policies the one that says least is about most of them.
    fn narrowed(&self, isolation: &Isolation<'_>) -> Option<LabelSelector> {
        let selectors = isolation.pods.iter().filter_map(|policy| policy.spec.as_ref());
        let selectors = selectors.map(|spec| spec.pod_selector.clone().unwrap_or_default());
        let words = |it: &LabelSelector| {
            it.match_labels.as_ref().map_or(0, BTreeMap::len) + it.match_expressions.as_ref().map_or(0, Vec::len)
        };
        let mut selector = selectors.min_by_key(words)?;
        selector.match_labels.get_or_insert_default().extend(self.selector.clone());
        Some(selector)
    }
}

#[cfg(test)]
mod tests;
