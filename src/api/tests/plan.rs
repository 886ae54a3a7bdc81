//! Plans: what reads back, and what is refused whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use glooshot_api::{
    failure_condition::TrafficMetric,
    names::{Destination, ServiceName, ServicePort},
    plan::*,
    quantity::{ComparisonOperator, Percent},
    scenario::{Threshold, TrafficRule},
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn ratings() -> ServiceName {
    ServiceName { namespace: "bookinfo".into(), name: "ratings".into() }
}

fn fault(disruption: Disruption) -> PlannedFault {
    PlannedFault {
        origins: vec![],
        destinations: vec![Destination { service: ratings(), port: Some(9080), subset: None }],
        matches: MatchRule::default(),
        percentage: Percent::ALL,
        disruption,
    }
}

fn condition(index: u16) -> PlannedCondition {
    PlannedCondition {
        index,
        rule: TrafficRule {
            service: Destination { service: ratings(), port: None, subset: None },
            metric: TrafficMetric::ErrorRate,
            interval: Duration::from_secs(5),
            min_requests: 10,
            exclude_injected: true,
            threshold: Threshold { value: 0.05, operator: ComparisonOperator::Greater },
        },
        shared: false,
    }
}

fn plan() -> Plan {
    let endpoint =
        |last: u8, subset: &str| Endpoint { address: ([127, 0, 0, last], 9080).into(), subset: Some(subset.into()) };
    Plan {
        generation: 7,
        fencing: FencingToken { lease_created: 1_560_182_904_805_162_499, transitions: 3 },
        routes: vec![PlannedRoute {
            port: ServicePort { service: ratings(), port: 9080 },
            endpoints: vec![endpoint(1, "v1"), endpoint(2, "v2")],
            weights: vec![SubsetWeight { subset: "v1".into(), weight: 1 }],
        }],
        sources: vec![PlannedSource {
            address: [127, 0, 1, 11].into(),
            service: ratings(),
            version: Some("v1".into()),
        }],
        experiment: Some(PlannedExperiment {
            name: ServiceName { namespace: "bookinfo".into(), name: "abort-ratings".into() },
            uid: "705ab4f5-6393-11e8-b7cc-42010a800002".into(),
            armed: true,
            faults: vec![fault(Disruption::AbortHttp(500))],
            conditions: vec![condition(0)],
            max_injected: Some(100),
            max_concurrent_delays: 5_000,
            seed: None,
        }),
    }
}

/// The plan with one change, checked.
fn changed(change: impl FnOnce(&mut Plan)) -> Result<(), String> {
    let mut plan = plan();
    change(&mut plan);
    plan.check().map_err(|error| error.to_string())
}

fn with_fault(change: impl FnOnce(&mut PlannedFault)) -> Result<(), String> {
    changed(|plan| change(&mut plan.experiment.as_mut().unwrap().faults[0]))
}

fn with_experiment(change: impl FnOnce(&mut PlannedExperiment)) -> Result<(), String> {
    changed(|plan| change(plan.experiment.as_mut().unwrap()))
}

#[track_caller]
fn refused(result: Result<(), String>, words: &str) {
    let message = result.expect_err(words);
    assert!(message.contains(words), "{message:?} lacks {words:?}");
}

#[test]
fn a_plan_reads_back_as_it_was_written() {
    plan().check().unwrap();
    for disruption in [
        Disruption::AbortHttp(500),
        Disruption::AbortGrpc(14),
        Disruption::Delay { duration: Duration::from_secs(2), jitter: Duration::from_millis(1) },
        Disruption::ResetConnection,
        Disruption::DelayConnection { duration: Duration::from_secs(2), jitter: Duration::from_millis(1) },
    ] {
        let mut plan = plan();
        plan.experiment.as_mut().unwrap().faults[0].disruption = disruption;
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }
    let nothing = Plan::default();
    assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&nothing).unwrap()).unwrap(), nothing);
}

