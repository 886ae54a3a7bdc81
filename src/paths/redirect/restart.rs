//! Which workloads behind a Service a run restarts, and how far that has come. Pure.
//!
//! A workload is restarted by an annotation of its pod template, whose value is the uid of the Experiment. So its pods tell by themselves
//! whether they are from before, and whoever looks again, also in another process, sees that it has been done.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::{Pod, PodTemplateSpec},
};
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};

use super::{
    names::{self, RESTARTED_FOR},
    pods,
};
use crate::cluster::rollout;

/// What replaces its pods when its template changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// A workload, as far as its restart goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) kind: Kind,
    pub(super) name: String,
    uid: String,
    version: Option<String>,
    /// For which Experiment it was restarted last.
    restarted_for: Option<String>,
    /// Why another template would not replace all its pods, and what to do.
    held: Option<String>,
    /// It has no pod for a while when it is restarted.
    gap: bool,
    /// What its rollout lacks.
    lacks: Option<String>,
    /// Kubernetes itself has given the rollout up.
    failed: bool,
}

/// Who makes another pod when one goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// A workload, which makes one of its latest template.
    Workload(Workload),
    /// Nobody who would; why, in words.
    Nobody(String),
    /// It is being deleted, and the pod with it.
    Gone,
}

/// A controller of pods: its group with its version, its kind, and its name.
pub(super) type Controller = (String, String, String);

/// What is to be done for the restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// Restart this workload.
    Restart(&'a Workload),
    /// Wait for this.
    Wait(String),
    /// It cannot be done.
    GiveUp(String),
    /// No pod of before is left.
    Done,
}

/// Whether a pod is one of those behind a Service with this selector, also while it ends: connections to it stay until it has.
pub(super) fn is_behind(pod: &Pod, selector: &BTreeMap<String, String>) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    pods::is_selected(pod, selector) && !names::is_ours(&pod.metadata) && !matches!(phase, "Succeeded" | "Failed")
}

/// The controllers of these pods, each with one of them; `None` of those that have none.
pub(super) fn controllers(pods: &[impl Borrow<Pod>]) -> BTreeMap<Option<Controller>, String> {
    let controller = |pod: &Pod| {
        let owner = names::controller(pod)?;
        Some((owner.api_version.clone(), owner.kind.clone(), owner.name.clone()))
    };
    pods.iter().map(itself).map(|pod| (controller(pod), pod.name_any())).collect()
}

/// What is to be done for the Experiment with this uid. `known` are the workloads that have been seen to be restarted for it.
pub(super) fn next<'a>(
    uid: &str,
    pods: &[impl Borrow<Pod>],
    keepers: &'a [Keeper],
    known: &BTreeSet<String>,
) -> Next<'a> {
    if let Some(why) = keepers.iter().find_map(Keeper::refusal) {
        return Next::GiveUp(why);
    }
    let workloads = || keepers.iter().filter_map(Keeper::workload);
    if let Some(workload) = workloads().find(|it| !it.is_restarted_for(uid)) {
        if known.contains(&workload.uid) {
            return Next::GiveUp(format!("somebody else has taken back the restart of {workload}"));
        }
        return Next::Restart(workload);
    }
    let lacking = || workloads().filter_map(|workload| Some((workload, workload.lacks.as_deref()?)));
    if let Some((workload, lacks)) = lacking().find(|(workload, _)| workload.failed) {
        return Next::GiveUp(format!("the restart of {workload} makes no progress: {lacks}"));
    }
    if let Some((workload, lacks)) = lacking().next() {
        return Next::Wait(format!("{workload} to be restarted: {lacks}"));
    }
    let is_old = |pod: &&Pod| pod.annotations().get(RESTARTED_FOR).is_none_or(|of| of != uid);
    let old: Vec<&Pod> = pods.iter().map(itself).filter(is_old).collect();
    match old.first() {
        Some(pod) => {
            Next::Wait(format!("{} pods from before the restart to end, one of them {}", old.len(), pod.name_any()))
        }
        None => Next::Done,
    }
}

fn itself(pod: &impl Borrow<Pod>) -> &Pod {
    pod.borrow()
}

impl Keeper {
    /// Why its pods cannot be restarted, and what to do.
    pub(super) fn refusal(&self) -> Option<String> {
        let why = match self {
            Self::Workload(workload) => format!("{workload} {}", workload.held.as_ref()?),
            Self::Nobody(why) => {
                format!("{why}, so it would not be replaced; let a Deployment, StatefulSet or DaemonSet keep it")
            }
            Self::Gone => return None,
        };
        Some(format!("{why}, or leave routing.reconnect out"))
    }

