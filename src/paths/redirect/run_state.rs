//! What the steps of one run have in common, and what is remembered of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use glooshot_api::{names::ServiceName, scenario::Scenario};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    Stage, Step,
    eyes::Eyes,
    orders::Orders,
    shifts::{Seat, Shifts},
    target::Target,
    world::Held,
};
use crate::{engine::data_path::PathEvent, proxy::Moment};

/// What the steps of a run have in common.
pub(super) struct RunState {
    pub(super) shifts: Shifts,
    pub(super) orders: Orders,
    pub(super) stage: watch::Sender<Stage>,
    /// Kept so that the channel stays open as long as the path.
    pub(super) sender: mpsc::Sender<PathEvent>,
    pub(super) notes: Mutex<Notes>,
}

/// What is remembered of a run.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) scenario: Option<Arc<Scenario>>,
    pub(super) targets: Vec<Arc<Target>>,
    /// Places at Services that a rule holds.
    pub(super) seats: BTreeMap<ServiceName, Seat>,
    /// Services that may have been changed, or for which something may have been made.
    pub(super) held: Vec<Held>,
    pub(super) eyes: Option<Arc<Eyes>>,
    pub(super) follower: JoinSet<()>,
    /// The trip that ended the run: how old it was, and when it came.
    pub(super) trip: Option<(Duration, Moment)>,
    /// When the last proxy had acknowledged that its faults are off.
    pub(super) off_at: Option<Moment>,
    /// Callers that have been seen, by the Service that they called.
    pub(super) seen: BTreeMap<ServiceName, Vec<ServiceName>>,
    /// The uids of workloads that were seen to have been restarted for this run.
    pub(super) restarted: BTreeSet<String>,
    restoring: bool,
}

impl RunState {
    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_restoring(&self) -> bool {
        self.notes().restoring
    }

    /// Nothing is followed any more; what there is to put back.
    pub(super) fn end(&self) -> Vec<Held> {
        let mut notes = self.notes();
        notes.restoring = true;
        notes.follower.abort_all();
        notes.held.clone()
    }

    /// Says nothing more. Until the proxies are gone, which is for `Redirect::release`, they forward to the origin, for which they need nobody.
    pub(super) fn leave(&self) {
        self.orders.release();
        let mut notes = self.notes();
        notes.eyes = None;
        notes.seats.clear();
    }

    pub(super) fn reach(&self, step: Step, message: impl Into<String>) {
        let message = message.into();
        self.stage.send_if_modified(|stage| {
            let changed = stage.step != step || stage.message != message;
            (stage.step, stage.message) = (step, message);
            changed
        });
    }
}
