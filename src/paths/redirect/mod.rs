//! The proxy data path in a cluster: Services whose traffic goes through proxies of ours for as long as a run lasts.
//!
//! A Service is redirected by changing the values of its selector, and nothing else, to labels of our proxies; their Deployment has
//! the same label keys and listens on the same target ports. Whatever re-applies its owner's manifest brings the real pods back.
//! An origin Service with the original selector keeps the list of the real pods, to which the proxies forward.
//!
//! | file | job |
//! |---|---|
//! | `names` | what objects are called; pure |
//! | `record` | the annotation of a redirected Service; pure |
//! | `preflight` | whether a Service can be redirected; pure |
//! | `ports`, `pods`, `amount` | what is read off Services, pods and quotas; pure |
//! | `tls` | what ends TLS at the proxies; pure |
//! | `objects` | the origin, and the proxies with all that belongs to them; pure |
//! | `isolation` | which NetworkPolicies isolate the pods of a Service, and which its proxies; pure |
//! | `bypass` | callers whose own NetworkPolicies let them reach the pods only; pure |
//! | `mirror` | NetworkPolicies of ours, by which the proxies let in whom the pods let in; pure |
//! | `patch` | flip and restore, as patches; pure |
//! | `steps` | what is done next on the way of one Service; pure |
//! | `shifts` | Services that RoutingRules hold, and their guests |
//! | `plan` | what the proxies of one Service are told; pure |
//! | `target` | one Service, and what follows from what is seen of it now |
//! | `vigil` | what goes on while a Service is on its way |
//! | `orders` | what was told to whom, and for how long it holds |
//! | `eyes` | the watches of one run |
//! | `world` | reads and writes at the API server |
//! | `restart` | which workloads are restarted, and how far that has come; pure |
//! | `keepers` | who keeps pods, read and restarted at the API server |
//! | `reconnect` | callers made to connect anew, by a restart of what they call |
//! | `isolated` | the way of a Service whose pods or proxies are isolated |
//! | `guests` | a run on a Service that a RoutingRule holds |
//! | `follow` | what happens by itself: plans follow the cluster, trips and foreign edits are told |
//! | `rescue` | everything put back without a controller |
//! | `run_state` | what the steps of a run have in common |
//! | `path` | all of it as the engine's data path |

mod amount;
mod bypass;
mod eyes;
mod follow;
mod guests;
mod isolated;
mod isolation;
mod keepers;
mod mirror;
pub mod names;
mod objects;
mod orders;
mod patch;
mod path;
mod plan;
pub(crate) mod pods;
mod ports;
mod preflight;
mod reconnect;
pub mod record;
mod rescue;
mod restart;
mod run_state;
mod shifts;
mod steps;
mod target;
mod tls;
mod vigil;
mod world;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use futures::future::join_all;
use glooshot_api::{names::ServiceName, plan::FencingToken};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{Client, ResourceExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::{
    path::RedirectPath,
    preflight::{Finding, Reason, Severity},
    rescue::{Redirected, Rescue},
    shifts::Shares,
};
use self::{shifts::Shifts, world::World};
use crate::{control::server::Hub, engine::data_path::PathError, proxy::Moment};

/// Leadership as a data path sees it. `None` in the channel: we do not lead, and nothing may be written or armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Our token.
    pub fencing: FencingToken,
    /// Our lease's end, by our clock.
    pub until: Moment,
}

/// What a Service is redirected for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holder {
    /// A run.
    #[default]
    Experiment,
    /// Its traffic is shared out.
    RoutingRule,
}

impl Holder {
    /// Annotations of Experiments do not say it: versions before there were others read them.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_experiment(&self) -> bool {
        *self == Self::Experiment
    }
}

/// An Experiment or a RoutingRule: for whom a Service is redirected.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: one of the same name that is created later is another.
    pub uid: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Holder::is_experiment")]
    pub kind: Holder,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Holder::Experiment => "experiment",
            Holder::RoutingRule => "routing rule",
        };
        write!(f, "the {kind} {}/{}", self.namespace, self.name)
    }
}

/// How proxies are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Their image.
    pub image: String,
    /// Secrets, in the namespaces of the targets, with which it is pulled.
    pub pull_secrets: Vec<String>,
    /// The namespace of the controllers.
    pub namespace: String,
    /// Where they call the controllers: `host:port`.
    pub control_address: String,
    /// The authorities (PEM) that may have signed a controller's certificate.
    pub control_ca: String,
    /// Proxies of each Service; at least 2, so that the loss of one is no outage.
    pub replicas: u16,
}

