//! What was done is told: the status, the Report, a Kubernetes event. Written only where something is different.

use glooshot_api::{
    experiment::Experiment,
    report::{Report, ReportSpec},
    status::{ConditionStatus, ConditionType, ExperimentStatus, ResultState},
    without_effect::{Place, WithoutEffect, without_effect},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use serde_json::json;

use super::{
    Context, MANAGER, Paths,
    act::experiments,
    error::ReconcileError,
    observe::Observed,
    runs::View,
    status::{cut, over, reason, with_warning},
};
use crate::engine::clock;

/// The longest note of an event, as the API server allows.
const MAX_NOTE: usize = 1_000;

/// What there is to tell.
#[derive(Debug)]
pub(crate) enum Told {
    /// Nothing.
    Nothing,
    /// How a run is that goes on.
    Going {
        /// Its status.
        status: Box<ExperimentStatus>,
        /// Worth an event.
        note: Option<Note>,
        /// What it was made from.
        view: Box<View>,
    },
    /// A status, and the Report where there is one.
    Status {
        /// The status.
        status: Box<ExperimentStatus>,
        /// Worth an event.
        note: Option<Note>,
        /// The whole Report.
        report: Option<ReportSpec>,
    },
}

/// Something that people look for in `kubectl describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    warning: bool,
    reason: &'static str,
    text: String,
}

impl Note {
    /// Nothing starts.
    pub(crate) fn refused(reason: &'static str, message: &str) -> Self {
        Self { warning: true, reason, text: message.to_owned() }
    }

    /// What a running experiment has newly come to.
    pub(crate) fn of_phase(before: &ExperimentStatus, after: &ExperimentStatus) -> Option<Self> {
        let newly = |kind| holds(after, kind) && !holds(before, kind);
        let note = |reason, text: &str| Some(Self { warning: false, reason, text: text.to_owned() });
        if newly(ConditionType::FaultsActive) {
            return note("FaultsOn", "the faults are on");
        }
        let kind = after.data_path.as_ref().map_or("", |path| path.kind.as_str());
        if newly(ConditionType::Routed) {
            return note("Routed", &format!("the targets' traffic goes through the {kind} data path"));
        }
        None
    }

    /// It is accepted, and some of its fields do nothing, which has not been said before.
    fn warned(before: &ExperimentStatus, after: &ExperimentStatus) -> Option<Self> {
        let warning = |status: &ExperimentStatus| {
            let found = status.conditions.iter().find(|it| it.reason == reason::WITHOUT_EFFECT)?;
            Some(found.message.clone())
        };
        let text = warning(after).filter(|text| warning(before).as_ref() != Some(text))?;
        Some(Self { warning: true, reason: reason::WITHOUT_EFFECT, text })
    }

