//! The status of a run that goes on, folded from what the engine tells; pure.

use glooshot_api::{
    scenario::Scenario,
    status::{
        ConditionStatus, ConditionType, DataPathStatus, ExperimentResult, ExperimentStatus, InjectionStatus,
        ResultState, StatusCondition,
    },
    without_effect::WithoutEffect,
};
use jiff::Timestamp;

use crate::engine::{Progress, ProgressEvent, clock};

/// Reasons of conditions that no outcome of the engine has.
pub(crate) mod reason {
    /// The object keeps every rule.
    pub(crate) const VALID: &str = "Valid";
    /// It keeps every rule, and some of its fields do nothing here.
    pub(crate) const WITHOUT_EFFECT: &str = "FieldsWithoutEffect";
    /// The object breaks a rule.
    pub(crate) const INVALID: &str = "Invalid";
    /// It names what does not exist, or may be several things.
    pub(crate) const UNRESOLVED: &str = "Unresolved";
    /// It names what it may not touch.
    pub(crate) const NOT_ALLOWED: &str = "NotAllowed";
    /// The switch of the operator.
    pub(crate) const HALTED: &str = "Halted";
    /// Runs that another controller began have to be taken up first.
    pub(crate) const TAKING_UP: &str = "TakingUp";
    /// Another experiment has one of its targets.
    pub(crate) const TARGET_BUSY: &str = "TargetBusy";
    /// There are as many runs as there may be.
    pub(crate) const TOO_MANY: &str = "TooManyRuns";
    /// The targets are being routed.
    pub(crate) const ROUTING: &str = "Routing";
    /// The targets are routed.
    pub(crate) const ROUTED: &str = "Routed";
    /// Routed, and callers come.
    pub(crate) const SETTLING: &str = "Settling";
    /// The faults are on.
    pub(crate) const ON: &str = "On";
    /// The faults are off until a condition can be observed again.
    pub(crate) const PAUSED: &str = "Paused";
    /// They are off for good.
    pub(crate) const ENDED: &str = "Ended";
    /// They could not be switched off, or the targets not restored, yet.
    pub(crate) const RETRYING: &str = "Retrying";
    /// All callers came.
    pub(crate) const ALL_SEEN: &str = "AllSeen";
    /// A caller did not come yet.
    pub(crate) const NOT_YET: &str = "NoConnectionYet";
    /// Each condition has had a value.
    pub(crate) const OBSERVED: &str = "Observed";
    /// One has not, yet.
    pub(crate) const NO_DATA_YET: &str = "NoDataYet";
    /// A condition could not be observed.
    pub(crate) const QUERY_ERROR: &str = "QueryError";
    /// Everything is as it was before.
    pub(crate) const RESTORED: &str = "Restored";
}

/// Conditions with these messages are at most this long, as in the CRD.
const MAX_MESSAGE: usize = 4_096;

/// What is known of a run that goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sight {
    data_path: Option<DataPathStatus>,
    settling: bool,
    started: Option<Timestamp>,
    paused: Option<String>,
    ended: bool,
    error: Option<String>,
    /// Conditions that have had a value, by index.
    observed: Vec<bool>,
    query_error: Option<String>,
    /// Changes with everything that a person waits for.
    phase: u32,
}

/// What a run's data path says of itself from time to time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// What was injected, one entry for each fault.
    pub(crate) injection: Vec<InjectionStatus>,
    /// Origins that have not come.
    pub(crate) missing_callers: Vec<String>,
    /// What the path is doing or waiting for.
    pub(crate) stage: String,
}

