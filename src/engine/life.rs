//! The steps of an experiment's life. Each does nothing once the verdict is in.
//!
//! Whatever happens, in whichever step, goes the same way: [`Happenings::next`] -> [`verdict::step`] -> what that decides.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use glooshot_api::{
    scenario::{Scenario, Threshold},
    status::{FailureType, InjectionStatus, ResultState},
    verdict::{self, Event, Facts, Finish, Phase, Rules, State, Switch, Trips, UnknownMetric},
};
use jiff::Timestamp;
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    clock,
    condition::{Observation, Observed, Samplers},
    data_path::{DataPath, PathError, PathEvent},
    happenings::{Happening, Happenings},
    outcome::{Ending, Outcome, Told},
    progress::{ProgressEvent, ProgressSender},
    recorder::Recorder,
    run::TakenUp,
    safety::{Patience, in_time, insist},
    stop::StopSignal,
};

/// For switching the faults on at the start.
const ARM_LIMIT: Duration = Duration::from_secs(60);
/// For switching the faults on again after a pause.
const RESUME_LIMIT: Duration = Duration::from_secs(10);
/// For switching the faults off. They end by themselves long before, since nothing renews them meanwhile.
const DISARM_PATIENCE: Patience = Patience { attempt: Duration::from_secs(10), all: Duration::from_secs(30) };
/// For putting everything back; draining takes its time.
const RESTORE_PATIENCE: Patience = Patience { attempt: Duration::from_secs(120), all: Duration::from_secs(180) };
/// For asking Prometheus what it knows, with the faults off.
const FACTS_LIMIT: Duration = Duration::from_secs(10);
/// Events that were under way when the faults went off.
const MAX_LATE_EVENTS: usize = 1_024;

/// One experiment between its routing and its result.
#[derive(Debug)]
pub(super) struct Life<P> {
    scenario: Arc<Scenario>,
    path: Arc<P>,
    samplers: Samplers,
    rules: Rules,
    state: State,
    /// The run's origin, on the clock that never goes back.
    origin: Instant,
    /// The run's age at that moment: more than nothing where another process began it.
    age: Duration,
    happenings: Happenings,
    recorder: Recorder,
    progress: ProgressSender,
    started: Option<Timestamp>,
    /// When the watching ended.
    ended: Option<Timestamp>,
    verdict: Option<Finish>,
    told: Told,
}

impl<P: DataPath> Life<P> {
    pub(super) fn new(
        scenario: Scenario,
        path: Arc<P>,
        samplers: Samplers,
        stop: StopSignal,
        progress: ProgressSender,
        taken_up: Option<&TakenUp>,
    ) -> Self {
        let rules = Rules::new(&scenario);
        let mut recorder = Recorder::of(&scenario);
        let (state, age) = match taken_up {
            None => (State::new(&rules), Duration::ZERO),
            Some(TakenUp { started, seen_until, history }) => {
                recorder.take_in(history);
                let off_since = clock::between(*started, *seen_until);
                (
                    State::taken_up(&rules, *started, off_since, recorder.observed()),
                    clock::between(*started, clock::now()),
                )
            }
        };
        Self {
            path,
            samplers,
            state,
            rules,
            origin: Instant::now(),
            age,
            happenings: Happenings::until(stop),
            recorder,
            progress,
            started: taken_up.map(|run| run.started),
            ended: None,
            verdict: None,
            told: Told::default(),
            scenario: Arc::new(scenario),
        }
    }

    /// Routes the targets, with the faults off.
    pub(super) async fn route(&mut self) {
        let (path, scenario) = (Arc::clone(&self.path), Arc::clone(&self.scenario));
        let routed = self.meanwhile(async move { path.route(&scenario).await }).await;
        match routed {
            Some(Ok(())) => {
                self.told.routed = Some(Ok(()));
                self.happenings.events = Some(self.path.events());
                let description = self.path.describe();
                self.tell(ProgressEvent::Routed { path: description.kind, reason: description.reason });
            }
            Some(Err(error)) => {
                self.told.routed = Some(Err(error.clone()));
                self.take(Event::Interrupted(format!("the targets could not be routed: {error}"))).await;
            }
            None => {}
        }
    }

