//! What proxies are told and believed, at moments that the tests choose.

use glooshot_api::{
    failure_condition::TrafficMetric,
    names::Destination,
    plan::{FencingToken, PlannedCondition},
    quantity::ComparisonOperator,
    scenario::{Threshold, TrafficRule},
};

use super::{super::super::messages::TripPart, *};

fn at(ms: u64) -> Moment {
    Moment::from_nanos((1_000_000 + ms) * 1_000_000)
}

fn name(name: &str) -> ServiceName {
    ServiceName { namespace: "bookinfo".to_owned(), name: name.to_owned() }
}

fn identity(uid: &str) -> Identity {
    Identity { service: name("ratings"), pod: format!("pod-{uid}"), uid: uid.to_owned() }
}

/// A plan of this generation with one shared condition.
fn plan(generation: u64) -> Plan {
    let rule = TrafficRule {
        service: Destination { service: name("ratings"), port: None, subset: None },
        metric: TrafficMetric::ErrorRate,
        interval: Duration::from_secs(5),
        min_requests: 0,
        exclude_injected: true,
        threshold: Threshold { value: 0.5, operator: ComparisonOperator::Greater },
    };
    let experiment = PlannedExperiment {
        name: name("cascade"),
        uid: "run".to_owned(),
        armed: true,
        faults: Vec::new(),
        conditions: vec![PlannedCondition { shared: true, ..PlannedCondition::new(7, &rule) }],
        max_injected: None,
        max_concurrent_delays: 1,
        seed: None,
    };
    let fencing = FencingToken { lease_created: 1, transitions: 1 };
    Plan { generation, fencing, experiment: Some(experiment), ..Plan::default() }
}

fn room(until: Moment, sharers: usize) -> Room {
    let mut room = Room::default();
    direct(&mut room, 1, until, sharers);
    room
}

fn direct(room: &mut Room, generation: u64, until: Moment, sharers: usize) {
    let plan = plan(generation);
    let text = serde_json::value::to_raw_value(&plan).unwrap();
    room.direct(Arc::new(plan), text, until, sharers);
}

fn counts(run: &str, total: u64, errors: u64) -> FromProxy {
    let tally = Tally { total, errors, below: 0, equal: 0 };
    let conditions = vec![ConditionPart { condition: 7, tally, latencies: Vec::new() }];
    let injection = vec![InjectionStatus { requests: total, aborted: errors, delayed: 0 }];
    FromProxy { counts: Some(CountsPart { uid: run.to_owned(), conditions, injection }), ..FromProxy::default() }
}

fn others(room: &mut Room, uid: &str, now: Moment) -> Option<(Tally, Duration)> {
    let (message, _) = room.next(uid, &mut Sent::default(), now);
    message.others.map(|part| (part.sums[0].tally, part.age))
}

#[test]
fn a_plan_is_told_once_and_then_renewed_with_what_is_left_of_it() {
    let mut room = room(at(5_000), 1);
    room.sit(&identity("a"), 1);
    let mut sent = Sent::default();
    let mut next = |room: &mut Room, now| {
        let (message, _) = room.next("a", &mut sent, now);
        (message.plan.map(|part| part.holds), message.renewal.map(|renewal| renewal.holds))
    };
    let ms = Duration::from_millis;
    assert_eq!(next(&mut room, at(100)), (Some(ms(4_900)), None));
    assert_eq!(next(&mut room, at(200)), (None, None), "nobody has renewed it");
    let id = PlanId::of(&plan(1));
    assert!(room.renew(id, at(6_000)));
    assert_eq!(next(&mut room, at(1_000)), (None, Some(ms(5_000))));
    assert!(!room.renew(PlanId { generation: 2, ..id }, at(7_000)), "another plan");
    direct(&mut room, 2, at(7_000), 1);
    assert_eq!(next(&mut room, at(6_500)), (Some(ms(500)), None));
    direct(&mut room, 3, at(7_000), 1);
    assert_eq!(next(&mut room, at(7_000)), (None, None), "it is over before it could be told");
    room.release();
    assert_eq!(next(&mut room, at(7_001)), (None, None));
}

