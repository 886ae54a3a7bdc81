//! What the webhook allows and denies, as the API server asks it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

use glooshot_webhook::review;
use serde_json::{Value, json};

/// Sends a request through [`review`], as JSON on both sides.
fn ask(request: Value) -> Value {
    let asked = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let answered = serde_json::to_value(review(serde_json::from_value(asked).unwrap())).unwrap();
    assert_eq!(
        (&answered["apiVersion"], &answered["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    answered["response"].clone()
}

fn request(operation: &str, kind: &str, object: Value, old: Value) -> Value {
    json!({
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "glooshot.solo.io", "version": "v1", "kind": kind},
        "resource": {"group": "glooshot.solo.io", "version": "v1", "resource": "experiments"},
        "name": "e", "namespace": "bookinfo", "operation": operation,
        "userInfo": {"username": "jason"}, "object": object, "oldObject": old, "dryRun": false, "options": null,
    })
}

fn experiment(percentage: f64) -> Value {
    json!({
        "apiVersion": "glooshot.solo.io/v1", "kind": "Experiment", "metadata": {"name": "e", "namespace": "bookinfo"},
        "spec": {"spec": {"faults": [{
            "destinationServices": [{"name": "bookinfo-ratings-9080", "namespace": "glooshot"}],
            "fault": {"abort": {"httpStatus": 500}, "percentage": percentage},
        }]}},
    })
}

#[test]
fn a_valid_experiment_is_allowed() {
    let answer = ask(request("CREATE", "Experiment", experiment(50.0), Value::Null));
    assert_eq!((&answer["allowed"], &answer["uid"]), (&json!(true), &json!("705ab4f5-6393-11e8-b7cc-42010a800002")));
}

#[test]
fn an_invalid_experiment_is_denied_with_everything_that_is_wrong() {
    let mut object = experiment(101.0);
    object["spec"]["spec"]["duration"] = json!("2h");
    let answer = ask(request("CREATE", "Experiment", object, Value::Null));
    assert_eq!(answer["allowed"], json!(false));
    let status = &answer["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    let causes: Vec<&str> =
        status["details"]["causes"].as_array().unwrap().iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert_eq!(causes, ["spec.spec.duration", "spec.spec.faults[0].fault.percentage"]);
    assert_eq!(
        status["message"],
        json!(
            "Experiment \"e\" is invalid: spec.spec.duration: 7200s is too long; at most 3600s is accepted; \
               spec.spec.faults[0].fault.percentage: 101 is not a percentage: it must be above 0 and at most 100, as in 25 or 0.5"
        )
    );
}

#[test]
fn an_object_that_is_no_experiment_at_all_is_denied() {
    for spec in [json!(null), json!("x"), json!({"spec": []}), json!({"spec": {"faults": [null]}})] {
        let mut object = experiment(50.0);
        object["spec"] = spec.clone();
        let answer = ask(request("CREATE", "Experiment", object, Value::Null));
        assert_eq!(answer["allowed"], json!(false), "{spec}");
    }
    let answer = ask(request("CREATE", "Experiment", Value::Null, Value::Null));
    assert_eq!(answer["status"]["message"], json!("the request has no object"));
}

#[test]
fn an_update_is_judged_only_if_it_changes_the_spec() {
    let (bad, mut annotated) = (experiment(101.0), experiment(101.0));
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    annotated["metadata"]["finalizers"] = json!([]);
    assert_eq!(ask(request("UPDATE", "Experiment", annotated, bad.clone()))["allowed"], json!(true));
    assert_eq!(ask(request("UPDATE", "Experiment", bad, experiment(50.0)))["allowed"], json!(false));
}

#[test]
fn a_status_and_a_deletion_are_never_held_back() {
    let mut status = request("UPDATE", "Experiment", experiment(101.0), experiment(50.0));
    status["subResource"] = json!("status");
    assert_eq!(ask(status)["allowed"], json!(true));
    assert_eq!(ask(request("DELETE", "Experiment", Value::Null, experiment(101.0)))["allowed"], json!(true));
}

#[test]
fn a_routing_rule_and_a_mesh_are_judged_by_their_rules() {
    let rule = |weight: u32| {
        json!({
            "apiVersion": "glooshot.solo.io/v1", "kind": "RoutingRule", "metadata": {"name": "r", "namespace": "bookinfo"},
            "spec": {
                "destinationSelector": {"upstreamSelector": {"upstreams": [{"name": "bookinfo-reviews-9080"}]}},
                "spec": {"trafficShifting": {"destinations": {"destinations": [
                    {"destination": {"upstream": {"name": "bookinfo-reviews-v3-9080"}}, "weight": weight},
                ]}}},
            },
        })
    };
    assert_eq!(ask(request("CREATE", "RoutingRule", rule(1), Value::Null))["allowed"], json!(true));
    let answer = ask(request("CREATE", "RoutingRule", rule(0), Value::Null));
    assert!(answer["status"]["message"].as_str().unwrap().contains("the weights add up to 0"), "{answer}");
    let mesh = |spec: Value| json!({"apiVersion": "glooshot.solo.io/v1", "kind": "Mesh", "metadata": {"name": "m"}, "spec": spec});
    assert_eq!(ask(request("CREATE", "Mesh", mesh(json!({"proxy": {}})), Value::Null))["allowed"], json!(true));
    assert_eq!(ask(request("CREATE", "Mesh", mesh(json!({})), Value::Null))["allowed"], json!(false));
}

#[test]
fn what_is_not_ours_is_allowed_with_a_warning_and_what_is_ours_but_unknown_is_denied() {
    let mut foreign =
        request("CREATE", "ConfigMap", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}), Value::Null);
    foreign["kind"] = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let answer = ask(foreign);
    assert_eq!(answer["allowed"], json!(true));
    assert!(answer["warnings"][0].as_str().unwrap().contains("has no opinion"), "{answer}");
    let mut later = request("CREATE", "Experiment", experiment(50.0), Value::Null);
    later["kind"]["version"] = json!("v2");
    let answer = ask(later);
    assert_eq!(answer["allowed"], json!(false));
    assert_eq!(
        answer["status"]["message"],
        json!("glooshot.solo.io/v2 Experiment is unknown to this version of Glooshot")
    );
}

#[test]
fn a_review_without_a_request_is_denied() {
    let asked = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"});
    let answered = serde_json::to_value(review(serde_json::from_value(asked).unwrap())).unwrap();
    assert_eq!(answered["response"]["allowed"], json!(false));
}
