//! RoutingRules: each holds its Services on our proxies, which share out the traffic, for as long as it is there.
//! Each pass over them, for each rule by itself: observe -> decide -> act -> report.

mod decide;
mod entry;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream};
use glooshot_api::{
    names::is_protected_namespace,
    routing_rule::{RoutingRule, RoutingRuleSpec},
    traffic_shift,
};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::reflector::Store,
};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::{
    decide::{Claimant, Decision, Halt, Phase, Situation, decide},
    entry::{Entry, owner, services},
};
use super::{Context, Paths, decide::Obstacle, error::ReconcileError, finalizer, meshes, observe, watches};
use crate::{cluster::watching, paths::redirect::Shares, proxy::Moment};

/// Between two passes.
const PASS: Duration = Duration::from_millis(500);
/// For all that one pass writes about one rule.
const WRITES: Duration = Duration::from_secs(10);
/// Rules that are written about at one time.
const CONCURRENCY: usize = 8;

/// In force.
const ACCEPTED: &str = "Accepted";
/// On its way.
const PENDING: &str = "Pending";
/// Not possible as it is.
const REJECTED: &str = "Rejected";

/// What is known of one rule.
struct Observed {
    object: Arc<DynamicObject>,
    uid: String,
    /// What would be in force, or why it cannot be.
    wanted: Result<Shares, String>,
    decision: Decision,
}

/// What is told about a rule.
type Told = (&'static str, String);

/// Brings all rules of the watched namespaces where they are to be, whenever we lead.
pub(super) async fn keep<P: Paths>(context: Arc<Context<P>>) {
    let kind = ApiResource::erase::<RoutingRule>(&());
    let (mut stores, mut tasks) = (Vec::new(), Vec::new());
    for scope in watches::scopes(&context.settings.namespaces) {
        let api = watches::within(&context.watching, scope.as_deref(), &kind);
        let (store, words) = watching::cache(api, kind.clone(), watching::everything(), |_: &mut DynamicObject| {});
        stores.push(store);
        tasks.push(AbortOnDropHandle::new(tokio::spawn(words.for_each(|word| async move {
            if let Err(error) = word {
                tracing::warn!(%error, "the watch of RoutingRules was cut; it goes on");
            }
        }))));
    }
    join_all(stores.iter().map(Store::wait_until_ready)).await;
    let mut entries: BTreeMap<String, Entry<P::Path>> = BTreeMap::new();
    let mut ticks = interval(PASS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !context.leads() {
            // The next leader takes them up; until then the proxies forward to the whole Service.
            entries.clear();
        } else {
            pass(&context, &stores, &mut entries).await;
        }
    }
}

async fn pass<P: Paths>(
    context: &Arc<Context<P>>,
    stores: &[Store<DynamicObject>],
    entries: &mut BTreeMap<String, Entry<P::Path>>,
) {
    let all = observe(context, stores, entries);
    let there: BTreeSet<&str> = all.iter().map(|it| it.uid.as_str()).collect();
    entries.retain(|uid, entry| {
        // One whose finalizer somebody else has removed still has its Services.
        let gone = !there.contains(uid.as_str());
        !gone || entry.phase() != Phase::Ended
    });
    let gone: Vec<String> = entries.keys().filter(|uid| !there.contains(uid.as_str())).cloned().collect();
    for uid in gone {
        if entries.get(&uid).is_some_and(|entry| entry.phase() != Phase::Ending) {
            end(context, entries, &uid, None);
        }
    }
    let mut told = Vec::new();
    for it in &all {
        told.push(act(context, entries, it));
    }
    let writes = all.iter().zip(told).map(|(it, told)| async move {
        let written = timeout(WRITES, report(context, it, told)).await;
        let name = it.object.name_any();
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, name, "a routing rule could not be written; trying again"),
            Err(_) => tracing::warn!(name, "the API server did not answer about a routing rule in time"),
        }
    });
    stream::iter(writes).for_each_concurrent(CONCURRENCY, |write| write).await;
}

fn observe<P: Paths>(
    context: &Context<P>,
    stores: &[Store<DynamicObject>],
    entries: &BTreeMap<String, Entry<P::Path>>,
) -> Vec<Observed> {
    let halt = match context.halt.borrow().obstacle() {
        Some((Obstacle::SwitchUnread, _)) => Halt::Unread,
        Some(_) => Halt::On,
        None => Halt::Off,
    };
    let objects: Vec<Arc<DynamicObject>> = stores.iter().flat_map(Store::state).collect();
    let wanted: Vec<_> = objects.iter().map(|object| wanted(context, object)).collect();
    let claimants: Vec<Claimant> =
        objects.iter().zip(&wanted).map(|(object, wanted)| claimant(object, wanted.as_ref().ok())).collect();
    let observed = objects.into_iter().zip(wanted).zip(&claimants).map(|((object, wanted), mine)| {
        let uid = object.uid().unwrap_or_default();
        let wanted = wanted.and_then(|shares| match decide::first(mine, &claimants) {
            Some((service, first)) => Err(format!(
                "the routing rule {first} shares out the traffic of Service {service} already; delete one of the two"
            )),
            None => Ok(shares),
        });
        let decision = decide(&Situation {
            halt,
            deleting: object.metadata.deletion_timestamp.is_some(),
            held: finalizer::is_on(object.as_ref()),
            generation: object.metadata.generation.unwrap_or_default(),
            valid: wanted.is_ok(),
            phase: entries.get(&uid).map_or(Phase::None, Entry::phase),
        });
        Observed { object, uid, wanted, decision }
    });
    observed.collect()
}

