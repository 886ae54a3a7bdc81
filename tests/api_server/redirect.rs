//! Services that are redirected and put back, at the real API server: who owns what afterwards, and who wins while it lasts.

use std::time::{Duration, Instant};

use glooshot::engine::data_path::{DataPath as _, PathError, PathEvent};
use serde_json::{Value, json};

use super::{control_plane::registered, kubectl::comparable, redirect_stage::Stage};

const REDIRECT: &str = "glooshot.solo.io/redirect";

fn original() -> Value {
    json!({"app": "ratings"})
}

/// A way in which an owner writes a Service.
const WAYS: [&[&str]; 3] = [&[], &["--server-side"], &["--server-side", "--field-manager=flux"]];

#[test]
fn a_service_that_was_redirected_is_afterwards_what_it_was_before() {
    for (index, way) in WAYS.into_iter().enumerate() {
        let stage = Stage::new(registered(), &format!("redirect-back-{index}"));
        stage.apply(&stage.manifest(&original(), None), way);
        let before = stage.service();
        let path = stage.path("abort");

        stage.wait(path.route(&stage.scenario())).unwrap();
        let during = stage.service();
        assert_eq!(during["spec"]["selector"], json!({"app": stage.proxy()}), "{way:?}");
        let ours =
            during["metadata"]["managedFields"].as_array().unwrap().iter().find(|it| it["manager"] == "glooshot");
        assert_eq!(ours.unwrap()["fieldsV1"]["f:spec"], Value::Null, "{way:?}: only the annotation is ours");
        assert_eq!(during["spec"]["ports"], before["spec"]["ports"]);

        stage.wait(path.arm()).unwrap();
        stage.wait(path.disarm()).unwrap();
        stage.wait(path.restore()).unwrap();
        let after = stage.service();
        assert_eq!(comparable(after.clone()), comparable(before), "{way:?}");
        assert!(!after["metadata"]["managedFields"].to_string().contains("glooshot"), "{way:?}");

        stage.apply(&stage.manifest(&json!({"app": "ratings", "tier": "new"}), None), way);
        assert_eq!(stage.service()["spec"]["selector"], json!({"app": "ratings", "tier": "new"}), "{way:?}");
        stage.wait(stage.redirect.release(&stage.uid("abort"))).unwrap();
        let left = stage.kubectl.succeeds([
            "get",
            "deployments,services,poddisruptionbudgets,serviceaccounts,pods",
            "--output=name",
            "--namespace",
            &stage.namespace,
        ]);
        assert!(!left.contains("glooshot"), "{left}");
    }
}

#[test]
fn whoever_applies_the_manifest_again_gets_the_real_pods_back_and_interrupts_the_run() {
    let again: [(&[&str], &[&str]); 5] = [
        (&[], &[]),
        (&["--server-side"], &["--server-side"]),
        (&["--server-side"], &["--server-side", "--force-conflicts", "--field-manager=other"]),
        (&[], &["--server-side", "--force-conflicts", "--field-manager=other"]),
        (&["--server-side"], &["--server-side", "--force-conflicts"]),
    ];
    for (index, (first, then)) in again.into_iter().enumerate() {
        for (name, port) in [("with", Some(json!(9080))), ("named", Some(json!("http"))), ("without", None)] {
            let stage = Stage::new(registered(), &format!("redirect-again-{index}-{name}"));
            let manifest = stage.manifest(&original(), port.as_ref());
            stage.apply(&manifest, first);
            let path = stage.path("abort");
            stage.wait(path.route(&stage.scenario())).unwrap();
            let mut events = path.events();

            stage.apply(&manifest, then);
            let during = stage.service();
            assert_eq!(during["spec"]["selector"], original(), "{first:?} {then:?} {name}");
            let told = stage.wait(events.recv());
            assert!(matches!(&told, Some(PathEvent::Interrupted(why)) if why.contains("selector")), "{told:?}");

            stage.wait(path.restore()).unwrap();
            let after = stage.service();
            assert_eq!(after["spec"], during["spec"], "{first:?} {then:?} {name}");
            assert_eq!(after["metadata"]["annotations"][REDIRECT], Value::Null);
            assert!(!after["metadata"]["managedFields"].to_string().contains("glooshot"), "{after:#}");
        }
    }
}

#[test]
fn of_two_experiments_on_one_service_the_second_is_refused_and_the_first_is_named() {
    let stage = Stage::new(registered(), "redirect-two");
    stage.apply(&stage.manifest(&original(), None), &[]);
    let (first, second) = (stage.path("first"), stage.path("second"));
    stage.wait(first.route(&stage.scenario())).unwrap();
    let refused = stage.wait(second.route(&stage.scenario())).unwrap_err();
    assert!(
        refused.message.contains("redirect-two/first") && refused.message.contains("AlreadyRedirected"),
        "{refused}"
    );
    // Nothing of the first is touched by the end of the second.
    stage.wait(second.restore()).unwrap();
    stage.wait(stage.redirect.release(&stage.uid("second"))).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], json!({"app": stage.proxy()}));
    stage.wait(first.restore()).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], original());
}

