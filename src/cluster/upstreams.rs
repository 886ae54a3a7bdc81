//! The upstreams of a cluster: computed from its Services and pods, as the controller does.

use std::fmt::Debug;

use glooshot_api::names::KnownPort;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::{Cluster, ClusterError, pages};
use crate::controller;

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
    pages::objects(&api, ListParams::default()).await.map_err(|error| cluster.explain(error))
}
