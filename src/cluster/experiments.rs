//! Experiments in a cluster: created and deleted, and let go when nobody looks after them any more.

use std::time::Duration;

use glooshot_api::experiment::Experiment;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DeleteParams, ListParams, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use tokio::time::timeout;

use super::{Cluster, ClusterError, objects::FIELD_MANAGER, pages};
use crate::controller::finalizer;

/// Creates an Experiment that is not there yet.
///
/// # Errors
/// When the cluster cannot be reached, or refuses it, or has one of this name.
pub(crate) async fn create(cluster: &Cluster, namespace: &str, experiment: &Experiment) -> Result<(), ClusterError> {
    let how = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let api = Api::<Experiment>::namespaced(cluster.client(), namespace);
    api.create(&how, experiment).await.map(drop).map_err(|error| cluster.explain(error))
}

/// Asks for the end of an Experiment, and waits until everything of it has been put back, for `patience` at the most; gives whether
/// it is gone.
///
/// # Errors
/// When there is none of this name, or the cluster cannot be reached, or refuses.
pub(crate) async fn delete(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    patience: Duration,
) -> Result<bool, ClusterError> {
    let api = Api::<Experiment>::namespaced(cluster.client(), namespace);
    let asked = match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            return Err(ClusterError::NotYet(format!("there is no experiment {name} in the namespace {namespace}")));
        }
        asked => asked.map_err(|error| cluster.explain(error))?,
    };
    // Where it is still there, somebody has to take away its finalizer.
    let Some(uid) = asked.left().and_then(|left| left.metadata.uid) else { return Ok(true) };
    let watched = Api::<Experiment>::namespaced(cluster.watching(), namespace);
    match timeout(patience, await_condition(watched, name, is_deleted(&uid))).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) => Err(ClusterError::NotYet(format!("the end of {name} could not be watched: {error}"))),
        Err(_) => Ok(false),
    }
}

/// Takes our finalizer from all Experiments and RoutingRules, so that they can be deleted; gives how many had it.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub(crate) async fn release_all(cluster: &Cluster) -> Result<usize, ClusterError> {
    let mut released = 0;
    for kind in ["Experiment", "RoutingRule"] {
        released +=
            release(cluster, &ApiResource::from_gvk(&GroupVersionKind::gvk("glooshot.solo.io", "v1", kind))).await?;
    }
    Ok(released)
}

async fn release(cluster: &Cluster, kind: &ApiResource) -> Result<usize, ClusterError> {
    let api = Api::<DynamicObject>::all_with(cluster.client(), kind);
    let all = match pages::metadata(&api, ListParams::default()).await {
        // The kinds were never registered, or are gone already.
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(0),
        listed => listed.map_err(|error| cluster.explain(error))?,
    };
    let mut released = 0;
    for experiment in all.iter().filter(|it| finalizer::is_on(*it)) {
        let namespace = experiment.namespace().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(cluster.client(), &namespace, kind);
        match api
            .patch_metadata(&experiment.name_any(), &PatchParams::default(), &finalizer::patch(experiment, false))
            .await
        {
            Ok(_) => released += 1,
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(cluster.explain(error)),
        }
    }
    Ok(released)
}
