//! Who keeps the pods behind a Service, read at the API server, and their restart. Thin.

use std::{borrow::Borrow, collections::BTreeMap, fmt::Debug};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::Pod,
    },
};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    names::{self, US},
    restart::{self, Keeper, Kind, Workload},
    world::{World, failed, is_conflict, is_missing},
};
use crate::engine::data_path::PathError;

/// The kinds of workloads that we know are of this group.
const APPS: &str = "apps/";

impl World {
    /// Who keeps these pods, each once.
    pub(super) async fn keepers(
        &self,
        namespace: &str,
        pods: &[impl Borrow<Pod> + Sync],
    ) -> Result<Vec<Keeper>, PathError> {
        let mut keepers = BTreeMap::new();
        for (controller, pod) in restart::controllers(pods) {
            let Some((group, kind, name)) = controller else {
                keepers.insert(pod.clone(), Keeper::Nobody(format!("nobody keeps pod {pod}")));
                continue;
            };
            let keeper = self.keeper(namespace, (&group, &kind, &name), &pod).await?;
            // Two ReplicaSets may be of one Deployment.
            let whose = match &keeper {
                Keeper::Workload(workload) => workload.to_string(),
                Keeper::Nobody(_) | Keeper::Gone => pod,
            };
            keepers.insert(whose, keeper);
        }
        Ok(keepers.into_values().collect())
    }

    async fn keeper(
        &self,
        namespace: &str,
        (group, kind, name): (&str, &str, &str),
        pod: &str,
    ) -> Result<Keeper, PathError> {
        match kind {
            "ReplicaSet" if group.starts_with(APPS) => {
                let api = Api::<ReplicaSet>::namespaced(self.client().clone(), namespace);
                let set = api.get_metadata_opt(name).await;
                let set = set.map_err(|error| unread("ReplicaSet", name, namespace, &error))?;
                let Some(set) = set else { return Ok(Keeper::Gone) };
                let owner = names::controller(&set);
                match owner.filter(|owner| owner.kind == "Deployment" && owner.api_version.starts_with(APPS)) {
                    Some(owner) => self.workload::<Deployment>(namespace, &owner.name).await,
                    None => Ok(Keeper::Nobody(format!("ReplicaSet {name} without a Deployment keeps pod {pod}"))),
                }
            }
            "StatefulSet" if group.starts_with(APPS) => self.workload::<StatefulSet>(namespace, name).await,
            "DaemonSet" if group.starts_with(APPS) => self.workload::<DaemonSet>(namespace, name).await,
            other => Ok(Keeper::Nobody(format!("{other} {name} keeps pod {pod}"))),
        }
    }

    async fn workload<K>(&self, namespace: &str, name: &str) -> Result<Keeper, PathError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
        Workload: for<'a> From<&'a K>,
    {
        let found = Api::<K>::namespaced(self.client().clone(), namespace).get_opt(name).await;
        let found = found.map_err(|error| unread(&K::kind(&()), name, namespace, &error))?;
        Ok(found.as_ref().map_or(Keeper::Gone, |found| Keeper::Workload(found.into())))
    }

    /// Restarts a workload for an Experiment; nothing if it has changed meanwhile, which whoever looks again sees.
    pub(super) async fn restart(
        &self,
        namespace: &str,
        workload: &Workload,
        experiment_uid: &str,
    ) -> Result<(), PathError> {
        let patch = workload.restart(experiment_uid);
        match workload.kind {
            Kind::Deployment => self.change::<Deployment>(namespace, workload, &patch).await,
            Kind::StatefulSet => self.change::<StatefulSet>(namespace, workload, &patch).await,
            Kind::DaemonSet => self.change::<DaemonSet>(namespace, workload, &patch).await,
        }
    }

    async fn change<K>(&self, namespace: &str, workload: &Workload, patch: &Value) -> Result<(), PathError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client().clone(), namespace);
        let how = PatchParams { field_manager: Some(US.to_owned()), ..PatchParams::default() };
        match api.patch(&workload.name, &how, &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_conflict(&error) || is_missing(&error) => Ok(()),
            Err(error) => Err(failed(&format!("{workload} cannot be restarted"), namespace, &error)),
        }
    }
}

fn unread(kind: &str, name: &str, namespace: &str, error: &kube::Error) -> PathError {
    failed(&format!("{kind} {name} cannot be read"), namespace, error)
}
