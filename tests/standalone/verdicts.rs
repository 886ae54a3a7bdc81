//! What a run concludes, and how it says so: exit code, state, failure report.

use std::time::Duration;

use super::{outcome::Outcome, side_by_side, traffic::during, trial::Trial};
use crate::harness::{Upstream, get, load, load::CountingUpstream};

/// What the product promises from the crossing to the last injected answer.
const STOPPED_WITHIN: Duration = Duration::from_millis(50);
/// A condition on ratings that trips on what is injected.
const ERRORS: &str =
    "ErrorRate, interval: 500ms, excludeInjected: false, thresholdValue: 0.05, comparisonOperator: '>'";

#[test]
fn a_condition_that_trips_ends_the_run_as_failed_with_the_fields_of_the_tutorial_and_exit_code_1() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::endless().abort("100").traffic(ERRORS).setup().to(upstream.address()).start_with_faults_on();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    let keys = ["comparison_operator", "failure_condition", "failure_type", "threshold", "value"];
    assert_eq!(outcome.failure_keys(), keys, "{}", outcome.text);
    let ours = format!("      failure_condition: {}\n", outcome.failure("failure_condition"));
    let tutorial = "  result:\n    failureReport:\n      comparison_operator: '>'\n      \
                    failure_type: value_exceeded_threshold\n      threshold: \"0.05\"\n      value: \"1\"\n    \
                    state: Failed\n    timeFinished: \"";
    let printed = outcome.text.replace(&ours, "");
    assert!(printed.contains(tutorial), "besides {ours:?} it is printed as in the tutorial: {}", outcome.text);
    assert_eq!(
        outcome.order(&["faults on", "condition 0-", "faults off", "Failed"]),
        ["faults on", "condition 0-", "faults off", "Failed"]
    );
}

#[test]
fn a_trip_stops_the_faults_within_50_ms_and_the_status_says_how_fast() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::endless().abort("50").traffic(ERRORS).setup().to(upstream.address()).start_with_faults_on();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    let latency = outcome.stop_latency().unwrap_or_else(|| panic!("no stopLatency: {}", outcome.text));
    assert!(latency < STOPPED_WITHIN, "{latency:?}");
    assert!(outcome.said("after the crossing"), "{:#?}", outcome.lines);
    let value: f64 = outcome.failure("value").parse().unwrap();
    assert!(value > 0.05 && value <= 1.0, "{value}");
}

#[test]
fn the_duration_passes_without_a_trip_and_the_run_succeeds_with_exit_code_0() {
    let upstream = CountingUpstream::start();
    let calm = "ErrorRate, interval: 300ms, thresholdValue: 0.99, comparisonOperator: '>'";
    let mut run = Trial::lasting("1s").abort("20").traffic(calm).setup().to(upstream.address()).start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(0, "Succeeded", "");
    assert!(outcome.failure_keys().is_empty() && !outcome.text.contains("failureReport"), "{}", outcome.text);
    assert_eq!(outcome.stop_latency(), None, "{}", outcome.text);
    let times = ["timeStarted", "timeFinished"].map(|field| outcome.result(field).parse::<jiff::Timestamp>().unwrap());
    let took = times[1].duration_since(times[0]).as_secs_f64();
    assert!((1.0..5.0).contains(&took), "the faults were on for {took} s");
}

#[test]
fn without_traffic_nothing_is_injected_and_the_run_is_inconclusive_with_exit_code_3() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::lasting("600ms").abort("100").setup().to(upstream.address()).start();
    let outcome = Outcome::of(&mut run);
    outcome.expect(3, "Inconclusive", "no_fault_injected");
    assert!(outcome.failure("message").contains("a pass would prove nothing"), "{}", outcome.text);
    assert_eq!(outcome.injected(0), (0, 0, 0));
}

#[test]
fn traffic_that_the_fault_does_not_match_is_no_injection_either() {
    let upstream = CountingUpstream::start();
    let abort = "{abort: {httpStatus: 500}, percentage: 100}";
    let trial = Trial::lasting("600ms").fault("bookinfo-ratings-9080", "match: {methods: [DELETE]}", abort);
    let mut run = trial.setup().to(upstream.address()).start();
    let (outcome, tally) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(3, "Inconclusive", "no_fault_injected");
    assert_eq!((outcome.injected(0), tally.marked()), ((0, 0, 0), 0));
    assert!(tally.status(200) > 0);
}

