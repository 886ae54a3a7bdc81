//! What is found in NetworkPolicies: whom they would keep from whom while the Service selects proxies.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::NetworkPolicy,
};
use kube::ResourceExt as _;

use super::{
    super::{Holder, Owner, bypass::Called, isolation::Isolation, names, objects, patch, pods, ports},
    Findings, Reason, Seen, Wants,
};

/// The field by which an Experiment has policies of ours made.
const FIELD: &str = "spec.spec.routing.networkPolicy";

pub(super) fn inspect(seen: &Seen, service: &Service, owner: &Owner, wants: &Wants, findings: &mut Findings) {
    let selector = patch::original(service);
    let real: Vec<&Pod> = seen.pods.iter().filter(|pod| pods::is_selected(pod, &selector)).collect();
    let proxies = objects::pod_labels(&service.uid().unwrap_or_default(), &selector);
    let isolation = Isolation::of(&seen.network_policies, service, &real, &proxies);
    if wants.mirror {
        mirrored(&isolation, findings);
    } else {
        refused(&isolation, owner, findings);
    }
    callers(seen, service, &real, &proxies, findings);
}

/// Policies that isolate the pods keep the proxies out; those that isolate the proxies keep callers, or the pods, from them.
fn refused(isolation: &Isolation<'_>, owner: &Owner, findings: &mut Findings) {
    // A RoutingRule has no such field.
    let way_out = match owner.kind {
        Holder::Experiment => {
            format!("; {FIELD}: Mirror makes policies for the proxies, for as long as the experiment lasts")
        }
        Holder::RoutingRule => String::new(),
    };
    for policy in isolation.pods.iter().chain(&isolation.some_pods) {
        let name = policy.name_any();
        findings.error(
            Reason::NetworkPolicy,
            format!("NetworkPolicy {name} says who may reach its pods, and the proxies are not among them{way_out}"),
        );
    }
    // Once each, whatever it says of both directions.
    let egress_only = isolation.egress.iter().filter(|it| !isolation.proxies.iter().any(|policy| same(policy, it)));
    for policy in isolation.proxies.iter().chain(egress_only) {
        findings.error(
            Reason::NetworkPolicy,
            format!(
                "NetworkPolicy {} isolates every pod of the namespace, so the proxies, too; let it leave out pods with the label \
                 {}={}{way_out}",
                policy.name_any(),
                names::MANAGED_BY,
                names::US
            ),
        );
    }
}

fn same(one: &NetworkPolicy, other: &NetworkPolicy) -> bool {
    one.name_any() == other.name_any()
}

/// Policies of ours stand for those that there are, unless somebody would be let in by them who is kept out now.
fn mirrored(isolation: &Isolation<'_>, findings: &mut Findings) {
    let obstacles = isolation.obstacles();
    if obstacles.is_empty() && !isolation.pods.is_empty() {
        let names: Vec<String> = isolation.pods.iter().map(|policy| policy.name_any()).collect();
        findings.warn(
            Reason::NetworkPolicy,
            format!(
                "the proxies let in whom NetworkPolicy {} lets in now; what is changed there while the Service goes through them does \
                 not count for them",
                names.join(" or ")
            ),
        );
    }
    for obstacle in obstacles {
        findings.error(Reason::NetworkPolicy, format!("{FIELD}: Mirror cannot stand for these policies: {obstacle}"));
    }
}

