//! Glooshot installed in a control plane: what it may do there, and as whom.

use serde_json::Value;

use crate::{
    control_plane::ControlPlane,
    program::{Ended, glooshot},
};

/// The controller, as the API server knows it.
pub const CONTROLLER: &str = "system:serviceaccount:glooshot:glooshot-controller";
/// The image of the controller and its proxies.
pub const IMAGE: &str = "glooshot.local/glooshot:test";

#[track_caller]
fn succeeds(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    ended.output
}

fn rendered() -> String {
    succeeds(glooshot(["init", "--image", IMAGE, "--dry-run"]))
}

/// Every object that `glooshot init` writes.
pub fn objects() -> Vec<Value> {
    serde_saphyr::from_multiple(&rendered()).unwrap()
}

/// Writes all of it, as whoever has read the dry run does; there are no nodes that anything could start on.
pub fn install(control_plane: &ControlPlane) {
    let kubectl = crate::kubectl::Kubectl::new(control_plane.kubeconfig());
    succeeds(kubectl.run_reading(&rendered(), ["apply", "--server-side", "--filename=-"]));
}

/// Allows the controller to work in a namespace.
pub fn enable(control_plane: &ControlPlane, namespace: &str) {
    succeeds(glooshot(["enable", "--kubeconfig", control_plane.path(), "--namespace", namespace]));
}

/// The pods that an object makes, if it is a workload.
pub fn template(object: &Value) -> Option<&Value> {
    object.pointer("/spec/template").filter(|template| template["spec"]["containers"].is_array())
}