#[test]
fn statuses_and_delays_are_within_their_ranges() {
    let with = |disruption| with_fault(|fault| fault.disruption = disruption);
    for status in [0, 100, 199, 600, u16::MAX] {
        refused(with(Disruption::AbortHttp(status)), "200 to 599");
    }
    for status in [0, 17, u16::MAX] {
        refused(with(Disruption::AbortGrpc(status)), "1 to 16");
    }
    let delay = |duration: u64, jitter: u64| Disruption::Delay {
        duration: Duration::from_secs(duration),
        jitter: Duration::from_secs(jitter),
    };
    let hold = |duration: u64, jitter: u64| Disruption::DelayConnection {
        duration: Duration::from_secs(duration),
        jitter: Duration::from_secs(jitter),
    };
    for delay in [delay, hold] {
        refused(with(delay(61, 0)), "at most 60s");
        refused(with(delay(1, 2)), "at most the delay");
        with(delay(60, 60)).unwrap();
    }
    with(Disruption::ResetConnection).unwrap();
}

#[test]
fn a_fault_without_a_destination_would_hit_everything_and_is_refused() {
    refused(with_fault(|fault| fault.destinations.clear()), "must have a destination");
}

#[test]
fn a_fault_on_connections_has_no_request_to_match_and_no_subset() {
    for disruption in
        [Disruption::ResetConnection, Disruption::DelayConnection { duration: MAX_DELAY, jitter: Duration::ZERO }]
    {
        let with = |change: fn(&mut PlannedFault)| {
            with_fault(|fault| {
                fault.disruption = disruption;
                change(fault);
            })
        };
        with(|fault| fault.origins = vec![ratings()]).unwrap();
        refused(
            with(|fault| fault.matches.methods = vec!["GET".into()]),
            "experiment.faults[0].matches: a connection has no request",
        );
        refused(
            with(|fault| fault.destinations[0].subset = Some("v1".into())),
            "experiment.faults[0].destinations[0]: a connection has no subset",
        );
    }
}

#[test]
fn patterns_that_do_not_compile_are_refused_before_they_reach_a_request() {
    let with = |text: TextMatch| with_fault(|fault| fault.matches.path = Some(text));
    refused(with(TextMatch::Regex("(".into())), "experiment.faults[0].matches.path: not a regular expression");
    refused(with(TextMatch::Prefix("/".repeat(5_000))), "longer than 2048");
    let header =
        HeaderRule { name: "x".into(), value: HeaderValueRule::Text(TextMatch::Regex("a{1000}{1000}".into())) };
    refused(
        with_fault(|fault| fault.matches.headers = vec![header]),
        "experiment.faults[0].matches.headers[0]: not a regular expression",
    );
}

#[test]
fn conditions_have_windows_thresholds_and_indices_of_their_own() {
    let with = |change: fn(&mut PlannedCondition)| with_experiment(|experiment| change(&mut experiment.conditions[0]));
    refused(with(|condition| condition.rule.interval = Duration::ZERO), "longer than 0");
    refused(with(|condition| condition.rule.interval = Duration::from_secs(601)), "at most 600s");
    refused(with(|condition| condition.rule.threshold.value = f64::NAN), "compares with nothing");
    refused(
        with_experiment(|experiment| experiment.conditions.push(condition(0))),
        "another condition has the index 0",
    );
}

#[test]
fn every_list_has_a_bound() {
    refused(
        with_experiment(|experiment| experiment.faults = vec![fault(Disruption::AbortHttp(500)); 10_000]),
        "10000 faults; at most 16",
    );
    refused(
        with_experiment(|experiment| experiment.conditions = (0..17).map(condition).collect()),
        "17 conditions; at most 16",
    );
    refused(changed(|plan| plan.routes = vec![plan.routes[0].clone(); 257]), "257 routes");
    refused(
        changed(|plan| plan.routes[0].endpoints = vec![plan.routes[0].endpoints[0].clone(); 5_001]),
        "5001 endpoints",
    );
    refused(changed(|plan| plan.routes[0].weights = vec![plan.routes[0].weights[0].clone(); 5_001]), "5001 weights");
    refused(changed(|plan| plan.sources = vec![plan.sources[0].clone(); 50_001]), "50001 sources");
    refused(
        with_fault(|fault| fault.destinations = vec![fault.destinations[0].clone(); 33]),
        "33 destinations; at most 32",
    );
    refused(with_fault(|fault| fault.origins = vec![ratings(); 33]), "33 origins; at most 32");
    refused(with_fault(|fault| fault.matches.methods = vec!["GET".into(); 17]), "17 methods; at most 16");
}

