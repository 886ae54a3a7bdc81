//! An experiment without faults, from its creation to its result.

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    stage::{Stage, condition},
};

#[test]
fn it_goes_from_pending_through_started_to_succeeded_and_has_a_report() {
    let stage = Stage::new(registered(), "life");
    let controller = stage.controller("one");
    controller.awaits_leading();
    stage.create("quiet", "3s", "3s");

    let pending = stage.awaits("quiet", "Pending");
    assert_eq!(pending["metadata"]["finalizers"], json!(["glooshot.solo.io/restore"]));
    assert_eq!(condition(&pending, "Accepted").unwrap()["status"], "True", "{pending}");
    let started = stage.awaits("quiet", "Started");
    assert_eq!(condition(&started, "FaultsActive").unwrap()["reason"], "On", "{started}");
    let done = stage.awaits("quiet", "Succeeded");

    let result = done["status"]["result"].as_object().unwrap();
    let fields: Vec<&str> = result.keys().map(String::as_str).collect();
    assert_eq!(fields, ["state", "timeFinished", "timeStarted"], "as the tutorial prints it: {result:?}");
    assert_eq!(result["timeStarted"], started["status"]["result"]["timeStarted"]);
    for time in ["timeStarted", "timeFinished"] {
        let text = result[time].as_str().unwrap();
        assert!(text.len() == "2019-06-10T16:08:39.869280871Z".len() && text.ends_with('Z'), "{text}");
    }
    assert_eq!(done["status"]["observedGeneration"], 1);
    assert_eq!(done["status"]["dataPath"]["kind"], "Proxy");

    let report = stage.get("report", "quiet").unwrap();
    assert_eq!(report["spec"]["experiment"], json!({"name": "quiet", "namespace": "life"}));
    let owner = &report["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Experiment"), &done["metadata"]["uid"]));

    // What is over holds nothing: it can be deleted with no controller there.
    let restored = crate::harness::eventually("it is let go", || {
        stage.get("experiment", "quiet").filter(|object| object["metadata"].get("finalizers").is_none())
    });
    assert_eq!(condition(&restored, "Restored").unwrap()["status"], "True", "{restored}");
    assert_eq!(events(&stage), ["Routed", "FaultsOn", "Succeeded"]);
    assert_eq!(controller.metric("glooshot_controller_runs_ended_total"), 1.0);
    drop(controller);
    stage.deletes("quiet");
}

/// The reasons of all events, in the order of their times.
fn events(stage: &Stage<'_>) -> Vec<String> {
    let sorted = "--sort-by=.metadata.creationTimestamp";
    let events = stage.kubectl.succeeds(["get", "events", "-n", &stage.namespace, sorted, "-o=json"]);
    let events: Value = serde_json::from_str(&events).unwrap();
    events["items"].as_array().unwrap().iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn fields_that_have_no_effect_here_are_told_in_the_status_and_once_in_an_event() {
    let stage = Stage::new(registered(), "for-nothing");
    let _controller = stage.controller("one");
    let routing = json!({"settle": "0s", "networkPolicy": "Mirror", "keepRouted": "1s"});
    stage.apply(&stage.experiment("warned", &json!({"spec": {"duration": "1s", "routing": routing}})));
    let message = stage.awaits_reason("warned", "Accepted", "FieldsWithoutEffect");
    for words in ["spec.spec.routing.networkPolicy is noted", "spec.spec.routing.keepRouted is noted", "no Service"] {
        assert!(message.contains(words), "{message}");
    }
    let done = stage.awaits("warned", "Succeeded");
    let accepted = condition(&done, "Accepted").unwrap();
    assert_eq!((&accepted["status"], &accepted["message"]), (&json!("True"), &json!(message)));
    assert_eq!(events(&stage).into_iter().filter(|reason| reason == "FieldsWithoutEffect").count(), 1);
    let described = stage.kubectl.succeeds(["describe", "experiment", "warned", "-n", &stage.namespace]);
    assert!(
        described.lines().any(|line| line.contains("Warning") && line.contains("FieldsWithoutEffect")),
        "{described}"
    );

    stage.create("plain", "1s", "0s");
    let plain = stage.awaits("plain", "Succeeded");
    assert_eq!(condition(&plain, "Accepted").unwrap()["reason"], "Valid");
}

#[test]
fn one_that_is_over_never_runs_again_whoever_leads() {
    let stage = Stage::new(registered(), "over");
    let first = stage.controller("first");
    stage.create("quiet", "1s", "0s");
    let done = stage.awaits("quiet", "Succeeded");
    first.stop();
    let second = stage.controller("second");
    second.awaits_leading();
    stage.create("later", "1s", "0s");
    stage.awaits("later", "Succeeded");
    assert_eq!(stage.get("experiment", "quiet").unwrap()["status"]["result"], done["status"]["result"]);
    assert_eq!(second.metric("glooshot_controller_runs_started_total"), 1.0);
}

#[test]
fn one_more_than_may_run_waits_and_says_so() {
    let stage = Stage::new(registered(), "many");
    let controller = stage.controller_with("one", &["--max-runs", "1"]);
    controller.awaits_leading();
    stage.create("first", "1m", "0s");
    stage.awaits("first", "Started");
    stage.create("second", "1s", "0s");
    let why = stage.awaits_reason("second", "Routed", "TooManyRuns");
    assert!(why.contains("1 experiments run"), "{why}");
    stage.deletes("first");
    stage.awaits("second", "Succeeded");
}

#[test]
fn our_own_proxy_is_a_mesh_that_can_be_named() {
    let stage = Stage::new(registered(), "mesh");
    let controller = stage.controller("one");
    controller.awaits_leading();
    let mesh = crate::harness::eventually("the mesh is written", || {
        let ended = stage.kubectl.run(["get", "mesh", "glooshot-proxy", "-n", &stage.system, "-o=json"]);
        serde_json::from_str::<Value>(&ended.output).ok()
    });
    assert_eq!(mesh["spec"]["proxy"]["version"], env!("CARGO_PKG_VERSION"));
}
