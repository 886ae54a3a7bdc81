//! What is taken, what is refused, and when faults end.

use glooshot_api::{
    failure_condition::TrafficMetric,
    names::Destination,
    plan::{Disruption, MatchRule, PlannedCondition, PlannedFault, TextMatch},
    quantity::{ComparisonOperator, Percent},
    scenario::{Threshold, TrafficRule},
};

use super::*;
use crate::proxy::guard::Completion;

const HOUR: Duration = Duration::from_secs(3600);

fn ratings() -> ServicePort {
    ServicePort { service: ServiceName { namespace: "bookinfo".into(), name: "ratings".into() }, port: 9080 }
}

fn slot() -> PlanSlot {
    let endpoint = Endpoint { address: ([127, 0, 0, 1], 9080).into(), subset: None };
    let route = plain_route(ratings(), vec![endpoint]);
    PlanSlot::new(vec![Origin { port: ratings(), route }], 1)
}

fn experiment(armed: bool) -> PlannedExperiment {
    let destination = Destination { service: ratings().service, port: None, subset: None };
    PlannedExperiment {
        name: ratings().service,
        uid: "one".into(),
        armed,
        faults: vec![PlannedFault {
            origins: vec![],
            destinations: vec![destination.clone()],
            matches: MatchRule::default(),
            percentage: Percent::ALL,
            disruption: Disruption::AbortHttp(500),
        }],
        conditions: vec![PlannedCondition::new(
            0,
            &TrafficRule {
                service: destination,
                metric: TrafficMetric::ErrorRate,
                interval: Duration::from_millis(1),
                min_requests: 1,
                exclude_injected: true,
                threshold: Threshold { value: 0.5, operator: ComparisonOperator::Greater },
            },
        )],
        max_injected: None,
        max_concurrent_delays: 10,
        seed: None,
    }
}

fn plan(generation: u64, armed: bool) -> Plan {
    Plan { generation, experiment: Some(experiment(armed)), ..Plan::default() }
}

fn injects(slot: &PlanSlot) -> bool {
    let plan = slot.pointer().load();
    plan.experiment().is_some_and(|experiment| slot.injects(experiment, Moment::now()))
}

#[test]
fn without_a_plan_requests_go_to_the_origin_and_nothing_is_injected() {
    let slot = slot();
    assert!(!injects(&slot));
    assert!(slot.pointer().load().route(0).is_some());
    assert_eq!(slot.age(Moment::now()), None);
}

#[test]
fn an_armed_plan_injects_until_its_time_to_live_has_passed() {
    let slot = slot();
    slot.accept(plan(1, true), HOUR).unwrap();
    assert!(injects(&slot));
    let live = slot.pointer().load();
    let later = Moment::now().plus(HOUR + Duration::from_secs(1));
    assert!(!slot.injects(live.experiment().unwrap(), later));
}

#[test]
fn a_plan_that_has_expired_cannot_be_renewed_back_to_life() {
    let slot = slot();
    slot.accept(plan(1, true), Duration::ZERO).unwrap();
    assert_eq!(slot.renew(FencingToken::default(), 1, HOUR), Err(Refusal::Expired));
    assert_eq!(slot.refused(), 1);
    slot.tick(Moment::now());
    assert!(!injects(&slot));
    slot.accept(plan(2, true), HOUR).unwrap();
    assert!(injects(&slot), "a new generation switches on again");
}

#[test]
fn expiry_lets_delayed_requests_go() {
    let slot = slot();
    slot.accept(plan(1, true), Duration::ZERO).unwrap();
    let run = Arc::clone(&slot.pointer().load().experiment().unwrap().run);
    let released = run.released();
    assert!(!released.is_cancelled());
    slot.tick(Moment::now());
    assert!(released.is_cancelled());
}

#[test]
fn an_older_generation_and_a_lower_fencing_token_are_refused_and_counted() {
    let slot = slot();
    let leader = |transitions| FencingToken { lease_created: 7, transitions };
    slot.accept(Plan { fencing: leader(2), ..plan(5, true) }, HOUR).unwrap();
    assert_eq!(
        slot.accept(Plan { fencing: leader(2), ..plan(5, false) }, HOUR),
        Err(Refusal::Old { offered: 5, current: 5 })
    );
    assert_eq!(slot.accept(Plan { fencing: leader(1), ..plan(9, false) }, HOUR), Err(Refusal::Fenced));
    assert_eq!(slot.renew(leader(1), 5, HOUR), Err(Refusal::Fenced));
    assert_eq!(slot.renew(leader(2), 4, HOUR), Err(Refusal::Old { offered: 4, current: 5 }));
    assert_eq!(slot.refused(), 4, "plans and renewals alike");
    assert!(injects(&slot), "the plan in force stays");
    slot.accept(Plan { fencing: leader(3), ..plan(1, false) }, HOUR).unwrap();
    assert!(!injects(&slot), "a higher token wins with any generation");
}

#[test]
fn a_malformed_plan_is_refused_whole_and_the_one_before_stays() {
    let slot = slot();
    slot.accept(plan(1, true), HOUR).unwrap();
    let mut status = plan(2, true);
    status.experiment.as_mut().unwrap().faults[0].disruption = Disruption::AbortHttp(99);
    let mut regex = plan(2, true);
    regex.experiment.as_mut().unwrap().faults[0].matches.path = Some(TextMatch::Regex("(".into()));
    let mut many = plan(2, true);
    let faults = &mut many.experiment.as_mut().unwrap().faults;
    *faults = std::iter::repeat_n(faults[0].clone(), 10_000).collect();
    for bad in [status, regex, many] {
        assert!(slot.accept(bad, HOUR).is_err());
        assert!(injects(&slot));
        assert_eq!(slot.pointer().load().generation(), 1);
    }
    assert_eq!(slot.refused(), 3);
}

