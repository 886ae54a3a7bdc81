//! The switch that stops everything: a ConfigMap in the namespace of the installation.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Cluster, ClusterError, install::PART_OF, objects::FIELD_MANAGER};
use crate::controller::{HALT_CONFIG_MAP, HALT_REASON, HALTED};

/// Stops everything (`Some` reason), or allows it again.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub(crate) async fn switch(cluster: &Cluster, namespace: &str, halted: Option<&str>) -> Result<(), ClusterError> {
    let api = Api::<ConfigMap>::namespaced(cluster.client(), namespace);
    let how = PatchParams::apply(FIELD_MANAGER).force();
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": HALT_CONFIG_MAP, "labels": {PART_OF.0: PART_OF.1}},
        "data": {HALTED: halted.is_some().to_string(), HALT_REASON: halted.unwrap_or_default()},
    });
    match api.patch(HALT_CONFIG_MAP, &how, &Patch::Apply(&map)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(ClusterError::NotYet(format!(
            "there is no namespace {namespace}; --namespace says where Glooshot is installed"
        ))),
        Err(error) => Err(cluster.explain(error)),
    }
}
