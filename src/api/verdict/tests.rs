//! Every phase against every event, the stories of whole runs, and what holds for any sequence of events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::{
    quantity::ComparisonOperator,
    status::{FailureType, ResultState},
};

const QUERY: usize = 0;
const WEBHOOK: usize = 1;
const TRAFFIC: usize = 2;
const STRICT: usize = 3;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn threshold() -> Threshold {
    Threshold { value: 0.01, operator: ComparisonOperator::Greater }
}

/// One condition of each kind, and a query for which no data is a failure.
fn rules() -> Rules {
    let condition =
        |name: Option<&str>, trips, on_no_data| ConditionRules { name: name.map(str::to_owned), trips, on_no_data };
    Rules {
        duration: secs(60),
        has_faults: true,
        min_injected: 1,
        conditions: vec![
            condition(None, Trips::Sample(threshold()), OnNoData::Ignore),
            condition(Some("hook"), Trips::Webhook, OnNoData::Ignore),
            condition(
                Some("seen"),
                Trips::DataPlane { threshold: threshold(), window: secs(5) },
                OnNoData::Inconclusive,
            ),
            condition(Some("strict"), Trips::Sample(threshold()), OnNoData::Fail),
        ],
    }
}

fn armed() -> Event {
    Event::Armed { started: Timestamp::from_nanosecond(1_560_182_904_805_162_499).unwrap() }
}

fn sample(condition: usize, value: f64) -> Event {
    Event::Sample { condition, value }
}

fn failed_query(condition: usize) -> Event {
    Event::QueryFailed { condition, message: "connection refused".to_owned() }
}

fn webhook_ok() -> Event {
    Event::WebhookAnswered { condition: WEBHOOK, status: 204 }
}

fn facts(injected: u64) -> Event {
    Event::Facts(Facts { injected, ..Facts::default() })
}

/// A run that has been brought to `phase`; the start is at 5 s.
fn at(rules: &Rules, phase: Phase) -> State {
    let mut state = State::new(rules);
    let story: &[(Event, u64)] = match phase {
        Phase::Preparing => &[],
        Phase::Arming => &[(Event::Settled, 5)],
        Phase::Running => &[(Event::Settled, 5), (armed(), 5)],
        Phase::Paused => &[(Event::Settled, 5), (armed(), 5), (failed_query(QUERY), 6), (failed_query(QUERY), 7)],
        Phase::Concluding => &[
            (Event::Settled, 5),
            (armed(), 5),
            (sample(QUERY, f64::NAN), 10),
            (sample(STRICT, 0.0), 10),
            (webhook_ok(), 10),
            (Event::Tick, 65),
        ],
        Phase::Finished => &[(Event::Stopped("x".to_owned()), 5)],
    };
    for (event, now) in story {
        step(rules, &mut state, event, secs(*now));
    }
    assert_eq!(state.phase(), phase);
    state
}

/// What a step came to: the phase after it, the switch, and state and type of the verdict.
type Came = (Phase, Switch, Option<(ResultState, Option<FailureType>)>);

fn came(rules: &Rules, mut state: State, event: &Event, now: Duration) -> Came {
    let decision = step(rules, &mut state, event, now);
    (state.phase(), decision.faults, decision.finish.map(|f| (f.state, f.failure_type)))
}

/// Every kind of event that makes a difference, with a name.
fn all_events() -> Vec<(&'static str, Event)> {
    let trip = |condition| Event::Tripped { condition, value: 0.5 };
    vec![
        ("settled", Event::Settled),
        ("armed", armed()),
        ("a value below", sample(QUERY, 0.005)),
        ("a value above", sample(QUERY, 0.5)),
        ("no data, ignored", sample(QUERY, f64::NAN)),
        ("no data, fail", sample(STRICT, f64::NAN)),
        ("no data, warming up", sample(TRAFFIC, f64::NAN)),
        ("a traffic sample above", sample(TRAFFIC, 0.5)),
        ("a sample of nothing", sample(99, 0.5)),
        ("webhook 204", Event::WebhookAnswered { condition: WEBHOOK, status: 204 }),
        ("webhook 301", Event::WebhookAnswered { condition: WEBHOOK, status: 301 }),
        ("webhook 500", Event::WebhookAnswered { condition: WEBHOOK, status: 500 }),
        ("an answer of no webhook", Event::WebhookAnswered { condition: STRICT, status: 500 }),
        ("query failed", failed_query(QUERY)),
        ("a query of nothing failed", failed_query(99)),
        ("tripped", trip(TRAFFIC)),
        ("tripped, no traffic condition", trip(QUERY)),
        ("tripped, nothing", trip(99)),
        ("data plane paused", Event::DataPlanePaused(true)),
        ("data plane resumed", Event::DataPlanePaused(false)),
        ("renewed", Event::Renewed(true)),
        ("not renewed", Event::Renewed(false)),
        ("interrupted", Event::Interrupted("the Service was deleted".to_owned())),
        ("stopped", Event::Stopped("interrupt".to_owned())),
        ("tick", Event::Tick),
        ("facts, injected", facts(1)),
        ("facts, none injected", facts(0)),
    ]
}