#[test]
fn of_two_experiments_that_start_together_one_gets_the_service() {
    let stage = Stage::new(registered(), "redirect-race");
    stage.apply(&stage.manifest(&original(), None), &[]);
    let (first, second) = (stage.path("first"), stage.path("second"));
    let scenario = stage.scenario();
    let both = async { tokio::join!(first.route(&scenario), second.route(&scenario)) };
    let (one, other): (Result<(), PathError>, Result<(), PathError>) = stage.wait(both);
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let (winner, loser) = if one.is_ok() { (&first, &second) } else { (&second, &first) };
    stage.wait(loser.restore()).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], json!({"app": stage.proxy()}));
    stage.wait(winner.restore()).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], original());
}

#[test]
fn what_a_dead_controller_has_left_is_released_by_the_uid_of_the_experiment_alone() {
    let stage = Stage::new(registered(), "redirect-release");
    stage.apply(&stage.manifest(&original(), None), &["--server-side"]);
    let before = stage.service();
    let path = stage.path("abort");
    stage.wait(path.route(&stage.scenario())).unwrap();
    drop(path);
    stage.wait(stage.redirect.release(&stage.uid("another"))).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], json!({"app": stage.proxy()}));
    for _ in 0..2 {
        stage.wait(stage.redirect.release(&stage.uid("abort"))).unwrap();
        assert_eq!(comparable(stage.service()), comparable(before.clone()));
    }
}

#[test]
fn a_run_is_taken_up_where_another_process_has_left_it() {
    let stage = Stage::new(registered(), "redirect-resume");
    stage.apply(&stage.manifest(&original(), None), &[]);
    let before = stage.service();
    let left = stage.path("abort");
    stage.wait(left.route(&stage.scenario())).unwrap();
    drop(left);
    let path = stage.path("abort");
    stage.wait(path.route(&stage.scenario())).unwrap();
    stage.wait(path.arm()).unwrap();
    stage.wait(path.disarm()).unwrap();
    stage.wait(path.restore()).unwrap();
    assert_eq!(comparable(stage.service()), comparable(before));
}

#[test]
fn a_restore_after_a_foreign_edit_touches_only_what_is_still_ours() {
    let stage = Stage::new(registered(), "redirect-edit");
    // Another label of the pod, so that two values are ours.
    let both = json!({"app": "ratings", "version": "v1"});
    stage.apply(&stage.manifest(&both, None), &[]);
    let path = stage.path("abort");
    stage.wait(path.route(&stage.scenario())).unwrap();
    let edit = r#"{"spec": {"selector": {"version": "v2"}}}"#;
    stage.kubectl.succeeds(["patch", "service", "ratings", "--namespace", &stage.namespace, "--patch", edit]);
    stage.wait(path.restore()).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], json!({"app": "ratings", "version": "v2"}));
}

#[test]
fn a_service_whose_annotation_was_removed_is_restored_all_the_same() {
    for (index, annotation) in ["-", "=[]"].into_iter().enumerate() {
        let stage = Stage::new(registered(), &format!("redirect-note-{index}"));
        stage.apply(&stage.manifest(&original(), None), &[]);
        let before = stage.service();
        let path = stage.path("abort");
        stage.wait(path.route(&stage.scenario())).unwrap();
        let mut events = path.events();
        let note = format!("{REDIRECT}{annotation}");
        stage.kubectl.succeeds([
            "annotate",
            "service",
            "ratings",
            "--overwrite",
            "--namespace",
            &stage.namespace,
            &note,
        ]);
        let told = stage.wait(events.recv());
        assert!(matches!(&told, Some(PathEvent::Interrupted(why)) if why.contains("annotation")), "{told:?}");
        stage.wait(path.restore()).unwrap();
        let after = stage.service();
        assert_eq!((&after["spec"], &after["metadata"]["annotations"][REDIRECT]), (&before["spec"], &Value::Null));
    }
}

#[test]
fn faults_end_when_we_do_not_lead_any_more() {
    let stage = Stage::new(registered(), "redirect-reign");
    stage.apply(&stage.manifest(&original(), None), &[]);
    let path = stage.path("abort");
    stage.wait(path.route(&stage.scenario())).unwrap();
    stage.wait(path.arm()).unwrap();
    path.renew().unwrap();
    let proxies = stage.hub.proxies(&stage.service_name());
    assert_eq!(proxies.len(), 2, "{proxies:?}");
    let reign = stage.reign.send_replace(None);
    assert!(path.renew().unwrap_err().message.contains("does not lead"));
    // Nobody can be told; what was told expires.
    let began = Instant::now();
    stage.wait(path.disarm()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    stage.reign.send_replace(reign);
    stage.wait(path.restore()).unwrap();
}

#[test]
fn a_service_that_cannot_be_redirected_is_left_alone() {
    let stage = Stage::new(registered(), "redirect-refused");
    let mut manifest = stage.manifest(&original(), None);
    manifest["spec"]["internalTrafficPolicy"] = json!("Local");
    stage.apply(&manifest, &[]);
    let before = stage.service();
    let refused = stage.wait(stage.path("abort").route(&stage.scenario())).unwrap_err();
    assert!(refused.message.contains("LocalTrafficPolicy"), "{refused}");
    assert_eq!(stage.service(), before);
    let left =
        stage.kubectl.succeeds(["get", "deployments,services", "--output=name", "--namespace", &stage.namespace]);
    assert!(!left.contains("glooshot"), "{left}");
}
