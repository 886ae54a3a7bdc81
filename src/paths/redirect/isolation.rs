//! Which NetworkPolicies of a namespace isolate the pods of a Service, and which ones its proxies. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicySpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use super::{names, ports};

/// How the policies of others in its namespace stand to a Service.
#[derive(Clone, Debug, Default)]
pub(super) struct Isolation<'a> {
    /// They say who may reach its pods: each of these is about all of them.
    pub(super) pods: Vec<&'a NetworkPolicy>,
    /// They do so for some of its pods and not for the others.
    pub(super) some_pods: Vec<&'a NetworkPolicy>,
    /// They say who may reach its proxies.
    pub(super) proxies: Vec<&'a NetworkPolicy>,
    /// They say whom its proxies may reach.
    pub(super) egress: Vec<&'a NetworkPolicy>,
    /// Names of target ports that have several numbers in its pods, while a proxy has one.
    several: Vec<String>,
}

impl<'a> Isolation<'a> {
    /// By `policies`, of a Service with these real pods and proxies with these labels.
    pub(super) fn of(
        policies: &'a [NetworkPolicy],
        service: &Service,
        pods: &[&Pod],
        proxies: &BTreeMap<String, String>,
    ) -> Self {
        let has_several = |name: &String| {
            let numbers = pods.iter().flat_map(|pod| ports::named(pod, name, "TCP"));
            numbers.collect::<BTreeSet<i32>>().len() > 1
        };
        let names = ports::ports(service).filter_map(|port| match &port.target_port {
            Some(IntOrString::String(name)) => Some(name.clone()),
            _ => None,
        });
        let mut isolation = Self { several: names.filter(has_several).collect(), ..Self::default() };
        for policy in policies.iter().filter(|policy| !is_ours(policy)) {
            let Some(spec) = &policy.spec else { continue };
            let about = pods.iter().filter(|pod| is_about(spec, pod.labels())).count();
            if is_ingress(spec) && about > 0 {
                let all = about == pods.len();
                if all { &mut isolation.pods } else { &mut isolation.some_pods }.push(policy);
            }
            if is_about(spec, proxies) {
                if is_ingress(spec) {
                    isolation.proxies.push(policy);
                }
                if is_egress(spec) {
                    isolation.egress.push(policy);
                }
            }
        }
        isolation
    }

    /// What no policy of ours can stand for without letting somebody in whom the pods keep out now.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let different = self.some_pods.iter().map(|policy| {
            format!(
                "NetworkPolicy {} is about some of its pods and not about the others, and the proxies stand for all of them; let its \
                 podSelector select all pods of the Service, or none",
                policy.name_any()
            )
        });
        let opening = self.proxies.iter().filter(|policy| {
            let is_about_pods = self.pods.iter().any(|it| it.name_any() == policy.name_any());
            !self.pods.is_empty() && !is_about_pods && ingress(policy).next().is_some()
        });
        let opening = opening.map(|policy| {
            format!(
                "NetworkPolicy {} would let callers reach the proxies that may not reach its pods; let its podSelector leave out pods \
                 with the label {}={}",
                policy.name_any(),
                names::MANAGED_BY,
                names::US
            )
        });
        let several = self.several.iter().filter(|_| !self.pods.is_empty()).map(|name| {
            format!(
                "its port {name} has several numbers in its pods, of which a proxy has one, and policies may let different callers reach \
                 them; let all its pods have the same number"
            )
        });
        different.chain(opening).chain(several).collect()
    }
}

/// Whether it is one that we have made, for this Service or for another one with the same pods.
pub(super) fn is_ours(policy: &NetworkPolicy) -> bool {
    let uid = policy.labels().get(names::SERVICE_UID).filter(|_| names::is_ours(&policy.metadata));
    uid.is_some_and(|uid| [names::proxy(uid), names::let_in(uid)].contains(&policy.name_any()))
}

/// The rules by which it lets callers in.
pub(super) fn ingress(policy: &NetworkPolicy) -> impl Iterator<Item = &NetworkPolicyIngressRule> {
    policy.spec.iter().flat_map(|spec| spec.ingress.iter().flatten())
}

/// Whether it is about a pod with these labels.
pub(super) fn is_about(spec: &NetworkPolicySpec, labels: &BTreeMap<String, String>) -> bool {
    spec.pod_selector.as_ref().is_none_or(|selector| matches(selector, labels))
}

/// Without types a policy is one of ingress, and one of egress as well where it has such rules.
fn is_ingress(spec: &NetworkPolicySpec) -> bool {
    spec.policy_types.as_ref().is_none_or(|types| types.iter().any(|it| it == "Ingress"))
}

pub(super) fn is_egress(spec: &NetworkPolicySpec) -> bool {
    let types = spec.policy_types.as_ref();
    types.map_or(spec.egress.is_some(), |types| types.iter().any(|it| it == "Egress"))
}

