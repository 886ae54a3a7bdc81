//! Every pod of ours, as it is installed and as a redirection makes it: without privilege, and let in where nothing else is.

use glooshot::engine::data_path::DataPath as _;
use serde_json::{Value, json};

use super::{
    control_plane::registered,
    installation::{objects, template},
    redirect_stage::Stage,
};

/// The pods of the installation, and of one redirected Service.
fn pods(stage: &Stage) -> Vec<Value> {
    stage.apply(&stage.manifest(&json!({"app": "ratings"}), None), &[]);
    let path = stage.path("abort");
    stage.wait(path.route(&stage.scenario())).unwrap();
    let proxies = stage.kubectl.succeeds(["get", "deployments", "-n", &stage.namespace, "-o=json"]);
    stage.wait(path.restore()).unwrap();
    stage.wait(stage.redirect.release(&stage.uid("abort"))).unwrap();
    let proxies: Value = serde_json::from_str(&proxies).unwrap();
    let all = objects().into_iter().chain(proxies["items"].as_array().unwrap().clone());
    all.filter_map(|object| template(&object).cloned()).collect()
}

#[test]
fn no_pod_of_ours_has_a_privilege_or_anything_of_its_node() {
    let stage = Stage::new(registered(), "privileges");
    let pods = pods(&stage);
    assert_eq!(pods.len(), 3, "the controller, Prometheus, and the proxies: {pods:#?}");
    for pod in pods {
        let spec = &pod["spec"];
        for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(matches!(spec[field], Value::Null | Value::Bool(false)), "{field}: {pod:#}");
        }
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let kinds: Vec<&String> = volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
            assert!(matches!(kinds[0].as_str(), "projected" | "configMap" | "emptyDir"), "{volume}");
        }
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{pod:#}");
        assert_ne!(spec["securityContext"]["runAsUser"], 0, "{pod:#}");
        assert_eq!(spec["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}), "{pod:#}");
        let containers = ["containers", "initContainers", "ephemeralContainers"].map(|list| spec[list].as_array());
        for container in containers.into_iter().flatten().flatten() {
            let context = &container["securityContext"];
            assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{container:#}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{container:#}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{container:#}");
            assert!(matches!(context["privileged"], Value::Null | Value::Bool(false)), "{container:#}");
            for field in ["runAsUser", "runAsNonRoot", "seccompProfile", "procMount"] {
                assert!(
                    context[field].is_null() || field == "procMount" && context[field] == "Default",
                    "{container:#}"
                );
            }
            let ports = container["ports"].as_array().unwrap();
            assert!(ports.iter().all(|port| port["hostPort"].is_null()), "{container:#}");
        }
    }
}

#[test]
fn every_pod_of_ours_is_let_in_where_only_restricted_ones_are() {
    let stage = Stage::new(registered(), "restricted");
    let pods = pods(&stage);
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    stage.kubectl.succeeds(["label", "namespace", &stage.namespace, enforce]);
    let submit = |pod: &Value| {
        let create = ["create", "--dry-run=server", "--filename=-"];
        stage.kubectl.run_reading(&pod.to_string(), create)
    };
    for (index, template) in pods.into_iter().enumerate() {
        let mut pod = template;
        // The accounts of installed pods are in another namespace.
        pod["spec"]["serviceAccountName"] = json!("default");
        pod["spec"].as_object_mut().unwrap().remove("serviceAccount");
        pod["metadata"]["name"] = json!(format!("it-{index}"));
        pod["metadata"]["namespace"] = json!(stage.namespace);
        (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
        let let_in = submit(&pod);
        assert_eq!(let_in.code, Some(0), "{}", let_in.errors);
        pod["spec"]["hostNetwork"] = json!(true);
        let refused = submit(&pod);
        assert!(refused.errors.contains("violates PodSecurity \"restricted"), "{}", refused.errors);
    }
}
