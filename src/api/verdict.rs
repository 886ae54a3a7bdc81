//! The step function of a running experiment: what has happened, and when, gives what is done about it.
//!
//! Nothing is observed and nothing is done here. The engine feeds every [`Event`] to [`step`] and carries out the
//! [`Decision`]. Two promises hold for every sequence of events: a decision that finishes the run switches the faults
//! off, and after it nothing ever switches them on again.
//!
//! | phase | faults | left by |
//! |---|---|---|
//! | [`Preparing`](Phase::Preparing) | off | the end of settling, a stop, an interruption |
//! | [`Arming`](Phase::Arming) | being switched on | the data path's word that they are on, a stop, an interruption |
//! | [`Running`](Phase::Running) | on | a verdict, the second query error in a row, the end of the duration |
//! | [`Paused`](Phase::Paused) | off | a verdict, the next good answer, the end of the duration |
//! | [`Concluding`](Phase::Concluding) | off | the facts that only the end can tell, a trip from before the faults went off |
//! | [`Finished`](Phase::Finished) | off | nothing |

mod finish;
mod state;

use std::time::Duration;

use jiff::Timestamp;

use self::finish::{ended, no_data, off_for_too_long, unavailable, webhook_failed, weigh};
pub use self::{finish::Finish, state::State};
use crate::{
    failure_condition::OnNoData,
    scenario::{Scenario, Threshold, TriggerRule},
};

/// Query errors in a row, of one condition, after which the faults are paused: nobody is watching any more.
pub const PAUSE_AFTER_ERRORS: u32 = 2;
/// Query errors in a row, of one condition, after which the run is given up.
pub const GIVE_UP_AFTER_ERRORS: u32 = 4;
/// Faults may be off this long after the start, in sum, whatever the duration of the run.
pub const OFF_ALLOWANCE: Duration = Duration::from_secs(10);
/// Faults may be off for this part of a run's duration, where that is more than [`OFF_ALLOWANCE`].
const OFF_ALLOWANCE_PART: u32 = 10;

/// What a run is judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// How long the faults stay on at the most.
    pub duration: Duration,
    /// Whether there is any fault; a run without is a control experiment.
    pub has_faults: bool,
    /// Fewer injected requests than this make the result `Inconclusive`.
    pub min_injected: u64,
    /// The failure conditions, in the order of the spec.
    pub conditions: Vec<ConditionRules>,
}

/// What one failure condition is judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionRules {
    /// The name that its author gave it, if any.
    pub name: Option<String>,
    /// When it trips.
    pub trips: Trips,
    /// What a sample without data means.
    pub on_no_data: OnNoData,
}

/// When a condition trips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trips {
    /// A sample crosses the threshold.
    Sample(Threshold),
    /// An answer is not 2xx.
    Webhook,
    /// A data plane says so. Its samples are for the report only, and have no data before one window has passed.
    DataPlane {
        /// What the data plane compares with.
        threshold: Threshold,
        /// The window.
        window: Duration,
    },
}

impl Rules {
    /// The rules of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let conditions = scenario.conditions.iter().map(|condition| ConditionRules {
            name: condition.name.clone(),
            trips: match &condition.trigger {
                TriggerRule::Prometheus { threshold, .. } => Trips::Sample(*threshold),
                TriggerRule::Webhook { .. } => Trips::Webhook,
                TriggerRule::Traffic(rule) => Trips::DataPlane { threshold: rule.threshold, window: rule.interval },
            },
            on_no_data: condition.on_no_data,
        });
        Self {
            duration: scenario.duration,
            has_faults: !scenario.faults.is_empty(),
            min_injected: scenario.min_injected,
            conditions: conditions.collect(),
        }
    }

    /// The name of each condition: as given, or `<index>-<unix nanoseconds of the start>`.
    pub fn names(&self, started: Timestamp) -> Vec<String> {
        let generated = |index| format!("{index}-{}", started.as_nanosecond());
        self.conditions.iter().enumerate().map(|(i, c)| c.name.clone().unwrap_or_else(|| generated(i))).collect()
    }

    /// How long the faults may be off after the start, in sum.
    pub fn off_allowance(&self) -> Duration {
        OFF_ALLOWANCE.max(self.duration / OFF_ALLOWANCE_PART)
    }
}