    /// The uid of a workload that has been restarted for this Experiment.
    pub(super) fn restarted_for(&self, experiment_uid: &str) -> Option<String> {
        self.workload().filter(|it| it.is_restarted_for(experiment_uid)).map(|it| it.uid.clone())
    }

    fn workload(&self) -> Option<&Workload> {
        match self {
            Self::Workload(workload) => Some(workload),
            Self::Nobody(_) | Self::Gone => None,
        }
    }
}

impl Workload {
    fn of(kind: Kind, object: &impl Resource, template: Option<&PodTemplateSpec>) -> Self {
        let annotations = template.and_then(|template| template.metadata.as_ref()?.annotations.as_ref());
        Self {
            kind,
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            version: object.resource_version(),
            restarted_for: annotations.and_then(|all| all.get(RESTARTED_FOR).cloned()),
            held: None,
            gap: false,
            lacks: None,
            failed: false,
        }
    }

    pub(super) fn has_gap(&self) -> bool {
        self.gap
    }

    fn is_restarted_for(&self, experiment_uid: &str) -> bool {
        self.restarted_for.as_deref() == Some(experiment_uid)
    }

    /// Restarts it, if it still is what was looked at: our annotation and nothing else.
    pub(super) fn restart(&self, experiment_uid: &str) -> Value {
        json!({
            "metadata": {"resourceVersion": self.version},
            "spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: experiment_uid}}}},
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

impl From<&Deployment> for Workload {
    fn from(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let status = deployment.status.as_ref();
        let paused = spec.and_then(|spec| spec.paused).unwrap_or(false);
        let strategy = spec.and_then(|spec| spec.strategy.as_ref()?.type_.as_deref());
        let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
        let given_up = conditions.any(|it| it.reason.as_deref() == Some("ProgressDeadlineExceeded"));
        let known = status.and_then(|status| status.observed_generation) >= deployment.metadata.generation;
        Self {
            held: paused.then(|| "is paused and replaces no pod; `kubectl rollout resume` it".to_owned()),
            gap: strategy == Some("Recreate"),
            lacks: rollout::obstacle(deployment),
            failed: known && given_up,
            ..Self::of(Kind::Deployment, deployment, spec.map(|spec| &spec.template))
        }
    }
}

impl From<&StatefulSet> for Workload {
    fn from(set: &StatefulSet) -> Self {
        let spec = set.spec.as_ref();
        let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
        let partition = strategy.and_then(|it| it.rolling_update.as_ref()?.partition).unwrap_or(0);
        let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let status = set.status.clone().unwrap_or_default();
        let known = status.observed_generation >= set.metadata.generation;
        let ready = status.ready_replicas.unwrap_or(0);
        let new = status.update_revision == status.current_revision;
        let held = if strategy.and_then(|it| it.type_.as_deref()) == Some(ON_DELETE) {
            Some(NOT_BY_ITSELF.to_owned())
        } else {
            (partition > 0).then(|| "replaces only the pods behind its partition; set the partition to 0".to_owned())
        };
        Self {
            held,
            gap: wanted == 1,
            lacks: (!known || !new || ready < wanted).then(|| {
                let new = if new && known { ready } else { status.updated_replicas.unwrap_or(0).min(ready) };
                format!("{new} of {wanted} pods are ready")
            }),
            ..Self::of(Kind::StatefulSet, set, spec.map(|spec| &spec.template))
        }
    }
}

impl From<&DaemonSet> for Workload {
    fn from(set: &DaemonSet) -> Self {
        let spec = set.spec.as_ref();
        let strategy = spec.and_then(|spec| spec.update_strategy.as_ref()?.type_.as_deref());
        let status = set.status.clone().unwrap_or_default();
        let known = status.observed_generation >= set.metadata.generation;
        let wanted = status.desired_number_scheduled;
        let ready = status.number_available.unwrap_or(0).min(status.updated_number_scheduled.unwrap_or(0));
        Self {
            held: (strategy == Some(ON_DELETE)).then(|| NOT_BY_ITSELF.to_owned()),
            gap: wanted == 1,
            lacks: (!known || ready < wanted).then(|| format!("{ready} of {wanted} pods are ready")),
            ..Self::of(Kind::DaemonSet, set, spec.map(|spec| &spec.template))
        }
    }
}

const ON_DELETE: &str = "OnDelete";
const NOT_BY_ITSELF: &str = "replaces a pod only when somebody deletes it; set its updateStrategy to RollingUpdate";

#[cfg(test)]
mod tests;