    /// Waits, routed and without faults, so that callers come through the path, and until it is written that it is routed.
    pub(super) async fn settle(&mut self, written: Option<watch::Receiver<bool>>) {
        if !self.goes_on() {
            return;
        }
        if self.started.is_some() {
            // Callers have come through the path before; who began the run has waited for them.
            self.take(Event::Settled).await;
            return;
        }
        self.tell(ProgressEvent::Settling(self.scenario.settle));
        let settle = self.scenario.settle;
        let settled = async {
            sleep(settle).await;
            is_true(written).await;
        };
        if self.meanwhile(settled).await.is_some() {
            self.take(Event::Settled).await;
        }
    }

    /// Switches the faults on, and begins to watch.
    pub(super) async fn arm(&mut self) {
        if let Some(started) = self.started
            && self.now() >= self.rules.duration
        {
            // The time ran out while nobody saw to it: it is judged without another fault.
            self.take(Event::Armed { started }).await;
            return;
        }
        let path = Arc::clone(&self.path);
        self.happenings.hold_events = true;
        let armed = self.meanwhile(async move { in_time(ARM_LIMIT, path.arm()).await }).await;
        self.happenings.hold_events = false;
        match armed {
            Some(Ok(())) => {
                let started = *self.started.get_or_insert_with(clock::now);
                self.take(Event::Armed { started }).await;
                self.progress.tell_of(started, ProgressEvent::FaultsOn);
                self.happenings.samplers = self.samplers.spawn(&self.path, &self.happenings.observer);
            }
            Some(Err(error)) => {
                self.take(Event::Interrupted(format!("the faults could not be switched on: {error}"))).await;
            }
            None => {}
        }
    }

    /// Watches until the verdict, or until the duration has passed.
    pub(super) async fn watch(&mut self) {
        let deadline = Instant::now() + self.rules.duration.saturating_sub(self.state.since_start(self.now()));
        while self.goes_on() {
            if self.meanwhile(sleep_until(deadline)).await.is_some() {
                self.take(Event::Tick).await;
            }
        }
    }

    /// Switches the faults off for good, and takes in what had happened until then.
    pub(super) async fn disarm(&mut self) {
        let switched_off = self.switch_off().await;
        self.ended.get_or_insert_with(clock::now);
        self.happenings.samplers.abort_all();
        if let Err(error) = &switched_off {
            self.told.warnings.push(format!(
                "the faults could not be switched off ({error}); they end by themselves when nothing renews them"
            ));
        }
        self.told.switched_off = Some(switched_off);
        for _ in 0..MAX_LATE_EVENTS {
            let Some(event) = self.happenings.events.as_mut().and_then(|events| events.try_recv().ok()) else { break };
            self.happened(Happening::Path(Some(event))).await;
        }
        self.told.injection = self.path.injection();
        self.told.stop_latency = self.path.stop_latency();
        if self.started.is_some() && self.told.is_off() {
            self.tell(ProgressEvent::FaultsOff { stop_latency: self.told.stop_latency });
        }
    }

    /// Gathers what only the end can tell, where the verdict needs it.
    pub(super) async fn conclude(&mut self) {
        self.told.missing_callers = self.path.missing_callers();
        if self.state.phase() == Phase::Concluding {
            let facts = Facts {
                injected: self.told.injection.iter().map(injected).fold(0, u64::saturating_add),
                missing_callers: self.told.missing_callers.clone(),
                unknown_metrics: self.unknown_metrics().await,
            };
            self.take(Event::Facts(facts)).await;
        }
        if let Some(finish) = &self.verdict {
            let message = finish.failure_report.get("message").cloned();
            let (state, failure_type) = (finish.state, finish.failure_type);
            self.tell(ProgressEvent::Finished { state, failure_type, message });
        }
    }

