//! The controller: brings Experiments from `kubectl apply` to their result, in a cluster whose Services are routed through our proxies.
//!
//! | file | job |
//! |---|---|
//! | `run` | wires everything, until it is told to stop |
//! | `lease` | leader election, and the fencing token |
//! | `reconcile` | one Experiment, on one screen: observe -> decide -> act -> report |
//! | `observe` | what is known of it, from caches |
//! | `decide` | what is done about it; pure |
//! | `act`, `finalizer` | what is decided is done |
//! | `report`, `status` | what was done is told: status, Report, events |
//! | `routing_rules` | RoutingRules, from `kubectl apply` until they are gone |
//! | `runs` | the engine's tasks, one for each running Experiment |
//! | `pulse`, `halt` | whether an Experiment is still there, and the operator's switch |
//! | `discovery` | upstream names from Services and pods; pure |
//! | `paths` | what is needed of a data path |
//! | `authenticator`, `authority` | who calls the control channel, and the certificates that it shows |
//! | `watches`, `meshes`, `metrics`, `retries`, `error` | caches, Mesh objects, what is counted, waits after failures, failures |
//!
//! # Guarantees
//! - Only the leader writes anything about an Experiment, and only while its lease lasts.
//! - The verdict is the engine's alone: what is decided here is whether a run starts, goes on elsewhere, or is asked to stop.
//! - The finalizer is written before anything in the world, and goes after everything in it.
//! - An Experiment that has a result never runs again. One that cannot be read fails alone.

mod act;
mod authenticator;
mod authority;
mod decide;
mod discovery;
mod error;
pub(crate) mod finalizer;
mod halt;
mod lease;
mod meshes;
mod metrics;
mod observe;
mod paths;
mod pulse;
mod reconcile;
mod report;
mod retries;
mod routing_rules;
mod run;
mod runs;
mod status;
mod watches;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use glooshot_api::{experiment::Experiment, names::KnownPort};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Client, ResourceExt as _,
    api::{ApiResource, DynamicObject},
    runtime::{
        events::Recorder,
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::{mpsc, watch};

pub use self::{
    authority::{AuthorityError, SECRET as AUTHORITY_SECRET},
    halt::{HALTED, NAME as HALT_CONFIG_MAP, REASON as HALT_REASON},
    meshes::PROXY as PROXY_MESH,
    paths::Paths,
    run::{Controller, ControllerError, Stop},
};
use self::{
    halt::Switch,
    metrics::Metrics,
    observe::World,
    retries::Retries,
    runs::{Poke, Runs},
};
use crate::{
    engine::{EgressPolicy, Prometheus},
    paths::redirect::Reign,
    proxy::Moment,
};

/// The Lease that the leader holds.
pub const LEASE: &str = "glooshot-controller";
/// Who owns the fields that the controller writes.
const MANAGER: &str = "glooshot-controller";

/// How a controller is to work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its own namespace: Lease, Secret and ConfigMap are there.
    pub namespace: String,
    /// Its pod's name, or what people recognise it by.
    pub process: String,
    /// Where it takes the calls of proxies.
    pub listen_control: SocketAddr,
    /// Where it serves `/metrics`, `/healthz` and `/readyz`.
    pub listen_metrics: SocketAddr,
    /// How proxies call it: HOST:PORT.
    pub control_address: String,
    /// The Prometheus that queries are sent to.
    pub prometheus: Option<Prometheus>,
    /// The hosts that webhooks may be on.
    pub webhooks: EgressPolicy,
    /// Between two polls of a query or a webhook.
    pub polling: Duration,
    /// The namespaces whose Experiments are run; all when empty.
    pub namespaces: Vec<String>,
    /// Runs at one time at the most.
    pub max_runs: usize,
    /// Looks at Experiments at one time at the most.
    pub concurrency: u16,
}

/// What every look at an Experiment needs.
pub(crate) struct Context<P> {
    client: Client,
    watching: Client,
    paths: Arc<P>,
    settings: Settings,
    world: World,
    experiments: Vec<Store<DynamicObject>>,
    runs: Runs,
    halt: watch::Receiver<Switch>,
    reign: watch::Receiver<Option<Reign>>,
    before: watch::Receiver<Option<Timestamp>>,
    events: Recorder,
    metrics: Metrics,
    retries: Retries,
    /// One queue for each scope: its namespace, or none for all.
    pokes: Vec<(Option<String>, mpsc::Sender<ObjectRef<DynamicObject>>)>,
}

impl<P> Context<P> {
    /// Another Experiment that was begun by another process and is not taken up yet.
    fn not_taken_up(&self, uid: &str) -> Option<String> {
        let left = |object: &DynamicObject| {
            let other = object.metadata.uid.as_deref().unwrap_or_default();
            other != uid && observe::is_left_behind(object) && self.runs.state(other) == decide::RunState::None
        };
        let found = self.experiments.iter().find_map(|store| store.find(|object| left(object)))?;
        Some(format!("{}/{}", found.namespace().unwrap_or_default(), found.name_any()))
    }

    /// Whether the Experiment with this uid is there.
    fn knows(&self, uid: &str) -> bool {
        let is_it = |object: &DynamicObject| object.metadata.uid.as_deref() == Some(uid);
        self.experiments.iter().any(|store| store.find(is_it).is_some())
    }

    /// What asks for another look at an Experiment.
    fn poke(&self, object: &DynamicObject) -> Poke {
        let (queue, object) = (self.queue(object).cloned(), ObjectRef::from_obj_with(object, resource()));
        // When the queue is full, everything in it is looked at, and every run asks again within seconds.
        Arc::new(move || {
            let _asked = queue.as_ref().is_some_and(|queue| queue.try_send(object.clone()).is_ok());
        })
    }

    /// Whether we lead at this moment: our lease has not ended, whatever the election has come to meanwhile.
    fn leads(&self) -> bool {
        self.reign.borrow().is_some_and(|reign| Moment::now() < reign.until)
    }

    /// Asks for another look at an Experiment, as soon as there is a place in the queue.
    async fn ask(&self, object: &DynamicObject) {
        if let Some(queue) = self.queue(object) {
            let _nobody_looks = queue.send(ObjectRef::from_obj_with(object, resource())).await;
        }
    }

    fn queue(&self, object: &DynamicObject) -> Option<&mpsc::Sender<ObjectRef<DynamicObject>>> {
        let within = |scope: &Option<String>| scope.is_none() || *scope == object.metadata.namespace;
        self.pokes.iter().find(|(scope, _)| within(scope)).map(|(_, queue)| queue)
    }
}

/// Every Service port among these, with its subsets, as references are resolved against it.
pub fn upstreams(services: &[Service], pods: &[Pod]) -> Vec<KnownPort> {
    discovery::index(services, pods, &observe::original_selector).ports
}

/// Experiments as the API server names them; each is read by itself, so that one that cannot be read fails alone.
fn resource() -> ApiResource {
    ApiResource::erase::<Experiment>(&())
}
