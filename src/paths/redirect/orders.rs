//! What the proxies of a run are told: one plan for each Service, told anew when anything in it changes, renewed as long as we lead and
//! somebody knows that the run is alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use glooshot_api::{
    names::ServiceName,
    plan::{Plan, PlannedExperiment, PlannedRoute, PlannedSource, TIME_TO_LIVE},
};
use tokio::sync::watch;

use super::{Reign, shifts::Shifts};
use crate::{
    control::{
        PlanId,
        server::{Hub, ProxyView},
    },
    engine::data_path::PathError,
    proxy::Moment,
};

/// The Experiment and the halt switch must have been seen this recently.
const ALIVE: Duration = Duration::from_secs(5);

/// The orders of one run.
#[derive(Debug)]
pub(super) struct Orders {
    hub: Hub,
    reign: watch::Receiver<Option<Reign>>,
    live: watch::Receiver<Moment>,
    generations: Arc<AtomicU64>,
    shifts: Shifts,
    /// Whose orders they are.
    uid: String,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    armed: bool,
    rooms: BTreeMap<ServiceName, Room>,
    /// Until when a proxy may inject that has not heard of anything later.
    armed_until: Moment,
    /// Pods that have acknowledged a plan with faults on.
    armed_pods: BTreeSet<String>,
}

/// The orders of one Service.
#[derive(Debug)]
struct Room {
    inputs: Inputs,
    /// What was told last, and for how long it holds; none before the first time.
    told: Option<(PlanId, Moment)>,
    /// Generations of ours that its proxies may have acknowledged begin here.
    first: Option<PlanId>,
}

/// Everything of a plan that may change during a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inputs {
    pub(super) routes: Vec<PlannedRoute>,
    pub(super) sources: Vec<PlannedSource>,
    /// Faults off; whether they are on is said apart.
    pub(super) experiment: PlannedExperiment,
    /// Proxies that the Service's traffic is spread over.
    pub(super) sharers: usize,
}

impl Orders {
    pub(super) fn new(
        hub: Hub,
        reign: watch::Receiver<Option<Reign>>,
        live: watch::Receiver<Moment>,
        generations: Arc<AtomicU64>,
        shifts: Shifts,
        uid: String,
    ) -> Self {
        Self { hub, reign, live, generations, shifts, uid, standing: Mutex::default() }
    }

    /// Tells the proxies of `service` what has changed of this; nothing if nothing has.
    pub(super) fn set(&self, service: &ServiceName, inputs: Inputs) -> Result<(), PathError> {
        let mut standing = self.standing();
        let armed = standing.armed;
        let room = standing.rooms.get(service);
        if room.is_some_and(|room| room.inputs == inputs && room.told.is_some()) {
            return Ok(());
        }
        let (told, first) = room.map_or((None, None), |room| (room.told, room.first));
        let mut room = Room { inputs, told, first };
        if !self.shifts.speaks(service, &self.uid) {
            // A guest does, who has these inputs, too; we do again when it has left.
            room.told = None;
            standing.rooms.insert(service.clone(), room);
            return Ok(());
        }
        let until = self.tell(service, &mut room, armed);
        standing.rooms.insert(service.clone(), room);
        if armed && let Ok(until) = &until {
            standing.armed_until = standing.armed_until.max(*until);
        }
        until.map(drop)
    }