#[test]
fn each_proxy_is_told_the_sum_of_all_but_itself_and_the_age_of_its_oldest_part() {
    let mut room = room(at(5_000), 3);
    for (connection, uid) in ["a", "b", "c"].into_iter().enumerate() {
        room.sit(&identity(uid), connection as u64);
    }
    room.hear("a", 0, counts("run", 90, 1), at(100), at(110));
    room.hear("b", 1, counts("run", 9, 2), at(150), at(160));
    assert_eq!(others(&mut room, "a", at(200)), None, "one of the others has said nothing yet");
    room.hear("c", 2, counts("run", 1, 1), at(180), at(190));
    let tally = |total, errors| Tally { total, errors, below: 0, equal: 0 };
    let ms = Duration::from_millis;
    assert_eq!(others(&mut room, "a", at(200)), Some((tally(10, 3), ms(50))));
    assert_eq!(others(&mut room, "b", at(200)), Some((tally(91, 2), ms(100))));
    assert_eq!(others(&mut room, "c", at(900)), Some((tally(99, 3), ms(800))));
    assert_eq!(room.readings(), [(7, 0.04)]);
}

#[test]
fn nobody_is_told_a_sum_while_a_proxy_is_missing() {
    let mut room = room(at(5_000), 2);
    room.sit(&identity("a"), 1);
    room.hear("a", 1, counts("run", 1, 0), at(0), at(0));
    assert_eq!(others(&mut room, "a", at(1)), None, "two share the traffic");
    room.sit(&identity("b"), 2);
    room.hear("b", 2, counts("an older run", 1, 0), at(0), at(0));
    assert_eq!(others(&mut room, "a", at(1)), None, "the other one counts something else");
    room.hear("b", 2, counts("run", 1, 0), at(0), at(0));
    assert!(others(&mut room, "a", at(1)).is_some());
    room.leave("b", 2);
    assert_eq!(others(&mut room, "a", at(1)), None);
    direct(&mut room, 2, at(5_000), 1);
    assert_eq!(others(&mut room, "a", at(1)), Some((Tally::default(), Duration::ZERO)), "it is alone, and meant to be");
}

#[test]
fn a_pod_that_connects_anew_takes_the_seat_of_its_older_connection() {
    let mut room = room(at(5_000), 1);
    room.sit(&identity("a"), 1);
    room.sit(&identity("a"), 2);
    assert!(!room.is_seated("a", 1) && room.is_seated("a", 2));
    assert!(!room.hear("a", 1, FromProxy { state: Some(StatePart::default()), ..FromProxy::default() }, at(0), at(0)));
    room.leave("a", 1);
    assert_eq!(room.proxies().len(), 1, "only the seat's own connection gives it back");
    room.leave("a", 2);
    room.release();
    assert!(room.is_empty());
}

#[test]
fn what_was_injected_is_not_forgotten_with_the_pod_that_did_it_nor_counted_twice() {
    let mut room = room(at(5_000), 1);
    let injected = |room: &Room| room.injection().first().map(|fault| (fault.requests, fault.aborted));
    assert_eq!(injected(&room), None);
    room.sit(&identity("a"), 1);
    room.hear("a", 1, counts("run", 10, 4), at(0), at(0));
    room.leave("a", 1);
    room.sit(&identity("a"), 2);
    room.hear("a", 2, counts("run", 11, 5), at(0), at(0));
    room.sit(&identity("b"), 3);
    room.hear("b", 3, counts("run", 1, 1), at(0), at(0));
    assert_eq!(injected(&room), Some((12, 6)));
    room.hear("b", 3, counts("the next run", 1, 0), at(0), at(0));
    assert_eq!(injected(&room), Some((1, 0)));
}

#[test]
fn a_trip_is_kept_with_the_moment_at_which_it_was_heard() {
    let mut room = room(at(5_000), 1);
    room.sit(&identity("a"), 1);
    let trip = TripPart { uid: "run".to_owned(), condition: 7, value: 0.6, age: Duration::from_millis(2) };
    assert!(room.hear("a", 1, FromProxy { trip: Some(trip), ..FromProxy::default() }, at(300), at(301)));
    let seen = room.proxies()[0].trip.clone().unwrap();
    assert_eq!((seen.condition, seen.value, seen.age, seen.received), (7, 0.6, Duration::from_millis(2), at(301)));
}

#[test]
fn what_a_run_may_inject_is_dealt_to_the_proxies_with_the_plan() {
    let mut plan = plan(1);
    plan.experiment.as_mut().unwrap().max_injected = Some(5);
    let text = serde_json::value::to_raw_value(&plan).unwrap();
    let mut room = Room::default();
    room.direct(Arc::new(plan), text, at(5_000), 2);
    let mut share = |pod: &str| {
        room.sit(&identity(pod), 1);
        room.next(pod, &mut Sent::default(), at(1)).0.plan.unwrap().share
    };
    assert_eq!(["a", "b", "a", "c"].map(&mut share), [Some(3), Some(2), Some(3), Some(0)]);
}