/// A step of the redirection, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The targets can be redirected.
    Preflight,
    /// The origin Service has ready pods.
    OriginReady,
    /// Every proxy is ready and has acknowledged the plan, faults off.
    ProxyReady,
    /// The Service selects the proxies.
    Flipped,
    /// A connection to the Service has arrived at a proxy.
    Verified,
    /// No pod from before the flip is left, where the workload is restarted.
    Restarted,
    /// Faults are on.
    FaultsOn,
    /// Faults are off for good.
    FaultsOff,
    /// The Service selects the real pods again.
    Restored,
    /// The proxies and the origin are gone.
    Drained,
}

/// How far a redirection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The step that is being taken, or the last one that was.
    pub step: Step,
    /// What it waits for, or what has come of it.
    pub message: String,
    /// What the preflight has found, by Service.
    pub findings: Vec<(ServiceName, Finding)>,
}

impl Default for Stage {
    fn default() -> Self {
        Self { step: Step::Preflight, message: String::new(), findings: Vec::new() }
    }
}

/// Redirects Services in a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Redirect(Arc<Shared>);

/// What all runs have in common.
struct Shared {
    world: World,
    hub: Hub,
    settings: Settings,
    reign: watch::Receiver<Option<Reign>>,
    /// Plans of one leader rise in number, whichever run they are of.
    generations: Arc<AtomicU64>,
    shifts: Shifts,
}

impl Redirect {
    /// Redirects in the cluster of `client`, tells the proxies through `hub`, and does neither while `reign` says that we do not lead.
    pub fn new(client: Client, hub: Hub, settings: Settings, reign: watch::Receiver<Option<Reign>>) -> Self {
        let (world, generations, shifts) = (World::new(client), Arc::default(), Shifts::default());
        Self(Arc::new(Shared { world, hub, settings, reign, generations, shifts }))
    }

    /// The path of one run of `owner`. `deadline` is what its annotations say; `live` is when the Experiment and the halt switch were
    /// last seen: faults are kept up only while that is less than 5 s ago.
    pub fn path(&self, owner: Owner, deadline: Timestamp, live: watch::Receiver<Moment>) -> RedirectPath {
        RedirectPath::new(Arc::clone(&self.0), owner, deadline, live, None)
    }

    /// The path of a RoutingRule: it has no end, and no fault.
    ///
    /// # Errors
    /// When another rule has one of its Services.
    pub fn rule_path(&self, owner: Owner, shares: &Shares) -> Result<RedirectPath, PathError> {
        let claim = self.0.shifts.claim(&owner, shares).map_err(|taken| {
            let (service, first) = *taken;
            let message = format!("{first} shares out the traffic of Service {service} already; delete one of the two");
            PathError { message }
        })?;
        let (_, live) = watch::channel(Moment::default());
        let rule = (shifts::services(shares), claim);
        Ok(RedirectPath::new(Arc::clone(&self.0), owner, Timestamp::MAX, live, Some(rule)))
    }

    /// Other shares of the Services that a rule holds; false if they are of others.
    pub fn reshare(&self, rule_uid: &str, shares: &Shares) -> bool {
        self.0.shifts.reshare(rule_uid, shares)
    }

    /// Keeps Experiments off the Services of a rule that is to end; whoever is there still.
    pub fn close_rule(&self, rule_uid: &str) -> Option<Owner> {
        self.0.shifts.close(rule_uid)
    }

    /// Whether `service` is still redirected by the run of the Experiment with this uid, and by nobody else.
    pub fn holds(service: &Service, experiment_uid: &str) -> bool {
        patch::is_redirected_by(service, experiment_uid)
    }

    /// For whom `service` is redirected, by its annotation.
    pub fn holder(service: &Service) -> Option<Owner> {
        Some(patch::record(service).ok()??.experiment)
    }

    /// For which Experiment an origin was made; it stays until the proxies have drained.
    pub fn maker(origin: &Service) -> Option<Owner> {
        let uid = origin.labels().get(names::EXPERIMENT_UID)?.clone();
        let (namespace, name) = origin.annotations().get(names::EXPERIMENT)?.split_once('/')?;
        Some(Owner { namespace: namespace.to_owned(), name: name.to_owned(), uid, kind: Holder::Experiment })
    }

    /// Puts back everything in the world that this Experiment holds, found from labels and annotations alone, and removes the
    /// proxies when they have drained. Idempotent.
    ///
    /// # Errors
    /// When something could not be put back; what could be has been.
    pub async fn release(&self, experiment_uid: &str) -> Result<(), PathError> {
        let world = &self.0.world;
        let held = world.held_by(experiment_uid).await?;
        let restored = join_all(held.iter().map(|it| world.restore(&it.service, experiment_uid))).await;
        // Proxies stay where the Service may still select them.
        let put_back = held.iter().zip(&restored).filter(|(_, restored)| restored.is_ok());
        let removed = join_all(put_back.map(|(it, _)| world.remove(it, experiment_uid))).await;
        restored.into_iter().chain(removed).collect()
    }
}

impl fmt::Debug for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirect").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