#[test]
fn every_event_in_every_phase_comes_to_what_the_table_says() {
    use FailureType::{Interrupted, NoData, NoFaultInjected, Stopped, ValueExceededThreshold, WebhookFailed};
    use ResultState::{Failed, Inconclusive, Succeeded};
    let rules = rules();
    let finished = |state, kind| (Phase::Finished, Switch::Off, Some((state, kind)));
    let failed = |kind| finished(Failed, Some(kind));
    let inconclusive = |kind| finished(Inconclusive, Some(kind));
    for phase in [Phase::Preparing, Phase::Arming, Phase::Running, Phase::Paused, Phase::Concluding, Phase::Finished] {
        let watching = matches!(phase, Phase::Running | Phase::Paused);
        let before_the_verdict = !matches!(phase, Phase::Concluding | Phase::Finished);
        let stays: Came = (phase, Switch::Unchanged, None);
        for (name, event) in all_events() {
            let expected = match name {
                "settled" if phase == Phase::Preparing => (Phase::Arming, Switch::On, None),
                "armed" if phase == Phase::Arming => (Phase::Running, Switch::Unchanged, None),
                "a value above" if watching => failed(ValueExceededThreshold),
                "no data, fail" if watching => failed(NoData),
                "webhook 301" | "webhook 500" if watching => failed(WebhookFailed),
                "tripped" if watching || phase == Phase::Concluding => failed(ValueExceededThreshold),
                "interrupted" if before_the_verdict => inconclusive(Interrupted),
                "stopped" if before_the_verdict => inconclusive(Stopped),
                // The row of errors is broken, by data or the lack of it.
                "a value below" | "no data, ignored" if phase == Phase::Paused => (Phase::Running, Switch::On, None),
                "facts, injected" if phase == Phase::Concluding => finished(Succeeded, None),
                "facts, none injected" if phase == Phase::Concluding => inconclusive(NoFaultInjected),
                _ => stays,
            };
            let now = if phase == Phase::Concluding { secs(65) } else { secs(8) };
            assert_eq!(came(&rules, at(&rules, phase), &event, now), expected, "{name} in {phase:?}");
        }
    }
}

#[test]
fn every_event_at_the_end_of_the_duration_either_fails_the_run_or_ends_it_with_the_faults_off() {
    use FailureType::{Interrupted, NoData, Stopped, ValueExceededThreshold, WebhookFailed};
    let rules = rules();
    for phase in [Phase::Running, Phase::Paused] {
        for (name, event) in all_events() {
            let expected = match name {
                "a value above" | "tripped" => Some(ValueExceededThreshold),
                "no data, fail" | "no data, warming up" => Some(NoData),
                "webhook 301" | "webhook 500" => Some(WebhookFailed),
                "interrupted" => Some(Interrupted),
                "stopped" => Some(Stopped),
                // Paused since 7 s: that is more than the 10 s that are allowed.
                _ if phase == Phase::Paused => Some(Interrupted),
                _ => None,
            };
            let (after, faults, verdict) = came(&rules, at(&rules, phase), &event, secs(65));
            assert_eq!(faults, Switch::Off, "{name} in {phase:?}");
            assert_eq!(verdict.and_then(|(_, kind)| kind), expected, "{name} in {phase:?}");
            let end = if expected.is_some() { Phase::Finished } else { Phase::Concluding };
            assert_eq!(after, end, "{name} in {phase:?}");
        }
    }
}