#[test]
fn disarm_holds_until_a_new_generation() {
    let slot = slot();
    slot.accept(plan(1, true), HOUR).unwrap();
    slot.disarm();
    assert!(!injects(&slot));
    assert!(slot.renew(FencingToken::default(), 1, HOUR).is_err());
    assert!(!injects(&slot));
}

#[test]
fn a_trip_switches_off_before_it_tells_and_no_later_plan_of_the_run_switches_on() {
    let slot = slot();
    let mut signals = slot.signals();
    slot.accept(plan(1, true), HOUR).unwrap();
    signals.borrow_and_update();
    let live = slot.pointer().load_full();
    let run = &live.experiment().unwrap().run;
    let later = Moment::now().plus(Duration::from_millis(5));
    let failure = Completion { error: true, aborted: false, latency: Duration::ZERO, delay: Duration::ZERO };
    let guard = &live.route(0).unwrap().guards[0].guard;
    assert!(guard.record(0, later, failure));
    run.evaluate(guard, later);
    assert!(!injects(&slot));
    let trip = signals.borrow_and_update().trip.unwrap();
    assert_eq!((trip.condition, trip.value, trip.crossed_at), (0, 1.0, later));
    slot.accept(plan(2, true), HOUR).unwrap();
    assert!(!injects(&slot));
    let mut other = plan(3, true);
    other.experiment.as_mut().unwrap().uid = "two".into();
    slot.accept(other, HOUR).unwrap();
    assert!(injects(&slot), "another run is another matter");
    assert_eq!(signals.borrow_and_update().trip, None);
}

#[test]
fn a_run_whose_place_another_has_taken_tells_nothing_any_more() {
    let slot = slot();
    let signals = slot.signals();
    slot.accept(plan(1, true), HOUR).unwrap();
    let live = slot.pointer().load_full();
    let mut other = plan(2, true);
    other.experiment.as_mut().unwrap().uid = "two".into();
    slot.accept(other, HOUR).unwrap();
    // A core that is still busy with the plan before.
    let run = &live.experiment().unwrap().run;
    run.arm(Moment::now());
    let later = Moment::now().plus(Duration::from_millis(5));
    let guard = &live.route(0).unwrap().guards[0].guard;
    guard.record(0, later, Completion { error: true, aborted: false, latency: Duration::ZERO, delay: Duration::ZERO });
    run.evaluate(guard, later);
    assert!(!run.is_armed(), "it has tripped");
    assert_eq!(*signals.borrow(), Signals { run: "two".to_owned(), ..Signals::default() });
}

#[test]
fn a_refused_plan_of_another_run_does_not_silence_the_one_in_force() {
    let slot = slot();
    let signals = slot.signals();
    slot.accept(plan(1, true), HOUR).unwrap();
    let before = signals.borrow().clone();
    let mut other = plan(2, true);
    let experiment = other.experiment.as_mut().unwrap();
    experiment.uid = "two".into();
    experiment.faults[0].matches.methods = vec!["no method".into()];
    assert!(matches!(slot.accept(other, HOUR), Err(Refusal::Pattern(_))));
    assert_eq!(*signals.borrow(), before);
    assert_eq!(before.run, slot.pointer().load().experiment().unwrap().run.uid());
}

#[test]
fn nothing_is_evaluated_before_one_full_window_after_the_faults_went_on() {
    let slot = slot();
    let mut cold = plan(1, true);
    cold.experiment.as_mut().unwrap().conditions[0].rule.interval = crate::api::plan::MAX_INTERVAL;
    slot.accept(cold, HOUR * 2).unwrap();
    let live = slot.pointer().load_full();
    let (run, now) = (&live.experiment().unwrap().run, Moment::now());
    let guard = &live.route(0).unwrap().guards[0].guard;
    let failure = Completion { error: true, aborted: false, latency: Duration::ZERO, delay: Duration::ZERO };
    guard.record(0, now, failure);
    run.evaluate(guard, now);
    assert!(injects(&slot));
}

#[test]
fn counters_and_budget_go_on_when_the_plan_changes_during_a_run() {
    let slot = slot();
    let mut limited = plan(1, true);
    limited.experiment.as_mut().unwrap().max_injected = Some(2);
    slot.accept(limited.clone(), HOUR).unwrap();
    let run = Arc::clone(&slot.pointer().load().experiment().unwrap().run);
    run.counters(0).aborted();
    assert!(run.take_from_budget());
    slot.accept(Plan { generation: 2, ..limited }, HOUR).unwrap();
    let run = Arc::clone(&slot.pointer().load().experiment().unwrap().run);
    assert_eq!(run.counters(0).read(), [0, 1, 0, 0]);
    assert!(run.take_from_budget());
    assert!(!run.take_from_budget(), "two in all, exactly");
}

#[test]
fn a_change_of_origin_takes_effect_without_a_plan() {
    let slot = slot();
    let moved = Endpoint { address: ([127, 0, 0, 2], 9080).into(), subset: None };
    slot.set_origin(&plain_route(ratings(), vec![moved.clone()])).unwrap();
    let plan = slot.pointer().load();
    let group = plan.route(0).unwrap().endpoints(false).group(0).unwrap().endpoints[0].address;
    assert_eq!(group, moved.address);
}
