//! `glooshot register` in a cluster that has never heard of Glooshot, and in one that has.

use serde_json::Value;

use super::{
    client::ApiClient,
    control_plane::{ControlPlane, unregistered},
    kubectl::Kubectl,
    program::{Ended, glooshot},
};

const DEFINITIONS: [&str; 4] = [
    "experiments.glooshot.solo.io",
    "reports.glooshot.solo.io",
    "routingrules.glooshot.solo.io",
    "meshes.glooshot.solo.io",
];

/// `glooshot register`, which must succeed; what it says of each definition.
#[track_caller]
fn register(control_plane: &ControlPlane) -> Vec<String> {
    let Ended { code, output, errors } = glooshot(["register", "--kubeconfig", control_plane.path()]);
    assert_eq!((code, output.as_str()), (Some(0), ""), "{errors}");
    assert!(errors.starts_with("registering with https://127."), "{errors}");
    assert!(errors.trim_end().lines().last().unwrap().starts_with("registered"), "{errors}");
    errors.lines().filter(|line| line.contains(".glooshot.solo.io ")).map(str::to_owned).collect()
}

fn all(change: &str) -> Vec<String> {
    DEFINITIONS.iter().map(|name| format!("{name} {change}")).collect()
}

fn definitions(control_plane: &ControlPlane) -> Vec<Value> {
    let kubectl = Kubectl::new(control_plane.kubeconfig());
    let listed: Value = serde_json::from_str(&kubectl.succeeds(["get", "crds", "--output=json"])).unwrap();
    listed["items"].as_array().unwrap().clone()
}

#[test]
fn a_new_cluster_serves_every_kind_as_soon_as_the_command_has_ended() {
    let control_plane = unregistered();
    assert_eq!(register(&control_plane), all("created"));
    let client = ApiClient::of(&control_plane);
    for name in DEFINITIONS {
        let plural = name.split('.').next().unwrap();
        let listed =
            client.send("GET", &format!("/apis/glooshot.solo.io/v1/{plural}"), "application/json", &Value::Null);
        assert_eq!(listed.unwrap()["items"], Value::Array(Vec::new()), "{name}");
    }
    for definition in definitions(&control_plane) {
        let conditions = definition["status"]["conditions"].as_array().unwrap();
        let established = conditions.iter().find(|condition| condition["type"] == "Established").unwrap();
        assert_eq!(established["status"], "True", "{definition}");
    }
}

#[test]
fn a_second_time_changes_nothing() {
    let control_plane = unregistered();
    register(&control_plane);
    let before = definitions(&control_plane);
    assert_eq!(register(&control_plane), all("unchanged"));
    assert_eq!(definitions(&control_plane), before);
}

#[test]
fn a_definition_of_another_version_becomes_the_present_one_and_objects_stay() {
    let control_plane = unregistered();
    let kubectl = Kubectl::new(control_plane.kubeconfig());
    register(&control_plane);
    let before = definitions(&control_plane);
    let mesh =
        r#"{"apiVersion": "glooshot.solo.io/v1", "kind": "Mesh", "metadata": {"name": "m"}, "spec": {"proxy": {}}}"#;
    assert_eq!(kubectl.run_reading(mesh, ["create", "--filename=-"]).code, Some(0));
    let shorter = r#"[{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]"#;
    kubectl.succeeds(["patch", "crd", "meshes.glooshot.solo.io", "--type=json", "--patch", shorter]);

    let said = register(&control_plane);
    assert_eq!(said[3], "meshes.glooshot.solo.io updated");
    assert_eq!(said[..3], all("unchanged")[..3]);
    let specs = |definitions: &[Value]| definitions.iter().map(|one| one["spec"].clone()).collect::<Vec<_>>();
    assert_eq!(specs(&definitions(&control_plane)), specs(&before));
    kubectl.succeeds(["get", "mesh", "m"]);
}

#[test]
fn definitions_that_kubectl_has_applied_are_taken_over() {
    let control_plane = unregistered();
    let definitions = glooshot(["crds"]).output;
    let kubectl = Kubectl::new(control_plane.kubeconfig());
    let applied = kubectl.run_reading(&definitions, ["apply", "--filename=-"]);
    assert_eq!(applied.code, Some(0), "{}", applied.errors);
    assert_eq!(register(&control_plane), all("unchanged"));
}

#[test]
fn a_kind_that_the_cluster_does_not_serve_in_time_is_an_error_with_the_reason() {
    let control_plane = unregistered();
    // Within one group a short name belongs to one kind.
    let other = r#"{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "expositions.glooshot.solo.io"}, "spec": {
            "group": "glooshot.solo.io", "scope": "Namespaced",
            "names": {"kind": "Exposition", "plural": "expositions", "shortNames": ["exp"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]
        }}"#;
    let kubectl = Kubectl::new(control_plane.kubeconfig());
    assert_eq!(kubectl.run_reading(other, ["create", "--filename=-"]).code, Some(0));
    kubectl.succeeds(["wait", "--for=condition=Established", "crd/expositions.glooshot.solo.io", "--timeout=20s"]);

    let ended = glooshot(["register", "--kubeconfig", control_plane.path(), "--timeout", "1s"]);
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    for word in ["experiments.glooshot.solo.io is not served after 1s", "NamesAccepted is False", "\"exp\""] {
        assert!(ended.errors.contains(word), "{word}: {}", ended.errors);
    }
}
