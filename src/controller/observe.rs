//! What is known of an Experiment and of the world, from caches alone: nothing is asked here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use glooshot_api::{
    experiment::Experiment,
    names::{ServiceName, is_protected_namespace},
    scenario::Scenario,
    status::{ConditionStatus, ConditionType, ExperimentStatus, ResultState},
    validate::{self, MAX_KEEP_ROUTED},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    ResourceExt as _,
    api::DynamicObject,
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;

use super::{
    Context, Paths,
    decide::{Obstacle, RunState, Situation},
    discovery::{self, Index},
    finalizer,
    status::reason,
};
use crate::{
    engine::{KEPT_ROUTED, clock, condition},
    paths::redirect::{Holder, Owner, names},
    proxy::Moment,
};

/// How old the index of names may be.
const INDEX_AGE: Duration = Duration::from_secs(1);

/// Services and pods, as the API server told of them.
#[derive(Clone)]
pub(crate) struct World {
    /// One for each namespace that is watched, or one for all.
    services: Vec<Store<Service>>,
    pods: Vec<Store<Pod>>,
    index: Arc<Mutex<Option<Made>>>,
}

/// An index, and when it was made.
type Made = (Moment, Arc<Index>);

impl World {
    /// A world in these caches.
    pub(crate) fn new(services: Vec<Store<Service>>, pods: Vec<Store<Pod>>) -> Self {
        Self { services, pods, index: Arc::default() }
    }

    /// Returns when every cache has been filled.
    pub(crate) async fn filled(&self) {
        // A cache whose writer has ended is never asked.
        for store in &self.services {
            let _filled = store.wait_until_ready().await;
        }
        for store in &self.pods {
            let _filled = store.wait_until_ready().await;
        }
    }

    /// Everything that has a name, as it was at most a second ago: many Experiments may ask at once.
    pub(crate) fn index(&self) -> Arc<Index> {
        let mut kept = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment::now();
        if let Some((made, index)) = &*kept
            && now.since(*made) < INDEX_AGE
        {
            return Arc::clone(index);
        }
        let index = Arc::new(self.make_index());
        *kept = Some((now, Arc::clone(&index)));
        index
    }

    fn make_index(&self) -> Index {
        let services: Vec<Arc<Service>> = self.services.iter().flat_map(Store::state).collect();
        let pods: Vec<Arc<Pod>> = self.pods.iter().flat_map(Store::state).collect();
        discovery::index(services.iter().map(Arc::as_ref), pods.iter().map(Arc::as_ref), &original_selector)
    }

    /// One Service.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        let key = ObjectRef::new(name).within(namespace);
        self.services.iter().find_map(|store| store.get(&key))
    }

    /// One pod.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let key = ObjectRef::new(name).within(namespace);
        self.pods.iter().find_map(|store| store.get(&key))
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("scopes", &self.services.len()).finish()
    }
}

/// The selector that a Service has when nothing is routed; none for our own Services.
pub(super) fn original_selector(service: &Service) -> Option<BTreeMap<String, String>> {
    if names::is_ours(&service.metadata) {
        return None;
    }
    let routed = service.annotations().get(names::REDIRECT).and_then(|text| names::original_selector(text));
    Some(routed.or_else(|| service.spec.as_ref()?.selector.clone()).unwrap_or_default())
}

/// Why an Experiment cannot start as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One word.
    pub(crate) reason: &'static str,
    /// A sentence that says what to do.
    pub(crate) message: String,
}

/// What is known of one Experiment.
#[derive(Debug)]
pub(crate) struct Observed {
    /// The object, as it was told of.
    pub(crate) object: Arc<DynamicObject>,
    /// Its uid.
    pub(crate) uid: String,
    /// What it asks for; or what of it cannot be read.
    pub(crate) experiment: Result<Experiment, String>,
    /// Its status, as far as it can be read.
    pub(crate) status: ExperimentStatus,
    /// What decides.
    pub(crate) situation: Situation,
    /// What would run, or why it cannot; only where there is a run to begin.
    pub(crate) scenario: Option<Result<Scenario, Refusal>>,
    /// What stands in the way of a start, in words.
    pub(crate) refusal: Option<Refusal>,
}

