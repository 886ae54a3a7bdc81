//! `routing.reconnect: RestartTargets`: what is behind a Service is restarted once, and nothing is broken before that is done.

use glooshot::paths::redirect::names;
use serde_json::{Value, json};

use super::{
    control_plane::registered,
    stage::{SOON, condition, state},
    target::{Target, is_let_go},
    workload::{Workload, restarting},
};
use crate::harness::patience::within;

/// What the Experiment waits for, as its status says it.
fn waits_for(experiment: &Value) -> Option<&str> {
    let routed = condition(experiment, "Routed").filter(|it| it["status"] == "False")?;
    routed["message"].as_str()
}

/// Waits until the status says that the restart is waited for, in another version of the object than this.
#[track_caller]
fn awaits_waiting(target: &Target<'_>, but: &Value) {
    target.awaits(SOON, "it says what it waits for", |it| {
        let waits = waits_for(it?)?.contains("waits: Deployment ratings to be restarted: ");
        (waits && it?["metadata"]["resourceVersion"] != *but).then_some(())
    });
}

#[test]
fn a_workload_is_restarted_once_also_when_the_controller_is_killed_and_its_owner_has_no_conflict() {
    let target = Target::new(registered(), "restarts-once");
    let workload = Workload::behind(&target.stage);
    let before = workload.now();
    let first = target.controller("first");
    target.breaks_routed("1m", &restarting());
    let restarted_for = workload.awaits_restart(SOON);
    let experiment = target.experiment().unwrap();
    assert_eq!(json!(restarted_for), experiment["metadata"]["uid"]);
    let asked = workload.now();
    awaits_waiting(&target, &Value::Null);
    drop(first);

    target.stage.frees_lease();
    let second = target.controller("second");
    within(SOON, "it goes on", || (second.metric("glooshot_controller_runs") > 0.0).then_some(()));
    // It says that only when it has looked, and has found nothing to do.
    awaits_waiting(&target, &target.experiment().unwrap()["metadata"]["resourceVersion"]);
    assert_eq!(state(&target.experiment().unwrap()), Some("Pending"), "no fault is on before all is restarted");
    workload.rolls_out();
    target.awaits(SOON, "its faults are on", |it| (state(it?) == Some("Started")).then_some(()));
    let generation = |deployment: &Value| deployment["metadata"]["generation"].as_u64().unwrap();
    assert_eq!(generation(&workload.now()), generation(&before) + 1, "{:#}", workload.now());
    assert_eq!(asked["spec"]["template"]["spec"], before["spec"]["template"]["spec"]);
    target.deletes_for_good();

    // The mark stays: to remove it would be another restart.
    workload.apply(Some("mine"));
    let after = workload.now();
    assert_eq!(workload.restarted_for(), Some(restarted_for), "{after:#}");
    assert_eq!(after["spec"]["template"]["metadata"]["annotations"]["owner.test/note"], "mine");
}

#[test]
fn pods_that_nobody_would_replace_are_refused_before_anything_is_changed() {
    let target = Target::new(registered(), "restarts-refused");
    let _controller = target.controller("one");
    let start = target.world();
    target.breaks_routed("1m", &restarting());
    let over = target.awaits(SOON, "it is over", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(state(&over), Some("Inconclusive"));
    let why = over["status"]["result"]["failureReport"]["message"].as_str().unwrap();
    for word in ["NotRestartable", "nobody keeps pod ratings-v1", "let a Deployment", "leave routing.reconnect out"] {
        assert!(why.contains(word), "{word:?} is not said in: {why}");
    }
    assert_eq!(target.world(), start);
}

#[test]
fn an_experiment_that_waits_for_a_restart_is_stopped_or_deleted_without_waiting_for_it() {
    let target = Target::new(registered(), "restarts-stopped");
    let workload = Workload::behind(&target.stage);
    let (original, _controller) = (target.selector(), target.controller("one"));

    target.breaks_routed("1m", &restarting());
    workload.awaits_restart(SOON);
    awaits_waiting(&target, &Value::Null);
    assert_ne!(target.selector(), original);
    target.stage.halts(true);
    let over = target.awaits(SOON, "it is over", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(over["status"]["result"]["failureReport"]["failure_type"], "stopped", "{over:#}");
    assert_eq!(target.selector(), original);
    target.deletes_for_good();
    target.stage.halts(false);

    target.breaks_routed("1m", &restarting());
    let uid = target.experiment().unwrap()["metadata"]["uid"].clone();
    within(SOON, "it is restarted for this one", || (json!(workload.restarted_for()) == uid).then_some(()));
    awaits_waiting(&target, &Value::Null);
    target.deletes_for_good();
    assert_eq!(target.selector(), original);
}

#[test]
fn a_restart_that_somebody_takes_back_is_not_done_again() {
    let target = Target::new(registered(), "restarts-undone");
    let workload = Workload::behind(&target.stage);
    let _controller = target.controller("one");
    target.breaks_routed("1m", &restarting());
    workload.awaits_restart(SOON);
    awaits_waiting(&target, &Value::Null);
    let without = r#"--patch={"spec":{"template":{"metadata":{"annotations":null}}}}"#;
    let namespace = &target.stage.namespace;
    target.stage.kubectl.succeeds(["patch", "deployment", "ratings", "-n", namespace, "--type=merge", without]);
    let over = target.awaits(SOON, "it is over", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(over["status"]["result"]["failureReport"]["failure_type"], "interrupted", "{over:#}");
    let why = over["status"]["result"]["failureReport"]["message"].as_str().unwrap();
    assert!(why.contains("somebody else has taken back the restart of Deployment ratings"), "{why}");
    assert_eq!(workload.restarted_for(), None);
}

#[test]
fn pods_of_stateful_sets_and_daemon_sets_are_restarted_as_well() {
    let target = Target::new(registered(), "restarts-sets");
    let (stage, namespace) = (&target.stage, &target.stage.namespace);
    let template = json!({
        "metadata": {"labels": {"app": "ratings"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 9080}]}]},
    });
    let sets = [("StatefulSet", "db", "ratings-v1"), ("DaemonSet", "agent", "agent-x")];
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "agent-x", "namespace": namespace, "labels": {"app": "ratings"}}, "spec": template["spec"],
    }));
    for (kind, name, pod) in sets {
        let mut spec = json!({"selector": {"matchLabels": {"app": "ratings"}}, "template": template});
        if kind == "StatefulSet" {
            spec["serviceName"] = json!("ratings");
        }
        let metadata = json!({"name": name, "namespace": namespace});
        stage.apply(&json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}));
        let uid = stage.get(kind, name).unwrap()["metadata"]["uid"].clone();
        let owner = json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
        let patch = format!("--patch={}", json!({"metadata": {"ownerReferences": owner}}));
        stage.kubectl.succeeds(["patch", "pod", pod, "-n", namespace, "--type=merge", &patch]);
    }
    let _controller = target.controller("one");
    target.breaks_routed("1m", &restarting());
    let experiment = target.experiment().unwrap()["metadata"]["uid"].clone();
    for (kind, name, _) in sets {
        within(SOON, &format!("{kind} {name} is restarted"), || {
            let set = stage.get(kind, name).unwrap();
            let annotations = &set["spec"]["template"]["metadata"]["annotations"];
            (annotations[names::RESTARTED_FOR] == experiment).then_some(())
        });
    }
    let message = target.awaits(SOON, "it warns, and says what it waits for", |it| {
        waits_for(it?).filter(|told| told.contains("to be restarted: ")).map(str::to_owned)
    });
    assert!(message.contains("StatefulSet db has no pod for a while"), "{message}");
    target.deletes_for_good();
}
