//! The Services that RoutingRules hold: how their traffic is shared out, and which Experiment is a guest there.
//!
//! An Experiment on a Service that a rule holds changes nothing in the world: it tells the rule's own proxies, which keep the rule's
//! shares, and leaves. So the Service is put back by the rule alone, and a rule waits for its guests before it does that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use glooshot_api::{
    names::{ServiceName, ServicePort},
    plan::SubsetWeight,
};

use super::Owner;

/// The shares of each Service port that a rule selects.
pub type Shares = Vec<(ServicePort, Vec<SubsetWeight>)>;

/// All rules of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Shifts(Arc<Mutex<BTreeMap<ServiceName, Shift>>>);

#[derive(Clone, Debug)]
struct Shift {
    holder: Owner,
    weights: BTreeMap<u16, Vec<SubsetWeight>>,
    /// The Service goes through the rule's proxies.
    in_force: bool,
    /// Nobody is let in any more.
    closing: bool,
    guest: Option<Owner>,
}

/// What becomes of an Experiment that wants a Service.
#[derive(Debug)]
pub(super) enum Welcome {
    /// No rule has it.
    Free,
    /// It may tell the proxies of the rule as long as it keeps this.
    Guest(Seat),
    /// Not now, and why.
    Wait(String),
}

/// A rule's Services, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    shifts: Shifts,
    uid: String,
}

/// A guest's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    shifts: Shifts,
    service: ServiceName,
    uid: String,
    /// Whose guest it is.
    pub(super) holder: Owner,
}

