//! The plan in force: compiled once, read by every core through one atomic pointer, expiring by itself.
//!
//! # Guarantees
//! - A plan is taken whole or refused whole; the one before stays until then.
//! - A plan with a lower fencing token, or an older generation of the same token, is refused and counted, and so is every
//!   renewal that does not concern the plan in force.
//! - Nothing is injected after the plan's time to live, after [`PlanSlot::disarm`], or after a condition has tripped,
//!   whatever a later plan for the same run says.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use glooshot_api::{
    names::{ServiceName, ServicePort},
    plan::{Endpoint, FencingToken, Plan, PlanError, PlannedExperiment, PlannedRoute},
};
use tokio::sync::watch;

use super::{
    clock::{Moment, nanos},
    fault::{FaultHere, LiveFault},
    guard::Guard,
    identity::{Identities, IdentityId},
    route::LiveRoute,
    run_state::{RunState, Signals},
};

/// A compiled plan. Immutable, apart from the switches of its [`RunState`].
#[derive(Debug)]
pub(crate) struct LivePlan {
    generation: u64,
    fencing: FencingToken,
    /// One entry for each listener, in the order of the configuration.
    routes: Vec<RouteView>,
    sources: HashMap<IpAddr, Source, rustc_hash::FxBuildHasher>,
    experiment: Option<LiveExperiment>,
}

/// What one listener's requests meet.
#[derive(Debug)]
pub(crate) struct RouteView {
    /// Where requests go when the plan has expired, or names no endpoints.
    origin: Arc<LiveRoute>,
    /// The plan's own endpoints.
    fresh: Option<Arc<LiveRoute>>,
    /// The faults on requests whose destination this is, in the order of the spec.
    pub(crate) faults: Vec<FaultHere>,
    /// The faults on new connections whose destination this is, in the order of the spec.
    pub(crate) connection_faults: Vec<FaultHere>,
    /// The conditions that measure this.
    pub(crate) guards: Vec<RouteGuard>,
}

/// A condition that measures a route, or one subset of it.
#[derive(Debug)]
pub(crate) struct RouteGuard {
    /// The condition.
    pub(crate) guard: Arc<Guard>,
    /// Only requests that went to this subset.
    pub(crate) subset: Option<String>,
}

/// A caller that is known by its address.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Whose pod it is.
    pub(crate) service: ServiceName,
    /// Its labels in metrics.
    pub(crate) identity: IdentityId,
}

/// The experiment of a plan.
#[derive(Debug)]
pub(crate) struct LiveExperiment {
    armed: bool,
    /// The seed of the dice, for runs that must repeat exactly.
    pub(crate) seed: Option<u64>,
    /// What outlives a change of the plan: counters, windows, whether it has tripped.
    pub(crate) run: Arc<RunState>,
}

impl LivePlan {
    /// The plan's generation.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whose plan it is.
    pub(crate) fn fencing(&self) -> FencingToken {
        self.fencing
    }

    /// What the listener with this index does with a request.
    pub(crate) fn route(&self, listener: usize) -> Option<&RouteView> {
        self.routes.get(listener)
    }

    /// The caller at this address, if it is known.
    pub(crate) fn source(&self, address: IpAddr) -> Option<&Source> {
        self.sources.get(&address)
    }

    /// The experiment, whether it injects or not.
    pub(crate) fn experiment(&self) -> Option<&LiveExperiment> {
        self.experiment.as_ref()
    }
}

impl RouteView {
    /// Where requests go now.
    pub(crate) fn endpoints(&self, fresh: bool) -> &Arc<LiveRoute> {
        match &self.fresh {
            Some(route) if fresh => route,
            _ => &self.origin,
        }
    }
}

/// Why a plan was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is malformed.
    #[error("malformed plan: {0}")]
    Malformed(#[from] PlanError),
    /// A regular expression of it cannot be compiled.
    #[error("malformed plan: {0}")]
    Pattern(String),
    /// A plan with a higher fencing token is in force.
    #[error("the plan's leader has been replaced")]
    Fenced,
    /// It had expired before it was renewed: its faults are off, and only a new generation can switch them on.
    #[error("the plan had expired before it was renewed")]
    Expired,
    /// A newer plan of the same leader is in force.
    #[error("generation {offered} is not newer than {current}")]
    Old {
        /// The generation that was offered.
        offered: u64,
        /// The generation in force.
        current: u64,
    },
}

/// A Service port that is listened for, and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The Service port.
    pub port: ServicePort,
    /// Where its requests go without a plan.
    pub route: PlannedRoute,
}

