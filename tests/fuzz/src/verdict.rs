//! Verdicts: whatever happens, in whatever order, a run that is over has its faults off, and they stay off.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use glooshot_api::{
    failure_condition::OnNoData,
    quantity::ComparisonOperator,
    scenario::Threshold,
    status::ResultState,
    verdict::{ConditionRules, Decision, Event, Facts, Phase, Rules, State, Switch, Trips, UnknownMetric, step},
};
use jiff::Timestamp;

/// Conditions of one run at the most, as in the CRD.
const MAX_CONDITIONS: usize = 16;

/// A run: what it is judged by, and what happens in it.
#[derive(Arbitrary, Debug)]
struct Story {
    duration_ms: u32,
    has_faults: bool,
    min_injected: u8,
    conditions: Vec<Condition>,
    /// Whether the run is brought to its start first, which few sequences reach by themselves.
    begun: bool,
    events: Vec<(Happening, u16)>,
}

#[derive(Arbitrary, Debug)]
struct Condition {
    named: bool,
    kind: Kind,
    threshold: f64,
    operator: u8,
    window_ms: u16,
    on_no_data: u8,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Query,
    Webhook,
    Traffic,
}

#[derive(Arbitrary, Debug)]
enum Happening {
    Settled,
    Armed,
    Sample(u8, f64),
    NoData(u8),
    Answered(u8, u16),
    QueryFailed(u8),
    Tripped(u8, f64),
    DataPlanePaused(bool),
    Renewed(bool),
    Interrupted,
    Stopped,
    Tick,
    Facts { injected: u8, missing: bool, unknown: Option<u8> },
}

/// Lives through a run.
///
/// # Panics
/// When the verdict and the faults do not go together.
pub fn run(data: &[u8]) {
    let Ok(story) = Story::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let rules = rules(&story);
    let mut run = Run::new(&rules);
    if story.begun {
        run.happens(&Event::Settled, Duration::ZERO);
        run.happens(&armed(), Duration::ZERO);
    }
    for (happening, passed_ms) in &story.events {
        run.happens(&event(happening), Duration::from_millis(u64::from(*passed_ms)));
    }
    run.ends();
}

/// One run, and what is known of it from outside.
struct Run<'r> {
    rules: &'r Rules,
    state: State,
    now: Duration,
    /// Since when the run has been on.
    started: Option<Duration>,
    on: bool,
    /// The state at the verdict.
    end: Option<State>,
}

impl<'r> Run<'r> {
    fn new(rules: &'r Rules) -> Self {
        Self { rules, state: State::new(rules), now: Duration::ZERO, started: None, on: false, end: None }
    }

    fn happens(&mut self, event: &Event, after: Duration) {
        self.now += after;
        let before = self.state.clone();
        let decision = step(self.rules, &mut self.state, event, self.now);
        self.on = match decision.faults {
            Switch::On => true,
            Switch::Off => false,
            Switch::Unchanged => self.on,
        };
        if before.phase() == Phase::Arming && self.state.phase() == Phase::Running {
            self.started = Some(self.now);
        }
        self.goes_forward(before.phase(), event);
        self.is_consistent(&decision, event);
    }

    /// No phase is left for an earlier one, except that a pause ends.
    fn goes_forward(&self, before: Phase, event: &Event) {
        let after = self.state.phase();
        let rank = |phase| match phase {
            Phase::Preparing => 0,
            Phase::Arming => 1,
            Phase::Running | Phase::Paused => 2,
            Phase::Concluding => 3,
            Phase::Finished => 4,
        };
        assert!(rank(after) >= rank(before), "{before:?} was left for {after:?} by {event:?}");
        let off = self.state.off_time(self.now);
        let since_start = self.started.map_or(Duration::ZERO, |started| self.now - started);
        assert!(off <= since_start, "off for {off:?} of {since_start:?}");
    }

