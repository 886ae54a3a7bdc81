//! Conditions against a plain recount of what happened.

use glooshot_api::names::{Destination, ServiceName};
use proptest::prelude::*;

use super::*;

const METRICS: [TrafficMetric; 6] = [
    TrafficMetric::ErrorRate,
    TrafficMetric::SuccessRate,
    TrafficMetric::RequestRate,
    TrafficMetric::LatencyP50,
    TrafficMetric::LatencyP90,
    TrafficMetric::LatencyP99,
];

fn condition(metric: TrafficMetric, operator: ComparisonOperator, threshold: f64) -> PlannedCondition {
    let service = ServiceName { namespace: "bookinfo".into(), name: "reviews".into() };
    let rule = TrafficRule {
        service: Destination { service, port: None, subset: None },
        metric,
        interval: Duration::from_secs(5),
        min_requests: 0,
        exclude_injected: true,
        threshold: Threshold { value: threshold, operator },
    };
    PlannedCondition::new(0, &rule)
}

fn at(ms: u64) -> Moment {
    Moment::from_nanos((1_000_000 + ms) * 1_000_000)
}

fn organic(error: bool, latency_ms: u64) -> Completion {
    Completion { error, aborted: false, latency: Duration::from_millis(latency_ms), delay: Duration::ZERO }
}

/// What a metric is over a list of completions, computed the slow and obvious way.
fn recount(metric: TrafficMetric, completions: &[Completion], interval: Duration) -> f64 {
    let total = completions.len() as f64;
    let errors = completions.iter().filter(|c| c.error).count() as f64;
    let mut latencies: Vec<f64> = completions.iter().map(|c| c.latency.as_secs_f64()).collect();
    latencies.sort_by(f64::total_cmp);
    match metric {
        TrafficMetric::ErrorRate => errors / total,
        TrafficMetric::SuccessRate => (total - errors) / total,
        TrafficMetric::RequestRate => total / interval.as_secs_f64(),
        TrafficMetric::LatencyP50 | TrafficMetric::LatencyP90 | TrafficMetric::LatencyP99 => {
            let hundredths = (metric.quantile().unwrap() * 100.0).round() as usize;
            latencies[(completions.len() * hundredths).div_ceil(100) - 1]
        }
    }
}

proptest! {
    #[test]
    fn every_metric_and_operator_trips_exactly_when_a_recount_does(
        outcomes in prop::collection::vec((any::<bool>(), 0u64..40), 1..300),
        threshold in prop_oneof![Just(0.0), Just(0.5), 0.0..1.0f64, (0u32..40).prop_map(|ms| f64::from(ms) / 1e3)],
    ) {
        let completions: Vec<Completion> = outcomes.iter().map(|(error, ms)| organic(*error, *ms)).collect();
        for metric in METRICS {
            for operator in ComparisonOperator::ALL {
                let condition = condition(metric, operator, threshold);
                let guard = Guard::new(condition.clone(), 3);
                for (i, completion) in completions.iter().enumerate() {
                    guard.record(i % 3, at(i as u64), *completion);
                }
                let value = recount(metric, &completions, condition.rule.interval);
                let judged = guard.judge(at(300), true);
                prop_assert_eq!(judged.trips, operator.trips(value, threshold), "{:?} {} {} {}", metric, value, operator, threshold);
                prop_assert_eq!(operator.trips(judged.value, threshold), judged.trips, "the reported value must show why");
                let tolerance = if metric.quantile().is_some() { value / 30.0 + 2e-6 } else { 1e-12 };
                prop_assert!((judged.value - value).abs() <= tolerance, "{:?}: {} for {}", metric, judged.value, value);
            }
        }
    }

    #[test]
    fn three_proxies_that_tell_each_other_judge_as_one_that_sees_everything(
        outcomes in prop::collection::vec((any::<bool>(), 0u64..40, 0usize..10), 1..300),
        threshold in 0.0..1.0f64,
    ) {
        for metric in METRICS {
            let alone = condition(metric, ComparisonOperator::Greater, threshold);
            let shared = PlannedCondition { shared: true, ..alone.clone() };
            let whole = Guard::new(alone, 1);
            let parts: Vec<Guard> = (0..3).map(|_| Guard::new(shared.clone(), 1)).collect();
            for (i, (error, ms, share)) in outcomes.iter().enumerate() {
                // Skewed on purpose: 80, 10 and 10 percent.
                let part = match share { 0 => 1, 1 => 2, _ => 0 };
                whole.record(0, at(i as u64), organic(*error, *ms));
                parts[part].record(0, at(i as u64), organic(*error, *ms));
            }
            let now = at(300);
            for (i, part) in parts.iter().enumerate() {
                let others = parts.iter().enumerate().filter(|(j, _)| *j != i);
                let tally = others.fold(Tally::default(), |sum, (_, other)| sum.plus(other.own_tally(now)));
                part.set_others(Others { tally, counted_at: now });
                prop_assert_eq!(part.judge(now, false).trips, whole.judge(now, false).trips, "{:?}", metric);
            }
        }
    }
}