#[test]
fn the_failure_report_of_a_trip_has_the_tutorials_keys_and_the_condition() {
    let rules = rules();
    let mut state = at(&rules, Phase::Running);
    let finish = step(&rules, &mut state, &sample(QUERY, 0.451_602_046_311_254_67), secs(20)).finish.unwrap();
    let report: Vec<(&str, &str)> = finish.failure_report.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        report,
        [
            ("comparison_operator", ">"),
            ("failure_condition", "0-1560182904805162499"),
            ("failure_type", "value_exceeded_threshold"),
            ("threshold", "0.01"),
            ("value", "0.45160204631125467"),
        ]
    );
    assert_eq!(finish.condition, Some(QUERY));
}

#[test]
fn the_failure_report_of_a_webhook_tells_the_status() {
    let rules = rules();
    let mut state = at(&rules, Phase::Running);
    let event = Event::WebhookAnswered { condition: WEBHOOK, status: 503 };
    let finish = step(&rules, &mut state, &event, secs(20)).finish.unwrap();
    assert_eq!(finish.failure_report["status"], "503");
    assert_eq!(finish.failure_report["failure_condition"], "hook");
    assert!(finish.failure_report.contains_key("message"));
}

#[test]
fn the_second_error_in_a_row_pauses_a_good_answer_resumes_and_the_fourth_gives_up() {
    let rules = rules();
    let mut state = at(&rules, Phase::Running);
    let mut switch = |event: Event, now: u64| step(&rules, &mut state, &event, secs(now)).faults;
    assert_eq!(switch(failed_query(QUERY), 10), Switch::Unchanged);
    assert_eq!(switch(failed_query(QUERY), 15), Switch::Off);
    assert_eq!(switch(failed_query(QUERY), 17), Switch::Unchanged);
    assert_eq!(switch(sample(QUERY, f64::NAN), 18), Switch::On);
    assert_eq!(switch(failed_query(QUERY), 20), Switch::Unchanged);
    assert_eq!(switch(failed_query(STRICT), 20), Switch::Unchanged);
    assert_eq!(switch(failed_query(QUERY), 21), Switch::Off);
    assert_eq!(switch(failed_query(QUERY), 22), Switch::Unchanged);
    let decision = step(&rules, &mut state, &failed_query(QUERY), secs(23));
    assert_eq!(decision.faults, Switch::Off);
    let finish = decision.finish.unwrap();
    assert_eq!(finish.failure_type, Some(FailureType::MetricsUnavailable));
    assert!(finish.failure_report["message"].ends_with("last: connection refused"), "{finish:?}");
}

#[test]
fn the_faults_resume_only_when_every_condition_is_observed_again() {
    let rules = rules();
    let mut state = at(&rules, Phase::Paused);
    for _ in 0..2 {
        step(&rules, &mut state, &failed_query(STRICT), secs(8));
    }
    assert_eq!(step(&rules, &mut state, &sample(QUERY, 0.0), secs(9)).faults, Switch::Unchanged);
    assert_eq!(step(&rules, &mut state, &sample(STRICT, 0.0), secs(10)).faults, Switch::On);
}

#[test]
fn four_slow_errors_are_metrics_unavailable_even_where_the_pause_outlasts_the_allowance() {
    let rules = rules();
    let mut state = at(&rules, Phase::Running);
    for now in [15, 25, 35] {
        assert_eq!(step(&rules, &mut state, &failed_query(QUERY), secs(now)).finish, None);
    }
    assert_eq!(step(&rules, &mut state, &Event::Tick, secs(44)).finish, None);
    let finish = step(&rules, &mut state, &failed_query(QUERY), secs(45)).finish.unwrap();
    assert_eq!(finish.failure_type, Some(FailureType::MetricsUnavailable));
}

