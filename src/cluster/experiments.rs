//! Experiments in a cluster that nobody looks after any more.

use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
};
use serde_json::json;

use super::{Cluster, ClusterError};
use crate::controller::FINALIZER;

/// Objects of one page of a list.
const PAGE: u32 = 500;

/// Takes our finalizer from all Experiments, so that they can be deleted; gives how many had it.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub(crate) async fn release_all(cluster: &Cluster) -> Result<usize, ClusterError> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("glooshot.solo.io", "v1", "Experiment"));
    let all = Api::<DynamicObject>::all_with(cluster.client(), &kind);
    let mut page = ListParams::default().limit(PAGE);
    let mut released = 0;
    loop {
        let list = match all.list_metadata(&page).await {
            // The kinds were never registered, or are gone already.
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(released),
            listed => listed.map_err(|error| cluster.explain(error))?,
        };
        for experiment in &list.items {
            if !experiment.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
                continue;
            }
            let left: Vec<_> = experiment.finalizers().iter().filter(|it| *it != FINALIZER).collect();
            let patch = json!({"metadata": {"finalizers": left, "resourceVersion": experiment.resource_version()}});
            let namespace = experiment.namespace().unwrap_or_default();
            let api = Api::<DynamicObject>::namespaced_with(cluster.client(), &namespace, &kind);
            match api.patch_metadata(&experiment.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => released += 1,
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(cluster.explain(error)),
            }
        }
        match list.metadata.continue_ {
            Some(next) if !next.is_empty() => page.continue_token = Some(next),
            _ => return Ok(released),
        }
    }
}
