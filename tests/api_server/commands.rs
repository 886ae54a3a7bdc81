//! `glooshot get`, `create`, `apply` and `delete` beside kubectl, which sees the same.

use serde_json::{Value, json};

use super::{control_plane::registered, kubectl::Kubectl, program::glooshot};

/// What a command prints, which must succeed.
#[track_caller]
fn says(arguments: &[&str]) -> String {
    let config = ["--kubeconfig", registered().path()];
    let ended = glooshot(arguments.iter().copied().chain(config));
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.errors);
    ended.output
}

/// Why a command fails in the cluster.
#[track_caller]
fn fails(arguments: &[&str]) -> String {
    let ended = glooshot(arguments.iter().copied().chain(["--kubeconfig", registered().path()]));
    assert_eq!(ended.code, Some(1), "{arguments:?}: {}", ended.errors);
    ended.errors
}

#[test]
fn the_tutorials_routing_rule_is_written_and_shown_as_kubectl_shows_it() {
    let kubectl = Kubectl::new(registered().kubeconfig());
    kubectl.succeeds(["create", "namespace", "rules-by-flags"]);
    let apply = [
        "apply",
        "routingrule",
        "trafficshifting",
        "--namespace",
        "rules-by-flags",
        "--name",
        "reviews-vulnerable",
        "--dest-upstreams",
        "glooshot.bookinfo-reviews-9080",
        "--target-mesh",
        "glooshot.istio-istio-system",
        "--destination",
        "glooshot.bookinfo-reviews-v4-9080:1",
    ];
    says(&apply);
    says(&apply);
    let stored: Value = serde_json::from_str(&kubectl.succeeds([
        "get",
        "rr",
        "-n",
        "rules-by-flags",
        "reviews-vulnerable",
        "-o",
        "json",
    ]))
    .unwrap();
    let upstream = json!({"name": "bookinfo-reviews-v4-9080", "namespace": "glooshot"});
    let shares = json!([{"destination": {"upstream": upstream}, "weight": 1}]);
    assert_eq!(stored["spec"]["spec"]["trafficShifting"]["destinations"]["destinations"], shares, "{stored:#}");

    for all in [&["-n", "rules-by-flags"][..], &["-A"]] {
        let ours = says(&[&["get", "routingrules"], all].concat());
        let theirs = kubectl.succeeds([&["get", "routingrules"], all].concat());
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        // The age may have grown by a second between the two.
        let end = |words: Vec<String>| words[..words.len() - 1].to_vec();
        if ours.lines().count() == theirs.lines().count() {
            assert_eq!(end(words(&ours))[..5], end(words(&theirs))[..5], "{ours}{theirs}");
        }
    }
    let names = says(&["get", "rr", "-n", "rules-by-flags", "-o", "name"]);
    assert_eq!(names, "routingrule.glooshot.solo.io/reviews-vulnerable\n");
    let yaml = says(&["get", "rr", "reviews-vulnerable", "-n", "rules-by-flags", "-o", "yaml"]);
    assert!(yaml.contains("kind: RoutingRule") && !yaml.contains("managedFields"), "{yaml}");
}

#[test]
fn upstreams_are_computed_from_services_and_pods() {
    let kubectl = Kubectl::new(registered().kubeconfig());
    kubectl.succeeds(["create", "namespace", "upstreams"]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "reviews", "namespace": "upstreams"},
        "spec": {"selector": {"app": "reviews"}, "ports": [{"port": 9080, "name": "http"}]},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "v4", "namespace": "upstreams", "labels": {"app": "reviews", "version": "v4"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": false},
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "upstreams"}});
    for object in [account, service, pod] {
        let applied = kubectl.run_reading(&object.to_string(), ["apply", "-f", "-"]);
        assert_eq!(applied.code, Some(0), "{}", applied.errors);
    }
    let shown = says(&["get", "upstreams", "-n", "upstreams", "-o", "name"]);
    assert_eq!(shown, "upstreams-reviews-9080\nupstreams-reviews-v4-9080\n");
    let table = says(&["get", "upstreams", "-n", "upstreams"]);
    assert!(table.starts_with("NAME ") && table.contains("upstreams/reviews   9080   v4"), "{table}");
    assert!(fails(&["get", "upstream", "nothing", "-n", "upstreams"]).contains("there is no upstream nothing"));
}

#[test]
fn an_experiment_is_created_once_and_deleted() {
    let kubectl = Kubectl::new(registered().kubeconfig());
    kubectl.run(["create", "namespace", "bookinfo"]);
    let file = "manifests/examples/tutorial/abort-ratings-traffic-repeat.yaml";
    says(&["create", "experiment", "-f", file]);
    assert!(fails(&["create", "experiment", "-f", file]).contains("already exists"));
    let shown = says(&["get", "exp", "-n", "bookinfo"]);
    assert!(shown.contains("abort-ratings-traffic-repeat"), "{shown}");
    says(&["delete", "experiment", "abort-ratings-traffic-repeat", "-n", "bookinfo"]);
    let error = fails(&["delete", "experiment", "abort-ratings-traffic-repeat", "-n", "bookinfo"]);
    assert!(error.contains("there is no experiment abort-ratings-traffic-repeat in the namespace bookinfo"), "{error}");
    let error = fails(&["get", "exp", "abort-ratings-traffic-repeat", "-n", "bookinfo"]);
    assert!(error.contains("there is no Experiment"), "{error}");
}