#[test]
fn faults_on_the_same_requests_add_up_to_at_most_100() {
    let with = |percentages: &[f64], change: fn(&mut PlannedFault)| {
        let faults = percentages.iter().map(|percentage| PlannedFault {
            percentage: Percent::try_from(*percentage).unwrap(),
            ..fault(Disruption::AbortHttp(500))
        });
        let mut faults: Vec<PlannedFault> = faults.collect();
        change(faults.last_mut().unwrap());
        with_experiment(|experiment| experiment.faults = faults)
    };
    with(&[33.3, 33.3, 33.4], |_| {}).unwrap();
    refused(
        with(&[60.0, 50.0], |_| {}),
        "experiment.faults[1].percentage: with the faults before on the same requests",
    );
    refused(with(&[60.0, 50.0], |fault| fault.disruption = Disruption::AbortGrpc(14)), "this makes 110%");
    refused(with(&[60.0, 50.0], |fault| fault.destinations[0].port = None), "this makes 110%");
    // Other requests: another origin, another match, another port; and connections.
    let others: [fn(&mut PlannedFault); 4] = [
        |fault| fault.origins = vec![ratings()],
        |fault| fault.matches.methods = vec!["GET".into()],
        |fault| fault.destinations[0].port = Some(9081),
        |fault| fault.disruption = Disruption::ResetConnection,
    ];
    for other in others {
        with(&[60.0, 50.0], other).unwrap();
    }
}

#[test]
fn weights_that_add_up_to_nothing_and_ports_that_are_none_are_refused() {
    refused(changed(|plan| plan.routes[0].weights[0].weight = 0), "add up to 0");
    refused(changed(|plan| plan.routes[0].endpoints[1].address.set_port(0)), "routes[0].endpoints[1]: port 0");
}

#[test]
fn a_malformed_plan_is_not_read_at_all() {
    let replace = |pointer: &str, value: Value| {
        let mut plan = serde_json::to_value(plan()).unwrap();
        *plan.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        serde_json::from_value::<Plan>(plan)
    };
    for percentage in [json!(0), json!(-1), json!(101), json!("50"), json!(null)] {
        replace("/experiment/faults/0/percentage", percentage.clone()).expect_err(&percentage.to_string());
    }
    for disruption in [
        json!({"AbortHttp": 500}),
        json!({"abortHttp": -1}),
        json!({"abortHttp": 500, "abortGrpc": 14}),
        json!({}),
        json!("abortHttp"),
        json!({"explode": 1}),
    ] {
        replace("/experiment/faults/0/disruption", disruption.clone()).expect_err(&disruption.to_string());
    }
    replace("/routes/0/endpoints/0/address", json!("not an address")).unwrap_err();
    replace("/generation", json!(-1)).unwrap_err();
    for object in [
        "",
        "/routes/0",
        "/experiment",
        "/experiment/faults/0",
        "/experiment/faults/0/matches",
        "/experiment/conditions/0",
        "/experiment/conditions/0/rule",
        "/experiment/conditions/0/rule/threshold",
        "/fencing",
    ] {
        let mut plan = serde_json::to_value(plan()).unwrap();
        plan.pointer_mut(object).unwrap()["surprise"] = json!(1);
        serde_json::from_value::<Plan>(plan).expect_err(object);
    }
}

#[test]
fn a_truncated_plan_is_not_read_at_any_length() {
    let json = serde_json::to_string(&plan()).unwrap();
    for end in 0..json.len() {
        serde_json::from_str::<Plan>(&json[..end]).expect_err(&json[..end]);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_a_plan_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = serde_json::to_vec(&plan()).unwrap();
        for (index, byte) in flips {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(plan) = serde_json::from_slice::<Plan>(&bytes) {
            // Whatever still reads as a plan and passes the check keeps every range.
            if plan.check().is_ok() {
                for fault in plan.experiment.iter().flat_map(|experiment| &experiment.faults) {
                    prop_assert!(fault.percentage.get() > 0.0 && fault.percentage.get() <= 100.0 && !fault.destinations.is_empty());
                }
            }
        }
    }

    #[test]
    fn every_percentage_reads_back_exactly(value in 0.000_000_1..=100.0f64) {
        let mut plan = plan();
        plan.experiment.as_mut().unwrap().faults[0].percentage = Percent::try_from(value).unwrap();
        let back: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        prop_assert_eq!(back, plan);
    }
}
