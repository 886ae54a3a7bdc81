//! What has become of an experiment: result, status and Report.

use std::time::Duration;

use glooshot_api::{
    quantity::GoDuration,
    report::ReportSpec,
    scenario::Scenario,
    status::{
        ConditionStatus, ConditionType, DataPathStatus, ExperimentResult, ExperimentStatus, FailureType,
        InjectionStatus, ResultState, StatusCondition,
    },
    verdict::Finish,
};
use jiff::Timestamp;

use super::{
    clock,
    data_path::{PathDescription, PathError},
    recorder::Recorder,
};

/// The reason of targets that stay routed behind the end.
pub const KEPT_ROUTED: &str = "KeptRouted";

/// What has become of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The result, as the tutorial prints it; also in the status.
    pub result: ExperimentResult,
    /// The whole status.
    pub status: ExperimentStatus,
    /// Every condition's history.
    pub report: ReportSpec,
    /// What a person should know and no verdict says, one sentence each.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Of a run that nobody could see to its end: nothing can be concluded from it.
    pub fn interrupted(message: &str) -> Self {
        let failure_report = [("failure_type", FailureType::Interrupted.as_str()), ("message", message)];
        let result = ExperimentResult {
            failure_report: failure_report.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            state: ResultState::Inconclusive,
            time_finished: Some(clock::rfc3339(clock::now())),
            time_started: None,
        };
        let status = ExperimentStatus { result: Some(result.clone()), ..ExperimentStatus::default() };
        Self { result, status, report: ReportSpec::default(), warnings: Vec::new() }
    }
}

/// What the steps of the life have come to; `None` for one that was never taken.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) routed: Option<Result<(), PathError>>,
    pub(super) switched_off: Option<Result<(), PathError>>,
    pub(super) restored: Option<Result<(), PathError>>,
    /// The targets stay routed for a while.
    pub(super) kept: bool,
    pub(super) injection: Vec<InjectionStatus>,
    pub(super) stop_latency: Option<Duration>,
    pub(super) missing_callers: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Told {
    /// The faults are off, and whoever injected has said so.
    pub(super) const fn is_off(&self) -> bool {
        matches!(self.switched_off, Some(Ok(())))
    }
}

/// Everything that an outcome is made of.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) path: PathDescription,
    pub(super) verdict: Option<Finish>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    pub(super) told: Told,
    /// The conditions' names, in the order of the spec.
    pub(super) names: Vec<String>,
    /// The conditions that never had a number.
    pub(super) without_number: Vec<usize>,
    pub(super) recorder: &'a Recorder,
}

impl Ending<'_> {
    pub(super) fn outcome(mut self) -> Outcome {
        let report = self.recorder.report(&self.scenario.experiment, self.names.iter().map(String::as_str));
        let silent = self.silent();
        if !silent.is_empty() {
            self.told.warnings.push(format!("never had a number in the whole run: {}", silent.join(", ")));
        }
        let result = ExperimentResult {
            failure_report: self.verdict.as_ref().map(|v| v.failure_report.clone()).unwrap_or_default(),
            state: self.verdict.as_ref().map_or(ResultState::Inconclusive, |v| v.state),
            time_finished: self.ended.map(clock::rfc3339),
            time_started: self.started.map(clock::rfc3339),
        };
        let failed = result.state == ResultState::Failed;
        let status = ExperimentStatus {
            observed_generation: None,
            conditions: self.conditions(&silent),
            data_path: Some(DataPathStatus { kind: self.path.kind.to_owned(), reason: self.path.reason.clone() }),
            injection: std::mem::take(&mut self.told.injection),
            stop_latency: self.told.stop_latency.filter(|_| failed).map(Into::into),
            result: Some(result.clone()),
        };
        Outcome { result, status, report, warnings: self.told.warnings }
    }

    /// The names of the conditions that never had a number.
    fn silent(&self) -> Vec<String> {
        self.without_number.iter().filter_map(|i| self.names.get(*i)).cloned().collect()
    }

    fn conditions(&self, silent: &[String]) -> Vec<StatusCondition> {
        use ConditionStatus::{False, True, Unknown};
        let now = clock::rfc3339(clock::now());
        let condition = |kind, status, reason: &str, message: String| StatusCondition {
            kind,
            status,
            reason: reason.to_owned(),
            message,
            last_transition_time: now.clone(),
            observed_generation: None,
        };
        let mut all = vec![condition(ConditionType::Accepted, True, "Valid", String::new())];

        let off = self.told.is_off();
        let back = off && matches!(self.told.restored, Some(Ok(())));
        let (status, reason, message) = match &self.told.routed {
            Some(Err(error)) => (False, "RoutingFailed", error.message.clone()),
            _ if back => (False, "Restored", String::new()),
            Some(Ok(())) if self.told.kept => (True, KEPT_ROUTED, self.kept()),
            Some(Ok(())) => (True, "NotRestored", String::new()),
            None => (False, "NotRouted", String::new()),
        };
        all.push(condition(ConditionType::Routed, status, reason, message));

        if self.started.is_some() && self.scenario.faults.iter().any(|fault| !fault.origins.is_empty()) {
            let missing = self.told.missing_callers.join(", ");
            all.push(match missing.is_empty() {
                true => condition(ConditionType::CallersSeen, True, "AllSeen", String::new()),
                false => condition(ConditionType::CallersSeen, False, "NoConnection", missing),
            });
        }

        let message = match &self.told.switched_off {
            Some(Err(error)) => error.message.clone(),
            Some(Ok(())) | None => String::new(),
        };
        let (status, reason) = if off { (False, "Ended") } else { (Unknown, "NotAcknowledged") };
        all.push(condition(ConditionType::FaultsActive, status, reason, message));

        if self.started.is_some() {
            all.push(match silent {
                [] => condition(ConditionType::ConditionsObserved, True, "AllHadData", String::new()),
                silent => condition(ConditionType::ConditionsObserved, False, "NeverHadData", silent.join(", ")),
            });
        }

        let message = match &self.told.restored {
            Some(Err(error)) => error.message.clone(),
            Some(Ok(())) | None => String::new(),
        };
        all.push(match (back, self.told.kept) {
            (true, _) => condition(ConditionType::Restored, True, "Restored", message),
            (false, true) => condition(ConditionType::Restored, False, KEPT_ROUTED, self.kept()),
            (false, false) => condition(ConditionType::Restored, False, "NotRestored", message),
        });
        all
    }

    /// For how long the targets stay routed, and how that can be ended.
    fn kept(&self) -> String {
        let kept = GoDuration::from(self.scenario.keep_routed);
        format!("routed for {kept} behind the end, without faults, as routing.keepRouted says; a deletion ends it")
    }
}
