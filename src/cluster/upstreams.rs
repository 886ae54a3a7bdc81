//! The upstreams of a cluster: computed from its Services and pods, as the controller does.

use std::fmt::Debug;

use glooshot_api::names::KnownPort;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::{Cluster, ClusterError};
use crate::controller;

/// Objects of one page of a list.
const PAGE: u32 = 500;

/// Every Service port of one namespace, or of all, with its subsets.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub(crate) async fn list(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<KnownPort>, ClusterError> {
    let services = all::<Service>(cluster, namespace).await?;
    let pods = all::<Pod>(cluster, namespace).await?;
    Ok(controller::upstreams(&services, &pods))
}

async fn all<K>(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<K>, ClusterError>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(cluster.client(), namespace),
        None => Api::all(cluster.client()),
    };
    let mut page = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let list = api.list(&page).await.map_err(|error| cluster.explain(error))?;
        found.extend(list.items);
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page.continue_token = Some(next),
            None => return Ok(found),
        }
    }
}
