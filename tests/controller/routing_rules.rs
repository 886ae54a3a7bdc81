//! RoutingRules from `kubectl apply` until they are gone.

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    gateway::Gateway,
    scripted::Script,
    stage::{SOON, Stage},
};
use crate::harness::patience::within;

/// The Service `reviews` with pods of two versions.
fn reviews(stage: &Stage<'_>) {
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": stage.namespace},
    }));
    service(stage, "reviews");
}

/// A Service with pods of two versions.
fn service(stage: &Stage<'_>, name: &str) {
    let namespace = &stage.namespace;
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 9080}]},
    }));
    for version in ["v3", "v4"] {
        let (pod, labels) = (format!("{name}-{version}"), json!({"app": name, "version": version}));
        stage.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": namespace, "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": false},
        }));
    }
}

fn rule(stage: &Stage<'_>, name: &str, subset: &str, mesh: &str) -> Value {
    rule_on(stage, "reviews", name, subset, mesh)
}

fn rule_on(stage: &Stage<'_>, service: &str, name: &str, subset: &str, mesh: &str) -> Value {
    let upstream =
        |middle: &str| json!({"name": format!("{}-{service}{middle}-9080", stage.namespace), "namespace": "glooshot"});
    let share = json!({"destination": {"upstream": upstream(&format!("-{subset}"))}, "weight": 1});
    json!({
        "apiVersion": "glooshot.solo.io/v1", "kind": "RoutingRule",
        "metadata": {"name": name, "namespace": stage.namespace},
        "spec": {
            "targetMesh": {"name": mesh, "namespace": "glooshot"},
            "destinationSelector": {"upstreamSelector": {"upstreams": [upstream("")]}},
            "spec": {"trafficShifting": {"destinations": {"destinations": [share]}}},
        },
    })
}

/// Waits until a rule is in this state; gives the reason.
#[track_caller]
fn awaits(stage: &Stage<'_>, name: &str, state: &str) -> String {
    within(SOON, &format!("{name} is {state}"), || {
        let rule = stage.get("routingrule", name)?;
        let found = rule.pointer("/status/state")? == state
            && rule.pointer("/status/observedGeneration") == rule.pointer("/metadata/generation");
        found.then(|| rule["status"]["reason"].as_str().unwrap_or_default().to_owned())
    })
}

#[track_caller]
fn deletes(stage: &Stage<'_>, name: &str) {
    stage.kubectl.succeeds(["delete", "routingrule", name, "-n", &stage.namespace, "--wait=false"]);
    within(SOON, &format!("{name} is gone"), || stage.get("routingrule", name).is_none().then_some(()));
}

#[test]
fn a_rule_is_in_force_until_it_is_deleted_and_the_next_one_has_its_turn() {
    let stage = Stage::new(registered(), "rules");
    reviews(&stage);
    let script = Script::default();
    let _controller = script.controller(&stage, "one");
    stage.apply(&rule(&stage, "first", "v4", "glooshot-proxy"));
    awaits(&stage, "first", "Accepted");
    let first = stage.get("routingrule", "first").unwrap();
    assert_eq!(first["metadata"]["finalizers"], json!(["glooshot.solo.io/restore"]), "{first:#}");

    stage.apply(&rule(&stage, "second", "v3", "glooshot-proxy"));
    let why = awaits(&stage, "second", "Rejected");
    assert!(why.contains("rules/first") && why.contains("rules/reviews"), "{why}");
    assert_eq!(script.told("second"), Vec::<String>::new());

    stage.apply(&rule(&stage, "first", "v3", "glooshot-proxy"));
    awaits(&stage, "first", "Accepted");
    let uid = first["metadata"]["uid"].as_str().unwrap();
    assert_eq!((script.told("first"), script.told(uid)), (vec!["route".to_owned()], vec!["reshare".to_owned()]));

    deletes(&stage, "first");
    assert_eq!(script.told("first"), ["route", "restore"]);
    assert_eq!(script.told(uid), ["reshare", "release"]);
    awaits(&stage, "second", "Accepted");
    deletes(&stage, "second");
}

#[test]
fn what_cannot_be_in_force_is_rejected_with_a_reason_and_holds_nothing() {
    let stage = Stage::new(registered(), "wrong-rules");
    reviews(&stage);
    let script = Script::default();
    let _controller = script.controller(&stage, "one");
    stage.apply(&rule(&stage, "mesh", "v4", "istio-istio-system"));
    assert!(awaits(&stage, "mesh", "Rejected").contains("there is no mesh"));
    stage.apply(&rule(&stage, "subset", "v9", "glooshot-proxy"));
    assert!(awaits(&stage, "subset", "Rejected").contains("wrong-rules-reviews-v4-9080"), "names those that there are");
    for name in ["mesh", "subset"] {
        assert_eq!(stage.get("routingrule", name).unwrap()["metadata"]["finalizers"], Value::Null);
        deletes(&stage, name);
    }
    assert_eq!(script.everything(), Vec::<String>::new());
}

#[test]
fn the_next_leader_takes_a_rule_up_and_halted_it_is_put_back() {
    let stage = Stage::new(registered(), "rules-next");
    reviews(&stage);
    let script = Script::default();
    let controller = script.controller(&stage, "one");
    stage.apply(&rule(&stage, "rule", "v4", "glooshot-proxy"));
    awaits(&stage, "rule", "Accepted");
    drop(controller);
    let _next = script.controller(&stage, "two");
    within(SOON, "it is routed again", || (script.told("rule") == ["route", "route"]).then_some(()));

    stage.halts(true);
    within(SOON, "it is halted", || (awaits(&stage, "rule", "Pending") == "halted: incident 7").then_some(()));
    assert_eq!(script.told("rule"), ["route", "route", "restore"]);
    deletes(&stage, "rule");
}

#[test]
fn until_the_next_leader_has_seen_the_switch_what_is_in_force_stays_so_and_nothing_else_begins() {
    let stage = Stage::new(registered(), "rules-unread");
    reviews(&stage);
    service(&stage, "ratings");
    let script = Script::default();
    let first = script.controller(&stage, "one");
    stage.apply(&rule(&stage, "rule", "v4", "glooshot-proxy"));
    awaits(&stage, "rule", "Accepted");
    drop(first);

    let gateway = Gateway::start(stage.kubeconfig(), &stage.namespace);
    gateway.hides_switch(true);
    let _next = script.controller_at(gateway.kubeconfig(), &stage, "two");
    stage.apply(&rule_on(&stage, "ratings", "later", "v4", "glooshot-proxy"));
    assert_eq!(awaits(&stage, "later", "Pending"), "the halt switch could not be read yet");
    assert_eq!(stage.get("routingrule", "later").unwrap()["metadata"]["finalizers"], Value::Null);
    assert_eq!(script.everything(), ["route rule"]);
    awaits(&stage, "rule", "Accepted");

    gateway.hides_switch(false);
    awaits(&stage, "later", "Accepted");
    within(SOON, "it is routed again", || (script.told("rule") == ["route", "route"]).then_some(()));
    for name in ["later", "rule"] {
        deletes(&stage, name);
    }
}