/// What has happened. A condition is named by its index in the spec; an index that does not exist is ignored.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The targets are routed, and the time to settle has passed.
    Settled,
    /// Every data plane has the faults.
    Armed {
        /// The wall clock at the start, for the names of conditions that have none.
        started: Timestamp,
    },
    /// A condition was observed; NaN where there was no data.
    Sample {
        /// Which.
        condition: usize,
        /// What was observed.
        value: f64,
    },
    /// A webhook answered.
    WebhookAnswered {
        /// Which condition.
        condition: usize,
        /// The HTTP status.
        status: u16,
    },
    /// A condition could not be observed.
    QueryFailed {
        /// Which.
        condition: usize,
        /// What came of the attempt.
        message: String,
    },
    /// A data plane judged a condition, and has switched its own faults off.
    Tripped {
        /// Which.
        condition: usize,
        /// The value that tripped.
        value: f64,
    },
    /// A data plane switched its faults off for a while by itself, or on again.
    DataPlanePaused(bool),
    /// The data planes were told that the experiment is alive, or could not be told.
    Renewed(bool),
    /// Somebody else changed the target or took it away, or the data path failed.
    Interrupted(String),
    /// A person wants it to end.
    Stopped(String),
    /// Nothing but time has passed.
    Tick,
    /// What only the end can tell, gathered with the faults off.
    Facts(Facts),
}

/// What only the end of a run can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Requests that were aborted or delayed.
    pub injected: u64,
    /// Services that were named as origins and have opened no connection.
    pub missing_callers: Vec<String>,
    /// Conditions without a number whose query names a metric that the Prometheus does not know at all.
    pub unknown_metrics: Vec<UnknownMetric>,
}

/// A metric that the Prometheus does not know at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMetric {
    /// The condition whose query names it.
    pub condition: usize,
    /// The metric's name.
    pub metric: String,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Routing and settling; the faults are off.
    Preparing,
    /// The faults are being switched on.
    Arming,
    /// The faults are on, and the conditions are watched.
    Running,
    /// The faults are off because a condition cannot be observed.
    Paused,
    /// The duration has passed, the faults are off, the facts are missing.
    Concluding,
    /// The verdict is in.
    Finished,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Whether the faults are switched.
    pub faults: Switch,
    /// The verdict, if it is in.
    pub finish: Option<Finish>,
}

/// What is done about the faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Nothing.
    #[default]
    Unchanged,
    /// They are switched on.
    On,
    /// They are switched off.
    Off,
}

/// Decides what is done about `event`, which happened at `now` (since the run's origin, on a clock that never goes back).
pub fn step(rules: &Rules, state: &mut State, event: &Event, now: Duration) -> Decision {
    match state.phase {
        Phase::Preparing | Phase::Arming => prepare(rules, state, event, now),
        Phase::Running | Phase::Paused => watch(rules, state, event, now),
        Phase::Concluding => conclude(rules, state, event),
        Phase::Finished => Decision::default(),
    }
}

/// Before the start: only the two steps forward, and what ends everything.
fn prepare(rules: &Rules, state: &mut State, event: &Event, now: Duration) -> Decision {
    match event {
        Event::Settled if state.phase == Phase::Preparing => {
            state.phase = Phase::Arming;
            Decision { faults: Switch::On, finish: None }
        }
        Event::Armed { started } if state.phase == Phase::Arming => {
            state.phase = Phase::Running;
            state.start(rules, *started, now);
            Decision::default()
        }
        Event::Interrupted(_) | Event::Stopped(_) => ended(event).map_or_else(Decision::default, |f| finish(state, f)),
        // Nothing that is observed without faults says anything about them.
        Event::Settled
        | Event::Armed { .. }
        | Event::Sample { .. }
        | Event::WebhookAnswered { .. }
        | Event::QueryFailed { .. }
        | Event::Tripped { .. }
        | Event::DataPlanePaused(_)
        | Event::Renewed(_)
        | Event::Tick
        | Event::Facts(_) => Decision::default(),
    }
}