/// The Services in shares.
pub(super) fn services(shares: &Shares) -> Vec<ServiceName> {
    shares.iter().map(|(port, _)| port.service.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn by_service(shares: &Shares) -> BTreeMap<ServiceName, BTreeMap<u16, Vec<SubsetWeight>>> {
    let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (port, weights) in shares {
        all.entry(port.service.clone()).or_default().insert(port.port, weights.clone());
    }
    all
}

impl Shifts {
    /// All Services of `shares` for a rule, or none: then the first rule that has one of them.
    pub(super) fn claim(&self, holder: &Owner, shares: &Shares) -> Result<Claim, Box<(ServiceName, Owner)>> {
        let mut all = self.lock();
        let wanted = by_service(shares);
        let taken = wanted.keys().find_map(|service| Some((service.clone(), all.get(service)?.holder.clone())));
        if let Some(taken) = taken {
            return Err(Box::new(taken));
        }
        for (service, weights) in wanted {
            let shift = Shift { holder: holder.clone(), weights, in_force: false, closing: false, guest: None };
            all.insert(service, shift);
        }
        Ok(Claim { shifts: self.clone(), uid: holder.uid.clone() })
    }

    /// Other shares of the same Services; false if they are not the same.
    pub(super) fn reshare(&self, uid: &str, shares: &Shares) -> bool {
        let mut all = self.lock();
        let wanted = by_service(shares);
        let held = all.iter().filter(|(_, shift)| shift.holder.uid == uid).map(|(service, _)| service);
        if !held.eq(wanted.keys()) {
            return false;
        }
        for (service, weights) in wanted {
            if let Some(shift) = all.get_mut(&service) {
                shift.weights = weights;
            }
        }
        true
    }

    /// The Services of a rule go through its proxies: Experiments are welcome.
    pub(super) fn open(&self, uid: &str) {
        for shift in self.lock().values_mut().filter(|shift| shift.holder.uid == uid) {
            shift.in_force = true;
        }
    }

    /// Lets nobody in any more; whoever is there still.
    pub(super) fn close(&self, uid: &str) -> Option<Owner> {
        let mut all = self.lock();
        let mut guest = None;
        for shift in all.values_mut().filter(|shift| shift.holder.uid == uid) {
            shift.closing = true;
            guest = guest.or_else(|| shift.guest.clone());
        }
        guest
    }

    /// A place for an Experiment at a Service.
    pub(super) fn welcome(&self, service: &ServiceName, guest: &Owner) -> Welcome {
        let mut all = self.lock();
        let Some(shift) = all.get_mut(service) else { return Welcome::Free };
        if let Some(other) = shift.guest.as_ref().filter(|other| other.uid != guest.uid) {
            return Welcome::Wait(format!("{other} is running on Service {service}"));
        }
        if shift.closing || !shift.in_force {
            let doing = if shift.closing { "giving Service" } else { "still routing Service" };
            let back = if shift.closing { " back" } else { "" };
            return Welcome::Wait(format!("{} is {doing} {service}{back}", shift.holder));
        }
        shift.guest = Some(guest.clone());
        let (service, uid, holder) = (service.clone(), guest.uid.clone(), shift.holder.clone());
        Welcome::Guest(Seat { shifts: self.clone(), service, uid, holder })
    }

    /// Whether the proxies of a Service are told by this holder or guest now.
    pub(super) fn speaks(&self, service: &ServiceName, uid: &str) -> bool {
        match self.lock().get(service) {
            Some(Shift { guest: Some(guest), .. }) => guest.uid == uid,
            Some(Shift { holder, in_force: true, .. }) => holder.uid == uid,
            // Whoever has made the proxies.
            Some(_) | None => true,
        }
    }

    /// Whether it is a guest at a Service.
    pub(super) fn is_guest(&self, service: &ServiceName, uid: &str) -> bool {
        self.lock().get(service).and_then(|shift| shift.guest.as_ref()).is_some_and(|guest| guest.uid == uid)
    }

    /// The shares of a port for those who tell its proxies; empty where there are none.
    pub(super) fn weights(&self, port: &ServicePort, uid: &str) -> Vec<SubsetWeight> {
        let all = self.lock();
        let concerns = |shift: &&Shift| shift.holder.uid == uid || shift.guest.as_ref().is_some_and(|it| it.uid == uid);
        let weights = all.get(&port.service).filter(concerns).and_then(|shift| shift.weights.get(&port.port));
        weights.cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Shift>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shifts.lock().retain(|_, shift| shift.holder.uid != self.uid);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(shift) = self.shifts.lock().get_mut(&self.service)
            && shift.guest.as_ref().is_some_and(|guest| guest.uid == self.uid)
        {
            shift.guest = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Holder, *};

    fn owner(name: &str, kind: Holder) -> Owner {
        Owner { namespace: "bookinfo".into(), name: name.into(), uid: name.into(), kind }
    }

    fn rule(name: &str) -> Owner {
        owner(name, Holder::RoutingRule)
    }

    fn reviews() -> ServiceName {
        ServiceName { namespace: "bookinfo".into(), name: "reviews".into() }
    }

    fn port() -> ServicePort {
        ServicePort { service: reviews(), port: 9080 }
    }

    fn shares(subset: &str) -> Shares {
        vec![(port(), vec![SubsetWeight { subset: subset.into(), weight: 1 }])]
    }

    #[test]
    fn of_two_rules_on_one_service_the_second_is_told_the_first() {
        let shifts = Shifts::default();
        let first = shifts.claim(&rule("a"), &shares("v4")).unwrap();
        assert_eq!(shifts.claim(&rule("b"), &shares("v3")).unwrap_err(), Box::new((reviews(), rule("a"))));
        drop(first);
        assert!(shifts.claim(&rule("b"), &shares("v3")).is_ok());
    }

    #[test]
    fn a_guest_speaks_in_the_place_of_the_rule_with_the_shares_of_the_rule() {
        let shifts = Shifts::default();
        let experiment = owner("e", Holder::Experiment);
        assert!(matches!(shifts.welcome(&reviews(), &experiment), Welcome::Free));
        let _claim = shifts.claim(&rule("a"), &shares("v4")).unwrap();
        assert!(matches!(shifts.welcome(&reviews(), &experiment), Welcome::Wait(_)), "it is not routed yet");
        shifts.open("a");
        assert!(shifts.speaks(&reviews(), "a") && !shifts.speaks(&reviews(), "e"));
        assert!(shifts.weights(&port(), "e").is_empty());

        let Welcome::Guest(seat) = shifts.welcome(&reviews(), &experiment) else { panic!("it is routed") };
        assert_eq!(seat.holder, rule("a"));
        assert!(shifts.speaks(&reviews(), "e") && !shifts.speaks(&reviews(), "a"));
        assert_eq!(shifts.weights(&port(), "e"), shares("v4")[0].1);
        let other = shifts.welcome(&reviews(), &owner("f", Holder::Experiment));
        assert!(matches!(other, Welcome::Wait(_)), "{other:?}");

        drop(seat);
        assert!(shifts.speaks(&reviews(), "a"));
    }

    #[test]
    fn a_rule_that_ends_waits_for_its_guest_and_lets_nobody_in() {
        let shifts = Shifts::default();
        let experiment = owner("e", Holder::Experiment);
        let _claim = shifts.claim(&rule("a"), &shares("v4")).unwrap();
        shifts.open("a");
        let Welcome::Guest(seat) = shifts.welcome(&reviews(), &experiment) else { panic!("it is routed") };
        assert_eq!(shifts.close("a"), Some(experiment.clone()));
        drop(seat);
        assert_eq!(shifts.close("a"), None);
        assert!(matches!(shifts.welcome(&reviews(), &experiment), Welcome::Wait(_)));
    }

    #[test]
    fn shares_change_only_where_the_services_stay_the_same() {
        let shifts = Shifts::default();
        let _claim = shifts.claim(&rule("a"), &shares("v4")).unwrap();
        assert!(shifts.reshare("a", &shares("v3")));
        assert_eq!(shifts.weights(&port(), "a"), shares("v3")[0].1);
        assert!(!shifts.reshare("a", &Vec::new()));
    }
}
