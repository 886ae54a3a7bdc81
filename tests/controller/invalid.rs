//! Objects that are stored and not valid: each fails alone.

use serde_json::json;

use super::{
    control_plane::{ControlPlane, registered},
    program::glooshot,
    stage::Stage,
};

#[test]
fn an_object_that_cannot_even_be_read_hinders_no_other() {
    // A control plane of its own, whose definition lets everything through, as one from another version might.
    let control_plane = ControlPlane::start();
    let ended = glooshot(["register", "--kubeconfig", control_plane.path()]);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let anything = json!([{
        "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }]);
    let patch = format!("--patch={anything}");
    control_plane.kubectl(["patch", "crd", "experiments.glooshot.solo.io", "--type=json", &patch]);

    let stage = Stage::new(&control_plane, "unreadable");
    for (name, spec) in [
        ("a-number", json!(7)),
        ("a-list", json!({"spec": {"faults": "none"}})),
        ("a-word", json!({"spec": {"duration": "soon"}})),
        ("too-long", json!({"spec": {"duration": "9h"}})),
    ] {
        stage.apply(&stage.experiment(name, &spec));
    }
    let controller = stage.controller("one");
    controller.awaits_leading();
    stage.create("good", "1s", "0s");
    stage.awaits("good", "Succeeded");
    for (name, words) in
        [("a-number", "spec"), ("a-list", "spec.spec.faults"), ("a-word", "duration"), ("too-long", "too long")]
    {
        let why = stage.awaits_reason(name, "Accepted", "Invalid");
        assert!(why.contains(words), "{name}: {why}");
        assert_eq!(stage.state(name).as_deref(), Some("Pending"));
        stage.deletes(name);
    }
}

#[test]
fn what_names_nothing_or_another_namespace_says_so_and_starts_when_that_is_mended() {
    let stage = Stage::new(registered(), "names");
    let controller = stage.controller("one");
    controller.awaits_leading();
    let experiment = |name: &str, service: &str, namespace: &str| {
        stage.apply(&stage.abort(name, &json!({"name": service, "namespace": namespace}), 50, "1s"));
    };
    experiment("nothing", "ratings", &stage.namespace);
    let why = stage.awaits_reason("nothing", "Accepted", "Unresolved");
    assert!(why.contains("names/ratings is neither an upstream nor a Service"), "{why}");
    assert_eq!(stage.get("experiment", "nothing").unwrap()["metadata"].get("finalizers"), None);

    // Only the namespace that is watched is known, so a name outside it means nothing.
    experiment("elsewhere", "kubernetes", "default");
    stage.awaits_reason("elsewhere", "Accepted", "Unresolved");
}
