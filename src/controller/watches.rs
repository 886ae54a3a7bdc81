//! What the controller keeps caches of: one for each kind and namespace, or for all namespaces together.

use std::fmt::Debug;

use futures::{StreamExt as _, TryStreamExt as _, future::ready};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::{
    Api, Client, Resource,
    core::{DynamicResourceScope, NamespaceResourceScope},
    runtime::reflector::Store,
};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::watching::{self, everything};

/// What is watched: each of these namespaces by itself, or all together.
pub(crate) fn scopes(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}

/// The objects of a kind in one scope.
pub(crate) fn within<K>(client: &Client, scope: Option<&str>, kind: &K::DynamicType) -> Api<K>
where
    K: Resource<Scope = DynamicResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
        None => Api::all_with(client.clone(), kind),
    }
}

/// Caches that nobody listens to, one for each namespace or one for all.
pub(crate) fn keep<K>(
    client: &Client,
    namespaces: &[String],
    trim: impl Fn(&mut K) + Clone + Send + 'static,
) -> (Vec<Store<K>>, Vec<AbortOnDropHandle<()>>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let caches = scopes(namespaces).into_iter().map(|scope| {
        let api = match scope {
            Some(namespace) => Api::namespaced(client.clone(), &namespace),
            None => Api::all(client.clone()),
        };
        let (store, words) = watching::cache(api, (), everything(), trim.clone());
        let told = words.inspect_err(|error| tracing::warn!(%error, "a watch was cut; it goes on"));
        (store, AbortOnDropHandle::new(tokio::spawn(told.for_each(|_| ready(())))))
    });
    caches.unzip()
}

/// What is known of a pod without its containers: nobody here asks for those, and there are many pods.
pub(crate) fn trim_pod(pod: &mut Pod) {
    pod.spec = pod.spec.take().map(|spec| PodSpec { node_name: spec.node_name, ..PodSpec::default() });
    if let Some(status) = &mut pod.status {
        status.container_statuses = None;
        status.init_container_statuses = None;
        status.ephemeral_container_statuses = None;
    }
}
