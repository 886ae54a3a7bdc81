//! Our finalizer: as long as it is on an object, something of it may be in the world.

use kube::{Resource, ResourceExt as _, api::Patch};
use serde_json::{Value, json};

/// Its name.
const FINALIZER: &str = "glooshot.solo.io/restore";

/// Whether it is on an object.
pub(crate) fn is_on(object: &impl Resource) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// What puts it on an object, or takes it off; refused by the API server when that has changed meanwhile.
pub(crate) fn patch(object: &impl Resource, on: bool) -> Patch<Value> {
    let others = object.finalizers().iter().map(String::as_str).filter(|finalizer| *finalizer != FINALIZER);
    let finalizers: Vec<&str> = others.chain(on.then_some(FINALIZER)).collect();
    let (version, uid) = (object.resource_version(), object.uid());
    Patch::Merge(json!({"metadata": {"finalizers": finalizers, "resourceVersion": version, "uid": uid}}))
}
