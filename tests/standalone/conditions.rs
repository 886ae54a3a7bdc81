//! Traffic conditions: each metric trips for what it measures, and for nothing else.

use super::{
    outcome::Outcome,
    side_by_side,
    traffic::{during, pass},
    trial::Trial,
};
use crate::harness::{Client, Upstream, answer, get, load::CountingUpstream};

/// The outcome of a trial with this condition, under traffic, before a service that works.
#[track_caller]
fn outcome(trial: Trial, metric: &str) -> Outcome {
    let upstream = CountingUpstream::start();
    let mut run = trial.traffic(metric).setup().to(upstream.address()).start_with_faults_on();
    during(run.address(), || Outcome::of(&mut run)).0
}

#[track_caller]
fn trips(trial: Trial, metric: &str) -> f64 {
    let outcome = outcome(trial, metric);
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    outcome.failure("value").parse().unwrap()
}

#[test]
fn a_delay_trips_the_median_latency_where_delays_count() {
    let slow = "LatencyP50, interval: 500ms, minRequests: 3, excludeInjected: false, thresholdValue: 0.1, \
                comparisonOperator: '>'";
    let value = trips(Trial::endless().delay("150ms"), slow);
    assert!((0.15..2.0).contains(&value), "half of the requests took {value} s");
}

#[test]
fn a_delay_alone_does_not_trip_the_latency_since_the_time_of_the_service_counts() {
    let slow = "LatencyP50, interval: 300ms, minRequests: 3, thresholdValue: 0.1, comparisonOperator: '>'";
    outcome(Trial::lasting("1s").delay("150ms"), slow).expect(0, "Succeeded", "");
}

#[test]
fn a_service_that_is_slow_itself_trips_the_high_quantiles() {
    side_by_side::for_each(["LatencyP90", "LatencyP99"], |metric| {
        let upstream = Upstream::scripted(|_| {
            pass(std::time::Duration::from_millis(60));
            vec![crate::harness::Step::Send(answer("slow"))]
        });
        let slow = format!("{metric}, interval: 500ms, minRequests: 3, thresholdValue: 0.05, comparisonOperator: '>='");
        let mut run = Trial::endless().abort("1").traffic(&slow).setup().to(upstream.address()).start();
        let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
        outcome.expect(1, "Failed", "value_exceeded_threshold");
        let value: f64 = outcome.failure("value").parse().unwrap();
        assert!((0.06..2.0).contains(&value), "{metric}: {value} s");
    });
}

#[test]
fn a_success_rate_below_its_threshold_trips_and_less_is_the_operator_by_default() {
    let rate = "SuccessRate, interval: 300ms, excludeInjected: false, thresholdValue: 0.99";
    let value = trips(Trial::endless().abort("50"), rate);
    assert!((0.0..0.99).contains(&value), "{value}");
}

#[test]
fn a_request_rate_above_its_threshold_trips() {
    let value = trips(
        Trial::endless().abort("50"),
        "RequestRate, interval: 300ms, excludeInjected: false, thresholdValue: 5, comparisonOperator: '>'",
    );
    assert!(value > 5.0, "{value}");
}

#[test]
fn a_request_rate_that_falls_to_zero_trips_without_any_request() {
    let upstream = CountingUpstream::start();
    let nobody = "RequestRate, interval: 300ms, thresholdValue: 1, comparisonOperator: '<'";
    let mut run = Trial::endless().abort("50").traffic(nobody).setup().to(upstream.address()).start();
    let outcome = Outcome::of(&mut run);
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(outcome.failure("value"), "0");
}

#[test]
fn a_window_with_too_few_requests_has_no_value_and_never_trips() {
    let errors = "ErrorRate, interval: 300ms, minRequests: 100000, excludeInjected: false, thresholdValue: 0.01, \
                  comparisonOperator: '>'";
    let outcome = outcome(Trial::lasting("1s").abort("100"), errors);
    outcome.expect(0, "Succeeded", "");
    assert_eq!(outcome.condition("ConditionsObserved").0, "False", "{}", outcome.text);
    assert!(outcome.said("warning: never had a number in the whole run"), "{:#?}", outcome.lines);
}