#[test]
fn faults_that_were_off_for_too_long_interrupt_the_run_instead_of_resuming() {
    let rules = rules();
    for off in [Event::DataPlanePaused(true), Event::Renewed(false)] {
        let mut state = at(&rules, Phase::Running);
        step(&rules, &mut state, &off, secs(10));
        assert_eq!(step(&rules, &mut state, &Event::Tick, secs(20)), Decision::default());
        let finish = step(&rules, &mut state, &Event::Tick, Duration::from_millis(20_001)).finish.unwrap();
        assert_eq!(finish.failure_type, Some(FailureType::Interrupted));
    }
    let mut state = at(&rules, Phase::Paused);
    let decision = step(&rules, &mut state, &sample(QUERY, 0.0), Duration::from_millis(17_001));
    assert_eq!(decision.faults, Switch::Off);
    assert_eq!(decision.finish.unwrap().failure_type, Some(FailureType::Interrupted));
}

#[test]
fn several_short_pauses_add_up() {
    let rules = rules();
    let mut state = at(&rules, Phase::Running);
    for begin in [10, 20] {
        step(&rules, &mut state, &Event::DataPlanePaused(true), secs(begin));
        step(&rules, &mut state, &Event::DataPlanePaused(false), secs(begin + 4));
    }
    assert_eq!(state.off_time(secs(30)), secs(8));
    step(&rules, &mut state, &Event::DataPlanePaused(true), secs(30));
    assert!(step(&rules, &mut state, &Event::Tick, secs(33)).finish.is_some());
}

#[test]
fn a_tenth_of_a_long_run_may_be_off() {
    let rules = Rules { duration: secs(600), ..rules() };
    assert_eq!(rules.off_allowance(), secs(60));
    let mut state = at(&rules, Phase::Running);
    step(&rules, &mut state, &Event::DataPlanePaused(true), secs(10));
    assert_eq!(step(&rules, &mut state, &Event::Tick, secs(70)).finish, None);
    assert!(step(&rules, &mut state, &Event::Tick, secs(71)).finish.is_some());
}

#[test]
fn a_control_experiment_succeeds_without_an_injected_request_and_whatever_was_off() {
    let rules = Rules { has_faults: false, ..rules() };
    let mut state = at(&rules, Phase::Running);
    for event in [Event::DataPlanePaused(true), sample(QUERY, 0.0), sample(STRICT, 0.0), webhook_ok()] {
        step(&rules, &mut state, &event, secs(10));
    }
    assert_eq!(step(&rules, &mut state, &Event::Tick, secs(65)).finish, None);
    let finish = step(&rules, &mut state, &facts(0), secs(66)).finish.unwrap();
    assert_eq!(finish.state, ResultState::Succeeded);
    assert!(finish.failure_report.is_empty());
}

#[test]
fn a_caller_that_bypassed_us_makes_the_run_inconclusive_and_is_named() {
    let rules = rules();
    let mut state = at(&rules, Phase::Concluding);
    let facts = Facts { injected: 5, missing_callers: vec!["bookinfo/reviews".to_owned()], ..Facts::default() };
    let finish = step(&rules, &mut state, &Event::Facts(facts), secs(66)).finish.unwrap();
    assert_eq!(finish.failure_type, Some(FailureType::TrafficBypassed));
    assert!(finish.failure_report["message"].starts_with("bookinfo/reviews "), "{finish:?}");
}

#[test]
fn an_unknown_metric_counts_only_where_the_condition_never_had_a_number() {
    let rules = rules();
    let unknown = |condition| {
        let unknown_metrics = vec![UnknownMetric { condition, metric: "istio_request_total".to_owned() }];
        Event::Facts(Facts { injected: 5, unknown_metrics, ..Facts::default() })
    };
    let observed = |first: f64| {
        let mut state = at(&rules, Phase::Running);
        for event in [sample(QUERY, first), sample(STRICT, 0.0), webhook_ok()] {
            step(&rules, &mut state, &event, secs(10));
        }
        state
    };
    let mut with_number = observed(0.0);
    step(&rules, &mut with_number, &Event::Tick, secs(65));
    assert_eq!(with_number.without_number(), [TRAFFIC]);
    let finish = step(&rules, &mut with_number, &unknown(QUERY), secs(66)).finish.unwrap();
    assert_eq!(finish.state, ResultState::Succeeded);

    let mut without = observed(f64::NAN);
    step(&rules, &mut without, &Event::Tick, secs(65));
    let finish = step(&rules, &mut without, &unknown(QUERY), secs(66)).finish.unwrap();
    assert_eq!(finish.failure_type, Some(FailureType::MetricsUnavailable));
    assert!(finish.failure_report["message"].contains("\"istio_request_total\""), "{finish:?}");
}

