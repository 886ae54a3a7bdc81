//! Callers whose own NetworkPolicies let them reach the pods of a Service and not its proxies. Pure.
//!
//! A policy of egress is about the address behind the Service's: whoever may call `app: ratings` only would be cut off while the Service
//! selects proxies. Its owner alone may widen it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::Pod,
        networking::v1::{
            NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt as _;

use super::{
    isolation::{is_egress, is_ours, matches},
    ports::{self, Listen},
};

/// The two ends between which a caller may choose nothing: the pods now, and the proxies for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called<'a> {
    /// The namespace, and its labels.
    pub(super) namespace: &'a str,
    pub(super) namespace_labels: &'a BTreeMap<String, String>,
    /// The real pods.
    pub(super) pods: &'a [&'a Pod],
    /// The labels of the proxies.
    pub(super) proxies: &'a BTreeMap<String, String>,
    /// Where both listen.
    pub(super) listens: &'a [Listen],
}

impl Called<'_> {
    /// The policies among these that let pods call the real ones and not the proxies, where no other one makes up for it.
    pub(super) fn bypassing<'p>(&self, policies: &'p [NetworkPolicy]) -> Vec<&'p NetworkPolicy> {
        let callers =
            || policies.iter().filter(|policy| !is_ours(policy)).filter_map(|it| Some((it, it.spec.as_ref()?)));
        let callers = || callers().filter(|(_, spec)| is_egress(spec));
        let bypasses = callers().filter(|(policy, spec)| {
            self.listens.iter().any(|listen| {
                let lets_to_proxies = |(other, its): (&NetworkPolicy, &NetworkPolicySpec)| {
                    other.namespace() == policy.namespace()
                        && covers(its, spec)
                        && self.lets(other, its, self.proxies, listen.number, &listen.names)
                };
                self.lets_to_pods(policy, spec, listen.number) && !callers().any(lets_to_proxies)
            })
        });
        bypasses.map(|(policy, _)| policy).collect()
    }

    fn lets_to_pods(&self, policy: &NetworkPolicy, spec: &NetworkPolicySpec, number: u16) -> bool {
        self.pods.iter().any(|pod| {
            let names = ports::containers(pod).flat_map(|container| container.ports.iter().flatten());
            let names = names.filter(|port| port.container_port == i32::from(number));
            let names: Vec<String> = names.filter_map(|port| port.name.clone()).collect();
            self.lets(policy, spec, pod.labels(), number, &names)
        })
    }

    fn lets(
        &self,
        policy: &NetworkPolicy,
        spec: &NetworkPolicySpec,
        labels: &BTreeMap<String, String>,
        number: u16,
        names: &[String],
    ) -> bool {
        let is_local = policy.namespace().is_none_or(|namespace| namespace == self.namespace);
        let selects = |peer: &NetworkPolicyPeer| {
            // Whether a block of addresses means pods as well differs from one network to the next.
            peer.ip_block.is_none()
                && peer.namespace_selector.as_ref().map_or(is_local, |it| matches(it, self.namespace_labels))
                && peer.pod_selector.as_ref().is_none_or(|it| matches(it, labels))
        };
        let to = |rule: &NetworkPolicyEgressRule| {
            let peers = rule.to.as_deref().unwrap_or_default();
            peers.is_empty() || peers.iter().any(selects)
        };
        let rules = spec.egress.iter().flatten();
        rules.into_iter().any(|rule| to(rule) && has(rule.ports.as_deref().unwrap_or_default(), number, names))
    }
}

/// Whether every pod of the second is one of the first, as far as that can be told by looking at the two.
fn covers(first: &NetworkPolicySpec, second: &NetworkPolicySpec) -> bool {
    let is_all = first.pod_selector.as_ref().is_none_or(|selector| {
        selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
    });
    is_all || first.pod_selector == second.pod_selector
}

