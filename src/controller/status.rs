//! The status of a run that goes on, folded from what the engine tells; pure.

use glooshot_api::{
    scenario::Scenario,
    status::{
        ConditionStatus, ConditionType, DataPathStatus, ExperimentResult, ExperimentStatus, InjectionStatus,
        ResultState, StatusCondition,
    },
};
use jiff::Timestamp;

use crate::engine::{Progress, ProgressEvent, clock};

/// Reasons of conditions that no outcome of the engine has.
pub(crate) mod reason {
    /// The object keeps every rule.
    pub(crate) const VALID: &str = "Valid";
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
            (None, _) => condition(Routed, False, reason::ROUTING, ""),
            (Some(_), true) => {
                condition(Routed, True, reason::SETTLING, "routed, without faults, so that callers come")
            }
            (Some(_), false) => condition(Routed, True, reason::ROUTED, ""),
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
