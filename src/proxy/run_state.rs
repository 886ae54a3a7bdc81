//! What outlives a change of the plan during one run: whether faults are on, counters, windows, budget, trips.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use glooshot_api::{
    names::{ServiceName, ServicePort},
    plan::PlannedExperiment,
    status::InjectionStatus,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    clock::Moment,
    fault::FaultCounters,
    guard::{Guard, Judgement},
    live_plan::RouteGuard,
    window::{Histogram, Tally},
};

/// What happens to a run by itself; watched by whoever runs the experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// The uid of the Experiment whose run this is.
    pub run: String,
    /// The first condition that tripped.
    pub trip: Option<Trip>,
    /// Whether faults are paused because the other proxies' sums are not fresh.
    pub paused: bool,
}

/// A condition that tripped. Its faults are already off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// The condition's index in the spec.
    pub condition: u16,
    /// The value that tripped.
    pub value: f64,
    /// When the request ended that crossed the threshold, or the tick that found it.
    pub crossed_at: Moment,
    /// When the faults were off.
    pub disarmed_at: Moment,
}

/// What one proxy counts of a run, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// The uid of the Experiment.
    pub uid: String,
    /// Its conditions.
    pub(crate) conditions: Vec<ConditionCounts>,
    /// What each fault has done, in the order of the spec.
    pub injection: Vec<InjectionStatus>,
}

/// What one proxy counts of one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionCounts {
    /// The condition's index in the spec.
    pub(crate) index: u16,
    /// Its window.
    pub(crate) tally: Tally,
    /// The latencies in the window, where the condition is about them.
    pub(crate) latencies: Option<Histogram>,
}

/// The state of one run of one experiment, shared by all cores and all its plans.
#[derive(Debug)]
pub(crate) struct RunState {
    uid: String,
    name: ServiceName,
    guards: Vec<Arc<Guard>>,
    counters: Vec<Arc<FaultCounters>>,
    origins: BTreeSet<ServiceName>,
    seen: Mutex<BTreeSet<ServiceName>>,
    all_seen: AtomicBool,
    /// Requests and connections that may still be faulted; `u64::MAX` is no limit.
    budget: AtomicU64,
    max_delays: u32,
    delays: AtomicU32,
    armed: AtomicBool,
    tripped: AtomicBool,
    blind: AtomicBool,
    armed_at: AtomicU64,
    /// When the last injected response started, or the last injection at connect.
    last_injected: AtomicU64,
    release: Mutex<CancellationToken>,
    signals: watch::Sender<Signals>,
}

impl RunState {
    /// The state of a run that has not been armed yet.
    pub(crate) fn new(planned: &PlannedExperiment, cores: usize, signals: watch::Sender<Signals>) -> Self {
        Self {
            uid: planned.uid.clone(),
            name: planned.name.clone(),
            guards: planned.conditions.iter().map(|c| Arc::new(Guard::new(c.clone(), cores))).collect(),
            counters: planned.faults.iter().map(|fault| Arc::new(FaultCounters::new(fault.disruption))).collect(),
            origins: planned.faults.iter().flat_map(|fault| fault.origins.iter().cloned()).collect(),
            seen: Mutex::default(),
            all_seen: AtomicBool::new(planned.faults.iter().all(|fault| fault.origins.is_empty())),
            budget: AtomicU64::new(planned.max_injected.unwrap_or(u64::MAX)),
            max_delays: planned.max_concurrent_delays,
            delays: AtomicU32::new(0),
            armed: AtomicBool::new(false),
            tripped: AtomicBool::new(false),
            blind: AtomicBool::new(false),
            armed_at: AtomicU64::new(0),
            last_injected: AtomicU64::new(0),
            release: Mutex::new(CancellationToken::new()),
            signals,
        }
    }

    /// Whether a plan is about this run: the same Experiment object with the same faults and conditions.
    pub(crate) fn is_same(&self, planned: &PlannedExperiment) -> bool {
        self.uid == planned.uid
            && self.counters.len() == planned.faults.len()
            && self.guards.len() == planned.conditions.len()
            && self.guards.iter().zip(&planned.conditions).all(|(guard, condition)| guard.condition() == condition)
    }

    /// The uid of the Experiment.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// Namespace and name of the Experiment.
    pub(crate) fn name(&self) -> &ServiceName {
        &self.name
    }

    // --- the switch

    /// Switches the faults on, unless a condition has tripped. Conditions warm up again from here.
    pub(crate) fn arm(&self, now: Moment) {
        if self.tripped.load(Ordering::Acquire) || self.armed.load(Ordering::Acquire) {
            return;
        }
        *self.release.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.armed_at.store(now.as_nanos(), Ordering::Release);
        self.armed.store(true, Ordering::SeqCst);
        // A trip between the first look and the store must win.
        if self.tripped.load(Ordering::SeqCst) {
            self.disarm();
        }
    }

