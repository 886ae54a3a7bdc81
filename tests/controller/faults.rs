//! Experiments with faults, over a data path that remembers what it was told and in which order.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    scripted::Script,
    stage::{SOON, Stage, condition},
};
use crate::harness::patience::within;

/// A stage with Services to break.
fn stage(name: &str) -> Stage<'static> {
    let stage = Stage::new(registered(), name);
    for service in ["ratings", "reviews"] {
        stage.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": stage.namespace},
            "spec": {"selector": {"app": service}, "ports": [{"port": 9080}]},
        }));
    }
    stage
}

fn break_service(stage: &Stage<'_>, name: &str, service: &str, duration: &str) {
    // By the name of its upstream, as in the tutorial.
    let target = json!({"name": format!("{}-{service}-9080", stage.namespace), "namespace": stage.system});
    stage.apply(&stage.abort(name, &target, 50, duration));
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_injected_is_in_the_status_and_everything_is_put_back_at_the_end() {
    let stage = stage("injected");
    let script = Script::default();
    let _controller = script.controller(&stage, "one");
    break_service(&stage, "abort", "ratings", "2s");
    let started = stage.awaits("abort", "Started");
    let done = stage.awaits("abort", "Succeeded");
    assert_eq!(done["status"]["injection"], json!([{"requests": 9, "aborted": 4, "delayed": 0}]));
    assert_eq!(done["status"]["dataPath"], json!({"kind": "Proxy", "reason": "a test"}));
    within(SOON, "it is released", || (!script.told(&uid(&started)).is_empty()).then_some(()));
    assert_eq!(script.told("abort"), ["route", "arm", "disarm", "restore", "cut"]);
}

#[test]
fn deleted_with_its_faults_on_they_go_off_first_then_all_is_put_back_then_it_goes() {
    let stage = stage("order");
    let script = Script::default();
    let _controller = script.controller(&stage, "one");
    break_service(&stage, "abort", "ratings", "1m");
    let uid = uid(&stage.awaits("abort", "Started"));
    script.stuck.store(true, Ordering::SeqCst);
    stage.kubectl.succeeds(["delete", "experiment", "abort", "-n", &stage.namespace, "--wait=false"]);
    within(SOON, "a release is tried again", || (script.told(&uid).len() > 2).then_some(()));
    assert_eq!(script.told("abort"), ["route", "arm", "disarm", "restore", "cut"]);
    let held = stage.get("experiment", "abort").unwrap();
    assert_eq!(held["metadata"]["finalizers"], json!(["glooshot.solo.io/restore"]), "something is still in the world");
    script.stuck.store(false, Ordering::SeqCst);
    within(SOON, "it is gone", || stage.get("experiment", "abort").is_none().then_some(()));
}

#[test]
fn the_next_leader_routes_and_arms_again_and_the_first_start_stays() {
    let stage = stage("again");
    let script = Script::default();
    let first = script.controller(&stage, "first");
    // More than the second one needs to lead: a run whose time is over by then is not taken up.
    break_service(&stage, "abort", "ratings", "20s");
    let started = stage.awaits("abort", "Started");
    drop(first);
    assert_eq!(script.told("abort"), ["route", "arm", "cut"], "left to the next leader, and cut");
    assert_eq!(script.told(&uid(&started)), [""; 0], "nothing is put back: the run is not over");

    let _second = script.controller(&stage, "second");
    let done = stage.awaits("abort", "Succeeded");
    assert_eq!(script.told("abort")[3..], ["route", "arm", "disarm", "restore", "cut"]);
    assert_eq!(done["status"]["result"]["timeStarted"], started["status"]["result"]["timeStarted"]);
}

#[test]
fn two_experiments_never_have_one_target_at_one_time_and_the_second_says_whom_it_waits_for() {
    let stage = stage("rivals");
    let script = Script::default();
    let _controller = script.controller(&stage, "one");
    break_service(&stage, "first", "ratings", "1m");
    stage.awaits("first", "Started");
    break_service(&stage, "second", "ratings", "1s");
    let why = stage.awaits_reason("second", "Routed", "TargetBusy");
    assert!(why.contains("rivals/first has rivals/ratings"), "{why}");
    break_service(&stage, "elsewhere", "reviews", "1s");
    stage.awaits("elsewhere", "Succeeded");
    assert_eq!(script.told("second"), [""; 0]);
    stage.deletes("first");
    stage.awaits("second", "Succeeded");
}

#[test]
fn many_that_are_created_at_one_moment_on_one_target_run_one_after_the_other() {
    let stage = stage("one-target");
    let script = Script::default();
    let _controller = script.controller(&stage, "one");
    let names = ["a", "b", "c", "d"];
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(|| break_service(&stage, name, "ratings", "1s"));
        }
    });
    for name in names {
        stage.awaits(name, "Succeeded");
    }
    let log = script.everything();
    let order: Vec<&str> = log.iter().map(String::as_str).filter(|line| !line.starts_with("release")).collect();
    for run in order.chunks(5) {
        let name = run[0].split(' ').nth(1).unwrap();
        let expected = ["route", "arm", "disarm", "restore", "cut"].map(|action| format!("{action} {name}"));
        assert_eq!(run, expected, "{log:?}");
    }
}

#[test]
fn a_run_that_cannot_go_on_is_put_back_and_inconclusive() {
    let stage = stage("lost");
    let script = Script::default();
    let first = script.controller(&stage, "first");
    break_service(&stage, "abort", "ratings", "1m");
    let uid = uid(&stage.awaits("abort", "Started"));
    drop(first);
    stage.kubectl.succeeds(["delete", "service", "ratings", "-n", &stage.namespace]);
    let _second = script.controller(&stage, "second");
    let done = stage.awaits("abort", "Inconclusive");
    let report = &done["status"]["result"]["failureReport"];
    assert_eq!(report["failure_type"], "interrupted");
    assert!(report["message"].as_str().unwrap().contains("neither an upstream nor a Service"), "{report}");
    assert_eq!(condition(&done, "Restored").unwrap()["status"], "True");
    assert!(!script.told(&uid).is_empty());
}
