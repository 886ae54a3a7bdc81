//! What the controller counts. Labels are words of fixed lists: no author can add one.

use std::sync::atomic::AtomicU64;

use glooshot_api::status::ResultState;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What the controller counts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    leading: Gauge,
    running: Gauge,
    started: Family<Began, Counter<u64, AtomicU64>>,
    ended: Family<Ended, Counter<u64, AtomicU64>>,
    reconciles: Counter<u64, AtomicU64>,
    failures: Counter<u64, AtomicU64>,
    refused: Counter<u64, AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Began {
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum How {
    New,
    TakenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum State {
    Failed,
    Succeeded,
    Inconclusive,
}

impl Metrics {
    pub(crate) fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    pub(crate) fn running(&self, running: usize) {
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    pub(crate) fn started(&self, taken_up: bool) {
        let how = if taken_up { How::TakenUp } else { How::New };
        self.started.get_or_create(&Began { how }).inc();
    }

    pub(crate) fn ended(&self, state: ResultState) {
        let state = match state {
            ResultState::Failed => State::Failed,
            ResultState::Succeeded => State::Succeeded,
            ResultState::Inconclusive | ResultState::Pending | ResultState::Started => State::Inconclusive,
        };
        self.ended.get_or_create(&Ended { state }).inc();
    }

    pub(crate) fn reconciled(&self) {
        self.reconciles.inc();
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// Adds them to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("glooshot_controller");
        registry.register("leading", "1 while this process leads", self.leading.clone());
        registry.register("runs", "Experiments that run in this process", self.running.clone());
        registry.register("runs_started", "Runs begun, or taken up from another process", self.started.clone());
        registry.register("runs_ended", "Runs by their result", self.ended.clone());
        registry.register("reconciles", "Looks at an Experiment", self.reconciles.clone());
        registry.register("reconcile_failures", "Looks that failed and are tried again", self.failures.clone());
        registry.register(
            "proxies_refused",
            "Callers of the control channel that are not our proxies",
            self.refused.clone(),
        );
    }
}
