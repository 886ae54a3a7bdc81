//! `routing.keepRouted`: behind a verdict a Service stays routed, without faults, until its time is over or somebody ends it.

use glooshot::paths::redirect::names;
use serde_json::{Value, json};

use super::{
    control_plane::registered,
    stage::{SOON, condition, state},
    target::{NAME, Target, is_let_go},
};
use crate::harness::patience::within;

/// Stores an Experiment that keeps the Service routed for so long.
fn watch(target: &Target<'_>, name: &str, duration: &str, kept: &str) {
    target.watches(name, duration, &json!({"settle": "0s", "keepRouted": kept}));
}

/// Waits until the Experiment is over and says that the Service stays routed, which it does.
#[track_caller]
fn awaits_kept(target: &Target<'_>, original: &Value) -> Value {
    let kept = target.awaits(SOON, "it has succeeded", |it| it.filter(|it| state(it) == Some("Succeeded")).cloned());
    for (kind, status) in [("Routed", "True"), ("Restored", "False"), ("FaultsActive", "False")] {
        assert_eq!(condition(&kept, kind).unwrap()["status"], status, "{kept:#}");
    }
    for kind in ["Routed", "Restored"] {
        assert_eq!(condition(&kept, kind).unwrap()["reason"], "KeptRouted", "{kept:#}");
    }
    assert_ne!(target.selector(), *original, "{kept:#}");
    kept
}

#[test]
fn a_service_stays_routed_for_as_long_as_asked_and_the_next_experiment_waits_for_its_end() {
    let target = Target::new(registered(), "kept");
    let (start, original) = (target.world(), target.selector());
    let controller = target.controller("one");
    watch(&target, NAME, "2s", "8s");
    awaits_kept(&target, &original);
    watch(&target, "second", "2s", "0s");
    let why = target.stage.awaits_reason("second", "Routed", "TargetBusy");
    assert!(why.contains("kept/ratings still goes through the proxies for the experiment kept/abort"), "{why}");
    assert_ne!(target.selector(), original, "it waits while the first has the Service");

    let over = target.awaits(SOON, "it lets go", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(condition(&over, "Restored").unwrap()["status"], "True", "{over:#}");
    assert_eq!(condition(&over, "Routed").unwrap()["reason"], "Restored", "{over:#}");
    target.stage.awaits("second", "Succeeded");
    within(SOON, "the second lets go", || target.stage.get("experiment", "second").filter(is_let_go));
    assert_eq!(target.world(), start);
    assert_eq!(controller.metric("glooshot_controller_runs_ended_total"), 2.0, "each has one end");
}

#[test]
fn who_leads_next_keeps_it_too_and_a_deletion_ends_that_at_once() {
    let target = Target::new(registered(), "kept-deleted");
    let original = target.selector();
    let first = target.controller("first");
    watch(&target, NAME, "2s", "1h");
    awaits_kept(&target, &original);
    first.stop();
    let second = target.controller("second");
    within(SOON, "it has looked", || (second.metric("glooshot_controller_reconciles_total") > 0.0).then_some(()));
    awaits_kept(&target, &original);
    let record = target.stage.get("service", "ratings").unwrap()["metadata"]["annotations"][names::REDIRECT].clone();
    assert!(record.as_str().unwrap().contains("deadline"), "it is found without a controller, too: {record}");
    target.deletes_for_good();
    assert_eq!(target.selector(), original);
}

#[test]
fn the_switch_of_the_operator_ends_it_and_a_run_that_was_stopped_is_never_kept() {
    let target = Target::new(registered(), "kept-halted");
    let original = target.selector();
    let _controller = target.controller("one");
    watch(&target, NAME, "2s", "1h");
    awaits_kept(&target, &original);
    target.stage.halts(true);
    target.awaits(SOON, "it lets go", |it| it.filter(|it| is_let_go(it)).map(drop));
    assert_eq!(target.selector(), original);
    target.deletes_for_good();

    target.stage.halts(false);
    watch(&target, NAME, "1m", "1h");
    target.awaits(SOON, "it has started", |it| (state(it?) == Some("Started")).then_some(()));
    target.stage.halts(true);
    let over = target.awaits(SOON, "it lets go", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(over["status"]["result"]["failureReport"]["failure_type"], "stopped", "{over:#}");
    assert_eq!(target.selector(), original);
}