impl Sight {
    /// Of a run of this scenario that has not told anything yet.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self { observed: vec![false; scenario.conditions.len()], ..Self::default() }
    }

    /// Changes with everything that a person waits for; other changes may be written late.
    pub(crate) const fn phase(&self) -> u32 {
        self.phase
    }

    /// Whether the targets are routed, or were.
    pub(crate) const fn is_routed(&self) -> bool {
        self.data_path.is_some()
    }

    /// When the faults were switched on.
    pub(crate) const fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// Takes in what the engine tells.
    pub(crate) fn take_in(&mut self, progress: &Progress) {
        let mut news = true;
        match &progress.event {
            ProgressEvent::Routed { path, reason } => {
                self.data_path = Some(DataPathStatus { kind: (*path).to_owned(), reason: cut(reason) });
            }
            ProgressEvent::Settling(_) => self.settling = true,
            ProgressEvent::FaultsOn => {
                self.settling = false;
                self.started = Some(progress.at);
            }
            ProgressEvent::Sample { condition, value, .. } => {
                self.query_error = None;
                news = false;
                if let Some(observed) = self.observed.get_mut(*condition) {
                    *observed |= !value.is_nan();
                }
            }
            ProgressEvent::QueryError { name, message, .. } => {
                self.query_error = Some(cut(&format!("{name}: {message}")));
                news = false;
            }
            ProgressEvent::Paused(why) => self.paused = Some(why.clone()),
            ProgressEvent::Resumed => self.paused = None,
            ProgressEvent::FaultsOff { .. } => self.ended = true,
            ProgressEvent::StopError(message) => self.error = Some(cut(message)),
            // The outcome says these.
            ProgressEvent::Tripped { .. } | ProgressEvent::Restored | ProgressEvent::Finished { .. } => news = false,
        }
        self.phase += u32::from(news);
    }

    /// The status of the run, where `scenario` runs.
    pub(crate) fn status(&self, scenario: &Scenario, counts: &Counts) -> ExperimentStatus {
        use ConditionStatus::{False, True, Unknown};
        use ConditionType::{Accepted, CallersSeen, ConditionsObserved, FaultsActive, Restored, Routed};
        let mut conditions = vec![condition(Accepted, True, reason::VALID, "")];
        conditions.push(match (&self.data_path, self.settling) {
            (None, _) => condition(Routed, False, reason::ROUTING, &counts.stage),
            (Some(_), true) => {
                condition(Routed, True, reason::SETTLING, "routed, without faults, so that callers come")
            }
            (Some(_), false) => condition(Routed, True, reason::ROUTED, &counts.stage),
        });
        if self.started.is_some() {
            if scenario.faults.iter().any(|fault| !fault.origins.is_empty()) {
                conditions.push(match counts.missing_callers.join(", ").as_str() {
                    "" => condition(CallersSeen, True, reason::ALL_SEEN, ""),
                    missing => condition(CallersSeen, False, reason::NOT_YET, missing),
                });
            }
            conditions.push(match (&self.query_error, self.observed.iter().all(|observed| *observed)) {
                (Some(error), _) => condition(ConditionsObserved, False, reason::QUERY_ERROR, error),
                (None, true) => condition(ConditionsObserved, True, reason::OBSERVED, ""),
                (None, false) => condition(ConditionsObserved, Unknown, reason::NO_DATA_YET, ""),
            });
        }
        conditions.push(match (self.started.is_some(), self.ended, &self.paused) {
            (_, true, _) => condition(FaultsActive, False, reason::ENDED, ""),
            (true, false, Some(why)) => condition(FaultsActive, False, reason::PAUSED, why),
            (true, false, None) => condition(FaultsActive, True, reason::ON, ""),
            (false, false, _) => condition(FaultsActive, False, reason::ROUTING, ""),
        });
        if let Some(error) = &self.error {
            conditions.push(condition(Restored, False, reason::RETRYING, error));
        }
        ExperimentStatus {
            observed_generation: None,
            conditions,
            data_path: self.data_path.clone(),
            injection: counts.injection.clone(),
            stop_latency: None,
            result: Some(ExperimentResult {
                state: if self.started.is_some() { ResultState::Started } else { ResultState::Pending },
                time_started: self.started.map(clock::rfc3339),
                ..ExperimentResult::default()
            }),
        }
    }
}

/// The status of an Experiment that does not start, and why.
pub(crate) fn refused(kind: ConditionType, reason: &str, message: &str) -> ExperimentStatus {
    let accepted = match kind {
        ConditionType::Accepted => None,
        _ => Some(condition(ConditionType::Accepted, ConditionStatus::True, reason::VALID, "")),
    };
    let refused = condition(kind, ConditionStatus::False, reason, message);
    ExperimentStatus {
        conditions: accepted.into_iter().chain([refused]).collect(),
        result: Some(ExperimentResult::default()),
        ..ExperimentStatus::default()
    }
}

