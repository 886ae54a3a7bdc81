//! What is read from the API server and written to it: thin, each call idempotent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    net::IpAddr,
    time::Duration,
};

use glooshot_api::{experiment::Reconnect, names::ServiceName, scenario::Scenario};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Pod, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, GroupVersionKind, ListParams, Patch, PatchParams, PostParams, Preconditions,
        ValidationDirective,
    },
    core::{DynamicObject, PartialObjectMeta},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Owner,
    names::{self, EXPERIMENT, EXPERIMENT_UID, SERVICE, SERVICE_UID, US},
    objects::Parts,
    patch::{self, Selects},
    plan::Caller,
    preflight::Seen,
    record::Record,
    restart,
};
use crate::{cluster::pages, engine::data_path::PathError};

/// Writes that others may get in between of, one after the other.
const CONFLICTS: usize = 20;
/// Between two looks at pods that end.
const LOOK: Duration = Duration::from_secs(1);

/// What has gone wrong, and what to do where that is known.
pub(super) fn failed(what: &str, namespace: &str, error: &kube::Error) -> PathError {
    let message = match error {
        kube::Error::Api(status) if status.is_forbidden() => format!(
            "{what}: glooshot may not do that in namespace {namespace} ({}); `glooshot enable -n {namespace}` allows it",
            status.message
        ),
        kube::Error::Api(status) => format!("{what}: the API server refuses: {}", status.message),
        other => format!("{what}: {other}"),
    };
    PathError { message }
}

pub(super) fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

pub(super) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

/// The cluster, for what we do in it.
#[derive(Clone)]
pub(super) struct World {
    client: Client,
}