#[test]
fn a_run_in_which_a_condition_was_never_observed_proves_nothing() {
    let rules = rules();
    for failed in [false, true] {
        let mut state = at(&rules, Phase::Running);
        for event in [sample(QUERY, 0.0), webhook_ok()] {
            step(&rules, &mut state, &event, secs(10));
        }
        if failed {
            step(&rules, &mut state, &failed_query(STRICT), secs(64));
        }
        step(&rules, &mut state, &Event::Tick, secs(65));
        let finish = step(&rules, &mut state, &facts(5), secs(66)).finish.unwrap();
        assert_eq!(finish.failure_type, Some(FailureType::MetricsUnavailable));
        assert_eq!(finish.condition, Some(STRICT), "a traffic condition is judged by the data plane on every request");
    }
}

#[test]
fn a_traffic_condition_without_data_is_judged_after_its_first_window() {
    let rules = rules();
    let mut state = at(&rules, Phase::Running);
    assert_eq!(step(&rules, &mut state, &sample(TRAFFIC, f64::NAN), secs(9)).finish, None);
    let finish = step(&rules, &mut state, &sample(TRAFFIC, f64::NAN), secs(10)).finish.unwrap();
    assert_eq!((finish.state, finish.failure_type), (ResultState::Inconclusive, Some(FailureType::NoData)));
}

fn any_event() -> impl Strategy<Value = Event> {
    let events: Vec<Event> = all_events().into_iter().map(|(_, event)| event).collect();
    let condition = 0..5usize;
    prop_oneof![
        6 => prop::sample::select(events),
        2 => (condition.clone(), any::<f64>()).prop_map(|(condition, value)| Event::Sample { condition, value }),
        2 => condition.clone().prop_map(failed_query),
        1 => (condition, any::<u16>()).prop_map(|(condition, status)| Event::WebhookAnswered { condition, status }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_verdict_leaves_a_fault_on_and_no_finished_run_ever_changes(
        events in prop::collection::vec((any_event(), 0u64..4_000), 0..80),
        duration in 0u64..120,
        forward in any::<bool>(),
    ) {
        let rules = Rules { duration: secs(duration), ..rules() };
        let mut state = State::new(&rules);
        let mut now = Duration::ZERO;
        let mut on = false;
        let mut finished: Option<State> = None;
        let story = [(Event::Settled, 0), (armed(), 0)].into_iter().filter(|_| forward).chain(events);
        for (event, passed) in story {
            now += Duration::from_millis(passed);
            let decision = step(&rules, &mut state, &event, now);
            on = match decision.faults {
                Switch::On => true,
                Switch::Off => false,
                Switch::Unchanged => on,
            };
            match &finished {
                Some(end) => {
                    prop_assert_eq!(&decision, &Decision::default());
                    prop_assert_eq!(&state, end);
                }
                None => prop_assert_eq!(decision.finish.is_some(), state.phase() == Phase::Finished),
            }
            if let Some(finish) = decision.finish {
                prop_assert!(finish.state.is_final());
                prop_assert_eq!(finish.failure_type.is_none(), finish.state == ResultState::Succeeded);
                prop_assert_eq!(decision.faults, Switch::Off);
                finished = Some(state.clone());
            }
            let may_be_on = matches!(state.phase(), Phase::Arming | Phase::Running);
            prop_assert_eq!(on, may_be_on, "faults {} in {:?} after {:?}", on, state.phase(), event);
        }
    }

    #[test]
    fn every_run_is_over_when_its_duration_is(
        events in prop::collection::vec((any_event(), 0u64..4_000), 0..40),
    ) {
        let rules = rules();
        let mut state = at(&rules, Phase::Running);
        let mut now = secs(5);
        for (event, passed) in events {
            now += Duration::from_millis(passed);
            step(&rules, &mut state, &event, now);
        }
        step(&rules, &mut state, &Event::Tick, now.max(secs(65)));
        prop_assert!(matches!(state.phase(), Phase::Concluding | Phase::Finished));
        step(&rules, &mut state, &facts(3), now.max(secs(65)));
        prop_assert_eq!(state.phase(), Phase::Finished);
    }
}
