use glooshot_api::plan::FencingToken;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn service() -> ServiceName {
    ServiceName { namespace: "bookinfo".into(), name: "ratings".into() }
}

fn inputs(sharers: usize) -> Inputs {
    let experiment = PlannedExperiment {
        name: service(),
        uid: "e-1".into(),
        armed: false,
        faults: vec![],
        conditions: vec![],
        max_injected: None,
        max_concurrent_delays: 1,
        seed: None,
    };
    Inputs { routes: vec![], sources: vec![], experiment, sharers }
}

struct Bench {
    orders: Orders,
    reign: watch::Sender<Option<Reign>>,
    live: watch::Sender<Moment>,
}

/// Orders of a leader whose lease holds for `lease`, and whose experiment was seen just now.
fn bench(lease: Duration) -> Bench {
    let fencing = FencingToken { lease_created: 1, transitions: 1 };
    let (reign, reigns) = watch::channel(Some(Reign { fencing, until: Moment::now().plus(lease) }));
    let (live, lives) = watch::channel(Moment::now());
    Bench {
        orders: Orders::new(Hub::default(), reigns, lives, Arc::default(), Shifts::default(), "e-1".to_owned()),
        reign,
        live,
    }
}

fn told(orders: &Orders) -> Option<(PlanId, Moment)> {
    orders.standing().rooms[&service()].told
}

#[test]
fn a_plan_is_told_anew_only_when_something_in_it_has_changed() {
    let Bench { orders, reign: _reign, live: _live } = bench(15 * SECOND);
    orders.set(&service(), inputs(2)).unwrap();
    let first = told(&orders).unwrap().0;
    orders.set(&service(), inputs(2)).unwrap();
    assert_eq!(told(&orders).unwrap().0, first);
    orders.set(&service(), inputs(3)).unwrap();
    assert!(told(&orders).unwrap().0 > first);
}

#[test]
fn a_plan_holds_no_longer_than_our_lease() {
    let Bench { orders, reign, live: _live } = bench(2 * SECOND);
    orders.set(&service(), inputs(2)).unwrap();
    let end = reign.borrow().unwrap().until;
    assert_eq!(told(&orders).unwrap().1, end);
}

#[test]
fn nothing_is_told_or_renewed_by_one_who_does_not_lead() {
    let Bench { orders, reign, live: _live } = bench(15 * SECOND);
    orders.set(&service(), inputs(2)).unwrap();
    orders.arm(true).unwrap();
    reign.send_replace(None);
    for outcome in [orders.renew(), orders.arm(true), orders.set(&service(), inputs(3))] {
        assert!(outcome.unwrap_err().message.contains("does not lead"));
    }
}

#[test]
fn faults_are_kept_up_only_while_the_experiment_is_seen_but_can_always_be_switched_off() {
    let Bench { orders, reign: _reign, live } = bench(15 * SECOND);
    orders.set(&service(), inputs(2)).unwrap();
    orders.arm(true).unwrap();
    live.send_replace(Moment::now().minus(6 * SECOND));
    assert!(orders.renew().unwrap_err().message.contains("not been seen"));
    assert!(orders.arm(true).is_err());
    orders.arm(false).unwrap();
}

#[test]
fn a_renewal_that_comes_too_late_is_a_new_plan() {
    let Bench { orders, reign: _reign, live: _live } = bench(15 * SECOND);
    orders.set(&service(), inputs(2)).unwrap();
    let (first, until) = told(&orders).unwrap();
    orders.renew().unwrap();
    assert_eq!(told(&orders).unwrap().0, first);
    orders.standing().rooms.get_mut(&service()).unwrap().told = Some((first, until.minus(10 * SECOND)));
    orders.renew().unwrap();
    assert!(told(&orders).unwrap().0 > first);
}

#[test]
fn faults_are_off_when_nobody_was_ever_told_of_them_or_when_that_has_expired() {
    let Bench { orders, reign: _reign, live: _live } = bench(15 * SECOND);
    orders.set(&service(), inputs(2)).unwrap();
    assert!(orders.is_off(Moment::now()), "never armed");
    orders.arm(true).unwrap();
    assert!(!orders.is_off(Moment::now()), "armed");
    orders.standing().armed_pods.insert("a pod that has gone".into());
    orders.arm(false).unwrap();
    assert!(!orders.is_off(Moment::now()), "one that was told is not connected any more");
    assert!(orders.is_off(Moment::now().plus(6 * SECOND)), "what it was told has expired");
}
