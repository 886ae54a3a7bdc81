//! Objects of any kind in a cluster: written by server-side apply, and removed.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DeleteParams, ListParams, Patch, PatchParams, ValidationDirective},
    core::{DynamicObject, GroupVersionKind},
};

use super::{Cluster, ClusterError, definitions::Change, install::PART_OF};

/// Who owns the fields that are written here.
pub(crate) const FIELD_MANAGER: &str = "glooshot";

/// What an object is called in what people read: `deployments.apps/NAME`.
pub(crate) fn called(object: &DynamicObject) -> String {
    let resource = resource(object);
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    format!("{}{group}/{}", resource.plural, object.name_any())
}

/// Writes an object as it is in this version of Glooshot.
///
/// # Errors
/// When the cluster cannot be reached, or refuses it.
pub(crate) async fn apply(cluster: &Cluster, object: &DynamicObject) -> Result<Change, ClusterError> {
    let (api, name) = (api(cluster, object), object.name_any());
    let explain = |error| cluster.explain(error);
    let before = api.get_metadata_opt(&name).await.map_err(explain)?;
    // By force: what belongs to the installation is ours, whoever has written it before.
    let mut how = PatchParams::apply(FIELD_MANAGER).force();
    how.field_validation = Some(ValidationDirective::Strict);
    let after = api.patch(&name, &how, &Patch::Apply(object)).await.map_err(explain)?;
    Ok(match before {
        None => Change::Created,
        // An apply that changes nothing is not written.
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => Change::Unchanged,
        Some(_) => Change::Updated,
    })
}

/// Removes an object; whether it was there.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub(crate) async fn remove(cluster: &Cluster, object: &DynamicObject) -> Result<bool, ClusterError> {
    match api(cluster, object).delete(&object.name_any(), &DeleteParams::background()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(cluster.explain(error)),
    }
}

/// Removes every RoleBinding of this name that belongs to an installation; gives the namespaces that had one.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub(crate) async fn remove_role_bindings(cluster: &Cluster, name: &str) -> Result<Vec<String>, ClusterError> {
    let explain = |error| cluster.explain(error);
    let ours = ListParams::default().labels(&format!("{}={}", PART_OF.0, PART_OF.1));
    let all = Api::<RoleBinding>::all(cluster.client()).list_metadata(&ours).await.map_err(explain)?;
    let mut namespaces = Vec::new();
    for binding in all.items.iter().filter(|binding| binding.name_any() == name) {
        let namespace = binding.namespace().unwrap_or_default();
        let api = Api::<RoleBinding>::namespaced(cluster.client(), &namespace);
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            deleted => {
                deleted.map_err(explain)?;
                namespaces.push(namespace);
            }
        }
    }
    Ok(namespaces)
}

fn api(cluster: &Cluster, object: &DynamicObject) -> Api<DynamicObject> {
    let resource = resource(object);
    match object.namespace() {
        Some(namespace) => Api::namespaced_with(cluster.client(), &namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    }
}

fn resource(object: &DynamicObject) -> ApiResource {
    let kind = object.types.as_ref().and_then(|types| GroupVersionKind::try_from(types).ok());
    ApiResource::from_gvk(&kind.unwrap_or_else(|| GroupVersionKind::gvk("", "v1", "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_called_as_kubectl_calls_them() {
        let object = |api_version: &str, kind: &str| {
            let object = serde_json::json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
            called(&serde_json::from_value(object).unwrap())
        };
        assert_eq!(object("v1", "Namespace"), "namespaces/x");
        assert_eq!(object("apps/v1", "Deployment"), "deployments.apps/x");
        assert_eq!(
            object("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
            "validatingadmissionpolicies.admissionregistration.k8s.io/x"
        );
    }
}
