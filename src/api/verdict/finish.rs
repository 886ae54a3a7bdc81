//! Verdicts, and the words in which they are reported.

use std::{collections::BTreeMap, time::Duration};

use super::{Event, Facts, GIVE_UP_AFTER_ERRORS, Rules, State, Trips, UnknownMetric};
use crate::{
    failure_condition::OnNoData,
    quantity::go_float,
    scenario::Threshold,
    status::{FailureType, ResultState},
};

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// `Failed`, `Succeeded` or `Inconclusive`.
    pub state: ResultState,
    /// Why it is not `Succeeded`.
    pub failure_type: Option<FailureType>,
    /// The failure report of the result.
    pub failure_report: BTreeMap<String, String>,
    /// The condition that decided, if one did.
    pub condition: Option<usize>,
}

impl Finish {
    pub(super) fn succeeded() -> Self {
        Self { state: ResultState::Succeeded, failure_type: None, failure_report: BTreeMap::new(), condition: None }
    }

    fn new(state: ResultState, failure_type: FailureType, entries: &[(&str, String)]) -> Self {
        let mut failure_report: BTreeMap<String, String> =
            entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        failure_report.insert("failure_type".to_owned(), failure_type.as_str().to_owned());
        Self { state, failure_type: Some(failure_type), failure_report, condition: None }
    }

    fn inconclusive(failure_type: FailureType, message: String) -> Self {
        Self::new(ResultState::Inconclusive, failure_type, &[("message", message)])
    }

    fn of_condition(mut self, state: &State, condition: usize) -> Self {
        self.failure_report.insert("failure_condition".to_owned(), state.name(condition));
        self.condition = Some(condition);
        self
    }

    /// A value crossed a threshold.
    pub(super) fn tripped(state: &State, condition: usize, value: f64, threshold: Threshold) -> Self {
        let entries = [
            ("value", go_float(value)),
            ("threshold", go_float(threshold.value)),
            ("comparison_operator", threshold.operator.to_string()),
        ];
        Self::new(ResultState::Failed, FailureType::ValueExceededThreshold, &entries).of_condition(state, condition)
    }
}

pub(super) fn no_data(state: &State, condition: usize, meaning: OnNoData) -> Option<Finish> {
    let result = match meaning {
        OnNoData::Ignore => return None,
        OnNoData::Fail => ResultState::Failed,
        OnNoData::Inconclusive => ResultState::Inconclusive,
    };
    let message = "the condition had no data, and its onNoData ends the run for that".to_owned();
    Some(Finish::new(result, FailureType::NoData, &[("message", message)]).of_condition(state, condition))
}

pub(super) fn webhook_failed(state: &State, condition: usize, status: u16) -> Finish {
    let message = format!("the webhook answered {status}; 2xx lets the run go on");
    let entries = [("status", status.to_string()), ("message", message)];
    Finish::new(ResultState::Failed, FailureType::WebhookFailed, &entries).of_condition(state, condition)
}

pub(super) fn unavailable(state: &State, condition: usize, message: &str) -> Finish {
    let message = format!("the condition could not be observed {GIVE_UP_AFTER_ERRORS} times in a row; last: {message}");
    Finish::inconclusive(FailureType::MetricsUnavailable, message).of_condition(state, condition)
}

pub(super) fn ended(event: &Event) -> Option<Finish> {
    match event {
        Event::Interrupted(message) => Some(Finish::inconclusive(FailureType::Interrupted, message.clone())),
        Event::Stopped(reason) => Some(Finish::inconclusive(FailureType::Stopped, reason.clone())),
        _ => None,
    }
}

pub(super) fn off_for_too_long(rules: &Rules, state: &State, now: Duration) -> Finish {
    let message = format!(
        "the faults were off for {:.1}s of the run; at most {:.1}s are allowed",
        state.off_time(now).as_secs_f64(),
        rules.off_allowance().as_secs_f64()
    );
    Finish::inconclusive(FailureType::Interrupted, message)
}

/// The verdict of a run whose duration has passed without a trip. A caller that bypassed us explains most, so it goes first.
pub(super) fn weigh(rules: &Rules, state: &State, facts: &Facts) -> Finish {
    if rules.has_faults && !facts.missing_callers.is_empty() {
        let message = format!(
            "{} opened no connection through the data path: connections from before the routing bypass it \
             until their callers open new ones",
            facts.missing_callers.join(", ")
        );
        return Finish::inconclusive(FailureType::TrafficBypassed, message);
    }
    if rules.has_faults && facts.injected < rules.min_injected {
        let message = format!(
            "{} requests were injected, fewer than limits.minInjected ({}): a pass would prove nothing",
            facts.injected, rules.min_injected
        );
        return Finish::inconclusive(FailureType::NoFaultInjected, message);
    }
    let mut polled = state.conditions.iter().zip(&rules.conditions);
    if let Some(condition) = polled.position(|(c, rule)| !c.answered && !matches!(rule.trips, Trips::DataPlane { .. }))
    {
        let message = "the condition was not observed even once: every attempt failed, or the run was shorter than the \
                       polling interval; a pass would prove nothing";
        return Finish::inconclusive(FailureType::MetricsUnavailable, message.to_owned())
            .of_condition(state, condition);
    }
    let unknown = facts.unknown_metrics.iter().find(|u| state.without_number().contains(&u.condition));
    if let Some(UnknownMetric { condition, metric }) = unknown {
        let message = format!(
            "the condition had no number in the whole run, and Prometheus knows no metric {metric:?}: check its name \
             and that it is scraped"
        );
        return Finish::inconclusive(FailureType::MetricsUnavailable, message).of_condition(state, *condition);
    }
    Finish::succeeded()
}