#[test]
fn fewer_injected_requests_than_the_least_are_inconclusive_and_as_many_are_enough() {
    let cases = [(4, 3, "Inconclusive", "no_fault_injected"), (5, 0, "Succeeded", "")];
    side_by_side::for_each(cases, |(requests, code, state, failure_type)| {
        let upstream = CountingUpstream::start();
        let trial = Trial::lasting("1s").abort("100").with("limits: {minInjected: 5}");
        let mut run = trial.setup().to(upstream.address()).start_with_faults_on();
        assert_eq!(load::send(run.address(), 1, requests, |_| get("/")).marked(), requests);
        let outcome = Outcome::of(&mut run);
        outcome.expect(code, state, failure_type);
        assert_eq!(outcome.injected(0).1, requests);
        assert_eq!(outcome.failure("message").contains("limits.minInjected (5)"), code == 3, "{}", outcome.text);
    });
}

#[test]
fn a_caller_that_was_named_and_never_came_makes_the_run_inconclusive() {
    let upstream = CountingUpstream::start();
    let abort = "{abort: {httpStatus: 500}, percentage: 100}";
    let origin = "originServices: [{name: productpage, namespace: bookinfo}]";
    // The first fault injects, so that nothing but the caller is missing.
    let trial = Trial::lasting("600ms").abort("100").fault("bookinfo-ratings-9080", origin, abort);
    let mut run = trial.setup().to(upstream.address()).with(["--source", "127.0.0.9=productpage:v1"]).start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(3, "Inconclusive", "traffic_bypassed");
    assert!(outcome.failure("message").contains("productpage"), "{}", outcome.text);
    let (status, _, message) = outcome.condition("CallersSeen");
    assert_eq!(status, "False");
    assert!(message.contains("productpage"), "{message}");
}

#[test]
fn a_control_experiment_without_faults_succeeds_while_the_service_works() {
    let upstream = CountingUpstream::start();
    let errors = "ErrorRate, interval: 300ms, minRequests: 5, thresholdValue: 0.01, comparisonOperator: '>'";
    let mut run = Trial::lasting("1s").traffic(errors).setup().to(upstream.address()).start();
    let (outcome, tally) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(0, "Succeeded", "");
    assert_eq!((tally.marked(), outcome.experiment["status"].get("injection")), (0, None), "{}", outcome.text);
}

#[test]
fn a_control_experiment_without_faults_fails_when_the_service_does() {
    let upstream = Upstream::answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    let errors = "ErrorRate, interval: 300ms, minRequests: 5, thresholdValue: 0.01, comparisonOperator: '>'";
    let mut run = Trial::endless().traffic(errors).setup().to(upstream.address()).start();
    let (outcome, tally) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(tally.marked(), 0);
}

#[test]
fn after_the_end_the_status_says_that_everything_is_off_and_restored() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::lasting("600ms").abort("100").setup().to(upstream.address()).start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(0, "Succeeded", "");
    assert_eq!(outcome.condition("FaultsActive"), ("False", "Ended", ""));
    assert_eq!(outcome.condition("Restored"), ("True", "Restored", ""));
    assert_eq!(outcome.condition("Routed").0, "False");
    assert_eq!(outcome.condition("Accepted").0, "True");
    assert_eq!(outcome.experiment["status"]["dataPath"]["kind"], "Standalone");
}

#[test]
fn a_file_that_still_holds_the_result_of_an_earlier_run_is_run_anew() {
    let upstream = CountingUpstream::start();
    let old = "status: {result: {state: Failed, failureReport: {failure_type: webhook_failed}}}\n";
    let yaml = Trial::lasting("600ms").abort("100").yaml() + old;
    let mut run = crate::harness::Setup::run(&yaml).to(upstream.address()).start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(0, "Succeeded", "");
}

#[test]
fn no_fault_is_injected_while_the_run_settles() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::lasting("600ms").settling("1s").abort("100").setup().to(upstream.address()).start();
    run.wait_for_line("settling", |line| line.starts_with("settling for 1s"));
    let settling = load::send(run.address(), 1, 20, |_| get("/"));
    assert!(!run.lines().iter().any(|line| line == "faults on"), "the machine is too slow for this test");
    assert_eq!((settling.status(200), settling.marked()), (20, 0));
    run.wait_for_line("faults on", |line| line == "faults on");
    assert_eq!(load::send(run.address(), 1, 5, |_| get("/")).marked(), 5);
    Outcome::of(&mut run).expect(0, "Succeeded", "");
}
