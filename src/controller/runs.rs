//! The runs of this process: one task of the engine for each Experiment, by its uid. Bounded; never decides anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use glooshot_api::{names::ServiceName, report::ReportSpec, scenario::Scenario, verdict::Rules};
use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    decide::RunState,
    status::{Counts, Sight},
};
use crate::{
    engine::{
        ConditionError, DataPath, Outcome, Progress, ProgressEvent, Run, StopHandle, TakenUp, progress_channel,
        recorder::Recorder, stop_channel,
    },
    proxy::Moment,
};

/// Between two writes of a status in which nothing has changed that a person waits for.
pub(crate) const QUIET: Duration = Duration::from_secs(5);

/// For the engine to end when its run is abandoned: its future is dropped, which waits for nothing.
const CUT: Duration = Duration::from_secs(2);

/// The engine at work.
type Engine = BoxFuture<'static, std::thread::Result<Result<Outcome, ConditionError>>>;

/// The runs of this process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<BTreeMap<String, Entry>>>);

/// Asks for another look at an Experiment.
pub(crate) type Poke = Arc<dyn Fn() + Send + Sync>;

struct Entry {
    name: String,
    scenario: Arc<Scenario>,
    targets: BTreeSet<ServiceName>,
    stop: StopHandle,
    counts: Box<dyn Fn() -> Counts + Send + Sync>,
    sight: Sight,
    recorder: Recorder,
    samples: u64,
    outcome: Option<Arc<Outcome>>,
    written: Option<Written>,
    /// That its targets are routed has been written: its faults may be switched on.
    routed: watch::Sender<bool>,
    /// The engine, and what follows it; it ends with the entry, and so does what goes on beside it.
    run: AbortOnDropHandle<()>,
    _beside: AbortOnDropHandle<()>,
}

/// What was written last.
#[derive(Clone, Copy, Debug)]
struct Written {
    at: Moment,
    phase: u32,
    samples: u64,
}

/// A run that goes on, as its status shows it.
#[derive(Debug)]
pub(crate) struct View {
    /// What runs.
    pub(crate) scenario: Arc<Scenario>,
    /// What the engine told.
    pub(crate) sight: Sight,
    /// What the data path says now.
    pub(crate) counts: Counts,
    /// The Report until now, where there is something new in it.
    pub(crate) report: Option<ReportSpec>,
    /// How much of it this is.
    samples: u64,
}

/// A run that is about to begin.
pub(crate) struct Begin<P> {
    /// What the engine is given.
    pub(crate) run: Run<P>,
    /// Where it runs.
    pub(crate) path: Arc<P>,
    /// What it runs.
    pub(crate) scenario: Scenario,
    /// Where another process left it.
    pub(crate) taken_up: Option<TakenUp>,
    /// Asks for another look at its Experiment.
    pub(crate) poke: Poke,
    /// What a path is doing or waiting for.
    pub(crate) stage: fn(&P) -> String,
}

impl Runs {
    /// Starts a run, or takes one up, and what goes on `beside` it; false when there is one already, and for a new one when there are
    /// `most` or another has one of its targets: several may have been looked at at one time, and one of them was faster.
    pub(crate) fn start<P: DataPath>(
        &self,
        uid: &str,
        most: usize,
        begin: Begin<P>,
        beside: impl FnOnce(StopHandle) -> JoinHandle<()>,
    ) -> bool {
        let mut runs = self.lock();
        if runs.contains_key(uid) {
            return false;
        }
        let Begin { run, path, scenario, taken_up, poke, stage } = begin;
        if taken_up.is_none() && (runs.len() >= most || rival(&runs, uid, &scenario.services()).is_some()) {
            return false;
        }
        let (stop, signal) = stop_channel();
        let (progress, events) = progress_channel();
        let (routed, is_written) = watch::channel(false);
        let mut recorder = Recorder::of(&scenario);
        recorder.take_in(taken_up.as_ref().map(|run| run.history.as_slice()).unwrap_or_default());
        // In the same task as what follows it: when that is gone, the engine is, and its guard has cut the faults.
        let engine = AssertUnwindSafe(run.progress(progress).taken_up(taken_up).written_first(is_written).run(signal))
            .catch_unwind()
            .boxed();
        let follow = tokio::spawn(self.clone().follow(uid.to_owned(), engine, events, poke));
        let beside = beside(stop.clone());
        let entry = Entry {
            name: scenario.experiment.to_string(),
            targets: scenario.services(),
            recorder,
            sight: Sight::new(&scenario),
            scenario: Arc::new(scenario),
            stop,
            counts: Box::new(move || Counts {
                injection: path.injection(),
                missing_callers: path.missing_callers(),
                stage: stage(&path),
            }),
            samples: 0,
            outcome: None,
            written: None,
            routed,
            run: AbortOnDropHandle::new(follow),
            _beside: AbortOnDropHandle::new(beside),
        };
        runs.insert(uid.to_owned(), entry);
        true
    }

