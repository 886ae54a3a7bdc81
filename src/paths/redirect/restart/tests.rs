//! Which workloads are restarted, when, and what is waited for.

use serde_json::{Value, json};

use super::*;

const UID: &str = "e-1";

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn template(restarted_for: Option<&str>) -> Value {
    json!({"metadata": {"annotations": restarted_for.map(|uid| json!({RESTARTED_FOR: uid, "other": "x"}))}})
}

/// A Deployment of two pods that has been restarted for the Experiment.
fn deployment() -> Value {
    json!({
        "metadata": {"name": "ratings", "uid": "d-1", "resourceVersion": "7", "generation": 2},
        "spec": {"replicas": 2, "selector": {}, "template": template(Some(UID))},
        "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
    })
}

fn keeper(deployment: Value) -> Keeper {
    Keeper::Workload(Workload::from(&from::<Deployment>(deployment)))
}

/// Kubernetes says that a rollout of it has made no progress for too long.
fn given_up(deployment: &mut Value) {
    let condition = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
    deployment["status"]["conditions"] = json!([condition]);
}

fn pod(name: &str, restarted_for: Option<&str>) -> Pod {
    let mut pod = template(restarted_for);
    pod["metadata"]["name"] = json!(name);
    from(pod)
}

fn both_new() -> Vec<Pod> {
    vec![pod("a", Some(UID)), pod("b", Some(UID))]
}

/// A Deployment, the pods, what is known of before, and what is next.
type Case = (&'static str, fn(&mut Value), Vec<Pod>, &'static [&'static str], fn(&Next<'_>) -> bool);

#[test]
fn a_workload_is_restarted_once_and_all_pods_of_before_are_waited_for() {
    fn waits(next: &Next<'_>, what: &str) -> bool {
        matches!(next, Next::Wait(told) if told.contains(what))
    }
    fn gives_up(next: &Next<'_>, what: &str) -> bool {
        matches!(next, Next::GiveUp(told) if told.contains(what))
    }
    let cases: Vec<Case> = vec![
        ("all is done", |_| {}, both_new(), &[], |next| *next == Next::Done),
        ("all is done, and was known to be", |_| {}, both_new(), &["d-1"], |next| *next == Next::Done),
        ("no pod is left", |_| {}, vec![], &[], |next| *next == Next::Done),
        (
            "never restarted",
            |it| it["spec"]["template"] = template(None),
            vec![pod("a", None)],
            &[],
            |next| matches!(next, Next::Restart(workload) if workload.name == "ratings"),
        ),
        (
            "restarted for another",
            |it| it["spec"]["template"] = template(Some("e-0")),
            vec![pod("a", Some("e-0"))],
            &["d-0"],
            |next| matches!(next, Next::Restart(_)),
        ),
        (
            "somebody has taken it back",
            |it| it["spec"]["template"] = template(None),
            both_new(),
            &["d-1"],
            |next| gives_up(next, "taken back the restart of Deployment ratings"),
        ),
        (
            "the restart has not been seen",
            |it| it["metadata"]["generation"] = json!(3),
            vec![pod("a", None), pod("b", None)],
            &["d-1"],
            |next| waits(next, "Deployment ratings to be restarted"),
        ),
        (
            "one of two is new",
            |it| it["status"]["updatedReplicas"] = json!(1),
            vec![pod("a", None), pod("b", Some(UID))],
            &["d-1"],
            |next| waits(next, "1 of 2 pods are ready"),
        ),
        (
            "one of before still ends",
            |_| {},
            vec![pod("a", Some(UID)), pod("b", Some(UID)), pod("c", None)],
            &["d-1"],
            |next| waits(next, "1 pods from before the restart to end, one of them c"),
        ),
        (
            "Kubernetes has given up",
            |it| {
                it["status"]["updatedReplicas"] = json!(1);
                given_up(it);
            },
            vec![pod("a", None), pod("b", Some(UID))],
            &["d-1"],
            |next| gives_up(next, "makes no progress: 1 of 2 pods are ready"),
        ),
        (
            "it had given up an earlier one, and has not seen this one",
            |it| {
                it["metadata"]["generation"] = json!(3);
                given_up(it);
            },
            vec![pod("a", None)],
            &["d-1"],
            |next| waits(next, "to be restarted"),
        ),
        (
            "paused",
            |it| it["spec"]["paused"] = json!(true),
            vec![pod("a", None)],
            &[],
            |next| gives_up(next, "Deployment ratings is paused"),
        ),
    ];
    for (case, change, pods, known, expected) in cases {
        let mut deployment = deployment();
        change(&mut deployment);
        let known = known.iter().map(ToString::to_string).collect();
        let keepers = [keeper(deployment), Keeper::Gone];
        let next = next(UID, &pods, &keepers, &known);
        assert!(expected(&next), "{case}: {next:?}");
    }
}

#[test]
fn nothing_is_restarted_while_one_of_the_pods_would_not_be_replaced() {
    let mut other = deployment();
    other["spec"]["template"] = template(None);
    let keepers = [keeper(other), Keeper::Nobody("Job j keeps pod p".to_owned())];
    let next = next(UID, &both_new(), &keepers, &BTreeSet::new());
    assert!(matches!(&next, Next::GiveUp(why) if why.contains("Job j keeps pod p")), "{next:?}");
}

