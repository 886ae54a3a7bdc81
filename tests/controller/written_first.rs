//! Faults follow what is written: whoever leads next can tell from the status that a Service was redirected, and leaves it to its owner.

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    gateway::Gateway,
    scripted::Script,
    stage::{SOON, Stage, state},
    target::{NAME, Target, is_let_go},
};
use crate::harness::patience::within;

#[test]
fn no_fault_is_on_before_the_status_says_that_the_targets_are_routed() {
    let stage = Stage::new(registered(), "written-first");
    let gateway = Gateway::start(stage.kubeconfig(), &stage.namespace);
    let script = Script::default();
    let _controller = script.controller_at(gateway.kubeconfig(), &stage, "one");
    gateway.refuses_status(true);
    stage.create("unwritten", "1m", "0s");
    within(SOON, "it is routed", || (script.told("unwritten") == ["route"]).then_some(()));
    let before = gateway.refused();
    within(SOON, "it is tried to write so", || (gateway.refused() >= before + 3).then_some(()));
    assert_eq!(script.told("unwritten"), ["route"]);

    gateway.refuses_status(false);
    stage.awaits("unwritten", "Started");
    assert_eq!(script.told("unwritten"), ["route", "arm"]);
}

#[test]
fn a_service_that_was_put_back_before_its_first_fault_and_while_nobody_led_is_not_taken_again() {
    let target = Target::new(registered(), "put-back-early");
    let (stage, original) = (&target.stage, target.selector());
    let first = target.controller("first");
    target.breaks_routed("1m", &json!({"settle": "1m"}));
    stage.awaits_reason(NAME, "Routed", "Settling");
    assert_ne!(target.selector(), original);
    drop(first);

    target.is_applied_again();
    assert_eq!(target.selector(), original);
    stage.frees_lease();
    let _second = target.controller("second");
    let over = target.awaits(SOON, "it is over", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(state(&over), Some("Inconclusive"), "{over:#}");
    let report = &over["status"]["result"]["failureReport"];
    assert_eq!(report["failure_type"], "interrupted");
    assert!(report["message"].as_str().unwrap().contains("has been put back, changed or deleted"), "{report}");
    let service = stage.get("service", "ratings").unwrap();
    assert_eq!(service["spec"]["selector"], original);
    assert_eq!(service["metadata"]["annotations"]["glooshot.solo.io/redirect"], Value::Null);
}