    /// A result.
    pub(crate) fn concluded(status: &ExperimentStatus) -> Option<Self> {
        let result = status.result.as_ref()?;
        let reason = match result.state {
            ResultState::Succeeded => "Succeeded",
            ResultState::Failed => "Failed",
            ResultState::Inconclusive => "Inconclusive",
            ResultState::Pending | ResultState::Started => return None,
        };
        let text = match reason {
            "Succeeded" => "no failure condition tripped".to_owned(),
            _ => result
                .failure_report
                .iter()
                .map(|(key, value)| format!("{key}: {value}"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        Some(Self { warning: reason != "Succeeded", reason, text })
    }
}

fn holds(status: &ExperimentStatus, kind: ConditionType) -> bool {
    status.conditions.iter().any(|condition| condition.kind == kind && condition.status == ConditionStatus::True)
}

/// Tells it. The Report goes first: a status with a result says that everything is there.
pub(crate) async fn report<P: Paths>(
    context: &Context<P>,
    observed: &Observed,
    told: Told,
) -> Result<(), ReconcileError> {
    let (status, note) = match told {
        Told::Nothing => return Ok(()),
        Told::Going { status, note, view } => {
            if let Some(report) = &view.report {
                write_report(context, observed, report).await?;
            }
            if write_status(context, observed, *status).await? != StatusWrite::None {
                context.runs.written(&observed.uid, &view);
            }
            (None, note)
        }
        Told::Status { status, note, report } => {
            if let Some(report) = &report {
                write_report(context, observed, report).await?;
            }
            let news = write_status(context, observed, (*status).clone()).await? == StatusWrite::New;
            (Some(status).filter(|_| news), note.filter(|_| news))
        }
    };
    let result = status.as_ref().and_then(|status| status.result.as_ref());
    // That everything was put back is told behind the result, and is no other end.
    let ended = result.filter(|it| it.state.is_final() && !observed.situation.state.is_final());
    if let Some(result) = ended {
        context.metrics.ended(result.state);
    }
    if let Some(note) = note {
        publish(context, observed, note).await;
    }
    Ok(())
}

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusWrite {
    /// It was written.
    New,
    /// It is what is there already.
    Same,
    /// We do not lead any more, and write nothing.
    None,
}

/// Writes the status where it differs from what is there.
async fn write_status<P: Paths>(
    context: &Context<P>,
    observed: &Observed,
    status: ExperimentStatus,
) -> Result<StatusWrite, ReconcileError> {
    let object = &observed.object;
    let status = with_warning(status, &for_nothing(observed));
    let status = over(Some(&observed.status), status, object.metadata.generation, clock::now());
    // A look may have taken longer than our lease.
    if !context.leads() {
        return Ok(StatusWrite::None);
    }
    if status == observed.status {
        return Ok(StatusWrite::Same);
    }
    // As a whole, so that nothing stays that does not hold any more; and only of the very object that was observed.
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": observed.uid},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let patch = serde_json::from_value(patch).map(Patch::Json::<()>);
    let patch = patch
        .map_err(|error| ReconcileError::api("the status cannot be written down")(kube::Error::SerdeError(error)))?;
    experiments(context, object)
        .patch_status(&object.name_any(), &manager(), &patch)
        .await
        .map_err(ReconcileError::api("the status could not be written"))?;
    if let Some(note) = Note::warned(&observed.status, &status) {
        publish(context, observed, note).await;
    }
    Ok(StatusWrite::New)
}

/// The fields of an Experiment that do nothing here, as far as it can be read.
fn for_nothing(observed: &Observed) -> Vec<WithoutEffect> {
    let experiment = observed.experiment.as_ref();
    experiment.map_or_else(|_| Vec::new(), |it| without_effect(&it.spec.spec, Place::Cluster))
}

/// Writes the Report, over one of an earlier experiment of the same name.
async fn write_report<P: Paths>(
    context: &Context<P>,
    observed: &Observed,
    spec: &ReportSpec,
) -> Result<(), ReconcileError> {
    let object = &observed.object;
    let name = object.name_any();
    let mut report = Report::new(&name, spec.clone());
    report.metadata.namespace = object.namespace();
    report.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Experiment::api_version(&()).into_owned(),
        kind: Experiment::kind(&()).into_owned(),
        name: name.clone(),
        uid: observed.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    let api: Api<Report> = Api::namespaced(context.client.clone(), &observed.namespace());
    api.patch(&name, &manager().force(), &Patch::Apply(&report))
        .await
        .map(drop)
        .map_err(ReconcileError::api("the Report could not be written"))
}

/// An event is for people who look; nothing depends on it.
async fn publish<P: Paths>(context: &Context<P>, observed: &Observed, note: Note) {
    let event = Event {
        type_: if note.warning { EventType::Warning } else { EventType::Normal },
        reason: note.reason.to_owned(),
        note: Some(cut(&note.text).chars().take(MAX_NOTE).collect()),
        action: "Run".to_owned(),
        secondary: None,
    };
    let regarding = observed.object.object_ref(&super::resource());
    if let Err(error) = context.events.publish(&event, &regarding).await {
        tracing::debug!(%error, "an event could not be written");
    }
}

fn manager() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests {
    use glooshot_api::status::ExperimentResult;

    use super::*;
    use crate::controller::status::condition;

    fn holding(kinds: &[ConditionType]) -> ExperimentStatus {
        let conditions = kinds.iter().map(|kind| condition(*kind, ConditionStatus::True, "Because", ""));
        ExperimentStatus { conditions: conditions.collect(), ..ExperimentStatus::default() }
    }

    #[test]
    fn what_is_newly_so_is_worth_an_event_and_what_was_so_before_is_not() {
        use ConditionType::{FaultsActive, Routed};
        let table: [(&[ConditionType], &[ConditionType], Option<&str>); 5] = [
            (&[], &[], None),
            (&[], &[Routed], Some("Routed")),
            (&[Routed], &[Routed], None),
            (&[Routed], &[Routed, FaultsActive], Some("FaultsOn")),
            (&[Routed, FaultsActive], &[Routed], None),
        ];
        for (before, after, expected) in table {
            let note = Note::of_phase(&holding(before), &holding(after));
            assert_eq!(note.as_ref().map(|note| note.reason), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn fields_that_do_nothing_are_told_once_and_again_when_they_are_others() {
        let status = |fields: &[&'static str]| {
            let field = |path: &&'static str| WithoutEffect { path, place: Place::Cluster, instead: "wait" };
            with_warning(holding(&[ConditionType::Accepted]), &fields.iter().map(field).collect::<Vec<_>>())
        };
        let table: [(&[&'static str], &[&'static str], Option<&str>); 4] = [
            (&["a"][..], &[][..], None),
            (&[], &["a"], Some("a")),
            (&["a"], &["a"], None),
            (&["a"], &["b"], Some("b")),
        ];
        for (before, after, expected) in table {
            let note = Note::warned(&status(before), &status(after));
            let told = expected.map(|path| format!("{path} is noted; it has no effect in a cluster: wait"));
            assert_eq!(
                note.map(|note| (note.warning, note.text)),
                told.map(|text| (true, text)),
                "{before:?} {after:?}"
            );
        }
        let mut refused = holding(&[ConditionType::Accepted]);
        refused.conditions[0].status = ConditionStatus::False;
        let told =
            with_warning(refused.clone(), &[WithoutEffect { path: "a", place: Place::Cluster, instead: "wait" }]);
        assert_eq!(told, refused, "why it is refused is not written over");
    }

    #[test]
    fn a_result_is_told_with_its_reasons() {
        let status = |state, report: &[(&str, &str)]| ExperimentStatus {
            result: Some(ExperimentResult {
                state,
                failure_report: report.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                ..ExperimentResult::default()
            }),
            ..ExperimentStatus::default()
        };
        let failed = status(ResultState::Failed, &[("value", "0.5"), ("threshold", "0.01")]);
        let note = Note::concluded(&failed).unwrap();
        assert_eq!((note.warning, note.reason, note.text.as_str()), (true, "Failed", "threshold: 0.01, value: 0.5"));
        assert!(!Note::concluded(&status(ResultState::Succeeded, &[])).unwrap().warning);
        assert_eq!(Note::concluded(&status(ResultState::Started, &[])), None);
    }
}
