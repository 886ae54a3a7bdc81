//! What is decided is done: finalizers, runs, and everything put back. Says what there is to report.

use std::{sync::Arc, time::Duration};

use glooshot_api::{
    experiment::Reconnect,
    names::ServiceName,
    report::Report,
    scenario::Scenario,
    status::{ConditionStatus, ConditionType, ExperimentStatus},
};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, PatchParams},
};
use tokio::sync::watch;

use super::{
    Context, Paths,
    decide::{Decision, Obstacle, Reason},
    error::ReconcileError,
    finalizer,
    observe::{Observed, Refusal},
    pulse,
    report::{Note, Told},
    runs::{Begin, View},
    status::{self, reason},
};
use crate::{
    engine::{Outcome, Run, TakenUp, clock},
    paths::redirect::{Holder, Owner},
    proxy::Moment,
};

/// What an object in the world says of its end is this much later than the end that is planned: routing, a restart of the targets and draining take time.
const SLACK: Duration = Duration::from_secs(1_200);

/// Does what was decided.
pub(crate) async fn act<P: Paths>(
    context: &Arc<Context<P>>,
    observed: &Observed,
    decision: Decision,
) -> Result<Told, ReconcileError> {
    match decision {
        Decision::Nothing => Ok(Told::Nothing),
        Decision::Hold => hold(context, observed, true).await.map(|()| Told::Nothing),
        Decision::Refuse(obstacle) => Ok(refuse(observed, obstacle)),
        Decision::Start => start(context, observed).await,
        Decision::TakeUp => take_up(context, observed).await,
        Decision::Stop(reason) => {
            context.runs.stop(&observed.uid, &said(reason, observed));
            Ok(tell(context, observed))
        }
        Decision::Tell => Ok(tell(context, observed)),
        Decision::Conclude => Ok(conclude(context, observed)),
        Decision::Keep => {
            context.runs.remove(&observed.uid);
            Ok(Told::Nothing)
        }
        Decision::LetGo => let_go(context, observed).await,
    }
}

fn said(reason: Reason, observed: &Observed) -> String {
    match reason {
        Reason::Deleted => "the Experiment was deleted".to_owned(),
        Reason::HasResult => "the Experiment has a result already".to_owned(),
        Reason::Halted => observed.refusal.as_ref().map_or_else(|| "halted".to_owned(), |it| it.message.clone()),
    }
}

/// Writes or removes our finalizer; refused by the API server when the object has changed meanwhile.
async fn hold<P: Paths>(context: &Context<P>, observed: &Observed, held: bool) -> Result<(), ReconcileError> {
    let object = &observed.object;
    let patch = finalizer::patch(object.as_ref(), held);
    let written =
        experiments(context, object).patch_metadata(&object.name_any(), &PatchParams::default(), &patch).await;
    match written {
        // Whatever is gone holds nothing any more.
        Err(kube::Error::Api(status)) if status.code == 404 && !held => Ok(()),
        other => other.map(drop).map_err(ReconcileError::api("the finalizer could not be written")),
    }
}

/// The status says why nothing starts.
fn refuse(observed: &Observed, obstacle: Obstacle) -> Told {
    let unknown = Refusal { reason: reason::INVALID, message: String::new() };
    let Refusal { reason, message } = observed.refusal.as_ref().unwrap_or(&unknown);
    let kind = match obstacle {
        Obstacle::NotAccepted => ConditionType::Accepted,
        Obstacle::Halted | Obstacle::SwitchUnread | Obstacle::TakingUp | Obstacle::TargetBusy | Obstacle::TooMany => {
            ConditionType::Routed
        }
    };
    let news = observed.status.conditions.iter().all(|condition| condition.reason != *reason);
    let note = news.then(|| Note::refused(reason, message));
    Told::Status { status: Box::new(status::refused(kind, reason, message)), note, report: None }
}

/// Begins a run.
async fn start<P: Paths>(context: &Arc<Context<P>>, observed: &Observed) -> Result<Told, ReconcileError> {
    let Some(Ok(scenario)) = &observed.scenario else { return Ok(Told::Nothing) };
    // The caches may be behind: an Experiment that has ended must not begin again.
    if !is_as_observed(context, observed).await? {
        return Ok(Told::Nothing);
    }
    launch(context, observed, scenario.clone(), None);
    Ok(tell(context, observed))
}