/// Whether a rule with these ports is about this TCP port; one without any is about all.
fn has(ports: &[NetworkPolicyPort], number: u16, names: &[String]) -> bool {
    let is_it = |port: &NetworkPolicyPort| {
        port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
            && match &port.port {
                None => true,
                Some(IntOrString::Int(first)) => {
                    (*first..=port.end_port.unwrap_or(*first)).contains(&i32::from(number))
                }
                Some(IntOrString::String(name)) => names.contains(name),
            }
    };
    ports.is_empty() || ports.iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::names, *};

    fn policy(name: &str, namespace: &str, pods: &Value, egress: &Value) -> NetworkPolicy {
        let spec = json!({"podSelector": pods, "policyTypes": ["Egress"], "egress": egress});
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec})).unwrap()
    }

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn bypassing(policies: &[NetworkPolicy]) -> Vec<String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "ratings"}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9080}]}]},
        }))
        .unwrap();
        let called = Called {
            namespace: "bookinfo",
            namespace_labels: &labels(&[("team", "books")]),
            pods: &[&pod],
            proxies: &labels(&[("app", "glooshot-1"), (names::MANAGED_BY, names::US)]),
            listens: &[Listen { number: 9080, names: vec![], service_port: 9080, also: vec![] }],
        };
        called.bypassing(policies).into_iter().map(kube::ResourceExt::name_any).collect()
    }

    #[test]
    fn a_caller_that_may_reach_the_pods_and_not_the_proxies_is_found_by_its_policy() {
        let ratings = json!({"podSelector": {"matchLabels": {"app": "ratings"}}});
        let in_books = json!({"namespaceSelector": {"matchLabels": {"team": "books"}}});
        let both = json!({"namespaceSelector": {"matchLabels": {"team": "books"}}, "podSelector": {"matchLabels": {"app": "ratings"}}});
        let elsewhere = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}, "podSelector": {}});
        let proxies = json!({"podSelector": {"matchLabels": {names::MANAGED_BY: names::US}}});
        let port = |port: Value| json!([{"to": [ratings], "ports": [{"protocol": "TCP", "port": port}]}]);
        let cases = [
            ("to the pods", "bookinfo", json!([{"to": [ratings]}]), true),
            ("to their port", "bookinfo", port(json!(9080)), true),
            ("to another port of theirs", "bookinfo", port(json!(9090)), false),
            ("to their port by its name, which the proxies do not have", "bookinfo", port(json!("http")), true),
            (
                "to a range with their port",
                "bookinfo",
                json!([{"to": [ratings], "ports": [{"port": 9000, "endPort": 9100}]}]),
                true,
            ),
            ("to pods of that name in its own namespace", "shop", json!([{"to": [ratings]}]), false),
            ("from elsewhere to the pods", "shop", json!([{"to": [both]}]), true),
            ("from elsewhere to the namespace", "shop", json!([{"to": [in_books]}]), false),
            ("to another namespace", "bookinfo", json!([{"to": [elsewhere]}]), false),
            ("to anybody", "bookinfo", json!([{}]), false),
            ("to nobody", "bookinfo", json!([]), false),
            ("to the proxies as well", "bookinfo", json!([{"to": [ratings, proxies]}]), false),
            ("to their addresses", "bookinfo", json!([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]), false),
        ];
        for (case, namespace, egress, is_found) in cases {
            let found = bypassing(&[policy("it", namespace, &json!({"matchLabels": {"app": "reviews"}}), &egress)]);
            assert_eq!(!found.is_empty(), is_found, "{case}");
        }
    }

    #[test]
    fn another_policy_on_the_same_callers_may_make_up_for_it() {
        let (reviews, all) = (json!({"matchLabels": {"app": "reviews"}}), json!({}));
        let narrow = policy(
            "narrow",
            "bookinfo",
            &reviews,
            &json!([{"to": [{"podSelector": {"matchLabels": {"app": "ratings"}}}]}]),
        );
        let open =
            |namespace: &str, pods: &Value| policy("open", namespace, pods, &json!([{"to": [{"podSelector": {}}]}]));
        let cases = [
            ("on the same", open("bookinfo", &reviews), true),
            ("on all", open("bookinfo", &all), true),
            ("on others", open("bookinfo", &json!({"matchLabels": {"app": "details"}})), false),
            ("elsewhere", open("shop", &all), false),
        ];
        for (case, other, makes_up) in cases {
            assert_eq!(bypassing(&[narrow.clone(), other]).is_empty(), makes_up, "{case}");
        }
    }
}
