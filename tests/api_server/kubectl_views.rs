//! What kubectl shows, under the names that the tutorial uses.

use serde_json::json;

use super::{cases::with, client::ApiClient, control_plane::registered, harness::eventually, kubectl::Kubectl};

#[test]
fn kubectl_get_exp_shows_state_duration_data_path_and_age() {
    let client = ApiClient::of(registered());
    let kubectl = Kubectl::new(registered().kubeconfig());
    kubectl.succeeds(["create", "namespace", "views"]);
    let mut object = with("/duration", json!("1m30s"));
    object["metadata"] = json!({"name": "abort-ratings", "namespace": "views"});
    client.creates(&object);
    let status = json!({"status": {
        "result": {"state": "Failed", "timeStarted": "2026-01-01T00:00:00.000000001Z"},
        "dataPath": {"kind": "Proxy", "reason": "no mesh is installed"},
    }});
    client.patch(&object, "/status", &status).unwrap();

    for name in ["exp", "gsexp", "experiment", "experiments", "experiments.glooshot.solo.io", "chaos"] {
        let shown = kubectl.succeeds(["get", name, "--namespace", "views"]);
        let mut lines = shown.lines();
        let columns = lines.next().unwrap().split("  ").map(str::trim).filter(|column| !column.is_empty());
        assert_eq!(columns.collect::<Vec<_>>(), ["NAME", "STATE", "DURATION", "DATA PATH", "AGE"], "{name}: {shown}");
        let row = lines.next().unwrap().split_whitespace().collect::<Vec<_>>();
        let named = row[0].trim_start_matches("experiment.glooshot.solo.io/");
        assert_eq!((named, &row[1..4]), ("abort-ratings", &["Failed", "1m30s", "Proxy"][..]), "{name}: {shown}");
    }
}

#[test]
fn kubectl_explain_teaches_the_fields() {
    let kubectl = Kubectl::new(registered().kubeconfig());
    // The API server publishes its documentation a little later than it serves the kind.
    let told = eventually("the kind is documented", || {
        let ended = kubectl.run(["explain", "experiment.spec.spec.faults.fault.percentage"]);
        (ended.code == Some(0)).then_some(ended.output)
    });
    assert!(told.contains("The share of the matching requests"), "{told}");
}

#[test]
fn the_other_kinds_have_their_short_names() {
    let kubectl = Kubectl::new(registered().kubeconfig());
    let shown = kubectl.succeeds(["api-resources", "--api-group=glooshot.solo.io", "--no-headers"]);
    let rows = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>();
    let version = "glooshot.solo.io/v1";
    assert_eq!(
        rows,
        [
            vec!["experiments", "exp,gsexp", version, "true", "Experiment"],
            vec!["meshes", version, "true", "Mesh"],
            vec!["reports", "report", version, "true", "Report"],
            vec!["routingrules", "rr", version, "true", "RoutingRule"],
        ]
    );
}