/// Callers that would be cut off: what they may reach is for their owner to say.
fn callers(seen: &Seen, service: &Service, real: &[&Pod], proxies: &BTreeMap<String, String>, findings: &mut Findings) {
    let ready: Vec<&Pod> = real.iter().copied().filter(|pod| pods::is_ready(pod)).collect();
    // What there is no listening for is told by others.
    let Ok(listens) = ports::listens(service, &ready) else { return };
    let namespace = service.namespace().unwrap_or_default();
    let labels = seen.namespace.labels.clone().unwrap_or_default();
    let called = Called { namespace: &namespace, namespace_labels: &labels, pods: real, proxies, listens: &listens };
    for policy in called.bypassing(&seen.network_policies).into_iter().chain(called.bypassing(&seen.policies_elsewhere))
    {
        let of = policy
            .namespace()
            .filter(|of| *of != namespace)
            .map_or_else(String::new, |of| format!(" of namespace {of}"));
        findings.error(
            Reason::NetworkPolicy,
            format!(
                "NetworkPolicy {}{of} lets its pods call these pods and not the proxies, which would cut them off; let it select pods \
                 with the label {}={} in this namespace, too: nothing of ours widens what others may reach",
                policy.name_any(),
                names::MANAGED_BY,
                names::US
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{Finding, Severity},
        *,
    };

    fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn policies(list: &Value) -> Vec<NetworkPolicy> {
        from(list.clone())
    }

    fn isolating(name: &str, pods: &Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"podSelector": pods, "policyTypes": ["Ingress"]}})
    }

    /// What is found for an Experiment or a RoutingRule on `ratings` that wants its policies mirrored, or not.
    fn found(here: &Value, elsewhere: &Value, kind: Holder, mirror: bool) -> Vec<Finding> {
        let service: Service = from(json!({
            "metadata": {"namespace": "bookinfo", "name": "ratings", "uid": "s-1"},
            "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "ratings"}, "ports": [{"port": 9080}]},
        }));
        let pod = |version: &str| json!({"metadata": {"labels": {"app": "ratings", "version": version}}, "spec": {"containers": []}});
        let seen = Seen {
            pods: from(json!([pod("v1"), pod("v2")])),
            namespace: from(json!({"labels": {"team": "books"}})),
            network_policies: policies(here),
            policies_elsewhere: policies(elsewhere),
            ..Seen::default()
        };
        let owner = Owner { namespace: "bookinfo".into(), name: "abort".into(), uid: "e-1".into(), kind };
        let mut findings = Findings::default();
        inspect(&seen, &service, &owner, &Wants { mirror, ..Wants::default() }, &mut findings);
        findings.0
    }

    #[test]
    fn a_refusal_names_the_field_by_which_the_policies_are_mirrored() {
        let (here, none) = (json!([isolating("deny", &json!({}))]), json!([]));
        let refused = found(&here, &none, Holder::Experiment, false);
        assert_eq!(refused.len(), 2, "{refused:#?}");
        for finding in refused {
            assert_eq!(finding.severity, Severity::Error);
            assert!(finding.message.contains("spec.spec.routing.networkPolicy: Mirror"), "{finding}");
        }
        let of_a_rule = found(&here, &none, Holder::RoutingRule, false);
        assert!(of_a_rule.iter().all(|finding| !finding.message.contains("Mirror")), "{of_a_rule:#?}");
    }

    #[test]
    fn what_is_mirrored_is_told_and_what_cannot_be_is_refused() {
        let (ratings, v1) = (json!({"matchLabels": {"app": "ratings"}}), json!({"matchLabels": {"version": "v1"}}));
        let everywhere = json!([isolating("deny", &json!({})), isolating("clients", &ratings)]);
        let egress_only =
            json!([{"metadata": {"name": "out"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}]);
        let cases = [
            ("no policy", json!([]), None),
            ("on the pods and on all", everywhere, Some((Severity::Warning, "deny or clients lets in now"))),
            ("on what leaves", egress_only, None),
            (
                "on some pods",
                json!([isolating("half", &v1)]),
                Some((Severity::Error, "NetworkPolicy half is about some of its pods")),
            ),
        ];
        for (case, here, expected) in cases {
            let findings = found(&here, &json!([]), Holder::Experiment, true);
            let told: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.message.as_str())).collect();
            match (expected, told.as_slice()) {
                (None, []) => {}
                (Some((severity, words)), [(is, message)]) if severity == *is && message.contains(words) => {}
                _ => panic!("{case}: {findings:#?}"),
            }
        }
    }

    #[test]
    fn callers_that_may_not_reach_the_proxies_are_refused_whatever_is_mirrored() {
        let to = |peer: Value| json!({"podSelector": {"matchLabels": {"app": "reviews"}}, "policyTypes": ["Egress"], "egress": [{"to": [peer]}]});
        let ratings = json!({"matchLabels": {"app": "ratings"}});
        let here = json!([{"metadata": {"name": "reviews-out", "namespace": "bookinfo"}, "spec": to(json!({"podSelector": ratings}))}]);
        let peer = json!({"podSelector": ratings, "namespaceSelector": {"matchLabels": {"team": "books"}}});
        let elsewhere = json!([{"metadata": {"name": "shop-out", "namespace": "shop"}, "spec": to(peer)}]);
        for mirror in [false, true] {
            let findings = found(&here, &elsewhere, Holder::Experiment, mirror);
            let [first, second] = findings.as_slice() else { panic!("{mirror}: {findings:#?}") };
            assert_eq!((first.severity, second.severity), (Severity::Error, Severity::Error));
            assert!(first.message.contains("NetworkPolicy reviews-out lets"), "{first}");
            assert!(second.message.contains("NetworkPolicy shop-out of namespace shop lets"), "{second}");
        }
    }
}