/// Goes on with a run that another process began.
async fn take_up<P: Paths>(context: &Arc<Context<P>>, observed: &Observed) -> Result<Told, ReconcileError> {
    if !is_as_observed(context, observed).await? {
        return Ok(Told::Nothing);
    }
    let mut scenario = match &observed.scenario {
        Some(Ok(scenario)) => scenario.clone(),
        Some(Err(Refusal { message, .. })) => return lost(context, observed, message).await,
        None => return Ok(Told::Nothing),
    };
    let result = observed.status.result.as_ref();
    let started =
        result.and_then(|result| result.time_started.as_deref()).and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(why) = taken_away(context, &observed.uid, &scenario) {
        return lost(context, observed, &why).await;
    }
    let taken_up = match started {
        // It was routed, and its faults may have been on, if not for long: it begins anew on the same route.
        None => None,
        Some(started) => {
            // Callers have come through the path before; who began the run has seen to it.
            scenario.reconnect = Reconnect::None;
            let name = observed.object.name_any();
            let reports: Api<Report> = Api::namespaced(context.client.clone(), &observed.namespace());
            let report = reports.get_opt(&name).await.map_err(ReconcileError::api("the Report could not be read"))?;
            let ours = report.filter(|report| report.owner_references().iter().any(|owner| owner.uid == observed.uid));
            let seen_until = (*context.before.borrow()).unwrap_or(started).max(started);
            let history = ours.map(|report| report.spec.failure_condition_history).unwrap_or_default();
            Some(TakenUp { started, seen_until, history })
        }
    };
    launch(context, observed, scenario, taken_up);
    if observed.situation.obstacle == Some(Obstacle::Halted) {
        context.runs.stop(&observed.uid, &said(Reason::Halted, observed));
    }
    Ok(tell(context, observed))
}

/// Which target of a run that had begun was put back or changed while nobody led; such a run must not take it again.
fn taken_away<P: Paths>(context: &Context<P>, uid: &str, scenario: &Scenario) -> Option<String> {
    let held = |target: &ServiceName| {
        let service = context.world.service(&target.namespace, &target.name);
        service.is_some_and(|service| context.paths.holds(&service, uid))
    };
    let taken = scenario.services().into_iter().find(|target| !held(target))?;
    Some(format!("Service {taken} has been put back, changed or deleted meanwhile"))
}

/// A run that was begun and cannot go on: everything is put back, and nothing can be concluded.
async fn lost<P: Paths>(context: &Context<P>, observed: &Observed, why: &str) -> Result<Told, ReconcileError> {
    context.paths.release(&observed.uid).await.map_err(ReconcileError::Release)?;
    let mut outcome = Outcome::interrupted(&format!("another controller began this run, and it cannot go on: {why}"));
    if let (Some(result), Some(before)) = (&mut outcome.status.result, &observed.status.result) {
        result.time_started.clone_from(&before.time_started);
    }
    outcome.status.data_path.clone_from(&observed.status.data_path);
    outcome.status.injection.clone_from(&observed.status.injection);
    outcome.status.conditions = vec![
        status::condition(ConditionType::Routed, ConditionStatus::False, reason::RESTORED, ""),
        status::condition(ConditionType::FaultsActive, ConditionStatus::False, reason::ENDED, ""),
        status::condition(ConditionType::Restored, ConditionStatus::True, reason::RESTORED, ""),
    ];
    let note = Note::concluded(&outcome.status);
    Ok(Told::Status { status: Box::new(outcome.status), note, report: None })
}

/// Whether the object still is what was observed, as far as a run depends on it.
async fn is_as_observed<P: Paths>(context: &Context<P>, observed: &Observed) -> Result<bool, ReconcileError> {
    let object = &observed.object;
    let now = experiments(context, object)
        .get_opt(&object.name_any())
        .await
        .map_err(ReconcileError::api("the Experiment could not be read"))?;
    let same = |now: &DynamicObject| {
        now.metadata.uid == object.metadata.uid
            && now.metadata.generation == object.metadata.generation
            && now.metadata.deletion_timestamp == object.metadata.deletion_timestamp
            && now.metadata.finalizers == object.metadata.finalizers
            && now.data.pointer("/status/result/state") == object.data.pointer("/status/result/state")
    };
    Ok(now.as_ref().is_some_and(same))
}

