//! What is seen of the cluster while a run lasts: each redirected Service, the endpoints of its origin, and the pods around it.
//! Watches with bounded selectors, kept in stores; they end when this is dropped.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use futures::{StreamExt as _, pin_mut};
use glooshot_api::names::ServiceName;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{error::Elapsed, timeout},
};

use super::names;
use crate::cluster::watching;

/// The API server ends a watch after this time, and it is begun anew: shorter than the silence after which a client of ours takes
/// a connection for dead.
const WATCH_SECONDS: u32 = 20;

/// For the first answer of a watch.
const FIRST: Duration = Duration::from_secs(30);

/// The watches of one run.
#[derive(Debug)]
pub(super) struct Eyes {
    services: BTreeMap<ServiceName, (Store<Service>, Store<EndpointSlice>)>,
    pods: BTreeMap<String, Store<Pod>>,
    changes: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl Eyes {
    /// Watches the Services and their origins, and the pods of these namespaces and theirs.
    pub(super) fn open<'a>(
        client: &Client,
        services: &'a [ServiceName],
        namespaces: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let (changed, changes) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let mut eyes = Self { services: BTreeMap::new(), pods: BTreeMap::new(), changes, _tasks: JoinSet::new() };
        for service in services {
            let own = watcher::Config::default().fields(&format!("metadata.name={}", service.name));
            let slices = watcher::Config::default()
                .labels(&format!("kubernetes.io/service-name={}", names::origin(&service.name)));
            let (client, namespace) = (client.clone(), service.namespace.as_str());
            let stores = (
                keep(&mut tasks, Api::namespaced(client.clone(), namespace), own, &changed),
                keep(&mut tasks, Api::namespaced(client, namespace), slices, &changed),
            );
            eyes.services.insert(service.clone(), stores);
        }
        let all = namespaces.into_iter().chain(services.iter().map(|service| service.namespace.as_str()));
        for namespace in all {
            if !eyes.pods.contains_key(namespace) {
                let api = Api::namespaced(client.clone(), namespace);
                let store = keep(&mut tasks, api, watcher::Config::default(), &changed);
                eyes.pods.insert(namespace.to_owned(), store);
            }
        }
        eyes._tasks = tasks;
        eyes
    }

    /// Waits until everything has been seen once.
    pub(super) async fn ready(&self) -> Result<(), Elapsed> {
        timeout(FIRST, async {
            for (services, slices) in self.services.values() {
                let _ended_with_us = (services.wait_until_ready().await, slices.wait_until_ready().await);
            }
            for pods in self.pods.values() {
                let _ended_with_us = pods.wait_until_ready().await;
            }
        })
        .await
    }

    /// Changes with everything that is seen.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// A Service as it is now.
    pub(super) fn service(&self, name: &ServiceName) -> Option<Arc<Service>> {
        self.services.get(name)?.0.get(&ObjectRef::new(&name.name).within(&name.namespace))
    }

    /// The endpoints of its origin.
    pub(super) fn slices(&self, name: &ServiceName) -> Vec<Arc<EndpointSlice>> {
        self.services.get(name).map_or_else(Vec::new, |(_, slices)| slices.state())
    }

    /// All pods that are seen.
    pub(super) fn pods(&self) -> Vec<Arc<Pod>> {
        self.pods.values().flat_map(Store::state).collect()
    }

    /// The proxies of a Service, which are those of its uid.
    pub(super) fn proxies(&self, namespace: &str, service_uid: &str) -> Vec<Arc<Pod>> {
        let is_one = |pod: &Arc<Pod>| {
            names::is_ours(&pod.metadata) && pod.labels().get(names::SERVICE_UID).is_some_and(|uid| uid == service_uid)
        };
        let pods = self.pods.get(namespace).map_or_else(Vec::new, Store::state);
        pods.into_iter().filter(is_one).collect()
    }
}

/// Keeps what a watch tells in a store, for as long as the tasks run.
fn keep<K>(tasks: &mut JoinSet<()>, api: Api<K>, config: watcher::Config, changed: &watch::Sender<u64>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, words) = watching::cache(api, (), config.timeout(WATCH_SECONDS), |_| {});
    let changed = changed.clone();
    tasks.spawn(async move {
        pin_mut!(words);
        while let Some(word) = words.next().await {
            if let Err(error) = word {
                tracing::warn!(%error, kind = %K::kind(&()), "a watch is interrupted, and will be tried again");
            }
            changed.send_modify(|changes| *changes = changes.wrapping_add(1));
        }
    });
    store
}
