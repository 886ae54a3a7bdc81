//! The proxies of one Service: what they are told, and what they have said. Pure: the time comes as an argument.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use glooshot_api::{
    names::ServiceName,
    plan::{Plan, PlannedExperiment},
    status::InjectionStatus,
};
use serde_json::value::RawValue;

use super::{
    super::messages::{
        Answer, ConditionPart, CountsPart, FromController, FromProxy, OthersPart, OthersSum, PlanId, PlanPart, Renewal,
        StatePart,
    },
    auth::Identity,
    deal::Deal,
};
use crate::proxy::{Histogram, Moment, Tally, with_latency};

/// Pods whose injections are remembered for one run at the most; a Service has few proxies, and they are seldom replaced.
const MAX_REMEMBERED: usize = 1_024;

/// The proxies of one Service.
#[derive(Debug, Default)]
pub(super) struct Room {
    standing: Option<Standing>,
    /// By the uid of their pod.
    proxies: BTreeMap<String, Seated>,
    /// What each pod that ever took part in the run has injected.
    injected: Injected,
    deal: Deal,
}

#[derive(Debug, Default)]
struct Injected {
    run: String,
    pods: BTreeMap<String, Vec<InjectionStatus>>,
}

/// What holds.
#[derive(Debug)]
struct Standing {
    plan: Arc<Plan>,
    text: Box<RawValue>,
    until: Moment,
    /// How many proxies share the Service's traffic.
    sharers: usize,
}

/// A connected proxy.
#[derive(Debug)]
struct Seated {
    connection: u64,
    identity: Identity,
    state: StatePart,
    answer: Option<Answer>,
    run: String,
    conditions: BTreeMap<u16, Counted>,
    /// The earliest moment at which its counts can have been made.
    counted_at: Moment,
    trip: Option<TripView>,
}

#[derive(Debug, Default)]
struct Counted {
    tally: Tally,
    latencies: Histogram,
}

/// A trip, as a proxy told it.
#[derive(Clone, Debug, PartialEq)]
pub struct TripView {
    /// The Experiment's uid.
    pub uid: String,
    /// The condition's index in the spec.
    pub condition: u16,
    /// The value that tripped.
    pub value: f64,
    /// From the request that crossed the threshold to the proxy's message, by the proxy's clock.
    pub age: Duration,
    /// When the message came, by ours.
    pub received: Moment,
}

/// How one proxy is.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyView {
    /// Who it is.
    pub identity: Identity,
    /// It listens, and does not stop.
    pub ready: bool,
    /// Its faults are paused, because the others' sums are not fresh.
    pub paused: bool,
    /// Connections that it has accepted since its start.
    pub accepted: u64,
    /// Callers that are named by a fault and have not come through it.
    pub missing: Vec<ServiceName>,
    /// What became of the last plan.
    pub answer: Option<Answer>,
    /// The condition that tripped in it.
    pub trip: Option<TripView>,
}

/// What one connection has been told.
#[derive(Debug, Default)]
pub(super) struct Sent {
    plan: Option<PlanId>,
    until: Moment,
}

impl Room {
    // --- what the controller says

    /// Makes a plan the one that holds until `until`, for `sharers` proxies that share the traffic.
    pub(super) fn direct(&mut self, plan: Arc<Plan>, text: Box<RawValue>, until: Moment, sharers: usize) {
        self.standing = Some(Standing { plan, text, until, sharers });
    }

    /// The plan that holds does so until `until`; false if this is not the one.
    pub(super) fn renew(&mut self, id: PlanId, until: Moment) -> bool {
        let standing = self.standing.as_mut().filter(|standing| PlanId::of(&standing.plan) == id);
        standing.map(|standing| standing.until = until).is_some()
    }

    /// Nothing holds any more; what was said ends by itself.
    pub(super) fn release(&mut self) {
        self.standing = None;
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.standing.is_none() && self.proxies.is_empty()
    }

    // --- who is there

    /// A proxy has connected; in the place of an older connection of the same pod.
    pub(super) fn sit(&mut self, identity: &Identity, connection: u64) {
        let seated = Seated {
            connection,
            identity: identity.clone(),
            state: StatePart::default(),
            answer: None,
            run: String::new(),
            conditions: BTreeMap::new(),
            counted_at: Moment::default(),
            trip: None,
        };
        self.proxies.insert(identity.uid.clone(), seated);
    }

    /// Whether this connection is the one of its pod.
    pub(super) fn is_seated(&self, uid: &str, connection: u64) -> bool {
        self.proxies.get(uid).is_some_and(|seated| seated.connection == connection)
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, uid: &str, connection: u64) {
        if self.is_seated(uid, connection) {
            self.proxies.remove(uid);
        }
    }

    // --- what a proxy says

    /// Takes what a proxy says; whether the controller should look at it now.
    pub(super) fn hear(
        &mut self,
        uid: &str,
        connection: u64,
        message: FromProxy,
        composed: Moment,
        now: Moment,
    ) -> bool {
        let Some(seated) = self.proxies.get_mut(uid).filter(|seated| seated.connection == connection) else {
            return false;
        };
        let mut news = false;
        if let Some(answer) = message.answer {
            seated.answer = Some(answer);
            news = true;
        }
        if let Some(state) = message.state {
            seated.state = state;
            news = true;
        }
        if let Some(trip) = message.trip {
            let (condition, value, age) = (trip.condition, trip.value, trip.age);
            seated.trip = Some(TripView { uid: trip.uid, condition, value, age, received: now });
            news = true;
        }
        if let Some(counts) = message.counts {
            self.injected.note(uid, &counts);
            seated.count(counts, composed);
        }
        news
    }