#[test]
fn a_condition_without_data_fails_or_is_inconclusive_where_its_author_says_so() {
    let cases = [("Fail", 1, "Failed"), ("Inconclusive", 3, "Inconclusive")];
    side_by_side::for_each(cases, |(meaning, code, state)| {
        let upstream = CountingUpstream::start();
        let trial = Trial::endless().abort("50").condition(&format!(
            "name: quiet, onNoData: {meaning}, trigger: {{traffic: {{service: {{name: ratings}}, metric: ErrorRate, \
             interval: 300ms, thresholdValue: 0.5, comparisonOperator: '>'}}}}"
        ));
        let outcome = Outcome::of(&mut trial.setup().to(upstream.address()).start());
        outcome.expect(code, state, "no_data");
        assert_eq!(outcome.failure("failure_condition"), "quiet");
    });
}

#[test]
fn no_condition_trips_before_one_interval_has_passed_since_the_faults_went_on() {
    let errors = "ErrorRate, interval: 1s, minRequests: 1, excludeInjected: false, thresholdValue: 0.01, \
                  comparisonOperator: '>'";
    let outcome = outcome(Trial::endless().abort("100"), errors);
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    let times = ["timeStarted", "timeFinished"].map(|field| outcome.result(field).parse::<jiff::Timestamp>().unwrap());
    let took = times[1].duration_since(times[0]).as_secs_f64();
    assert!((1.0..5.0).contains(&took), "tripped after {took} s");
}

#[test]
fn the_first_of_several_conditions_that_trips_decides() {
    let upstream = CountingUpstream::start();
    let condition = |name: &str, threshold: &str| {
        format!(
            "name: {name}, trigger: {{traffic: {{service: {{name: ratings}}, metric: ErrorRate, interval: 300ms, \
             excludeInjected: false, thresholdValue: {threshold}, comparisonOperator: '>='}}}}"
        )
    };
    let trial = Trial::endless().abort("50").condition(&condition("all", "1")).condition(&condition("some", "0.05"));
    let mut run = trial.setup().to(upstream.address()).start_with_faults_on();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!((outcome.failure("failure_condition"), outcome.failure("threshold")), ("some", "0.05"));
}

#[test]
fn a_condition_measures_its_own_service_and_no_other() {
    let (ratings, reviews) = (CountingUpstream::start(), CountingUpstream::start());
    let errors = "trigger: {traffic: {service: {name: bookinfo-reviews-9080}, metric: ErrorRate, interval: 300ms, \
                  excludeInjected: false, thresholdValue: 0.01, comparisonOperator: '>'}}";
    let trial = Trial::lasting("1s").abort("100").condition(errors);
    let mut run = trial
        .setup()
        .to(ratings.address())
        .route("bookinfo/reviews:9080", "127.0.0.1:0", reviews.address())
        .start_with_faults_on();
    let both = [run.address(), run.address_of(1)];
    let (outcome, _) = during(both[0], || during(both[1], || Outcome::of(&mut run)).0);
    outcome.expect(0, "Succeeded", "");
    assert!(outcome.injected(0).1 > 0);
}

#[test]
fn the_cascade_is_found_where_it_ends_and_the_broken_service_is_not_blamed() {
    // reviews calls ratings through the proxy, and fails when ratings does.
    let ratings = CountingUpstream::start();
    let behind = std::sync::Arc::new(std::sync::OnceLock::new());
    let through = behind.clone();
    let reviews = Upstream::scripted(move |_| {
        let status = Client::connect(*through.get().unwrap()).ask(&get("/ratings/0")).status();
        let bytes = if status == 200 {
            answer("stars")
        } else {
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec()
        };
        vec![crate::harness::Step::Send(bytes)]
    });
    let errors = |service: &str| {
        format!(
            "name: {service}, trigger: {{traffic: {{service: {{name: {service}}}, metric: ErrorRate, interval: 500ms, \
             minRequests: 5, thresholdValue: 0.05, comparisonOperator: '>'}}}}"
        )
    };
    let trial =
        Trial::endless().settling("300ms").abort("100").condition(&errors("ratings")).condition(&errors("reviews"));
    let mut run = trial
        .setup()
        .to(ratings.address())
        .route("bookinfo/reviews:9080", "127.0.0.1:0", reviews.address())
        .with(["--workers", "2"])
        .start();
    behind.set(run.address()).unwrap();
    let (outcome, tally) = during(run.address_of(1), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(outcome.failure("failure_condition"), "reviews");
    assert_eq!(tally.marked(), 0, "nothing is injected into reviews itself");
}