fn claimant(object: &DynamicObject, shares: Option<&Shares>) -> Claimant {
    let created = object.metadata.creation_timestamp.as_ref().map(|at| at.0.to_string());
    Claimant {
        age: (created, object.uid().unwrap_or_default()),
        name: format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any()),
        services: shares.map(services).unwrap_or_default(),
    }
}

/// The shares that a rule asks for, if it may.
fn wanted<P: Paths>(context: &Context<P>, object: &DynamicObject) -> Result<Shares, String> {
    let spec: RoutingRuleSpec = observe::spec(object)?;
    let own = object.namespace().unwrap_or_default();
    if is_protected_namespace(&own) || own == context.settings.namespace {
        return Err(format!("the namespace {own} is protected: nothing is routed in it"));
    }
    if let Some(mesh) = spec.target_mesh.as_ref().filter(|mesh| mesh.name != meshes::PROXY) {
        return Err(format!("spec.targetMesh: there is no mesh {mesh}; {} always is", meshes::PROXY));
    }
    let rule = RoutingRule::new(&object.name_any(), spec);
    let shares = traffic_shift::shares(&rule, &context.world.index().ports).map_err(|found| found.to_string())?;
    match services(&shares).into_iter().find(|service| service.namespace != own) {
        Some(service) => Err(format!(
            "Service {service} is in another namespace; a rule routes services of its own namespace, {own}"
        )),
        None => Ok(shares),
    }
}

/// Does what was decided, as far as it is in this process; and what there is to tell.
fn act<P: Paths>(
    context: &Arc<Context<P>>,
    entries: &mut BTreeMap<String, Entry<P::Path>>,
    it: &Observed,
) -> Option<Told> {
    let generation = it.object.metadata.generation.unwrap_or_default();
    match it.decision {
        Decision::Nothing | Decision::Hold => {
            // What keeps a rule from ending is worth knowing.
            let entry = entries.get(&it.uid).filter(|entry| entry.phase() == Phase::Ending)?;
            let why = entry.in_force::<P>().err()?;
            it.object.metadata.deletion_timestamp.is_some().then_some((PENDING, why))
        }
        Decision::Start => {
            let Ok(shares) = &it.wanted else { return None };
            let entry = match context.paths.rule_path(owner(&it.object), shares) {
                Ok(path) => Entry::start(generation, &it.object, Arc::new(path)),
                Err(error) => Entry::failed(generation, error.message),
            };
            entries.insert(it.uid.clone(), entry);
            Some((PENDING, "the Services are being routed".to_owned()))
        }
        Decision::Change => {
            let Ok(shares) = &it.wanted else { return None };
            if context.paths.reshare(&it.uid, shares) {
                entries.get_mut(&it.uid)?.changed(generation);
            } else {
                end(context, entries, &it.uid, None);
            }
            None
        }
        Decision::Tell => match entries.get(&it.uid)?.in_force::<P>() {
            Ok(()) => {
                context.retries.forget(&it.uid);
                Some((ACCEPTED, String::new()))
            }
            Err(waits) => Some((PENDING, waits)),
        },
        Decision::Refuse if it.wanted.is_ok() => context.halt.borrow().obstacle().map(|(_, why)| (PENDING, why)),
        Decision::Refuse => it.wanted.as_ref().err().map(|why| (REJECTED, why.clone())),
        Decision::End => {
            let failed = entries.get(&it.uid).filter(|entry| entry.phase() == Phase::Failed);
            let why = failed.and_then(|entry| entry.in_force::<P>().err());
            let cooling = why.as_ref().map(|_| Moment::now().plus(context.retries.next(&it.uid)));
            end(context, entries, &it.uid, cooling);
            why.map(|why| (REJECTED, why))
        }
        Decision::Forget => {
            entries.remove(&it.uid);
            None
        }
        Decision::LetGo => None,
    }
}

fn end<P: Paths>(
    context: &Arc<Context<P>>,
    entries: &mut BTreeMap<String, Entry<P::Path>>,
    uid: &str,
    cooling: Option<Moment>,
) {
    let before = entries.remove(uid);
    let entry = Entry::end(before, Arc::clone(&context.paths), uid.to_owned(), cooling);
    entries.insert(uid.to_owned(), entry);
}

/// Writes what is decided about the object itself.
async fn report<P: Paths>(context: &Context<P>, it: &Observed, told: Option<Told>) -> Result<(), ReconcileError> {
    let object = &it.object;
    let kind = ApiResource::erase::<RoutingRule>(&());
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &kind);
    let name = object.name_any();
    if let Decision::Hold | Decision::LetGo = it.decision {
        let patch = finalizer::patch(object.as_ref(), it.decision == Decision::Hold);
        return match api.patch_metadata(&name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            written => written.map(drop).map_err(ReconcileError::api("the finalizer could not be written")),
        };
    }
    let Some((state, reason)) = told else { return Ok(()) };
    let reason = if reason.is_empty() { Value::Null } else { Value::String(reason) };
    let status = json!({"observedGeneration": object.metadata.generation, "state": state, "reason": reason});
    let before = object.data.get("status");
    let same = |key: &str| {
        before.and_then(|it| it.get(key)).unwrap_or(&Value::Null) == status.get(key).unwrap_or(&Value::Null)
    };
    if ["observedGeneration", "state", "reason"].into_iter().all(same) {
        return Ok(());
    }
    let patch = json!({"metadata": {"uid": it.uid}, "status": status});
    match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        written => written.map(drop).map_err(ReconcileError::api("the status could not be written")),
    }
}