/// Whether a selector selects these labels. One that cannot be read is taken to select all: better one finding too many.
pub(super) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).map_or(true, |selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(name: &str, spec: &Value) -> NetworkPolicy {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    fn pods(labels: &[Value]) -> Vec<Pod> {
        labels.iter().map(|labels| serde_json::from_value(json!({"metadata": {"labels": labels}})).unwrap()).collect()
    }

    fn service(target: &Value) -> Service {
        serde_json::from_value(json!({"spec": {"ports": [{"port": 80, "targetPort": target}]}})).unwrap()
    }

    fn proxies() -> BTreeMap<String, String> {
        let labels = [("app", "glooshot-1"), (names::MANAGED_BY, names::US)];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn names_of(policies: &[&NetworkPolicy]) -> Vec<String> {
        policies.iter().map(|policy| policy.name_any()).collect()
    }

    /// Which policy is in which list, by what it says.
    #[test]
    fn a_policy_isolates_whom_it_selects_in_the_direction_of_its_types() {
        let two = pods(&[json!({"app": "ratings", "version": "v1"}), json!({"app": "ratings", "version": "v2"})]);
        let two: Vec<&Pod> = two.iter().collect();
        let ratings = json!({"matchLabels": {"app": "ratings"}});
        let none: [&str; 0] = [];
        let cases = [
            ("nobody", json!({"podSelector": {"matchLabels": {"app": "reviews"}}}), [0, 0, 0, 0]),
            ("the pods", json!({"podSelector": ratings, "policyTypes": ["Ingress"]}), [1, 0, 0, 0]),
            ("the pods, by no type", json!({"podSelector": ratings}), [1, 0, 0, 0]),
            ("what leaves the pods", json!({"podSelector": ratings, "policyTypes": ["Egress"]}), [0, 0, 0, 0]),
            ("one version", json!({"podSelector": {"matchLabels": {"version": "v1"}}}), [0, 1, 0, 0]),
            ("everybody", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}), [1, 0, 1, 1]),
            ("everybody, by no type", json!({"podSelector": {}, "egress": []}), [1, 0, 1, 1]),
            (
                "all but the proxies",
                json!({"podSelector": {"matchExpressions": [
                    {"key": names::MANAGED_BY, "operator": "NotIn", "values": [names::US]},
                ]}}),
                [1, 0, 0, 0],
            ),
        ];
        for (case, spec, expected) in cases {
            let policies = [policy("it", &spec)];
            let found = Isolation::of(&policies, &service(&json!(9080)), &two, &proxies());
            let lists = [&found.pods, &found.some_pods, &found.proxies, &found.egress].map(|list| names_of(list));
            let expected = expected.map(|count| if count == 0 { none.to_vec() } else { vec!["it"] });
            assert_eq!(lists, expected, "{case}");
        }
    }

    #[test]
    fn our_own_policies_isolate_nobody() {
        let mut ours = policy(&names::let_in("s-1"), &json!({"podSelector": {}}));
        let labels = [(names::MANAGED_BY, names::US), (names::SERVICE_UID, "s-1")];
        ours.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let mut foreign = ours.clone();
        foreign.metadata.name = Some("deny".into());
        let one = pods(&[json!({"app": "ratings"})]);
        let policies = [ours, foreign];
        let found = Isolation::of(&policies, &service(&json!(9080)), &[&one[0]], &proxies());
        assert_eq!(names_of(&found.pods), ["deny"]);
    }

    #[test]
    fn what_cannot_be_mirrored_without_letting_others_in_is_an_obstacle() {
        let one = pods(&[json!({"app": "ratings", "version": "v1"}), json!({"app": "ratings"})]);
        let one: Vec<&Pod> = one.iter().collect();
        let deny = || policy("deny", &json!({"podSelector": {"matchLabels": {"app": "ratings"}}}));
        let not_ratings = |ingress: Value| {
            let selector = json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["ratings"]}]});
            policy("others", &json!({"podSelector": selector, "ingress": ingress}))
        };
        let cases = [
            ("all pods", vec![deny()], None),
            (
                "some pods",
                vec![deny(), policy("v1", &json!({"podSelector": {"matchLabels": {"version": "v1"}}}))],
                Some("v1"),
            ),
            ("the proxies are open, the pods are not", vec![deny(), not_ratings(json!([{}]))], Some("others")),
            ("the proxies are closed as well", vec![deny(), not_ratings(json!([]))], None),
            ("the pods are open", vec![not_ratings(json!([{}]))], None),
        ];
        for (case, policies, named) in cases {
            let found = Isolation::of(&policies, &service(&json!(9080)), &one, &proxies()).obstacles();
            let is_named =
                named.is_none_or(|name| found.iter().any(|it| it.contains(&format!("NetworkPolicy {name} "))));
            assert!(found.len() == usize::from(named.is_some()) && is_named, "{case}: {found:?}");
        }
    }

    #[test]
    fn a_port_with_several_numbers_is_an_obstacle_where_the_service_finds_it_by_name() {
        let pod = |number: u16| {
            let ports = json!([{"name": "http", "containerPort": number}]);
            serde_json::from_value::<Pod>(json!({
                "metadata": {"labels": {"app": "ratings"}}, "spec": {"containers": [{"name": "c", "ports": ports}]},
            }))
            .unwrap()
        };
        let cases = [
            ("one number", json!("http"), [8080, 8080], true, 0),
            ("two", json!("http"), [8080, 8081], true, 1),
            ("two, and nobody is kept out", json!("http"), [8080, 8081], false, 0),
            ("by number", json!(8080), [8080, 8081], true, 0),
        ];
        for (case, target, numbers, is_isolated, expected) in cases {
            let pods = numbers.map(pod);
            let policies: Vec<NetworkPolicy> =
                is_isolated.then(|| policy("deny", &json!({"podSelector": {}}))).into_iter().collect();
            let found = Isolation::of(&policies, &service(&target), &[&pods[0], &pods[1]], &proxies()).obstacles();
            assert_eq!(found.len(), expected, "{case}: {found:?}");
        }
    }
}
