//! `routing.networkPolicy: Mirror`: policies of ours are there while a Service is redirected, whoever dies, and gone afterwards.

use glooshot::paths::redirect::names;
use serde_json::{Value, json};

use super::{
    control_plane::registered,
    stage::{SOON, Stage, state},
    target::{Target, is_let_go},
};
use crate::{harness::patience::within, program::glooshot};

/// What routes an Experiment on a Service that is isolated.
pub fn mirroring() -> Value {
    json!({"settle": "0s", "networkPolicy": "Mirror"})
}

/// Nobody is let in anywhere and nobody out, but for clients to `ratings`.
pub fn isolate(stage: &Stage<'_>) {
    let client = json!({"podSelector": {"matchLabels": {"client": "a"}}});
    let specs = [
        ("deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})),
        (
            "clients",
            json!({
                "podSelector": {"matchLabels": {"app": "ratings"}},
                "ingress": [{"from": [client], "ports": [{"protocol": "TCP", "port": "http"}]}],
            }),
        ),
    ];
    for (name, spec) in specs {
        stage.apply(&json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": stage.namespace}, "spec": spec,
        }));
    }
}

/// The policies on the proxies and on the pods, if they are there.
fn ours(target: &Target<'_>) -> [Option<Value>; 2] {
    let service = target.stage.get("service", "ratings").unwrap();
    let uid = service["metadata"]["uid"].as_str().unwrap();
    [names::proxy(uid), names::let_in(uid)].map(|name| target.stage.get("networkpolicy", &name))
}

/// Everything that is not ours, as it is compared.
fn policies_of_others(world: &[Value]) -> Vec<&Value> {
    let is_it = |object: &&Value| {
        object["kind"].as_str().unwrap().ends_with("networkpolicies")
            && !object["is"]["metadata"]["name"].as_str().unwrap().starts_with("glooshot-")
    };
    world.iter().filter(is_it).collect()
}

#[test]
fn policies_of_ours_are_there_while_a_service_is_redirected_and_gone_afterwards_whoever_has_died() {
    let target = Target::new(registered(), "isolated");
    isolate(&target.stage);
    let start = target.world();
    let first = target.controller("first");
    target.breaks_routed("1m", &mirroring());
    target.awaits(SOON, "its faults are on", |it| (state(it?) == Some("Started")).then_some(()));
    let made = ours(&target);
    let [Some(on_proxies), Some(on_pods)] = &made else { panic!("{made:#?}") };
    let service = target.stage.get("service", "ratings").unwrap();
    let uid = &service["metadata"]["uid"];
    let proxies = json!({"matchLabels": {names::MANAGED_BY: names::US, names::SERVICE_UID: uid}});
    let client = json!({"podSelector": {"matchLabels": {"client": "a"}}});
    // The Service leads to a number, so the name is one that proxies do not have.
    let number = json!([{"protocol": "TCP", "port": 9080}]);
    assert_eq!(on_proxies["spec"]["podSelector"], proxies);
    assert_eq!(on_proxies["spec"]["ingress"], json!([{"from": [client], "ports": number}]));
    assert_eq!(on_proxies["spec"]["egress"].as_array().unwrap().len(), 3, "{on_proxies:#}");
    assert_eq!(on_pods["spec"]["podSelector"], json!({"matchLabels": {"app": "ratings"}}));
    assert_eq!(on_pods["spec"]["ingress"], json!([{"from": [{"podSelector": proxies}], "ports": number}]));
    for policy in [on_proxies, on_pods] {
        let owner = &policy["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Service"), uid), "{policy:#}");
    }
    let during = target.world();
    assert_eq!(policies_of_others(&during), policies_of_others(&start));

    // Whoever takes the run up makes what is not there any more, and leaves the rest.
    drop(first);
    let name = on_pods["metadata"]["name"].as_str().unwrap();
    target.stage.kubectl.succeeds(["delete", "networkpolicy", name, "-n", &target.stage.namespace]);
    target.stage.frees_lease();
    let _second = target.controller("second");
    let [on_proxies_again, on_pods_again] = within(SOON, "all of them are there", || {
        let [on_proxies, on_pods] = ours(&target);
        Some([on_proxies?, on_pods?])
    });
    assert_eq!(on_proxies_again["metadata"]["resourceVersion"], on_proxies["metadata"]["resourceVersion"]);
    assert_eq!(on_pods_again["spec"], on_pods["spec"]);
    target.deletes_for_good();
    assert_eq!(target.world(), start);
}

#[test]
fn a_rescue_removes_our_policies_with_the_proxies_and_needs_no_controller() {
    let target = Target::new(registered(), "isolated-rescue");
    isolate(&target.stage);
    let start = target.world();
    let controller = target.controller("one");
    target.breaks_routed("1m", &mirroring());
    target.awaits(SOON, "its faults are on", |it| (state(it?) == Some("Started")).then_some(()));
    assert!(ours(&target).iter().all(Option::is_some));
    drop(controller);
    let kubeconfig = target.stage.kubeconfig().to_str().unwrap();
    let rescued = glooshot(["rescue", "--kubeconfig", kubeconfig, "-n", &target.stage.namespace]);
    assert_eq!(rescued.code, Some(0), "{}", rescued.errors);
    assert_eq!(target.world(), start);
}

#[test]
fn a_service_that_is_isolated_is_refused_with_the_field_that_allows_it() {
    let target = Target::new(registered(), "isolated-refused");
    isolate(&target.stage);
    let start = target.world();
    let _controller = target.controller("one");
    target.breaks("1m");
    let over = target.awaits(SOON, "it is over", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(state(&over), Some("Inconclusive"));
    let why = over["status"]["result"]["failureReport"]["message"].as_str().unwrap();
    for words in ["NetworkPolicy clients says who may reach its pods", "spec.spec.routing.networkPolicy: Mirror"] {
        assert!(why.contains(words), "{words:?} is not said in: {why}");
    }
    assert_eq!(target.world(), start);
}
