//! What a run remembers from event to event.

use std::time::Duration;

use jiff::Timestamp;

use super::{PAUSE_AFTER_ERRORS, Phase, Rules};

/// What a run remembers from event to event.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(super) phase: Phase,
    /// When the faults were switched on, since the run's origin.
    pub(super) started: Duration,
    pub(super) conditions: Vec<ConditionState>,
    pub(super) data_plane_paused: bool,
    pub(super) renewal_failed: bool,
    /// Since when the faults have been off, and how long they had been before.
    off_since: Option<Duration>,
    off_before: Duration,
    /// The run was begun by somebody else, and its faults have been off since this moment.
    pub(super) taken_up: Option<Duration>,
}

/// What a run remembers of one condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ConditionState {
    pub(super) name: String,
    pub(super) errors_in_a_row: u32,
    /// There was an answer, with data or without.
    pub(super) answered: bool,
    pub(super) had_a_number: bool,
}

impl State {
    /// The state of a run that has not begun.
    pub fn new(rules: &Rules) -> Self {
        Self {
            phase: Phase::Preparing,
            started: Duration::ZERO,
            conditions: vec![ConditionState::default(); rules.conditions.len()],
            data_plane_paused: false,
            renewal_failed: false,
            off_since: None,
            off_before: Duration::ZERO,
            taken_up: None,
        }
    }

    /// The state of a run that somebody else began, at the run's origin, and whose faults have been off since `off_since`; `observed`
    /// is what its conditions were observed to be until then.
    pub fn taken_up(
        rules: &Rules,
        started: Timestamp,
        off_since: Duration,
        observed: impl IntoIterator<Item = (usize, f64)>,
    ) -> Self {
        let mut state = Self { taken_up: Some(off_since), ..Self::new(rules) };
        state.name_conditions(rules, started);
        for (condition, value) in observed {
            state.observed(condition, !value.is_nan());
        }
        state
    }

    /// The time since the faults were first switched on; zero before the start.
    pub fn since_start(&self, now: Duration) -> Duration {
        now.saturating_sub(self.started)
    }

    /// The faults are on, for the first time in this process.
    pub(super) fn start(&mut self, rules: &Rules, started: Timestamp, now: Duration) {
        match self.taken_up {
            Some(off_since) => self.off_before = now.saturating_sub(off_since),
            None => self.started = now,
        }
        self.name_conditions(rules, started);
    }

    fn name_conditions(&mut self, rules: &Rules, started: Timestamp) {
        for (condition, name) in self.conditions.iter_mut().zip(rules.names(started)) {
            condition.name = name;
        }
    }

    /// Where the run stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The name of each condition, in the order of the spec; empty before the start.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().map(|condition| condition.name.as_str())
    }

    /// The query errors in a row of one condition.
    pub fn errors_in_a_row(&self, condition: usize) -> u32 {
        self.conditions.get(condition).map_or(0, |c| c.errors_in_a_row)
    }

    /// The conditions that have not had a number yet (or, for a webhook, an answer).
    pub fn without_number(&self) -> Vec<usize> {
        self.conditions.iter().enumerate().filter(|(_, c)| !c.had_a_number).map(|(i, _)| i).collect()
    }

    /// How long the faults have been off since the start, in sum.
    pub fn off_time(&self, now: Duration) -> Duration {
        self.off_before + self.off_since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    pub(super) fn is_blind(&self) -> bool {
        self.conditions.iter().any(|c| c.errors_in_a_row >= PAUSE_AFTER_ERRORS)
    }

    pub(super) fn name(&self, condition: usize) -> String {
        self.conditions.get(condition).map(|c| c.name.clone()).unwrap_or_default()
    }

    /// A condition was observed: the row of errors is broken.
    pub(super) fn observed(&mut self, condition: usize, a_number: bool) {
        if let Some(state) = self.conditions.get_mut(condition) {
            state.errors_in_a_row = 0;
            state.answered = true;
            state.had_a_number |= a_number;
        }
    }

    /// Keeps account of the time with the faults off.
    pub(super) fn account(&mut self, now: Duration) {
        let off = self.is_blind() || self.data_plane_paused || self.renewal_failed;
        match self.off_since {
            None if off => self.off_since = Some(now),
            Some(_) if !off => {
                self.off_before = self.off_time(now);
                self.off_since = None;
            }
            None | Some(_) => {}
        }
    }
}