impl Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    fn services(&self, namespace: &str) -> Api<Service> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A Service as it is now.
    pub(super) async fn service(&self, name: &ServiceName) -> Result<Option<Service>, PathError> {
        let found = self.services(&name.namespace).get_opt(&name.name).await;
        found.map_err(|error| failed(&format!("Service {name} cannot be read"), &name.namespace, &error))
    }

    /// Everything that is looked at before anything is changed.
    pub(super) async fn look(&self, name: &ServiceName, reconnect: Reconnect) -> Result<Seen, PathError> {
        let namespace = &name.namespace;
        let service = self.service(name).await?;
        let origin = ServiceName { namespace: namespace.clone(), name: names::origin(&name.name) };
        let around = Api::<Namespace>::all(self.client.clone()).get_opt(namespace).await;
        let around = around.map_err(|error| failed("the namespace cannot be read", namespace, &error))?;
        let pods: Vec<Pod> = self.all(namespace).await?;
        let keepers = match (&service, reconnect) {
            (Some(service), Reconnect::RestartTargets) => {
                let selector = patch::original(service);
                let behind: Vec<&Pod> = pods.iter().filter(|pod| restart::is_behind(pod, &selector)).collect();
                self.keepers(namespace, &behind).await?
            }
            (None, _) | (_, Reconnect::None) => Vec::new(),
        };
        let policies = pages::objects(&Api::<NetworkPolicy>::all(self.client.clone()), ListParams::default()).await;
        let policies = policies.map_err(|error| failed("NetworkPolicies cannot be listed", namespace, &error))?;
        let (network_policies, policies_elsewhere) =
            policies.into_iter().partition(|policy| policy.metadata.namespace.as_ref() == Some(namespace));
        Ok(Seen {
            service,
            origin: self.service(&origin).await?,
            namespace: around.map(|it| it.metadata).unwrap_or_default(),
            pods,
            keepers,
            network_policies,
            policies_elsewhere,
            quotas: self.all(namespace).await?,
            // Only warnings come from these, so that a controller may do without the right to read them.
            autoscalers: self.all(namespace).await.unwrap_or_default(),
            service_monitors: self.service_monitors().await,
        })
    }

    /// The real pods of a Service that has this selector.
    pub(super) async fn pods(
        &self,
        name: &ServiceName,
        selector: &BTreeMap<String, String>,
    ) -> Result<Vec<Pod>, PathError> {
        let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let api = Api::<Pod>::namespaced(self.client.clone(), &name.namespace);
        let listed = pages::objects(&api, ListParams::default().labels(&labels.join(","))).await;
        listed.map_err(|error| failed(&format!("the pods of Service {name} cannot be listed"), &name.namespace, &error))
    }

    /// The Services that the faults name as callers. A name that is no Service's is one of an application.
    pub(super) async fn callers(&self, scenario: &Scenario) -> Result<Vec<Caller>, PathError> {
        let names: BTreeSet<&ServiceName> = scenario.faults.iter().flat_map(|fault| &fault.origins).collect();
        let mut callers = Vec::new();
        for name in names {
            let service = self.service(name).await?;
            let selector = service.map(|service| patch::original(&service)).unwrap_or_default();
            callers.push(Caller { service: name.clone(), selector });
        }
        Ok(callers)
    }

    pub(super) async fn all<K>(&self, namespace: &str) -> Result<Vec<K>, PathError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let kind = K::kind(&());
        let listed = pages::objects(&api, ListParams::default()).await;
        listed.map_err(|error| failed(&format!("objects of kind {kind} cannot be listed"), namespace, &error))
    }

    /// None where there is no such kind.
    async fn service_monitors(&self) -> Vec<DynamicObject> {
        let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor");
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &ApiResource::from_gvk(&kind));
        pages::objects(&api, ListParams::default()).await.unwrap_or_default()
    }

    /// Makes the origin, which is also the claim on the Service: of two experiments only one makes it.
    pub(super) async fn make_origin(&self, parts: &Parts<'_>) -> Result<Service, PathError> {
        let origin = parts.origin().map_err(|error| unwritten(&error))?;
        let namespace = origin.namespace().unwrap_or_default();
        let api = self.services(&namespace);
        let what = format!("the origin {} cannot be made", origin.name_any());
        let how = PostParams { field_manager: Some(US.to_owned()), ..PostParams::default() };
        match api.create(&how, &origin).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            created => return created.map_err(|error| failed(&what, &namespace, &error)),
        }
        let standing = api.get(&origin.name_any()).await.map_err(|error| failed(&what, &namespace, &error))?;
        if standing.labels().get(EXPERIMENT_UID) != Some(&parts.owner.uid) || !names::is_ours(&standing.metadata) {
            let first = standing.annotations().get(EXPERIMENT).map_or("somebody else", String::as_str);
            let message = format!(
                "the experiment {first} has redirected Service {namespace}/{}; wait until it is over, or delete it",
                parts.service.name_any()
            );
            return Err(PathError { message });
        }
        self.apply(&origin).await
    }

    /// Asks for the proxies and what belongs to them.
    pub(super) async fn make_proxies(&self, parts: &Parts<'_>, origin: IpAddr) -> Result<(), PathError> {
        self.apply(&parts.account().map_err(|error| unwritten(&error))?).await?;
        self.apply(&parts.budget().map_err(|error| unwritten(&error))?).await?;
        self.apply(&parts.deployment(origin).map_err(|error| unwritten(&error))?).await?;
        Ok(())
    }

    pub(super) async fn apply<K>(&self, object: &K) -> Result<K, PathError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let mut how = PatchParams::apply(US).force();
        how.field_validation = Some(ValidationDirective::Strict);
        let applied = api.patch(&object.name_any(), &how, &Patch::Apply(object)).await;
        applied.map_err(|error| {
            failed(&format!("{} {} cannot be made", K::kind(&()), object.name_any()), &namespace, &error)
        })
    }

    /// Makes the Service select the proxies, unless somebody else holds it.
    pub(super) async fn flip(
        &self,
        name: &ServiceName,
        uid: &str,
        owner: &Owner,
        deadline: Timestamp,
    ) -> Result<(), PathError> {
        let what = format!("Service {name} cannot be redirected");
        let gone = || PathError { message: format!("{what}: it has been deleted") };
        for _ in 0..CONFLICTS {
            let service = self.service(name).await?.ok_or_else(gone)?;
            if service.uid().as_deref() != Some(uid) {
                return Err(gone());
            }
            let standing =
                patch::record(&service).map_err(|error| PathError { message: format!("{what}: {error}") })?;
            match standing {
                Some(record) if record.experiment.uid != owner.uid => {
                    let message = format!("{what}: {} has done so already", record.experiment);
                    return Err(PathError { message });
                }
                Some(record) => return self.give_back(name, &record).await,
                None => {}
            }
            let record = Record {
                selector: patch::selector(&service),
                service_uid: uid.to_owned(),
                experiment: owner.clone(),
                deadline,
                writers: patch::writers(&service),
            };
            let annotation = record.to_annotation().map_err(|error| unwritten(&error))?;
            match self.merge(name, &patch::flip(&service, &annotation)).await {
                Ok(_) => return self.give_back(name, &record).await,
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(failed(&what, &name.namespace, &error)),
            }
        }
        Err(PathError { message: format!("{what}: others write it all the time") })
    }

    /// Leaves the selector to those who had written it, so that their next server-side apply has no conflict with us.
    async fn give_back(&self, name: &ServiceName, record: &Record) -> Result<(), PathError> {
        let what = format!("Service {name} cannot be left to its owner");
        for _ in 0..CONFLICTS {
            let Some(service) = self.service(name).await? else { return Ok(()) };
            if !patch::is_selector_ours(&service) {
                return Ok(());
            }
            match self.merge(name, &patch::give_back(&service, record)).await {
                Ok(_) => return Ok(()),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(failed(&what, &name.namespace, &error)),
            }
        }
        Err(PathError { message: format!("{what}: others write it all the time") })
    }

    /// Puts a Service back as far as it is still ours, and removes every trace of us; nothing if `experiment_uid` does not hold it.
    pub(super) async fn restore(&self, name: &ServiceName, experiment_uid: &str) -> Result<(), PathError> {
        let what = format!("Service {name} cannot be restored");
        for _ in 0..CONFLICTS {
            let Some(service) = self.service(name).await? else { return Ok(()) };
            let record = match patch::record(&service) {
                Ok(Some(record)) if record.experiment.uid == experiment_uid => record,
                Ok(Some(_)) => return Ok(()),
                // Whoever has removed or changed the annotation has left the selector to us.
                Ok(None) | Err(_) => match self.remembered(name, &service, experiment_uid).await? {
                    Some(record) => record,
                    None => return Ok(()),
                },
            };
            let restored = match patch::restore(&service, &record) {
                Some(patch) => self.merge(name, &patch).await,
                None => Ok(service),
            };
            let forgotten = match restored {
                Ok(service) => self.merge(name, &patch::forget(&service, Some(&record))).await,
                Err(error) => Err(error),
            };
            match forgotten {
                Ok(_) => return Ok(()),
                Err(error) if is_conflict(&error) => {}
                Err(error) if is_missing(&error) => return Ok(()),
                Err(error) => return Err(failed(&what, &name.namespace, &error)),
            }
        }
        Err(PathError { message: format!("{what}: others write it all the time") })
    }

    /// What the origin of a Service remembers of it, if the Experiment has made it and the Service still selects the proxies.
    async fn remembered(
        &self,
        name: &ServiceName,
        service: &Service,
        experiment_uid: &str,
    ) -> Result<Option<Record>, PathError> {
        if patch::selects(service) == Selects::Others {
            return Ok(None);
        }
        let origin = ServiceName { namespace: name.namespace.clone(), name: names::origin(&name.name) };
        let origin = self.service(&origin).await?.filter(|origin| is_held(&origin.metadata, experiment_uid));
        Ok(origin.and_then(|origin| patch::remembered(service, &origin, experiment_uid)))
    }

    async fn merge(&self, name: &ServiceName, patch: &Value) -> Result<Service, kube::Error> {
        let how = PatchParams { field_manager: Some(US.to_owned()), ..PatchParams::default() };
        self.services(&name.namespace).patch(&name.name, &how, &Patch::Merge(patch)).await
    }

    /// Removes the proxies, waits until the last of them has drained, and then removes the origin that they forward to.
    pub(super) async fn remove(&self, held: &Held, experiment_uid: &str) -> Result<(), PathError> {
        let (namespace, proxy) = (&held.service.namespace, names::proxy(&held.service_uid));
        let services = self.services(namespace);
        let origin = services.get_metadata_opt(&names::origin(&held.service.name)).await;
        let origin = origin.map_err(|error| failed("the origin cannot be read", namespace, &error))?;
        // It is made before everything else, so that without it there is nothing that is this Experiment's.
        if !origin.is_some_and(|origin| is_held(&origin.metadata, experiment_uid)) {
            return Ok(());
        }
        // Pods that drain have no Deployment, and a budget of such pods is an error that people would see.
        self.delete::<PodDisruptionBudget>(namespace, &proxy, experiment_uid).await?;
        self.delete::<Deployment>(namespace, &proxy, experiment_uid).await?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let ours = ListParams::default().labels(&format!("{SERVICE_UID}={}", held.service_uid)).limit(1);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let left = pods.list_metadata(&ours).await;
            let left = left.map_err(|error| failed("the proxies that stop cannot be listed", namespace, &error))?;
            if left.items.is_empty() {
                break;
            }
        }
        self.remove_policies(held, experiment_uid).await?;
        self.delete::<ServiceAccount>(namespace, &proxy, experiment_uid).await?;
        // Last: by it what is left is found again.
        self.delete::<Service>(namespace, &names::origin(&held.service.name), experiment_uid).await
    }

    /// Removes an object if it is still the Experiment's: a later one may have made its own under the same name.
    pub(super) async fn delete<K>(&self, namespace: &str, name: &str, experiment_uid: &str) -> Result<(), PathError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let failed = |error| failed(&format!("{} {name} cannot be removed", K::kind(&())), namespace, &error);
        let Some(standing) = api.get_metadata_opt(name).await.map_err(failed)? else { return Ok(()) };
        if !is_held(&standing.metadata, experiment_uid) {
            return Ok(());
        }
        let preconditions = Preconditions { uid: standing.uid(), resource_version: None };
        match api.delete(name, &DeleteParams::background().preconditions(preconditions)).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) || is_conflict(&error) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// All Services of a namespace, or of all of them.
    pub(super) async fn all_services(&self, namespace: Option<&str>) -> Result<Vec<Service>, PathError> {
        let api = self.services_of(namespace);
        let listed = pages::objects(&api, ListParams::default()).await;
        listed.map_err(|error| failed("Services cannot be listed", namespace.unwrap_or("any"), &error))
    }

    /// For what there are origins, and for which Experiment's uid each, in a namespace or in all of them.
    pub(super) async fn held(&self, namespace: Option<&str>) -> Result<Vec<(Held, String)>, PathError> {
        let ours = ListParams::default().labels(&format!("{}={US},{EXPERIMENT_UID}", names::MANAGED_BY));
        let api = self.services_of(namespace);
        let origins = pages::metadata(&api, ours).await;
        let origins =
            origins.map_err(|error| failed("Services cannot be listed", namespace.unwrap_or("any"), &error))?;
        let held = |origin: &PartialObjectMeta<Service>| {
            let experiment = origin.labels().get(EXPERIMENT_UID).cloned()?;
            Some((Held::by(origin)?, experiment))
        };
        Ok(origins.iter().filter_map(held).collect())
    }

    fn services_of(&self, namespace: Option<&str>) -> Api<Service> {
        match namespace {
            Some(namespace) => self.services(namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// What an Experiment holds: its origins, which are made first and removed last, and whatever Service is annotated with it.
    pub(super) async fn held_by(&self, experiment_uid: &str) -> Result<Vec<Held>, PathError> {
        let all = Api::<Service>::all(self.client.clone());
        let list = async |params| {
            let listed = pages::metadata(&all, params).await;
            listed.map_err(|error| failed("Services cannot be listed", "any", &error))
        };
        let mut held = BTreeSet::new();
        let origins = ListParams::default().labels(&format!("{EXPERIMENT_UID}={experiment_uid}"));
        for origin in list(origins).await? {
            held.extend(Held::by(&origin));
        }
        for service in list(ListParams::default()).await? {
            let annotation = service.annotations().get(names::REDIRECT).and_then(|text| Record::parse(text).ok());
            let is_held = |record: &Record| {
                record.experiment.uid == experiment_uid && Some(&record.service_uid) == service.metadata.uid.as_ref()
            };
            if let Some(record) = annotation.filter(is_held) {
                let namespace = service.namespace().unwrap_or_default();
                let name = ServiceName { namespace, name: service.name_any() };
                held.insert(Held { service: name, service_uid: record.service_uid });
            }
        }
        Ok(held.into_iter().collect())
    }
}

/// A Service that an Experiment holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) service: ServiceName,
    pub(super) service_uid: String,
}

impl Held {
    /// What an origin is for.
    fn by(origin: &PartialObjectMeta<Service>) -> Option<Self> {
        let name = origin.annotations().get(SERVICE)?.clone();
        let service_uid = origin.labels().get(SERVICE_UID)?.clone();
        Some(Self { service: ServiceName { namespace: origin.namespace().unwrap_or_default(), name }, service_uid })
    }
}

/// Whether we have made an object for this Experiment.
fn is_held(object: &ObjectMeta, experiment_uid: &str) -> bool {
    let of = object.labels.as_ref().and_then(|labels| labels.get(EXPERIMENT_UID));
    names::is_ours(object) && of.is_some_and(|uid| uid == experiment_uid)
}

pub(super) fn unwritten(error: &serde_json::Error) -> PathError {
    PathError { message: format!("an object of ours cannot be written down: {error}") }
}
