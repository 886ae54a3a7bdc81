//! All rooms: how a controller steers the proxies of each Service, and what it sees of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use glooshot_api::{
    names::ServiceName,
    plan::{Plan, PlanError},
    status::InjectionStatus,
};
use tokio::sync::watch;

use super::{
    super::{
        BEAT, IDLE_BEAT,
        messages::{FromController, FromProxy, MAX_FROM_CONTROLLER, PlanId},
    },
    auth::Identity,
    room::{ProxyView, Room, Sent},
};
use crate::proxy::Moment;

/// Bytes of a message beside its plan.
const AROUND: usize = 64 << 10;

/// Steers all proxies, and shows how they are. Cheap to clone; never waits.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rooms: Mutex<BTreeMap<ServiceName, Entry>>,
    connections: AtomicU64,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entry {
    room: Room,
    /// What is told, or who is there, has changed.
    news: watch::Sender<()>,
}

/// Why a plan is not told to anybody: the controller's own fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untellable {
    /// A proxy would refuse it.
    #[error("malformed plan: {0}")]
    Malformed(#[from] PlanError),
    /// It cannot be written down.
    #[error("the plan cannot be written down: {0}")]
    Written(String),
    /// No message is that long.
    #[error("the plan has {0} bytes, more than a message may have")]
    Long(usize),
}

impl Hub {
    /// Tells all proxies of `service`, at once, that `plan` holds until `until` by our clock: the smaller of its time to live and the
    /// end of our lease. `sharers` is the number of proxies that its traffic is spread over: while fewer are connected, conditions that
    /// are shared are not judged, and faults pause.
    ///
    /// # Errors
    /// When the plan is one that every proxy would refuse; what was told before then stays.
    pub fn direct(&self, service: &ServiceName, plan: Plan, until: Moment, sharers: usize) -> Result<(), Untellable> {
        plan.check()?;
        let text = serde_json::value::to_raw_value(&plan).map_err(|error| Untellable::Written(error.to_string()))?;
        if text.get().len() > MAX_FROM_CONTROLLER - AROUND {
            return Err(Untellable::Long(text.get().len()));
        }
        let mut rooms = self.rooms();
        let entry = rooms.entry(service.clone()).or_default();
        entry.room.direct(Arc::new(plan), text, until, sharers);
        entry.news.send_replace(());
        Ok(())
    }

    /// Tells all proxies of `service` that the plan with this fencing token and generation holds until `until`; false if another is told.
    pub fn renew(&self, service: &ServiceName, plan: PlanId, until: Moment) -> bool {
        let mut rooms = self.rooms();
        let Some(entry) = rooms.get_mut(service) else { return false };
        let renewed = entry.room.renew(plan, until);
        entry.news.send_replace(());
        renewed
    }

    /// Says nothing more to the proxies of `service`; their plan ends by itself.
    pub fn release(&self, service: &ServiceName) {
        let mut rooms = self.rooms();
        if let Some(entry) = rooms.get_mut(service) {
            entry.room.release();
            if entry.room.is_empty() {
                rooms.remove(service);
            }
        }
    }

    /// How each connected proxy of `service` is.
    pub fn proxies(&self, service: &ServiceName) -> Vec<ProxyView> {
        self.rooms().get(service).map_or_else(Vec::new, |entry| entry.room.proxies())
    }

    /// Index and value of each condition, over all proxies of `service`.
    pub fn readings(&self, service: &ServiceName) -> Vec<(u16, f64)> {
        self.rooms().get(service).map_or_else(Vec::new, |entry| entry.room.readings())
    }

    /// What all proxies of `service` that ever took part in the run have injected, in the order of the faults.
    pub fn injection(&self, service: &ServiceName) -> Vec<InjectionStatus> {
        self.rooms().get(service).map_or_else(Vec::new, |entry| entry.room.injection())
    }

    /// Changes when a proxy comes or goes, and when one says something that should be looked at: a trip, an answer, its state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// A seat for an authenticated proxy; an older connection of its pod loses its own.
    pub(super) fn seat(&self, identity: &Identity) -> Seat {
        let connection = self.0.connections.fetch_add(1, Ordering::Relaxed);
        let mut rooms = self.rooms();
        let entry = rooms.entry(identity.service.clone()).or_default();
        entry.room.sit(identity, connection);
        entry.news.send_replace(());
        self.changed();
        let news = entry.news.subscribe();
        Seat { hub: self.clone(), service: identity.service.clone(), uid: identity.uid.clone(), connection, news }
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Entry>> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }
}

/// The seat of one connection in the room of its Service, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Hub,
    service: ServiceName,
    uid: String,
    connection: u64,
    news: watch::Receiver<()>,
}

impl Seat {
    /// Changes when there is something to tell.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.clone()
    }

    /// Returns when the pod has connected anew.
    pub(super) async fn replaced(&self) {
        let mut news = self.news.clone();
        let seated =
            || self.hub.rooms().get(&self.service).is_some_and(|e| e.room.is_seated(&self.uid, self.connection));
        while seated() && news.changed().await.is_ok() {}
    }

    /// Takes what the proxy says.
    pub(super) fn heard(&self, message: FromProxy, composed: Moment) {
        let mut rooms = self.hub.rooms();
        let Some(entry) = rooms.get_mut(&self.service) else { return };
        let news = entry.room.hear(&self.uid, self.connection, message, composed, Moment::now());
        drop(rooms);
        if news {
            self.hub.changed();
        }
    }

    /// What the proxy is to be told now, and when to look again at the latest.
    pub(super) fn next(&self, sent: &mut Sent) -> (FromController, Duration) {
        let mut rooms = self.hub.rooms();
        let Some(entry) = rooms.get_mut(&self.service) else { return (FromController::default(), IDLE_BEAT) };
        let (message, planned) = entry.room.next(&self.uid, sent, Moment::now());
        (message, if planned { BEAT } else { IDLE_BEAT })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.hub.rooms();
        if let Some(entry) = rooms.get_mut(&self.service) {
            entry.room.leave(&self.uid, self.connection);
            if entry.room.is_empty() {
                rooms.remove(&self.service);
            }
        }
        drop(rooms);
        self.hub.changed();
    }
}