    // --- what a proxy is told

    /// The next message to a proxy, and whether an experiment is planned.
    pub(super) fn next(&mut self, uid: &str, sent: &mut Sent, now: Moment) -> (FromController, bool) {
        let mut message = FromController::default();
        let Some(standing) = &self.standing else { return (message, false) };
        let id = PlanId::of(&standing.plan);
        let holds = standing.until.since(now);
        if !holds.is_zero() {
            if sent.plan != Some(id) {
                let experiment = standing.plan.experiment.as_ref();
                let share = experiment.and_then(|experiment| {
                    Some(self.deal.share(&experiment.uid, experiment.max_injected?, standing.sharers, uid))
                });
                message.plan = Some(PlanPart { id, holds, share, plan: standing.text.clone() });
            } else if sent.until != standing.until {
                message.renewal = Some(Renewal { id, holds });
            }
            *sent = Sent { plan: Some(id), until: standing.until };
        }
        message.others = self.others(uid, standing, now);
        (message, standing.plan.experiment.is_some())
    }

    /// What the others count; `None` if one of them is missing, so that what was told before grows old.
    fn others(&self, uid: &str, standing: &Standing, now: Moment) -> Option<OthersPart> {
        let experiment = standing.plan.experiment.as_ref()?;
        let others: Vec<&Seated> =
            self.proxies.iter().filter(|(other, _)| *other != uid).map(|(_, seated)| seated).collect();
        if others.len() + 1 < standing.sharers || others.iter().any(|other| other.run != experiment.uid) {
            return None;
        }
        let shared = experiment.conditions.iter().filter(|condition| condition.shared);
        let sums = shared.map(|condition| {
            let tally = others.iter().try_fold(Tally::default(), |sum, other| {
                Some(sum.plus(other.conditions.get(&condition.index)?.tally))
            })?;
            Some(OthersSum { condition: condition.index, tally })
        });
        let sums = sums.collect::<Option<Vec<_>>>().filter(|sums| !sums.is_empty())?;
        let oldest = others.iter().map(|other| other.counted_at).min().unwrap_or(now);
        let (fencing, uid) = (standing.plan.fencing, experiment.uid.clone());
        Some(OthersPart { fencing, uid, sums, age: now.since(oldest) })
    }

    // --- what the controller sees

    /// How each proxy is.
    pub(super) fn proxies(&self) -> Vec<ProxyView> {
        let view = |seated: &Seated| ProxyView {
            identity: seated.identity.clone(),
            ready: seated.state.ready,
            paused: seated.state.paused,
            accepted: seated.state.accepted,
            missing: seated.state.missing.clone(),
            answer: seated.answer.clone(),
            trip: seated.trip.clone(),
        };
        self.proxies.values().map(view).collect()
    }

    /// The value of each condition over all proxies.
    pub(super) fn readings(&self) -> Vec<(u16, f64)> {
        let Some(experiment) = self.experiment() else { return Vec::new() };
        let of_run = || self.proxies.values().filter(|seated| seated.run == experiment.uid);
        let reading = |index: &u16| {
            let counted = of_run().filter_map(|seated| seated.conditions.get(index));
            counted.fold((Tally::default(), Histogram::default()), |(tally, mut latencies), counted| {
                latencies.merge(&counted.latencies);
                (tally.plus(counted.tally), latencies)
            })
        };
        let value = |condition: &glooshot_api::plan::PlannedCondition| {
            let (tally, latencies) = reading(&condition.index);
            (condition.index, with_latency(&condition.rule, tally, &latencies).value)
        };
        experiment.conditions.iter().map(value).collect()
    }

    /// What all proxies that ever took part in the run have injected, in the order of the faults.
    pub(super) fn injection(&self) -> Vec<InjectionStatus> {
        InjectionStatus::sums(self.injected.pods.values())
    }

    fn experiment(&self) -> Option<&PlannedExperiment> {
        self.standing.as_ref()?.plan.experiment.as_ref()
    }
}

impl Seated {
    /// Takes its counts; histograms come as changes of what came before.
    fn count(&mut self, counts: CountsPart, composed: Moment) {
        if self.run != counts.uid {
            self.conditions.clear();
            self.run = counts.uid;
        }
        self.counted_at = composed;
        self.conditions.retain(|index, _| counts.conditions.iter().any(|one| one.condition == *index));
        for ConditionPart { condition, tally, latencies } in counts.conditions {
            let counted = self.conditions.entry(condition).or_default();
            counted.tally = tally;
            counted.latencies.apply(&latencies);
        }
    }
}

impl Injected {
    fn note(&mut self, pod: &str, counts: &CountsPart) {
        if self.run != counts.uid {
            self.run.clone_from(&counts.uid);
            self.pods.clear();
        }
        if self.pods.len() < MAX_REMEMBERED || self.pods.contains_key(pod) {
            self.pods.insert(pod.to_owned(), counts.injection.clone());
        }
    }
}

#[cfg(test)]
mod tests;