#[test]
fn a_window_with_too_few_requests_has_no_value_and_never_trips() {
    let mut few = condition(TrafficMetric::ErrorRate, ComparisonOperator::Greater, 0.0);
    few.rule.min_requests = 10;
    let guard = Guard::new(few, 1);
    for i in 0..9 {
        guard.record(0, at(i), organic(true, 1));
        assert!(guard.judge(at(i), true).value.is_nan());
        assert!(!guard.judge(at(i), true).trips);
    }
    guard.record(0, at(9), organic(true, 1));
    assert_eq!(guard.judge(at(9), true), Judgement { value: 1.0, trips: true });
}

#[test]
fn requests_that_we_aborted_do_not_count_and_delayed_ones_count_with_the_upstreams_own_time() {
    let injected = Completion { error: true, aborted: true, latency: Duration::ZERO, delay: Duration::ZERO };
    let delayed = Completion {
        error: false,
        aborted: false,
        latency: Duration::from_millis(510),
        delay: Duration::from_millis(500),
    };
    let errors = Guard::new(condition(TrafficMetric::ErrorRate, ComparisonOperator::Greater, 0.0), 1);
    assert!(!errors.record(0, at(0), injected));
    errors.record(0, at(0), delayed);
    assert_eq!(errors.judge(at(0), true).value, 0.0);

    let latency = Guard::new(condition(TrafficMetric::LatencyP50, ComparisonOperator::Greater, 0.1), 1);
    latency.record(0, at(0), delayed);
    assert!(!latency.judge(at(0), true).trips);

    let mut all = condition(TrafficMetric::ErrorRate, ComparisonOperator::Greater, 0.0);
    all.rule.exclude_injected = false;
    let all = Guard::new(all, 1);
    assert!(all.record(0, at(0), injected));
    assert!(all.judge(at(0), true).trips);
}

#[test]
fn sums_of_the_others_that_are_older_than_two_seconds_blind_a_shared_condition_only() {
    let alone = condition(TrafficMetric::ErrorRate, ComparisonOperator::Greater, 0.5);
    let shared = PlannedCondition { shared: true, ..alone.clone() };
    assert!(!Guard::new(alone, 1).is_blind(at(10_000)));
    let guard = Guard::new(shared, 1);
    assert!(guard.is_blind(at(10_000)), "nothing has been told yet");
    guard.set_others(Others { tally: Tally::default(), counted_at: at(10_000) });
    assert!(!guard.is_blind(at(12_000)));
    assert!(guard.is_blind(at(12_001)));
}

#[test]
fn an_error_is_evaluated_at_once_where_errors_trip() {
    let errors = Guard::new(condition(TrafficMetric::ErrorRate, ComparisonOperator::Greater, 0.5), 1);
    errors.record(0, at(0), organic(false, 1));
    assert!(errors.record(0, at(1), organic(true, 1)));
    assert!(!errors.record(0, at(2), organic(false, 1)));
    let success = Guard::new(condition(TrafficMetric::SuccessRate, ComparisonOperator::Less, 0.5), 1);
    success.record(0, at(0), organic(false, 1));
    assert!(success.record(0, at(1), organic(true, 1)));
}
