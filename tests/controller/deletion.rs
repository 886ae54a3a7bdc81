//! An Experiment that is deleted is gone soon, whatever it was doing.

use serde_json::json;

use super::{
    control_plane::registered,
    stage::{SOON, Stage},
};
use crate::harness::patience::within;

#[test]
fn deleted_in_any_phase_it_goes_and_its_run_with_it() {
    let stage = Stage::new(registered(), "deletion");
    let controller = stage.controller("one");
    controller.awaits_leading();

    stage.create("settling", "1m", "1m");
    stage.awaits_reason("settling", "Routed", "Settling");
    stage.create("started", "1m", "0s");
    stage.awaits("started", "Started");
    stage.create("over", "1s", "0s");
    stage.awaits("over", "Succeeded");
    let mesh = json!({"name": "istio-istio-system", "namespace": "glooshot"});
    stage.apply(&stage.experiment("refused", &json!({"spec": {"targetMesh": mesh}})));
    stage.awaits_reason("refused", "Accepted", "NotAllowed");
    for name in ["settling", "started", "over", "refused"] {
        stage.deletes(name);
    }
    stage.create("at-once", "1m", "0s");
    stage.deletes("at-once");
    within(SOON, "no run is left", || (controller.metric("glooshot_controller_runs") == 0.0).then_some(()));
}

#[test]
fn one_whose_finalizer_was_taken_off_by_force_does_not_run_on() {
    let stage = Stage::new(registered(), "force");
    let controller = stage.controller("one");
    stage.create("forced", "1m", "0s");
    stage.awaits("forced", "Started");
    let without = r#"--patch={"metadata":{"finalizers":null}}"#;
    stage.kubectl.succeeds(["delete", "experiment", "forced", "-n", &stage.namespace, "--wait=false"]);
    // It may be gone before, by our own hand.
    stage.kubectl.run(["patch", "experiment", "forced", "-n", &stage.namespace, "--type=merge", without]);
    within(SOON, "no run is left", || (controller.metric("glooshot_controller_runs") == 0.0).then_some(()));
    assert_eq!(stage.get("experiment", "forced"), None);
}