/// The slot that holds the plan in force.
#[derive(Debug)]
pub(crate) struct PlanSlot {
    current: ArcSwap<LivePlan>,
    /// The moment at which the plan's faults end, in nanoseconds of the boot clock.
    expires: AtomicU64,
    /// When it was last renewed.
    renewed: AtomicU64,
    refused: AtomicU64,
    /// Held while a plan is taken, so that two never interleave.
    writer: Mutex<Writer>,
    /// The run of the plan in force, or of the last plan that had one: its counts outlive it.
    last_run: ArcSwapOption<RunState>,
    signals: watch::Sender<Signals>,
    pub(crate) identities: Identities,
    cores: usize,
}

#[derive(Debug)]
struct Writer {
    origins: Vec<Origin>,
    /// The last plan as it came, for a change of origins.
    plan: Plan,
}

impl PlanSlot {
    /// A slot without a plan: requests go to the origins, nothing is injected.
    pub(crate) fn new(origins: Vec<Origin>, cores: usize) -> Self {
        let identities = Identities::default();
        let writer = Writer { origins, plan: Plan::default() };
        let empty = LivePlan {
            generation: 0,
            fencing: FencingToken::default(),
            routes: Vec::new(),
            sources: HashMap::default(),
            experiment: None,
        };
        let (signals, _) = watch::channel(Signals::default());
        let slot = Self {
            current: ArcSwap::from_pointee(empty),
            expires: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            writer: Mutex::new(writer),
            last_run: ArcSwapOption::empty(),
            signals,
            identities,
            cores,
        };
        {
            let writer = slot.writer.lock().unwrap_or_else(PoisonError::into_inner);
            // A plan without an experiment has nothing that could fail to compile.
            if let Ok(plan) = slot.compile(&writer) {
                slot.current.store(Arc::new(plan));
            }
        }
        slot
    }

    /// The atomic pointer that cores read.
    pub(crate) fn pointer(&self) -> &ArcSwap<LivePlan> {
        &self.current
    }

