//! The standalone data path: our proxy in this very process.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use glooshot_api::{
    plan::{FencingToken, Plan, PlannedExperiment, PlannedSource, TIME_TO_LIVE},
    scenario::Scenario,
    status::InjectionStatus,
};
use tokio::sync::{mpsc, watch};

use crate::{
    engine::data_path::{DataPath, PathDescription, PathError, PathEvent, Reading},
    proxy::{Control, Moment, Refusal, Signals, Trip},
};

/// Events that the engine may be behind; there are at most a few in a whole run.
const EVENTS: usize = 16;
/// Time for every core of the proxy to pass the point behind which nothing is injected any more.
const SETTLED: Duration = Duration::from_secs(1);

/// A proxy in this process as a data path. One experiment at a time.
#[derive(Debug)]
pub struct LocalPath {
    control: Control,
    sources: Vec<PlannedSource>,
    generation: AtomicU64,
    experiment: Mutex<Option<PlannedExperiment>>,
    seed: Option<u64>,
    /// Kept so that the channel stays open as long as the path.
    events: Mutex<Option<mpsc::Sender<PathEvent>>>,
    trip: Arc<Mutex<Option<Trip>>>,
}

impl LocalPath {
    /// A path over the proxy that `control` steers, with these named callers. A `seed` makes the dice repeat.
    pub fn new(control: Control, sources: Vec<PlannedSource>, seed: Option<u64>) -> Self {
        Self {
            // Past whatever plan the proxy was started with.
            generation: AtomicU64::new(control.generation()),
            control,
            sources,
            experiment: Mutex::default(),
            seed,
            events: Mutex::default(),
            trip: Arc::default(),
        }
    }

    /// Makes a plan with this experiment the one in force.
    fn publish(&self, experiment: Option<PlannedExperiment>) -> Result<(), PathError> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let plan = Plan {
            generation,
            fencing: FencingToken::default(),
            routes: Vec::new(),
            sources: self.sources.clone(),
            experiment,
        };
        self.control.accept(plan, TIME_TO_LIVE).map_err(|refusal| failed("the proxy refused the plan", &refusal))
    }

    fn planned(&self) -> Result<PlannedExperiment, PathError> {
        let experiment = self.experiment.lock().unwrap_or_else(PoisonError::into_inner);
        experiment.clone().ok_or_else(|| PathError { message: "nothing has been routed".to_owned() })
    }
}

fn failed(what: &str, refusal: &Refusal) -> PathError {
    PathError { message: format!("{what}: {refusal}") }
}

impl DataPath for LocalPath {
    fn describe(&self) -> PathDescription {
        PathDescription { kind: "Standalone", reason: "the proxy runs in this process".to_owned() }
    }

    async fn route(&self, scenario: &Scenario) -> Result<(), PathError> {
        let uid = format!("{:016x}", fastrand::u64(..));
        let experiment = PlannedExperiment { seed: self.seed, ..PlannedExperiment::of(scenario, uid) };
        *self.experiment.lock().unwrap_or_else(PoisonError::into_inner) = Some(experiment.clone());
        self.publish(Some(experiment))
    }

    async fn arm(&self) -> Result<(), PathError> {
        self.publish(Some(PlannedExperiment { armed: true, ..self.planned()? }))
    }

    async fn disarm(&self) -> Result<(), PathError> {
        self.control.disarm();
        let settled = tokio::time::timeout(SETTLED, self.control.settled()).await;
        settled.map_err(|_| PathError { message: "a core of the proxy does not answer; its faults are off".to_owned() })
    }

    fn cut(&self) {
        self.control.disarm();
    }

    fn renew(&self) -> Result<(), PathError> {
        let generation = self.generation.load(Ordering::Relaxed);
        let renewed = self.control.renew(FencingToken::default(), generation, TIME_TO_LIVE);
        renewed.map_err(|refusal| failed("the plan could not be renewed", &refusal))
    }

    async fn restore(&self) -> Result<(), PathError> {
        self.publish(None)
    }

    fn events(&self) -> mpsc::Receiver<PathEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        tokio::spawn(forward(self.control.signals(), sender, Arc::clone(&self.trip)));
        receiver
    }

    fn readings(&self) -> Vec<Reading> {
        let readings = self.control.readings().into_iter();
        readings.map(|(index, value)| Reading { condition: usize::from(index), value }).collect()
    }

    fn injection(&self) -> Vec<InjectionStatus> {
        self.control.injection()
    }

    fn missing_callers(&self) -> Vec<String> {
        self.control.unseen_callers().iter().map(ToString::to_string).collect()
    }

    fn stop_latency(&self) -> Option<Duration> {
        let trip = (*self.trip.lock().unwrap_or_else(PoisonError::into_inner))?;
        let last = self.control.last_injected().map_or(trip.disarmed_at, |last| last.max(trip.disarmed_at));
        Some(last.since(trip.crossed_at))
    }
}

/// Turns the proxy's signals into events, until nobody listens any more.
async fn forward(
    mut signals: watch::Receiver<Signals>,
    events: mpsc::Sender<PathEvent>,
    tripped: Arc<Mutex<Option<Trip>>>,
) {
    let mut before = signals.borrow_and_update().clone();
    while signals.changed().await.is_ok() {
        let now = signals.borrow_and_update().clone();
        if let (None, Some(trip)) = (before.trip, now.trip) {
            *tripped.lock().unwrap_or_else(PoisonError::into_inner) = Some(trip);
            let event = PathEvent::Tripped {
                condition: usize::from(trip.condition),
                value: trip.value,
                age: Moment::now().since(trip.crossed_at),
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
        if before.paused != now.paused && events.send(PathEvent::Paused(now.paused)).await.is_err() {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests;