    fn is_consistent(&mut self, decision: &Decision, event: &Event) {
        let phase = self.state.phase();
        match &self.end {
            Some(end) => {
                assert_eq!(*decision, Decision::default(), "decided about {event:?} after the verdict");
                assert_eq!(self.state, *end, "changed by {event:?} after the verdict");
            }
            None => assert_eq!(decision.finish.is_some(), phase == Phase::Finished, "after {event:?}"),
        }
        if let Some(finish) = &decision.finish {
            assert_eq!(decision.faults, Switch::Off, "{finish:?}");
            assert!(finish.state.is_final(), "{finish:?}");
            assert_eq!(finish.failure_type.is_none(), finish.state == ResultState::Succeeded, "{finish:?}");
            assert_eq!(finish.failure_type.is_none(), finish.failure_report.is_empty(), "{finish:?}");
            assert!(finish.condition.is_none_or(|index| index < self.rules.conditions.len()), "{finish:?}");
            self.end = Some(self.state.clone());
        }
        // While they are being switched on, some may be on already.
        let may_be_on = matches!(phase, Phase::Arming | Phase::Running);
        assert_eq!(self.on, may_be_on, "in {phase:?} after {event:?}");
        if phase == Phase::Running
            && let Some(started) = self.started
        {
            assert!(self.now == started || self.now - started < self.rules.duration, "outlives its duration");
        }
    }

    /// However it went, a run that has begun is over when its duration is, and the facts decide it.
    fn ends(&mut self) {
        if self.started.is_none() {
            return;
        }
        self.happens(&Event::Tick, self.rules.duration);
        assert!(!self.on);
        self.happens(&Event::Facts(Facts::default()), Duration::ZERO);
        assert!(self.end.is_some());
    }
}

fn rules(story: &Story) -> Rules {
    let conditions = story.conditions.iter().take(MAX_CONDITIONS).enumerate().map(|(i, condition)| {
        let operator = ComparisonOperator::ALL[usize::from(condition.operator) % ComparisonOperator::ALL.len()];
        let threshold = Threshold { value: condition.threshold, operator };
        ConditionRules {
            name: condition.named.then(|| format!("condition-{i}")),
            trips: match condition.kind {
                Kind::Query => Trips::Sample(threshold),
                Kind::Webhook => Trips::Webhook,
                Kind::Traffic => {
                    Trips::DataPlane { threshold, window: Duration::from_millis(u64::from(condition.window_ms)) }
                }
            },
            on_no_data: [OnNoData::Ignore, OnNoData::Fail, OnNoData::Inconclusive]
                [usize::from(condition.on_no_data) % 3],
        }
    });
    Rules {
        duration: Duration::from_millis(u64::from(story.duration_ms)),
        has_faults: story.has_faults,
        min_injected: u64::from(story.min_injected),
        conditions: conditions.collect(),
    }
}

fn armed() -> Event {
    Event::Armed { started: Timestamp::UNIX_EPOCH }
}

fn event(happening: &Happening) -> Event {
    match *happening {
        Happening::Settled => Event::Settled,
        Happening::Armed => armed(),
        Happening::Sample(condition, value) => Event::Sample { condition: condition.into(), value },
        Happening::NoData(condition) => Event::Sample { condition: condition.into(), value: f64::NAN },
        Happening::Answered(condition, status) => Event::WebhookAnswered { condition: condition.into(), status },
        Happening::QueryFailed(condition) => {
            Event::QueryFailed { condition: condition.into(), message: "refused".to_owned() }
        }
        Happening::Tripped(condition, value) => Event::Tripped { condition: condition.into(), value },
        Happening::DataPlanePaused(paused) => Event::DataPlanePaused(paused),
        Happening::Renewed(renewed) => Event::Renewed(renewed),
        Happening::Interrupted => Event::Interrupted("interrupted".to_owned()),
        Happening::Stopped => Event::Stopped("stopped".to_owned()),
        Happening::Tick => Event::Tick,
        Happening::Facts { injected, missing, unknown } => Event::Facts(Facts {
            injected: injected.into(),
            missing_callers: missing.then(|| "bookinfo/reviews".to_owned()).into_iter().collect(),
            unknown_metrics: unknown
                .map(|condition| UnknownMetric { condition: condition.into(), metric: "up".to_owned() })
                .into_iter()
                .collect(),
        }),
    }
}