    /// Takes a plan in the place of the one in force, for `time_to_live` from now.
    ///
    /// # Errors
    /// When it is malformed, older, or of a leader that has been replaced; the plan in force then stays.
    pub(crate) fn accept(&self, plan: Plan, time_to_live: Duration) -> Result<(), Refusal> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.take(&mut writer, plan);
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return taken;
        }
        self.extend(time_to_live);
        Ok(())
    }

    fn take(&self, writer: &mut Writer, plan: Plan) -> Result<(), Refusal> {
        let current = self.current.load();
        if plan.fencing < current.fencing {
            return Err(Refusal::Fenced);
        }
        if plan.fencing == current.fencing && plan.generation <= current.generation {
            return Err(Refusal::Old { offered: plan.generation, current: current.generation });
        }
        plan.check()?;
        let before = std::mem::replace(&mut writer.plan, plan);
        match self.compile(writer) {
            Ok(compiled) => {
                self.publish(compiled);
                Ok(())
            }
            Err(refusal) => {
                writer.plan = before;
                Err(refusal)
            }
        }
    }

    /// Changes where a Service port's requests go without a plan.
    pub(crate) fn set_origin(&self, route: &PlannedRoute) -> Result<(), Refusal> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for origin in writer.origins.iter_mut().filter(|origin| origin.port == route.port) {
            origin.route.clone_from(route);
        }
        let compiled = self.compile(&writer)?;
        self.publish(compiled);
        Ok(())
    }

    /// Makes a compiled plan the one in force, and lets go of the delayed requests of one that it ends.
    fn publish(&self, plan: LivePlan) {
        if let Some(run) = plan.experiment.as_ref().map(|experiment| &experiment.run)
            && !self.last_run.load().as_ref().is_some_and(|last| Arc::ptr_eq(last, run))
        {
            // What is told from now on is about this run alone.
            self.signals.send_replace(Signals { run: run.uid().to_owned(), ..Signals::default() });
            self.last_run.store(Some(Arc::clone(run)));
        }
        let armed = plan.experiment.as_ref().filter(|experiment| experiment.armed).map(|e| Arc::clone(&e.run));
        let before = self.current.swap(Arc::new(plan));
        if let Some(run) = &armed {
            run.arm(Moment::now());
        }
        if let Some(old) = &before.experiment {
            let goes_on = armed.is_some_and(|run| Arc::ptr_eq(&run, &old.run));
            if !goes_on {
                old.run.disarm();
            }
        }
    }

    /// Says that the plan in force still holds, if it is this one.
    pub(crate) fn renew(&self, fencing: FencingToken, generation: u64, time_to_live: Duration) -> Result<(), Refusal> {
        let renewable = self.renewable(fencing, generation);
        match renewable {
            Ok(()) => self.extend(time_to_live),
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        renewable
    }

    /// Whether this is the plan in force, and has not expired.
    fn renewable(&self, fencing: FencingToken, generation: u64) -> Result<(), Refusal> {
        let current = self.current.load();
        if fencing < current.fencing {
            return Err(Refusal::Fenced);
        }
        if fencing != current.fencing || generation != current.generation {
            return Err(Refusal::Old { offered: generation, current: current.generation });
        }
        if !self.is_fresh(Moment::now()) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    fn extend(&self, time_to_live: Duration) {
        let now = Moment::now();
        self.renewed.store(now.as_nanos(), Ordering::Relaxed);
        self.expires.store(now.as_nanos().saturating_add(nanos(time_to_live)), Ordering::Release);
    }

    /// Switches the faults off at once; only a plan of a new generation can switch them on again.
    pub(crate) fn disarm(&self) {
        self.expires.store(0, Ordering::Release);
        if let Some(experiment) = &self.current.load().experiment {
            experiment.run.disarm();
        }
    }

    /// The run of the plan in force, or of the last one that had an experiment.
    pub(crate) fn last_run(&self) -> Option<Arc<RunState>> {
        self.last_run.load_full()
    }

    /// Whether the plan in force holds at this moment.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        now.as_nanos() < self.expires.load(Ordering::Acquire)
    }

    /// The time since the last renewal; `None` if there never was one.
    pub(crate) fn age(&self, now: Moment) -> Option<Duration> {
        match self.renewed.load(Ordering::Relaxed) {
            0 => None,
            renewed => Some(now.since(Moment::from_nanos(renewed))),
        }
    }

    /// Plans, and renewals of plans, that were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What happens to the experiment by itself: trips and pauses.
    pub(crate) fn signals(&self) -> watch::Receiver<Signals> {
        self.signals.subscribe()
    }

    /// Looks after the experiment without a request: expiry, windows that empty, sums that grow old.
    pub(crate) fn tick(&self, now: Moment) {
        let plan = self.current.load();
        let Some(experiment) = &plan.experiment else { return };
        if !self.is_fresh(now) {
            experiment.run.disarm();
            return;
        }
        experiment.run.tick(now);
    }

    /// Whether faults are injected at this moment.
    pub(crate) fn injects(&self, experiment: &LiveExperiment, now: Moment) -> bool {
        experiment.armed && experiment.run.is_armed() && self.is_fresh(now)
    }

    /// Turns the writer's plan and origins into what cores read. Pure but for the run state that goes on.
    fn compile(&self, writer: &Writer) -> Result<LivePlan, Refusal> {
        let Writer { origins, plan } = writer;
        let mut sources = HashMap::with_capacity_and_hasher(plan.sources.len(), rustc_hash::FxBuildHasher);
        for source in &plan.sources {
            let identity = self.identities.id(&source.service, source.version.as_deref());
            sources.insert(source.address, Source { service: source.service.clone(), identity });
        }
        let experiment = plan.experiment.as_ref().map(|planned| self.compile_experiment(planned));
        let faults = plan
            .experiment
            .as_ref()
            .zip(experiment.as_ref())
            .map_or_else(|| Ok(Vec::new()), |(planned, live)| LiveFault::compile_all(planned, &live.run))?;
        let routes = origins.iter().map(|origin| self.compile_route(origin, plan, &faults, experiment.as_ref()));
        Ok(LivePlan {
            generation: plan.generation,
            fencing: plan.fencing,
            routes: routes.collect(),
            sources,
            experiment,
        })
    }

    /// The experiment, going on with the state of the same run if there is one.
    fn compile_experiment(&self, planned: &PlannedExperiment) -> LiveExperiment {
        let current = self.current.load();
        let same = current.experiment.as_ref().filter(|live| live.run.is_same(planned));
        let run = same.map_or_else(
            || Arc::new(RunState::new(planned, self.cores, self.signals.clone())),
            |live| Arc::clone(&live.run),
        );
        LiveExperiment { armed: planned.armed, seed: planned.seed, run }
    }

    /// What one listener's requests meet.
    fn compile_route(
        &self,
        origin: &Origin,
        plan: &Plan,
        faults: &[Arc<LiveFault>],
        experiment: Option<&LiveExperiment>,
    ) -> RouteView {
        let planned = plan.routes.iter().find(|route| route.port == origin.port && !route.endpoints.is_empty());
        let live = |route: &PlannedRoute| LiveRoute::new(route, &self.identities);
        let behind = Arc::new(live(&origin.route));
        let fresh = planned.map(|route| Arc::new(live(route).before(&behind)));
        let faults = faults.iter().filter_map(|fault| fault.at(&origin.port));
        let (connection_faults, faults) = faults.partition(|here| here.fault.disruption.is_of_connections());
        let guards = experiment.map_or_else(Vec::new, |live| live.run.guards_of(&origin.port));
        RouteView { origin: behind, fresh, faults, connection_faults, guards }
    }
}

/// Every endpoint of a route alike.
pub fn plain_route(port: ServicePort, endpoints: Vec<Endpoint>) -> PlannedRoute {
    PlannedRoute { port, endpoints, weights: Vec::new() }
}

// By its path, since `benches/micro` includes this file by its own.
#[cfg(test)]
#[path = "live_plan/tests.rs"]
mod tests;