    /// Follows one run to its end.
    async fn follow(self, uid: String, mut engine: Engine, mut events: mpsc::Receiver<Progress>, poke: Poke) {
        let mut ticks = interval(QUIET);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            select! {
                biased;
                Some(progress) = events.recv() => if self.happened(&uid, &progress) { poke() },
                ended = &mut engine => break ended,
                _ = ticks.tick() => poke(),
            }
        };
        let outcome = match ended {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::interrupted(&error.to_string()),
            Err(_panic) => Outcome::interrupted("the engine failed, which is a fault of glooshot; its faults are off"),
        };
        if let Some(entry) = self.lock().get_mut(&uid) {
            entry.outcome = Some(Arc::new(outcome));
        }
        poke();
    }

    /// Takes in what the engine tells; true where a person waits for it.
    fn happened(&self, uid: &str, progress: &Progress) -> bool {
        let mut runs = self.lock();
        let Some(entry) = runs.get_mut(uid) else { return false };
        if let ProgressEvent::Sample { condition, value, .. } = progress.event {
            entry.recorder.record(condition, progress.at, value);
            entry.samples += 1;
        }
        let before = entry.sight.phase();
        entry.sight.take_in(progress);
        entry.sight.phase() != before
    }

    /// How the run of this Experiment is.
    pub(crate) fn state(&self, uid: &str) -> RunState {
        match self.lock().get(uid) {
            None => RunState::None,
            Some(entry) if entry.outcome.is_none() => RunState::Going,
            Some(_) => RunState::Ended,
        }
    }

    /// What is to be written about a run that goes on; none while there is nothing that could not wait.
    pub(crate) fn view(&self, uid: &str) -> Option<View> {
        let runs = self.lock();
        let entry = runs.get(uid)?;
        let due = entry
            .written
            .is_none_or(|written| written.phase != entry.sight.phase() || Moment::now().since(written.at) >= QUIET);
        if !due {
            return None;
        }
        let has_more = entry.samples > entry.written.map_or(0, |written| written.samples);
        Some(View {
            scenario: Arc::clone(&entry.scenario),
            sight: entry.sight.clone(),
            counts: (entry.counts)(),
            report: has_more.then(|| entry.report()),
            samples: entry.samples,
        })
    }

    /// A view was written.
    pub(crate) fn written(&self, uid: &str, view: &View) {
        if let Some(entry) = self.lock().get_mut(uid) {
            entry.written = Some(Written { at: Moment::now(), phase: view.sight.phase(), samples: view.samples });
            if view.sight.is_routed() {
                entry.routed.send_replace(true);
            }
        }
    }

    /// What became of a run that has ended.
    pub(crate) fn outcome(&self, uid: &str) -> Option<Arc<Outcome>> {
        self.lock().get(uid)?.outcome.clone()
    }

    /// Asks a run to end.
    pub(crate) fn stop(&self, uid: &str, reason: &str) {
        if let Some(entry) = self.lock().get(uid) {
            entry.stop.stop(reason);
        }
    }

    /// Asks every run to end.
    pub(crate) fn stop_all(&self, reason: &str) {
        for entry in self.lock().values() {
            entry.stop.stop(reason);
        }
    }

    /// Forgets a run; one that goes on is cut.
    pub(crate) fn remove(&self, uid: &str) {
        // Dropped outside the lock: the cut is the data path's affair.
        let removed = self.lock().remove(uid);
        drop(removed);
    }

    /// Forgets every run, and cuts those that go on: somebody else leads now, and takes them up. Returns when none is left.
    pub(crate) async fn abandon(&self) -> usize {
        let abandoned = std::mem::take(&mut *self.lock());
        let count = abandoned.values().filter(|entry| entry.outcome.is_none()).count();
        for entry in abandoned.values() {
            entry.run.abort();
        }
        for entry in abandoned.into_values() {
            if timeout(CUT, entry.run).await.is_err() {
                tracing::error!(experiment = %entry.name, "a run does not end; its faults end when nothing renews them");
            }
        }
        count
    }

    /// The runs that go on.
    pub(crate) fn going(&self) -> usize {
        self.lock().values().filter(|entry| entry.outcome.is_none()).count()
    }

    /// The Experiments whose runs have ended, by uid.
    pub(crate) fn ended(&self) -> Vec<String> {
        self.lock().iter().filter(|(_, entry)| entry.outcome.is_some()).map(|(uid, _)| uid.clone()).collect()
    }

    /// All runs, those that have ended and are not told yet among them.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Another run that has one of these targets: the target, and the run's Experiment.
    pub(crate) fn rival(&self, uid: &str, targets: &BTreeSet<ServiceName>) -> Option<(ServiceName, String)> {
        rival(&self.lock(), uid, targets)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn report(&self) -> ReportSpec {
        let names = self.sight.started().map(|at| Rules::new(&self.scenario).names(at)).unwrap_or_default();
        self.recorder.report(&self.scenario.experiment, names.iter().map(String::as_str))
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().values().map(|entry| &entry.name)).finish()
    }
}

fn rival(runs: &BTreeMap<String, Entry>, uid: &str, targets: &BTreeSet<ServiceName>) -> Option<(ServiceName, String)> {
    let mut others = runs.iter().filter(|(other, _)| *other != uid).map(|(_, entry)| entry);
    others.find_map(|entry| Some((entry.targets.intersection(targets).next()?.clone(), entry.name.clone())))
}