#[test]
fn a_workload_that_has_been_restarted_says_so_to_whoever_looks() {
    assert_eq!(keeper(deployment()).restarted_for(UID).as_deref(), Some("d-1"));
    assert_eq!(keeper(deployment()).restarted_for("e-2"), None);
}

#[test]
fn a_restart_changes_one_annotation_of_one_version() {
    let workload = Workload::from(&from::<Deployment>(deployment()));
    let expected = json!({
        "metadata": {"resourceVersion": "7"},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: "e-2"}}}},
    });
    assert_eq!(workload.restart("e-2"), expected);
}

/// What a workload lacks, whether it is held, and whether it has a gap.
type Told = (Option<String>, bool, bool);

#[test]
fn each_kind_of_workload_says_what_its_rollout_lacks_and_what_holds_it() {
    let told = |workload: &Workload| (workload.lacks.clone(), workload.held.is_some(), workload.gap);
    let set = |spec: Value, status: Value| {
        let set = json!({
            "metadata": {"name": "db", "generation": 2},
            "spec": {"replicas": 2, "selector": {}, "serviceName": "db", "template": template(None)},
            "status": {"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "currentRevision": "b", "updateRevision": "b"},
        });
        told(&Workload::from(&from::<StatefulSet>(merged(set, spec, status))))
    };
    let daemons = |spec: Value, status: Value| {
        let set = json!({
            "metadata": {"name": "agent", "generation": 2},
            "spec": {"selector": {}, "template": template(None)},
            "status": {
                "observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2,
                "currentNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2,
            },
        });
        told(&Workload::from(&from::<DaemonSet>(merged(set, spec, status))))
    };
    let of_deployment = |spec: Value| told(&Workload::from(&from::<Deployment>(merged(deployment(), spec, json!({})))));
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    let lacks = |what: &str| Some(what.to_owned());
    let cases: Vec<(&str, Told, Told)> = vec![
        ("a Deployment", of_deployment(json!({})), (None, false, false)),
        ("a paused one", of_deployment(json!({"paused": true})), (None, true, false)),
        ("one that ends all first", of_deployment(json!({"strategy": {"type": "Recreate"}})), (None, false, true)),
        ("a StatefulSet", set(json!({}), json!({})), (None, false, false)),
        (
            "one that has not seen it",
            set(json!({}), json!({"observedGeneration": 1})),
            (lacks("0 of 2 pods are ready"), false, false),
        ),
        (
            "one with a pod of before",
            set(json!({}), json!({"currentRevision": "a", "updatedReplicas": 1})),
            (lacks("1 of 2 pods are ready"), false, false),
        ),
        (
            "one with a pod that is not ready",
            set(json!({}), json!({"readyReplicas": 1})),
            (lacks("1 of 2 pods are ready"), false, false),
        ),
        ("one that waits for deletions", set(on_delete.clone(), json!({})), (None, true, false)),
        (
            "one with a partition",
            set(json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}}), json!({})),
            (None, true, false),
        ),
        ("one with one pod", set(json!({"replicas": 1}), json!({})), (None, false, true)),
        ("a DaemonSet", daemons(json!({}), json!({})), (None, false, false)),
        (
            "one on a node of before",
            daemons(json!({}), json!({"updatedNumberScheduled": 1})),
            (lacks("1 of 2 pods are ready"), false, false),
        ),
        ("one that waits for deletions as well", daemons(on_delete, json!({})), (None, true, false)),
    ];
    for (case, found, expected) in cases {
        assert_eq!(found, expected, "{case}");
    }
}

/// An object with these fields of its spec and its status in the place of its own.
fn merged(mut object: Value, spec: Value, status: Value) -> Value {
    for (part, fields) in [("spec", spec), ("status", status)] {
        object[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    }
    object
}

#[test]
fn pods_are_behind_a_service_until_they_have_ended_and_ours_never_are() {
    let selector = BTreeMap::from([("app".to_owned(), "ratings".to_owned())]);
    let behind = |labels: Value, phase: &str, deleted: bool| {
        let at = deleted.then_some("2026-01-01T00:00:00Z");
        is_behind(
            &from(json!({"metadata": {"labels": labels, "deletionTimestamp": at}, "status": {"phase": phase}})),
            &selector,
        )
    };
    assert!(behind(json!({"app": "ratings"}), "Running", false));
    assert!(behind(json!({"app": "ratings"}), "Running", true), "it ends");
    assert!(!behind(json!({"app": "ratings"}), "Succeeded", false), "it has ended");
    assert!(!behind(json!({"app": "reviews"}), "Running", false));
    assert!(!behind(json!({"app": "ratings", names::MANAGED_BY: names::US}), "Running", false));
}

#[test]
fn pods_of_one_controller_are_asked_after_once() {
    let pod = |name: &str, owners: Value| from::<Pod>(json!({"metadata": {"name": name, "ownerReferences": owners}}));
    let set = |controller: bool| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r-1", "uid": "r", "controller": controller}]);
    let found = controllers(&[pod("a", set(true)), pod("b", set(true)), pod("c", set(false)), pod("d", json!([]))]);
    let set = ("apps/v1".to_owned(), "ReplicaSet".to_owned(), "r-1".to_owned());
    assert_eq!(found, BTreeMap::from([(Some(set), "b".to_owned()), (None, "d".to_owned())]));
}