impl Observed {
    /// Its namespace.
    pub(crate) fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    /// Namespace and name, for people.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.namespace(), self.object.name_any())
    }
}

/// Observes one Experiment.
pub(crate) fn observe<P: Paths>(context: &Context<P>, object: Arc<DynamicObject>) -> Observed {
    let uid = object.uid().unwrap_or_default();
    let status = status(&object);
    let state = status.result.as_ref().map_or(ResultState::Pending, |result| result.state);
    let run = context.runs.state(&uid);
    let experiment = parse(&object);
    let mut situation = Situation {
        leading: context.leads(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        held: finalizer::is_on(object.as_ref()),
        state,
        under_way: is_under_way(&status),
        kept: experiment.as_ref().is_ok_and(|it| kept_until(it, &status).is_some_and(|until| clock::now() < until)),
        run,
        obstacle: None,
    };
    let halted = context.halt.borrow().obstacle();
    let begins = situation.leading && !situation.deleting && run == RunState::None && !state.is_final();
    let scenario = begins.then(|| resolve(context, &experiment));
    let mut refusal = None;
    if let Some((obstacle, message)) = halted {
        situation.obstacle = Some(obstacle);
        refusal = Some(Refusal { reason: reason::HALTED, message });
    } else if let Some(scenario) = &scenario {
        let found = obstacle(context, &uid, scenario);
        situation.obstacle = found.as_ref().map(|(obstacle, _)| *obstacle);
        refusal = found.map(|(_, refusal)| refusal);
    }
    Observed { object, uid, experiment, status, situation, scenario, refusal }
}

/// Until when the targets stay routed behind the end, where the status says that they do.
fn kept_until(experiment: &Experiment, status: &ExperimentStatus) -> Option<Timestamp> {
    status.conditions.iter().find(|it| it.kind == ConditionType::Restored && it.reason == KEPT_ROUTED)?;
    let finished = status.result.as_ref()?.time_finished.as_deref()?.parse::<Timestamp>().ok()?;
    let kept = experiment.spec.spec.routing.as_ref()?.keep_routed?.get();
    finished.checked_add(kept.min(MAX_KEEP_ROUTED)).ok()
}

/// What stands in the way of a start.
fn obstacle<P: Paths>(
    context: &Context<P>,
    uid: &str,
    scenario: &Result<Scenario, Refusal>,
) -> Option<(Obstacle, Refusal)> {
    let scenario = match scenario {
        Ok(scenario) => scenario,
        Err(refusal) => return Some((Obstacle::NotAccepted, refusal.clone())),
    };
    let refuse = |obstacle, reason, message| Some((obstacle, Refusal { reason, message }));
    if let Some(other) = context.not_taken_up(uid) {
        let message = format!("{other} was begun by another controller and is taken up first");
        return refuse(Obstacle::TakingUp, reason::TAKING_UP, message);
    }
    if let Some((target, other)) = context.runs.rival(uid, &scenario.services()) {
        let message = format!("{other} has {target} as a target, too; this one starts when that has ended");
        return refuse(Obstacle::TargetBusy, reason::TARGET_BUSY, message);
    }
    if let Some((target, other)) = kept_for_another(context, uid, scenario) {
        let message = format!("{target} still goes through the proxies for {other}; this one starts when that is over");
        return refuse(Obstacle::TargetBusy, reason::TARGET_BUSY, message);
    }
    if context.runs.count() >= context.settings.max_runs {
        let message = format!(
            "{} experiments run, and no more may; this one starts when one has ended",
            context.settings.max_runs
        );
        return refuse(Obstacle::TooMany, reason::TOO_MANY, message);
    }
    None
}

/// A target that goes through the proxies of another Experiment, which is there and has no run any more; of one that is gone the
/// preflight tells.
fn kept_for_another<P: Paths>(context: &Context<P>, uid: &str, scenario: &Scenario) -> Option<(ServiceName, Owner)> {
    scenario.services().into_iter().find_map(|target| {
        let service = context.world.service(&target.namespace, &target.name)?;
        let origin = context.world.service(&target.namespace, &names::origin(&target.name));
        let owner = context.paths.holder(&service, origin.as_deref())?;
        let keeps = owner.kind == Holder::Experiment && owner.uid != uid && context.knows(&owner.uid);
        keeps.then_some((target, owner))
    })
}

/// What an Experiment says that is to be run.
fn resolve<P: Paths>(context: &Context<P>, experiment: &Result<Experiment, String>) -> Result<Scenario, Refusal> {
    let refuse = |reason| move |message: String| Refusal { reason, message };
    let experiment = experiment.as_ref().map_err(|message| refuse(reason::INVALID)(message.clone()))?;
    let checked = validate::check(experiment).map_err(|found| refuse(reason::INVALID)(found.to_string()))?;
    let index = context.world.index();
    let scenario = checked.resolve_with_callers(&index.ports, &index.callers);
    let scenario = scenario.map_err(|found| refuse(reason::UNRESOLVED)(found.to_string()))?;
    allowed(experiment, &scenario, &context.settings.namespace).map_err(refuse(reason::NOT_ALLOWED))?;
    condition::check(&scenario, context.settings.prometheus.as_ref(), &context.settings.webhooks)
        .map_err(|error| refuse(reason::NOT_ALLOWED)(error.to_string()))?;
    Ok(scenario)
}

/// Reads one object by itself: whatever is wrong with it is its own affair.
fn parse(object: &DynamicObject) -> Result<Experiment, String> {
    let mut experiment = Experiment::new(&object.name_any(), spec(object)?);
    experiment.metadata = object.metadata.clone();
    Ok(experiment)
}

/// The spec of one object; or what is wrong with it, and where.
pub(super) fn spec<S: DeserializeOwned>(object: &DynamicObject) -> Result<S, String> {
    let spec = object.data.get("spec").ok_or("has no spec")?;
    serde_path_to_error::deserialize(spec).map_err(|error| match error.path().to_string().as_str() {
        "." => format!("spec: {}", error.inner()),
        path => format!("spec.{path}: {}", error.inner()),
    })
}

/// The status, or that of a new Experiment where it cannot be read.
fn status(object: &DynamicObject) -> ExperimentStatus {
    let status = object.data.get("status").cloned().unwrap_or_default();
    serde_json::from_value(status.clone()).unwrap_or_else(|_| {
        // That it has a result is the one thing that must not be lost.
        let result = status.get("result").cloned().and_then(|result| serde_json::from_value(result).ok());
        ExperimentStatus { result, ..ExperimentStatus::default() }
    })
}

/// Whether somebody began to run it.
pub(crate) fn is_under_way(status: &ExperimentStatus) -> bool {
    let state = status.result.as_ref().map_or(ResultState::Pending, |result| result.state);
    let routed = |kind, status| kind == ConditionType::Routed && status == ConditionStatus::True;
    state == ResultState::Started
        || (state == ResultState::Pending && status.conditions.iter().any(|c| routed(c.kind, c.status)))
}

/// Whether an object is one that another process began to run, and nobody has ended.
pub(crate) fn is_left_behind(object: &DynamicObject) -> bool {
    finalizer::is_on(object) && object.metadata.deletion_timestamp.is_none() && is_under_way(&status(object))
}

/// Whether the scenario stays within what its author's namespace allows.
///
/// Nothing has authorised the author for other namespaces: who may create Experiments here may break what is here.
fn allowed(experiment: &Experiment, scenario: &Scenario, ours: &str) -> Result<(), String> {
    let own = &scenario.experiment.namespace;
    if is_protected_namespace(own) || own == ours {
        return Err(format!("the namespace {own} is protected: nothing is broken in it"));
    }
    if let Some(ServiceName { namespace, name }) = scenario.services().into_iter().find(|it| it.namespace != *own) {
        return Err(format!(
            "{namespace}/{name} is in another namespace; an experiment breaks services of its own namespace, {own}: create it in {namespace}"
        ));
    }
    match &experiment.spec.spec.target_mesh {
        Some(mesh) if mesh.name != super::meshes::PROXY => Err(format!(
            "spec.spec.targetMesh: there is no mesh {mesh}; `kubectl get meshes --all-namespaces` shows those that there are, and {} always is",
            super::meshes::PROXY
        )),
        _ => Ok(()),
    }
}