/// After the start. What the event itself says goes first, so that a failure beats a success of the same moment.
fn watch(rules: &Rules, state: &mut State, event: &Event, now: Duration) -> Decision {
    if let Some(verdict) = judge(rules, state, event, now) {
        return finish(state, verdict);
    }
    state.account(now);
    let over = state.since_start(now) >= rules.duration;
    let blind = state.is_blind();
    // A row of query errors ends by itself, with its own verdict; until then it is counted and not judged.
    if rules.has_faults && (over || !blind) && state.off_time(now) > rules.off_allowance() {
        return finish(state, off_for_too_long(rules, state, now));
    }
    if over {
        state.phase = Phase::Concluding;
        return Decision { faults: Switch::Off, finish: None };
    }
    match (state.phase, blind) {
        (Phase::Running, true) => {
            state.phase = Phase::Paused;
            Decision { faults: Switch::Off, finish: None }
        }
        (Phase::Paused, false) => {
            state.phase = Phase::Running;
            Decision { faults: Switch::On, finish: None }
        }
        _ => Decision::default(),
    }
}

/// After the duration: the facts decide, unless a data plane had tripped before its faults went off.
fn conclude(rules: &Rules, state: &mut State, event: &Event) -> Decision {
    let verdict = match event {
        Event::Tripped { condition, value } => data_plane_tripped(rules, state, *condition, *value),
        Event::Facts(facts) => Some(weigh(rules, state, facts)),
        Event::Settled
        | Event::Armed { .. }
        | Event::Sample { .. }
        | Event::WebhookAnswered { .. }
        | Event::QueryFailed { .. }
        | Event::DataPlanePaused(_)
        | Event::Renewed(_)
        | Event::Interrupted(_)
        | Event::Stopped(_)
        | Event::Tick => None,
    };
    verdict.map_or_else(Decision::default, |verdict| finish(state, verdict))
}

/// The only way into [`Phase::Finished`]: the faults go off with it.
fn finish(state: &mut State, verdict: Finish) -> Decision {
    state.phase = Phase::Finished;
    Decision { faults: Switch::Off, finish: Some(verdict) }
}

/// What an event says by itself while the run is on.
fn judge(rules: &Rules, state: &mut State, event: &Event, now: Duration) -> Option<Finish> {
    match event {
        Event::Sample { condition, value } => sampled(rules, state, *condition, *value, now),
        Event::WebhookAnswered { condition, status } => {
            state.observed(*condition, true);
            let is_webhook = matches!(rules.conditions.get(*condition)?.trips, Trips::Webhook);
            (is_webhook && !(200..300).contains(status)).then(|| webhook_failed(state, *condition, *status))
        }
        Event::QueryFailed { condition, message } => {
            let failing = state.conditions.get_mut(*condition)?;
            failing.errors_in_a_row += 1;
            (failing.errors_in_a_row >= GIVE_UP_AFTER_ERRORS).then(|| unavailable(state, *condition, message))
        }
        Event::Tripped { condition, value } => data_plane_tripped(rules, state, *condition, *value),
        Event::DataPlanePaused(paused) => {
            state.data_plane_paused = *paused;
            None
        }
        Event::Renewed(renewed) => {
            state.renewal_failed = !renewed;
            None
        }
        Event::Interrupted(_) | Event::Stopped(_) => ended(event),
        Event::Settled | Event::Armed { .. } | Event::Tick | Event::Facts(_) => None,
    }
}

fn sampled(rules: &Rules, state: &mut State, condition: usize, value: f64, now: Duration) -> Option<Finish> {
    let rule = rules.conditions.get(condition)?;
    state.observed(condition, !value.is_nan());
    if value.is_nan() {
        let warming_up = match rule.trips {
            Trips::DataPlane { window, .. } => now.saturating_sub(state.started) < window,
            Trips::Sample(_) | Trips::Webhook => false,
        };
        return if warming_up { None } else { no_data(state, condition, rule.on_no_data) };
    }
    match rule.trips {
        Trips::Sample(threshold) if threshold.trips(value) => Some(Finish::tripped(state, condition, value, threshold)),
        Trips::Sample(_) | Trips::Webhook | Trips::DataPlane { .. } => None,
    }
}

fn data_plane_tripped(rules: &Rules, state: &mut State, condition: usize, value: f64) -> Option<Finish> {
    let Trips::DataPlane { threshold, .. } = rules.conditions.get(condition)?.trips else { return None };
    state.observed(condition, true);
    Some(Finish::tripped(state, condition, value, threshold))
}

#[cfg(test)]
mod tests;