/// An object that is accepted is so with a warning where some of its fields do nothing.
pub(crate) fn with_warning(mut status: ExperimentStatus, fields: &[WithoutEffect]) -> ExperimentStatus {
    let message = fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let reason = if fields.is_empty() { reason::VALID } else { reason::WITHOUT_EFFECT };
    let is_accepted =
        |it: &&mut StatusCondition| it.kind == ConditionType::Accepted && it.status == ConditionStatus::True;
    for accepted in status.conditions.iter_mut().filter(is_accepted) {
        *accepted = condition(ConditionType::Accepted, ConditionStatus::True, reason, &message);
    }
    status
}

/// What is to be written over `before`: generations filled in, and times of transition kept where nothing changed.
pub(crate) fn over(
    before: Option<&ExperimentStatus>,
    mut after: ExperimentStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> ExperimentStatus {
    after.observed_generation = generation;
    let known = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    for condition in &mut after.conditions {
        condition.observed_generation = generation;
        let same = known.iter().find(|old| old.kind == condition.kind && old.status == condition.status);
        condition.last_transition_time = same.map_or_else(|| seconds(now), |old| old.last_transition_time.clone());
    }
    after
}

/// One condition; its time is filled in where it is written.
pub(crate) fn condition(kind: ConditionType, status: ConditionStatus, reason: &str, message: &str) -> StatusCondition {
    StatusCondition {
        kind,
        status,
        reason: reason.to_owned(),
        message: cut(message),
        last_transition_time: String::new(),
        observed_generation: None,
    }
}

/// RFC 3339 in whole seconds, as Kubernetes writes its own.
fn seconds(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// At most as long as the CRD allows.
pub(crate) fn cut(message: &str) -> String {
    message.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= MAX_MESSAGE).map(|(_, c)| c).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::tests::scripted_path::{query, scenario, traffic};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_560_182_904 + second).unwrap()
    }

    /// The status after these events, which came one second after the other.
    fn after(events: &[ProgressEvent]) -> ExperimentStatus {
        let scenario = scenario(vec![traffic(), query("up")]);
        let mut sight = Sight::new(&scenario);
        for (second, event) in events.iter().enumerate() {
            sight.take_in(&Progress { at: at(i64::try_from(second).unwrap()), event: event.clone() });
        }
        sight.status(&scenario, &Counts::default())
    }

    fn found(status: &ExperimentStatus, kind: ConditionType) -> Option<(ConditionStatus, &str)> {
        let found = status.conditions.iter().find(|condition| condition.kind == kind)?;
        Some((found.status, found.reason.as_str()))
    }

    fn routed() -> ProgressEvent {
        ProgressEvent::Routed { path: "Proxy", reason: "there is no mesh".to_owned() }
    }

    fn sample(condition: usize, value: f64) -> ProgressEvent {
        ProgressEvent::Sample { condition, name: "a".to_owned(), value }
    }

    #[test]
    fn each_step_shows_in_its_condition() {
        use ConditionStatus::{False, True, Unknown};
        use ConditionType::{ConditionsObserved, FaultsActive, Routed};
        let on = [routed(), ProgressEvent::Settling(Duration::from_secs(5)), ProgressEvent::FaultsOn];
        let error = ProgressEvent::QueryError {
            condition: 1,
            name: "b".to_owned(),
            message: "refused".to_owned(),
            in_a_row: 1,
        };
        let with = |more: &[ProgressEvent]| after(&[&on, more].concat());
        let table = [
            (after(&[]), Routed, Some((False, reason::ROUTING))),
            (after(&[]), FaultsActive, Some((False, reason::ROUTING))),
            (after(&[]), ConditionsObserved, None),
            (after(&on[..1]), Routed, Some((True, reason::ROUTED))),
            (after(&on[..2]), Routed, Some((True, reason::SETTLING))),
            (with(&[]), Routed, Some((True, reason::ROUTED))),
            (with(&[]), FaultsActive, Some((True, reason::ON))),
            (with(&[]), ConditionsObserved, Some((Unknown, reason::NO_DATA_YET))),
            (with(&[sample(0, 1.0), sample(1, f64::NAN)]), ConditionsObserved, Some((Unknown, reason::NO_DATA_YET))),
            (with(&[sample(0, 1.0), sample(1, 0.0)]), ConditionsObserved, Some((True, reason::OBSERVED))),
            (with(&[error]), ConditionsObserved, Some((False, reason::QUERY_ERROR))),
            (with(&[ProgressEvent::Paused("blind".to_owned())]), FaultsActive, Some((False, reason::PAUSED))),
            (
                with(&[ProgressEvent::Paused("blind".to_owned()), ProgressEvent::Resumed]),
                FaultsActive,
                Some((True, reason::ON)),
            ),
            (with(&[ProgressEvent::FaultsOff { stop_latency: None }]), FaultsActive, Some((False, reason::ENDED))),
        ];
        for (status, kind, expected) in table {
            assert_eq!(found(&status, kind), expected, "{kind:?} of {status:?}");
        }
    }

    #[test]
    fn it_is_pending_until_the_faults_are_on_and_started_from_then_on() {
        let pending = after(&[routed()]).result.unwrap();
        assert_eq!((pending.state, pending.time_started), (ResultState::Pending, None));
        let started = after(&[routed(), ProgressEvent::FaultsOn]).result.unwrap();
        assert_eq!(started.state, ResultState::Started);
        assert_eq!(started.time_started.as_deref(), Some("2019-06-10T16:08:25.000000000Z"));
    }

    #[test]
    fn samples_may_be_written_late_and_steps_may_not() {
        let mut sight = Sight::new(&scenario(vec![traffic()]));
        sight.take_in(&Progress { at: at(0), event: routed() });
        let phase = sight.phase();
        sight.take_in(&Progress { at: at(1), event: sample(0, 1.0) });
        assert_eq!(sight.phase(), phase);
        sight.take_in(&Progress { at: at(2), event: ProgressEvent::FaultsOn });
        assert_ne!(sight.phase(), phase);
    }

    #[test]
    fn a_transition_is_when_the_status_changed_and_not_when_the_reason_did() {
        let written = |before: Option<&ExperimentStatus>, events: &[ProgressEvent], second| {
            over(before, after(events), Some(1), at(second))
        };
        let first = written(None, &[routed(), ProgressEvent::Settling(Duration::ZERO)], 0);
        let second = written(Some(&first), &[routed(), ProgressEvent::FaultsOn], 10);
        let times = |status: &ExperimentStatus, kind: ConditionType| {
            let found = status.conditions.iter().find(|condition| condition.kind == kind).unwrap();
            found.last_transition_time.clone()
        };
        assert_eq!(times(&second, ConditionType::Routed), "2019-06-10T16:08:24Z");
        assert_eq!(times(&second, ConditionType::FaultsActive), "2019-06-10T16:08:34Z");
        assert!(second.conditions.iter().all(|condition| condition.observed_generation == Some(1)));
        assert_eq!(written(Some(&second), &[routed(), ProgressEvent::FaultsOn], 20), second, "nothing is new");
    }

    #[test]
    fn what_does_not_start_says_why_in_the_condition_that_it_is_about() {
        let invalid = refused(ConditionType::Accepted, reason::INVALID, "spec.spec.duration: is too long");
        assert_eq!(found(&invalid, ConditionType::Accepted), Some((ConditionStatus::False, reason::INVALID)));
        let busy = refused(ConditionType::Routed, reason::TARGET_BUSY, "another has it");
        assert_eq!(found(&busy, ConditionType::Accepted), Some((ConditionStatus::True, reason::VALID)));
        assert_eq!(found(&busy, ConditionType::Routed), Some((ConditionStatus::False, reason::TARGET_BUSY)));
        assert_eq!(busy.result.unwrap().state, ResultState::Pending);
    }

    #[test]
    fn a_long_message_is_cut_at_a_letter() {
        let cut = cut(&"ü".repeat(MAX_MESSAGE));
        assert!(cut.len() <= MAX_MESSAGE && cut.chars().all(|letter| letter == 'ü'), "{}", cut.len());
    }
}