/// Starts the engine and everything that goes on beside it.
fn launch<P: Paths>(context: &Arc<Context<P>>, observed: &Observed, scenario: Scenario, taken_up: Option<TakenUp>) {
    let (name, namespace, uid) = (observed.object.name_any(), observed.namespace(), observed.uid.clone());
    let started = taken_up.as_ref().map_or_else(clock::now, |run| run.started);
    let planned = scenario.settle + scenario.duration + scenario.keep_routed;
    let deadline = started.saturating_add(planned + SLACK).unwrap_or(Timestamp::MAX);
    let (live, is_live) = watch::channel(Moment::now());
    let owner = Owner { namespace, name: name.clone(), uid: uid.clone(), kind: Holder::Experiment };
    let path = Arc::new(context.paths.path(owner, deadline, is_live));
    let run = Run::new(scenario.clone(), Arc::clone(&path))
        .prometheus(context.settings.prometheus.clone())
        .webhooks(context.settings.webhooks.clone())
        .polling_interval(context.settings.polling);
    let poke = context.poke(&observed.object);
    let (api, halt) = (experiments(context, &observed.object), context.halt.clone());
    let again = taken_up.is_some();
    let beside = |stop| tokio::spawn(pulse::beat(api, name, uid, halt, live, stop));
    let most = context.settings.max_runs;
    if context.runs.start(&observed.uid, most, Begin { run, path, scenario, taken_up, poke, stage: P::stage }, beside) {
        // Whoever ceased to lead meanwhile has given up its runs before this one was there.
        if !context.leads() {
            context.runs.remove(&observed.uid);
            return;
        }
        tracing::info!(experiment = %observed.name(), again, "a run begins");
        context.metrics.started(again);
    }
}

/// The status says how the run is, if that is due.
fn tell<P: Paths>(context: &Context<P>, observed: &Observed) -> Told {
    context.runs.view(&observed.uid).map_or(Told::Nothing, |view| {
        let View { scenario, sight, counts, .. } = &view;
        let status = Box::new(sight.status(scenario, counts));
        let note = Note::of_phase(&observed.status, &status);
        Told::Going { status, note, view: Box::new(view) }
    })
}

/// Result and Report of a run that has ended.
fn conclude<P: Paths>(context: &Context<P>, observed: &Observed) -> Told {
    let Some(outcome) = context.runs.outcome(&observed.uid) else { return Told::Nothing };
    let note = Note::concluded(&outcome.status);
    let mut status = outcome.status.clone();
    if let Some(warnings) = Some(outcome.warnings.join("; ")).filter(|warnings| !warnings.is_empty()) {
        tracing::warn!(experiment = %observed.name(), %warnings, "a run has ended");
    }
    keep_accepted(&mut status);
    Told::Status { status: Box::new(status), note, report: Some(outcome.report.clone()) }
}

fn keep_accepted(status: &mut ExperimentStatus) {
    if status.conditions.iter().all(|condition| condition.kind != ConditionType::Accepted) {
        let accepted = status::condition(ConditionType::Accepted, ConditionStatus::True, reason::VALID, "");
        status.conditions.insert(0, accepted);
    }
}

/// Puts back what is left in the world, then lets the object go.
async fn let_go<P: Paths>(context: &Context<P>, observed: &Observed) -> Result<Told, ReconcileError> {
    context.paths.release(&observed.uid).await.map_err(ReconcileError::Release)?;
    // Of an object that stays, the status says so first: without the finalizer nobody looks at it again.
    let restored = &observed.status.conditions;
    let unsaid = restored.iter().any(|it| it.kind == ConditionType::Restored && it.status != ConditionStatus::True);
    if unsaid && !observed.situation.deleting {
        let mut status = observed.status.clone();
        for condition in &mut status.conditions {
            if condition.kind == ConditionType::Restored {
                *condition = status::condition(condition.kind, ConditionStatus::True, reason::RESTORED, "");
            } else if condition.kind == ConditionType::Routed {
                *condition = status::condition(condition.kind, ConditionStatus::False, reason::RESTORED, "");
            }
        }
        return Ok(Told::Status { status: Box::new(status), note: None, report: None });
    }
    if observed.situation.held {
        hold(context, observed, false).await?;
    }
    if observed.situation.deleting || observed.situation.state.is_final() {
        context.runs.remove(&observed.uid);
    }
    Ok(Told::Nothing)
}

/// The Experiments of an object's namespace, each read by itself.
pub(crate) fn experiments<P: Paths>(context: &Context<P>, object: &DynamicObject) -> Api<DynamicObject> {
    let namespace = object.namespace().unwrap_or_default();
    Api::namespaced_with(context.client.clone(), &namespace, &super::resource())
}
