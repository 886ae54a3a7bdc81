//! The admission policy of NetworkPolicies: what the controller may not write where it is enabled, whatever its roles say.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{
    harness::within,
    policies::{Enabled, NAMESPACE, SOON, enabled, refused, with},
};

const POLICY: &str = "glooshot-network-policies";
const OWN: &str = "glooshot writes only NetworkPolicies whose name begins with glooshot- and that it labels as its own";
const SHAPE: &str =
    "a NetworkPolicy of glooshot's own is on its proxies of one Service, or lets only these in to other pods";
const UID: &str = "0a1b2c3d-0000-4000-8000-0123456789ab";

fn proxies(uid: &str) -> Value {
    json!({"matchLabels": {"app.kubernetes.io/managed-by": "glooshot", "glooshot.solo.io/service-uid": uid}})
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": proxies(UID)["matchLabels"]},
        "spec": spec,
    })
}

/// One that says who may reach the proxies, and whom they may reach.
fn on_proxies() -> Value {
    let client = json!([{"podSelector": {"matchLabels": {"client": "a"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]);
    policy(
        "glooshot-1",
        &json!({
            "podSelector": proxies(UID), "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": client, "ports": [{"protocol": "TCP", "port": 9080}]}],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "ratings"}}}]}, {"ports": [{"protocol": "UDP", "port": 53}]}],
        }),
    )
}

/// One by which the pods of a Service let its proxies in.
fn on_pods() -> Value {
    let selector = json!({
        "matchLabels": {"app": "ratings"}, "matchExpressions": [{"key": "version", "operator": "In", "values": ["v1"]}],
    });
    policy(
        "glooshot-1-target",
        &json!({
            "podSelector": selector, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": proxies(UID)}], "ports": [{"protocol": "TCP", "port": "http"}]}],
        }),
    )
}

/// Those of somebody else: one with a name of its own, and one that is called as ours are.
fn foreign() -> [Value; 2] {
    ["deny", "glooshot-foreign"].map(|name| {
        let deny = policy(name, &json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        with(&deny, "/metadata/labels", json!({"team": "shop"}))
    })
}

/// For every test, since nothing in it is changed.
fn stage() -> &'static Enabled {
    static STAGE: LazyLock<&'static Enabled> = LazyLock::new(|| {
        let enabled = enabled();
        for policy in foreign() {
            enabled.owns(&policy);
        }
        // The API server learns of policies and rights by watches of its own.
        within(SOON, "the policy is in force", || {
            enabled.creates(&foreign()[0]).err().filter(|it| it.message.contains(POLICY))
        });
        enabled
    });
    *STAGE
}

#[test]
fn what_the_controller_needs_of_network_policies_it_may_make() {
    let enabled = stage();
    for policy in [on_proxies(), on_pods()] {
        let answer = enabled.creates(&policy);
        assert!(answer.is_ok(), "{policy:#}: {answer:?}");
    }
}

#[test]
fn it_makes_changes_and_removes_no_network_policy_that_is_not_its_own() {
    let enabled = stage();
    for own in [on_proxies(), on_pods()] {
        let others = [
            with(&own, "/metadata/name", json!("other")),
            with(&own, "/metadata/labels", json!({})),
            with(&own, "/metadata/labels", json!({"app.kubernetes.io/managed-by": "glooshot"})),
            with(&own, "/metadata/labels", json!({"glooshot.solo.io/service-uid": UID})),
        ];
        for policy in others {
            refused(enabled.creates(&policy), POLICY, OWN, &format!("a creation: {policy}"));
        }
    }
    for policy in foreign() {
        let changes = [
            json!({"metadata": {"labels": proxies(UID)["matchLabels"]}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
            json!({"spec": {"ingress": [{}]}}),
            json!({"spec": {"podSelector": proxies(UID)}, "metadata": {"labels": proxies(UID)["matchLabels"]}}),
        ];
        for change in changes {
            refused(enabled.changes(&policy, &change), POLICY, OWN, &format!("a change: {change}"));
        }
        refused(enabled.deletes(&policy), POLICY, OWN, "a deletion");
    }
}

#[test]
fn its_network_policies_are_on_its_proxies_or_let_only_these_in() {
    let enabled = stage();
    let another = proxies("another");
    let peer = |peer: Value| json!([{"from": [peer], "ports": [{"port": 9080}]}]);
    let changes = [
        (on_proxies(), "/spec/podSelector", json!({})),
        (on_proxies(), "/spec/podSelector", json!({"matchLabels": {"app": "ratings"}})),
        (on_proxies(), "/spec/podSelector", json!({"matchLabels": {"app.kubernetes.io/managed-by": "glooshot"}})),
        (on_proxies(), "/spec/podSelector", another.clone()),
        (on_proxies(), "/spec/podSelector/matchLabels/app", json!("ratings")),
        (on_pods(), "/spec/podSelector", json!({})),
        (on_pods(), "/spec/podSelector", json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})),
        (on_pods(), "/spec/policyTypes", json!(["Ingress", "Egress"])),
        (on_pods(), "/spec/policyTypes", json!(["Egress"])),
        (on_pods(), "/spec/egress", json!([{}])),
        (on_pods(), "/spec/ingress", json!([{}])),
        (on_pods(), "/spec/ingress/1", json!({"ports": [{"port": 9080}]})),
        (on_pods(), "/spec/ingress/0/ports", json!([])),
        (on_pods(), "/spec/ingress/0/from/1", json!({"podSelector": {}})),
        (on_pods(), "/spec/ingress", peer(json!({"podSelector": {}}))),
        (on_pods(), "/spec/ingress", peer(json!({"podSelector": {"matchLabels": {"client": "a"}}}))),
        (on_pods(), "/spec/ingress", peer(json!({"podSelector": another}))),
        (on_pods(), "/spec/ingress", peer(json!({"podSelector": proxies(UID), "namespaceSelector": {}}))),
        (on_pods(), "/spec/ingress", peer(json!({"namespaceSelector": {}}))),
        (on_pods(), "/spec/ingress", peer(json!({"ipBlock": {"cidr": "0.0.0.0/0"}}))),
    ];
    for (policy, field, value) in changes {
        refused(enabled.creates(&with(&policy, field, value.clone())), POLICY, SHAPE, &format!("{field}: {value}"));
    }
}