    /// Puts everything back as it was, at once or, behind a verdict, when the time has come that the experiment asks for.
    pub(super) async fn restore(&mut self) {
        self.told.kept = self.may_be_kept() && self.path.keep();
        if self.told.kept {
            return;
        }
        let (path, progress) = (&self.path, &self.progress);
        let failed = |error: &PathError| progress.tell(ProgressEvent::StopError(error.message.clone()));
        let restored = insist(RESTORE_PATIENCE, || path.restore(), failed).await;
        match &restored {
            Ok(()) if self.told.is_off() => self.tell(ProgressEvent::Restored),
            Ok(()) => {}
            Err(error) => self.told.warnings.push(format!("the targets could not be restored: {error}")),
        }
        self.told.restored = Some(restored);
    }

    /// Everything that is known now.
    pub(super) fn outcome(self) -> Outcome {
        Ending {
            scenario: &self.scenario,
            path: self.path.describe(),
            verdict: self.verdict,
            started: self.started,
            ended: self.ended,
            told: self.told,
            names: self.state.names().map(ToOwned::to_owned).collect(),
            without_number: if self.started.is_some() { self.state.without_number() } else { Vec::new() },
            recorder: &self.recorder,
        }
        .outcome()
    }

    /// Whether the targets may stay routed: not behind a run that somebody stopped, or that went wrong, or whose faults may still be on.
    fn may_be_kept(&self) -> bool {
        let judged = |it: &Finish| matches!(it.state, ResultState::Succeeded | ResultState::Failed);
        self.told.is_off() && !self.scenario.keep_routed.is_zero() && self.verdict.as_ref().is_some_and(judged)
    }

    /// Whether the duration has not passed and the verdict is not in.
    fn goes_on(&self) -> bool {
        !matches!(self.state.phase(), Phase::Concluding | Phase::Finished)
    }