    /// Switches the faults off, and lets every delayed request and connection go.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
        self.release.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// Whether faults are on.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire) && !self.blind.load(Ordering::Acquire)
    }

    /// Cancelled when the faults that are on now go off.
    pub(crate) fn released(&self) -> CancellationToken {
        self.release.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    // --- injection

    /// The counters of the fault with this index.
    pub(crate) fn counters(&self, fault: usize) -> Arc<FaultCounters> {
        self.counters.get(fault).cloned().unwrap_or_default()
    }

    /// All counters, in the order of the spec.
    pub(crate) fn all_counters(&self) -> &[Arc<FaultCounters>] {
        &self.counters
    }

    /// Takes one from what may still be injected; false when nothing is left.
    pub(crate) fn take_from_budget(&self) -> bool {
        if self.budget.load(Ordering::Relaxed) == u64::MAX {
            return true;
        }
        self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Takes a place among the delayed requests and connections; `None` when all are taken.
    pub(crate) fn begin_delay(self: &Arc<Self>) -> Option<ActiveDelay> {
        let within = |active: u32| (active < self.max_delays).then_some(active + 1);
        self.delays.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).ok()?;
        Some(ActiveDelay(Arc::clone(self)))
    }

    /// Requests and connections that are being delayed now.
    pub(crate) fn active_delays(&self) -> u32 {
        self.delays.load(Ordering::Acquire)
    }

    /// Notes that an injected response starts, or that a connection is faulted.
    pub(crate) fn injected_at(&self, now: Moment) {
        self.last_injected.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    /// When the last injected response started.
    pub(crate) fn last_injected(&self) -> Option<Moment> {
        Some(self.last_injected.load(Ordering::Relaxed)).filter(|n| *n > 0).map(Moment::from_nanos)
    }

    /// What each fault has done, in the order of the spec.
    pub(crate) fn injection(&self) -> Vec<InjectionStatus> {
        let read = |counters: &Arc<FaultCounters>| {
            let [requests, aborted, delayed, _] = counters.read();
            InjectionStatus { requests, aborted, delayed }
        };
        self.counters.iter().map(read).collect()
    }

    // --- callers

    /// Notes that this caller came through here. Cheap once every named origin has been seen.
    pub(crate) fn saw(&self, source: &ServiceName) {
        if self.all_seen.load(Ordering::Relaxed) || !self.origins.contains(source) {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(source.clone());
        self.all_seen.store(seen.len() == self.origins.len(), Ordering::Relaxed);
    }

    /// Origins that are named by a fault and have not come through here.
    pub(crate) fn unseen(&self) -> Vec<ServiceName> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.origins.difference(&seen).cloned().collect()
    }

    // --- conditions

    /// The conditions that measure this port.
    pub(crate) fn guards_of(&self, port: &ServicePort) -> Vec<RouteGuard> {
        let measures = |guard: &&Arc<Guard>| {
            let target = &guard.condition().rule.service;
            target.service == port.service && target.port.is_none_or(|p| p == port.port)
        };
        let route_guard = |guard: &Arc<Guard>| RouteGuard {
            guard: Arc::clone(guard),
            subset: guard.condition().rule.service.subset.clone(),
        };
        self.guards.iter().filter(measures).map(route_guard).collect()
    }

    /// All conditions.
    pub(crate) fn guards(&self) -> &[Arc<Guard>] {
        &self.guards
    }

    /// Evaluates one condition, once a full window has passed since the faults went on.
    pub(crate) fn evaluate(&self, guard: &Guard, now: Moment) {
        if !self.armed.load(Ordering::Acquire) || !self.is_warm(guard.condition().rule.interval, now) {
            return;
        }
        if guard.is_blind(now) {
            return;
        }
        let judgement = guard.judge(now, false);
        if judgement.trips {
            self.trip(guard.condition().index, judgement, now);
        }
    }

    /// Everything that is counted here.
    pub(crate) fn counts(&self, now: Moment) -> RunCounts {
        let count = |guard: &Arc<Guard>| {
            let about_latencies = guard.condition().rule.metric.quantile().is_some();
            ConditionCounts {
                index: guard.condition().index,
                tally: guard.own_tally(now),
                latencies: about_latencies.then(|| guard.own_latencies(now)),
            }
        };
        RunCounts {
            uid: self.uid.clone(),
            conditions: self.guards.iter().map(count).collect(),
            injection: self.injection(),
        }
    }

    /// The value of one condition, NaN until it is judged.
    pub(crate) fn reading(&self, guard: &Guard, now: Moment) -> f64 {
        if self.is_warm(guard.condition().rule.interval, now) { guard.judge(now, true).value } else { f64::NAN }
    }

    fn is_warm(&self, interval: Duration, now: Moment) -> bool {
        now.since(Moment::from_nanos(self.armed_at.load(Ordering::Acquire))) >= interval
    }

    /// Switches the faults off for good, then tells.
    fn trip(&self, condition: u16, judgement: Judgement, crossed_at: Moment) {
        if self.tripped.swap(true, Ordering::SeqCst) {
            return;
        }
        self.disarm();
        let trip = Trip { condition, value: judgement.value, crossed_at, disarmed_at: Moment::now() };
        self.signal(|signals| signals.trip = Some(trip));
    }

    /// Tells, unless another run has taken the place of this one: a core may still be busy with the plan before.
    fn signal(&self, change: impl FnOnce(&mut Signals)) {
        self.signals.send_if_modified(|signals| {
            let own = signals.run == self.uid;
            if own {
                change(signals);
            }
            own
        });
    }

    /// Evaluates every condition without a request: windows empty, and other proxies' sums grow old.
    pub(crate) fn tick(&self, now: Moment) {
        if !self.armed.load(Ordering::Acquire) {
            return;
        }
        let blind = self.guards.iter().any(|guard| guard.is_blind(now));
        if self.blind.swap(blind, Ordering::AcqRel) != blind {
            self.signal(|signals| signals.paused = blind);
        }
        for guard in &self.guards {
            self.evaluate(guard, now);
        }
    }
}

/// A place among the delayed requests and connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct ActiveDelay(Arc<RunState>);

impl Drop for ActiveDelay {
    fn drop(&mut self) {
        self.0.delays.fetch_sub(1, Ordering::AcqRel);
    }
}