    /// Switches the faults of all Services on or off.
    pub(super) fn arm(&self, armed: bool) -> Result<(), PathError> {
        let mut standing = self.standing();
        // Whatever becomes of the telling, nothing renews what was told before.
        standing.armed = armed;
        let mut outcome = Ok(());
        let Standing { rooms, armed_until, .. } = &mut *standing;
        for (service, room) in rooms.iter_mut() {
            match self.tell(service, room, armed) {
                Ok(until) if armed => *armed_until = (*armed_until).max(until),
                Ok(_) => {}
                Err(error) => {
                    if !armed {
                        self.hub.release(service);
                        room.told = None;
                    }
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    /// Says that what was told still holds.
    pub(super) fn renew(&self) -> Result<(), PathError> {
        let now = Moment::now();
        let (reign, until) = self.until(now)?;
        let mut standing = self.standing();
        // Endpoints may be kept fresh without anybody's word; faults may not.
        if standing.armed {
            self.is_alive(now)?;
        }
        let Standing { armed, rooms, armed_until, .. } = &mut *standing;
        let mut outcome = Ok(());
        for (service, room) in rooms.iter_mut() {
            if !self.shifts.speaks(service, &self.uid) {
                room.told = None;
                continue;
            }
            let holds = room.told.filter(|(id, until)| id.fencing == reign.fencing && *until > now);
            match holds {
                Some((id, _)) if self.hub.renew(service, id, until) => room.told = Some((id, until)),
                // What has expired cannot be renewed; and what another leader may have told since is not ours.
                _ => outcome = self.tell(service, room, *armed).map(drop),
            }
            if *armed {
                *armed_until = (*armed_until).max(until);
            }
        }
        outcome
    }

    /// Whether every connected proxy has acknowledged what was told last, and at least `enough` of each Service.
    ///
    /// # Errors
    /// When a proxy has refused it.
    pub(super) fn are_acknowledged(&self, enough: usize) -> Result<bool, PathError> {
        let mut standing = self.standing();
        let mut all = true;
        let mut acknowledged = Vec::new();
        for (service, room) in &standing.rooms {
            let proxies = self.hub.proxies(service);
            let Some((id, _)) = room.told else { return Ok(false) };
            let mut obeying = 0;
            for proxy in &proxies {
                let Some(answer) = proxy.answer.as_ref().filter(|answer| answer.id == id) else {
                    all = false;
                    continue;
                };
                if let Some(refused) = &answer.refused {
                    let pod = &proxy.identity.pod;
                    return Err(PathError { message: format!("proxy {pod} of {service} refuses the plan: {refused}") });
                }
                obeying += 1;
                acknowledged.push(proxy.identity.uid.clone());
            }
            all &= obeying >= enough;
        }
        if standing.armed {
            standing.armed_pods.extend(acknowledged);
        }
        Ok(all)
    }

    /// Whether no proxy of the run injects any more: each has acknowledged that faults are off, or what it was told before has expired.
    pub(super) fn is_off(&self, now: Moment) -> bool {
        let standing = self.standing();
        if standing.armed {
            return false;
        }
        if now > standing.armed_until {
            return true;
        }
        let views: Vec<(Option<PlanId>, ProxyView)> = standing
            .rooms
            .iter()
            .flat_map(|(service, room)| {
                self.hub.proxies(service).into_iter().map(|view| (room.told.map(|it| it.0), view))
            })
            .collect();
        let is_off = |(told, view): &(Option<PlanId>, ProxyView)| {
            told.is_some() && view.answer.as_ref().map(|answer| answer.id) == *told
        };
        let connected: BTreeSet<&str> = views.iter().map(|(_, view)| view.identity.uid.as_str()).collect();
        views.iter().all(is_off) && standing.armed_pods.iter().all(|pod| connected.contains(pod.as_str()))
    }

    /// The proxies of `service` that have acknowledged any plan of this run.
    pub(super) fn obeying(&self, service: &ServiceName) -> Vec<ProxyView> {
        let first = self.standing().rooms.get(service).and_then(|room| room.first);
        let is_of_run = |proxy: &ProxyView| {
            let answer = proxy.answer.as_ref().filter(|answer| answer.refused.is_none());
            answer.zip(first).is_some_and(|(answer, first)| answer.id >= first)
        };
        self.hub.proxies(service).into_iter().filter(is_of_run).collect()
    }

    /// Those of them that obey the last one.
    pub(super) fn up_to_date(&self, service: &ServiceName) -> usize {
        let told = self.standing().rooms.get(service).and_then(|room| room.told.map(|(id, _)| id));
        let obeys = |proxy: &ProxyView| {
            let answer = proxy.answer.as_ref().filter(|answer| answer.refused.is_none());
            proxy.ready && told.is_some() && answer.map(|answer| answer.id) == told
        };
        self.hub.proxies(service).iter().filter(|proxy| obeys(proxy)).count()
    }

    /// Says nothing more.
    pub(super) fn release(&self) {
        let mut standing = self.standing();
        // What a guest has said, faults off, holds until the rule speaks again.
        for service in standing.rooms.keys().filter(|service| !self.is_guest(service)) {
            self.hub.release(service);
        }
        standing.rooms.clear();
        standing.armed = false;
    }

    fn is_guest(&self, service: &ServiceName) -> bool {
        self.shifts.is_guest(service, &self.uid)
    }

    /// Tells a plan of a new generation; until when it holds.
    fn tell(&self, service: &ServiceName, room: &mut Room, armed: bool) -> Result<Moment, PathError> {
        let now = Moment::now();
        let (reign, until) = self.until(now)?;
        // That faults are off may always be said.
        if armed {
            self.is_alive(now)?;
        }
        let Inputs { routes, sources, experiment, sharers } = room.inputs.clone();
        let plan = Plan {
            generation: self.generations.fetch_add(1, Ordering::Relaxed) + 1,
            fencing: reign.fencing,
            routes,
            sources,
            experiment: Some(PlannedExperiment { armed, ..experiment }),
        };
        let id = PlanId::of(&plan);
        self.hub
            .direct(service, plan, until, sharers)
            .map_err(|error| PathError { message: format!("the proxies of {service} cannot be told: {error}") })?;
        room.told = Some((id, until));
        room.first = room.first.or(Some(id));
        Ok(until)
    }

    /// Our leadership, and until when something holds that is said now.
    fn until(&self, now: Moment) -> Result<(Reign, Moment), PathError> {
        let reign = (*self.reign.borrow()).filter(|reign| reign.until > now);
        let reign = reign.ok_or_else(|| PathError { message: "this controller does not lead".to_owned() })?;
        Ok((reign, now.plus(TIME_TO_LIVE).min(reign.until)))
    }

    fn is_alive(&self, now: Moment) -> Result<(), PathError> {
        let age = now.since(*self.live.borrow());
        if age < ALIVE {
            return Ok(());
        }
        Err(PathError { message: format!("the Experiment and the halt switch have not been seen for {age:?}") })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