    /// Does `work`, and takes in everything that happens meanwhile; `None` when the run is over before the work is done.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        while self.goes_on() {
            let happening = select! {
                biased;
                happening = self.happenings.next() => happening,
                done = &mut work => return Some(done),
            };
            self.happened(happening).await;
        }
        None
    }

    /// Makes an event of what happened.
    async fn happened(&mut self, happening: Happening) {
        let event = match happening {
            Happening::Path(Some(event)) => path_event(event),
            Happening::Path(None) => {
                self.happenings.events = None;
                Event::Interrupted("the data path has ended".to_owned())
            }
            Happening::Observed(observation) => self.observed(observation),
            Happening::SamplerEnded(error) => {
                Event::Interrupted(format!("a condition is not observed any more: {error}"))
            }
            Happening::Stopped(reason) => Event::Stopped(reason),
            // Before the routing there is nothing to renew.
            Happening::Heartbeat if self.happenings.events.is_none() => Event::Tick,
            Happening::Heartbeat => Event::Renewed(self.path.renew().is_ok()),
        };
        self.take(event).await;
    }

    /// Records and tells an observation.
    fn observed(&mut self, Observation { condition, at, outcome }: Observation) -> Event {
        let name = self.name(condition);
        match outcome {
            Ok(observed) => {
                let value = match observed {
                    Observed::Value(value) => value,
                    Observed::Status(status) => f64::from(status),
                };
                self.recorder.record(condition, at, value);
                self.tell(ProgressEvent::Sample { condition, name, value });
                match observed {
                    Observed::Value(value) => Event::Sample { condition, value },
                    Observed::Status(status) => Event::WebhookAnswered { condition, status },
                }
            }
            Err(message) => {
                let in_a_row = self.state.errors_in_a_row(condition) + 1;
                self.tell(ProgressEvent::QueryError { condition, name, message: message.clone(), in_a_row });
                Event::QueryFailed { condition, message }
            }
        }
    }

    /// Judges an event, does what is decided, and judges what comes of that.
    async fn take(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            next = self.step(&event).await;
        }
    }

    /// One step of the verdict.
    async fn step(&mut self, event: &Event) -> Option<Event> {
        let now = self.now();
        let decision = verdict::step(&self.rules, &mut self.state, event, now);
        if let Some(finish) = decision.finish {
            self.decided(event, finish);
        }
        match (decision.faults, self.state.phase()) {
            (Switch::Off, Phase::Paused) => self.pause().await,
            (Switch::On, Phase::Running) => self.resume().await,
            (Switch::Off, _) => {
                // Whoever is in a step leaves it now, and the next one is `disarm`.
                self.ended.get_or_insert_with(clock::now);
                None
            }
            // `arm` is the next step.
            (Switch::On | Switch::Unchanged, _) => None,
        }
    }

    /// Keeps the verdict, with the sample that decided it as the last of its history.
    fn decided(&mut self, event: &Event, finish: Finish) {
        if let Event::Tripped { condition, value } = event {
            self.recorder.record(*condition, clock::now(), *value);
        }
        if let (Some(FailureType::ValueExceededThreshold), Some(condition)) = (finish.failure_type, finish.condition)
            && let Event::Tripped { value, .. } | Event::Sample { value, .. } = event
            && let Some(Trips::Sample(threshold) | Trips::DataPlane { threshold, .. }) =
                self.rules.conditions.get(condition).map(|rule| rule.trips)
        {
            let name = self.name(condition);
            let Threshold { value: threshold, operator } = threshold;
            self.tell(ProgressEvent::Tripped { condition, name, value: *value, threshold, operator });
        }
        self.verdict = Some(finish);
    }

    async fn pause(&mut self) -> Option<Event> {
        match self.switch_off().await {
            Ok(()) => {
                self.tell(ProgressEvent::Paused("a condition cannot be observed".to_owned()));
                None
            }
            Err(error) => Some(Event::Interrupted(format!("the faults could not be switched off: {error}"))),
        }
    }

    async fn resume(&mut self) -> Option<Event> {
        let armed = select! {
            biased;
            reason = self.happenings.stop.requested() => return Some(Event::Stopped(reason)),
            armed = in_time(RESUME_LIMIT, self.path.arm()) => armed,
        };
        match armed {
            Ok(()) => {
                self.tell(ProgressEvent::Resumed);
                None
            }
            Err(error) => Some(Event::Interrupted(format!("the faults could not be switched on again: {error}"))),
        }
    }

    async fn switch_off(&self) -> Result<(), PathError> {
        let failed = |error: &PathError| self.tell(ProgressEvent::StopError(error.message.clone()));
        insist(DISARM_PATIENCE, || self.path.disarm(), failed).await
    }

    /// Conditions that never had a number, and whose query names a metric that does not exist.
    async fn unknown_metrics(&mut self) -> Vec<UnknownMetric> {
        let silent = self.state.without_number();
        let Ok(answers) = timeout(FACTS_LIMIT, self.samplers.unknown_metrics(&silent)).await else {
            self.told.warnings.push("Prometheus did not say in time which metrics it knows".to_owned());
            return Vec::new();
        };
        let mut unknown = Vec::new();
        for (condition, answer) in answers {
            match answer {
                Ok(metric) => unknown.extend(metric.map(|metric| UnknownMetric { condition, metric })),
                Err(error) => {
                    let name = self.name(condition);
                    self.told
                        .warnings
                        .push(format!("condition {name}: whether its metrics exist is not known: {error}"));
                }
            }
        }
        unknown
    }

    /// The time since the run's origin.
    fn now(&self) -> Duration {
        self.age + self.origin.elapsed()
    }

    fn name(&self, condition: usize) -> String {
        self.state.names().nth(condition).unwrap_or_default().to_owned()
    }

    fn tell(&self, event: ProgressEvent) {
        self.progress.tell(event);
    }
}

/// Waits until this is true; for ever if nobody is left who could make it so.
async fn is_true(written: Option<watch::Receiver<bool>>) {
    let Some(mut written) = written else { return };
    if written.wait_for(|it| *it).await.is_err() {
        pending::<()>().await;
    }
}

fn path_event(event: PathEvent) -> Event {
    match event {
        PathEvent::Tripped { condition, value, .. } => Event::Tripped { condition, value },
        PathEvent::Paused(paused) => Event::DataPlanePaused(paused),
        PathEvent::Interrupted(message) => Event::Interrupted(message),
    }
}

fn injected(fault: &InjectionStatus) -> u64 {
    fault.aborted.saturating_add(fault.delayed)
}
