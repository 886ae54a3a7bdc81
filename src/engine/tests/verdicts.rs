//! Every way in which a run can end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use glooshot_api::{
    scenario::{Scenario, TriggerRule},
    status::{ConditionStatus, ConditionType, ResultState},
};
use tokio::sync::mpsc;

use super::{
    scripted_path::{ScriptedPath, query, scenario, traffic, webhook},
    server::{Reply, Server, http, nobody, scalar, success},
};
use crate::engine::{
    ConditionError, EgressPolicy, Outcome, Progress, ProgressEvent, Prometheus, Run, StopHandle,
    condition::{EgressError, QUERY_TIMEOUT, WebhookUrlError},
    data_path::PathEvent,
    progress_channel, stop_channel,
};

/// A run under test, before it starts.
struct Test {
    path: Arc<ScriptedPath>,
    run: Run<ScriptedPath>,
    progress: mpsc::Receiver<Progress>,
}

impl Test {
    fn new(scenario: Scenario) -> Self {
        let path = Arc::new(ScriptedPath::new());
        let (sender, progress) = progress_channel();
        let run = Run::new(scenario, Arc::clone(&path)).progress(sender);
        Self { path, run, progress }
    }

    /// Against real servers there is no virtual time, so everything is short.
    fn in_real_time(triggers: Vec<TriggerRule>, duration: Duration, prometheus: Option<&str>) -> Self {
        let scenario = Scenario { duration, settle: Duration::ZERO, ..scenario(triggers) };
        let mut test = Self::new(scenario);
        let prometheus = prometheus.map(|url| Prometheus::new(url, QUERY_TIMEOUT).unwrap());
        let policy = EgressPolicy::new(["127.0.0.1".parse().unwrap()]);
        test.run = test.run.prometheus(prometheus).webhooks(policy).polling_interval(Duration::from_millis(30));
        test
    }

    /// Runs to the end, with `script` beside it.
    async fn run<F: Future<Output = ()>>(self, script: impl FnOnce(Arc<ScriptedPath>, StopHandle) -> F) -> Ended {
        let (handle, signal) = stop_channel();
        let script = script(Arc::clone(&self.path), handle);
        let (outcome, ()) = tokio::join!(self.run.run(signal), script);
        let mut progress = self.progress;
        let mut events = Vec::new();
        while let Ok(told) = progress.try_recv() {
            events.push(told.event);
        }
        assert!(!self.path.faults_on());
        Ended { path: self.path, outcome: outcome.unwrap(), events }
    }

    async fn run_alone(self) -> Ended {
        self.run(|_, _| async {}).await
    }
}

struct Ended {
    path: Arc<ScriptedPath>,
    outcome: Outcome,
    events: Vec<ProgressEvent>,
}

impl Ended {
    /// State and failure type.
    fn verdict(&self) -> (ResultState, &str) {
        let result = &self.outcome.result;
        (result.state, result.failure_report.get("failure_type").map_or("", String::as_str))
    }

    fn condition(&self, kind: ConditionType) -> Option<(ConditionStatus, &str)> {
        let found = self.outcome.status.conditions.iter().find(|condition| condition.kind == kind)?;
        Some((found.status, found.reason.as_str()))
    }

    fn samples(&self, condition: usize) -> Vec<f64> {
        let history = &self.outcome.report.failure_condition_history[condition];
        history.failure_condition_snapshots.iter().map(|snapshot| snapshot.value.0).collect()
    }

    fn told(&self, wanted: fn(&ProgressEvent) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }
}

async fn after(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

const INCONCLUSIVE: ResultState = ResultState::Inconclusive;

// === Virtual time, traffic conditions ===

#[tokio::test(start_paused = true)]
async fn a_run_whose_duration_passes_succeeds_and_restores_everything() {
    let begin = tokio::time::Instant::now();
    let ended = Test::new(scenario(vec![traffic()])).run_alone().await;
    assert_eq!(begin.elapsed().as_secs(), 65);
    assert_eq!(ended.verdict(), (ResultState::Succeeded, ""));
    assert_eq!(ended.path.log(), ["route", "arm", "disarm", "restore", "cut"]);
    assert!(ended.path.renewals.load(Ordering::SeqCst) >= 60);
    assert_eq!(ended.condition(ConditionType::Restored), Some((ConditionStatus::True, "Restored")));
    assert_eq!(ended.condition(ConditionType::FaultsActive), Some((ConditionStatus::False, "Ended")));
    assert_eq!(ended.condition(ConditionType::ConditionsObserved), Some((ConditionStatus::True, "AllHadData")));
    assert_eq!(ended.condition(ConditionType::CallersSeen), None);
    assert_eq!(ended.outcome.status.injection[0].aborted, 7);
    assert_eq!(ended.outcome.status.stop_latency, None);
    assert_eq!(ended.outcome.warnings, Vec::<String>::new());
    let readings = ended.samples(0);
    assert!((59..=60).contains(&readings.len()), "{}", readings.len());
    let result = serde_json::to_value(&ended.outcome.result).unwrap();
    assert_eq!(result.as_object().unwrap().keys().collect::<Vec<_>>(), ["state", "timeFinished", "timeStarted"]);
    assert_eq!(ended.outcome.status.result, Some(ended.outcome.result));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_leaves_the_targets_routed_if_that_was_asked_for_and_any_other_end_restores_them() {
    let kept = |keeps: bool| {
        let test = Test::new(Scenario { keep_routed: Duration::from_secs(90), ..scenario(vec![traffic()]) });
        test.path.keeps.store(keeps, Ordering::SeqCst);
        test
    };
    let succeeded = kept(true).run_alone().await;
    let trip = PathEvent::Tripped { condition: 0, value: 0.25, age: Duration::ZERO };
    let failed = kept(true).run(|path, _| async move {
        after(12.5).await;
        path.say(trip);
    });
    for (ended, state) in [(succeeded, ResultState::Succeeded), (failed.await, ResultState::Failed)] {
        assert_eq!((ended.verdict().0, ended.path.log().last_chunk()), (state, Some(&["disarm", "keep", "cut"])));
        assert_eq!(ended.condition(ConditionType::Routed), Some((ConditionStatus::True, "KeptRouted")));
        assert_eq!(ended.condition(ConditionType::Restored), Some((ConditionStatus::False, "KeptRouted")));
        assert_eq!(ended.told(|event| matches!(event, ProgressEvent::Restored)), 0);
        let message = &ended.outcome.status.conditions.last().unwrap().message;
        assert!(message.contains("routed for 90s behind the end"), "{message}");
        assert_eq!(ended.outcome.warnings, Vec::<String>::new());
    }

    let restored = ["disarm", "restore", "cut"];
    let stopped = kept(true).run(|_, stop| async move { stop.stop("enough") }).await;
    assert_eq!((stopped.verdict(), stopped.path.log().last_chunk()), ((INCONCLUSIVE, "stopped"), Some(&restored)));
    let ends_with_the_run = kept(false).run_alone().await;
    assert_eq!(ends_with_the_run.path.log().last_chunk(), Some(&restored));
    assert_eq!(ends_with_the_run.condition(ConditionType::Restored), Some((ConditionStatus::True, "Restored")));
}

#[tokio::test(start_paused = true)]
async fn a_trip_in_a_data_plane_fails_the_run_and_is_the_last_sample_of_its_history() {
    let ended = Test::new(scenario(vec![traffic(), traffic()]))
        .run(|path, _| async move {
            after(12.5).await;
            path.say(PathEvent::Tripped { condition: 1, value: 0.25, age: Duration::from_millis(2) });
        })
        .await;
    assert_eq!(ended.verdict(), (ResultState::Failed, "value_exceeded_threshold"));
    let report = &ended.outcome.result.failure_report;
    assert_eq!((report["value"].as_str(), report["threshold"].as_str()), ("0.25", "0.01"));
    let name = &ended.outcome.report.failure_condition_history[1].failure_condition_name;
    assert_eq!(report["failure_condition"], *name);
    let started: jiff::Timestamp = ended.outcome.result.time_started.as_ref().unwrap().parse().unwrap();
    assert_eq!(*name, format!("1-{}", started.as_nanosecond()));
    assert_eq!(ended.samples(1).last(), Some(&0.25));
    assert_eq!(ended.samples(0).last(), Some(&0.0));
    assert_eq!(ended.outcome.status.stop_latency.unwrap().get(), Duration::from_millis(3));
    assert_eq!(ended.path.log(), ["route", "arm", "disarm", "restore", "cut"]);
    let order: Vec<String> = ended.events.iter().rev().take(4).map(ToString::to_string).collect();
    assert_eq!(order[0], "everything is as it was before");
    assert_eq!(order[1], "Failed (value_exceeded_threshold)");
    assert_eq!(order[2], "faults off 3.000 ms after the crossing");
    assert_eq!(order[3], format!("condition {name} TRIPPED: 0.25 > 0.01"));
}

#[tokio::test(start_paused = true)]
async fn a_trip_counts_from_the_moment_the_faults_are_being_switched_on_and_not_before() {
    let trip = || PathEvent::Tripped { condition: 0, value: 0.25, age: Duration::ZERO };
    let test = Test::new(scenario(vec![traffic()]));
    test.path.say(trip());
    assert_eq!(test.run_alone().await.verdict(), (ResultState::Succeeded, ""));

    let test = Test::new(scenario(vec![traffic()]));
    *test.path.during.lock().unwrap() = Some(("arm", trip()));
    let ended = test.run_alone().await;
    assert_eq!(ended.verdict(), (ResultState::Failed, "value_exceeded_threshold"));
    assert!(ended.outcome.result.failure_report["failure_condition"].starts_with("0-"));
}

#[tokio::test(start_paused = true)]
async fn a_trip_before_the_faults_are_off_still_fails_a_run_whose_duration_has_passed() {
    let test = Test::new(scenario(vec![traffic()]));
    let trip = PathEvent::Tripped { condition: 0, value: 0.25, age: Duration::from_millis(500) };
    *test.path.during.lock().unwrap() = Some(("disarm", trip));
    let ended = test.run_alone().await;
    assert_eq!(ended.verdict(), (ResultState::Failed, "value_exceeded_threshold"));
    assert_eq!(ended.samples(0).last(), Some(&0.25));
}

#[tokio::test(start_paused = true)]
async fn a_person_stops_a_run_in_any_step_and_the_result_tells_the_reason() {
    for (seconds, log) in
        [(2.0, vec!["route", "disarm", "restore", "cut"]), (20.0, vec!["route", "arm", "disarm", "restore", "cut"])]
    {
        let ended = Test::new(scenario(vec![traffic()]))
            .run(|_, stop| async move {
                after(seconds).await;
                stop.stop("SIGINT");
            })
            .await;
        assert_eq!(ended.verdict(), (INCONCLUSIVE, "stopped"));
        assert_eq!(ended.outcome.result.failure_report["message"], "SIGINT");
        assert_eq!(ended.path.log(), log);
        assert_eq!(ended.outcome.result.time_started.is_some(), seconds > 5.0);
        assert!(ended.outcome.result.time_finished.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_path_that_hangs() {
    for call in ["route", "arm"] {
        let test = Test::new(scenario(vec![]));
        *test.path.hangs.lock().unwrap() = Some(call);
        let begin = tokio::time::Instant::now();
        let ended = test
            .run(|_, stop| async move {
                after(10.0).await;
                stop.stop("SIGTERM");
            })
            .await;
        assert_eq!(begin.elapsed().as_secs(), 10, "{call}");
        assert_eq!(ended.verdict(), (INCONCLUSIVE, "stopped"));
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_change_of_the_target_interrupts_the_run() {
    let ended = Test::new(scenario(vec![traffic()]))
        .run(|path, _| async move {
            after(20.0).await;
            path.say(PathEvent::Interrupted("the Service was deleted".to_owned()));
        })
        .await;
    assert_eq!(ended.verdict(), (INCONCLUSIVE, "interrupted"));
    assert_eq!(ended.outcome.result.failure_report["message"], "the Service was deleted");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_ends_interrupts_the_run() {
    let ended = Test::new(scenario(vec![traffic()]))
        .run(|path, _| async move {
            after(20.0).await;
            path.events.lock().unwrap().take();
        })
        .await;
    assert_eq!(ended.verdict(), (INCONCLUSIVE, "interrupted"));
}

#[tokio::test(start_paused = true)]
async fn faults_that_are_off_for_too_long_interrupt_the_run() {
    let begin = tokio::time::Instant::now();
    let ended = Test::new(scenario(vec![traffic()]))
        .run(|path, _| async move {
            after(20.0).await;
            path.say(PathEvent::Paused(true));
        })
        .await;
    assert_eq!(ended.verdict(), (INCONCLUSIVE, "interrupted"));
    assert!((30..=32).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());

    let test = Test::new(scenario(vec![traffic()]));
    test.path.fail("renew", 1_000);
    assert_eq!(test.run_alone().await.verdict(), (INCONCLUSIVE, "interrupted"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_injected_nothing_or_was_bypassed_proves_nothing() {
    let test = Test::new(scenario(vec![traffic()]));
    test.path.injected.store(0, Ordering::SeqCst);
    assert_eq!(test.run_alone().await.verdict(), (INCONCLUSIVE, "no_fault_injected"));

    let mut bypassed = scenario(vec![traffic()]);
    bypassed.faults[0].origins = vec![bypassed.faults[0].destinations[0].service.clone()];
    let test = Test::new(bypassed);
    test.path.missing.lock().unwrap().push("bookinfo/reviews".to_owned());
    let ended = test.run_alone().await;
    assert_eq!(ended.verdict(), (INCONCLUSIVE, "traffic_bypassed"));
    assert_eq!(ended.condition(ConditionType::CallersSeen), Some((ConditionStatus::False, "NoConnection")));

    let control = Scenario { faults: Vec::new(), ..scenario(vec![traffic()]) };
    let test = Test::new(control);
    test.path.injected.store(0, Ordering::SeqCst);
    assert_eq!(test.run_alone().await.verdict(), (ResultState::Succeeded, ""));
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_never_had_a_number_is_a_warning() {
    let test = Test::new(scenario(vec![traffic()]));
    *test.path.reading.lock().unwrap() = f64::NAN;
    let ended = test.run_alone().await;
    assert_eq!(ended.verdict(), (ResultState::Succeeded, ""));
    assert_eq!(ended.condition(ConditionType::ConditionsObserved), Some((ConditionStatus::False, "NeverHadData")));
    assert!(ended.outcome.warnings[0].starts_with("never had a number"), "{:?}", ended.outcome.warnings);
}

#[tokio::test(start_paused = true)]
async fn a_path_that_cannot_route_or_arm_ends_the_run_and_is_cleaned_up() {
    for (call, log) in [
        ("route", vec!["route", "disarm", "restore", "cut"]),
        ("arm", vec!["route", "arm", "disarm", "restore", "cut"]),
    ] {
        let test = Test::new(scenario(vec![traffic()]));
        test.path.fail(call, 1);
        let ended = test.run_alone().await;
        assert_eq!(ended.verdict(), (INCONCLUSIVE, "interrupted"));
        assert!(ended.outcome.result.failure_report["message"].ends_with(&format!("{call} failed")));
        assert_eq!(ended.path.log(), log);
    }
}

// === Real time, real servers ===

#[tokio::test]
async fn a_query_above_its_threshold_fails_the_run_and_its_value_is_the_last_snapshot() {
    let server = Server::start(|n, _| Reply::Json(scalar(if n < 2 { "NaN" } else { "0.45160204631125467" }))).await;
    let test = Test::in_real_time(vec![query("up")], Duration::from_secs(60), Some(&server.url()));
    let ended = test.run_alone().await;
    assert_eq!(ended.verdict(), (ResultState::Failed, "value_exceeded_threshold"));
    let samples = ended.samples(0);
    assert!(samples.len() == 3 && samples[0].is_nan() && samples[1].is_nan(), "{samples:?}");
    assert_eq!(glooshot_api::quantity::go_float(samples[2]), ended.outcome.result.failure_report["value"]);
    assert_eq!(ended.outcome.result.failure_report["comparison_operator"], ">");
}

#[tokio::test]
async fn the_second_error_pauses_the_faults_and_a_good_answer_resumes_them() {
    let server = Server::start(|n, _| match n {
        0..=1 => Reply::Raw(http(503, "text/plain", "overloaded")),
        2..=3 => Reply::Json(scalar("0")),
        _ => Reply::Json(scalar("1")),
    })
    .await;
    let test = Test::in_real_time(vec![query("up")], Duration::from_secs(60), Some(&server.url()));
    let ended = test.run_alone().await;
    assert_eq!(ended.verdict(), (ResultState::Failed, "value_exceeded_threshold"));
    assert_eq!(ended.path.log(), ["route", "arm", "disarm", "arm", "disarm", "restore", "cut"]);
    assert_eq!(ended.told(|event| matches!(event, ProgressEvent::QueryError { .. })), 2);
    assert_eq!(ended.told(|event| matches!(event, ProgressEvent::Paused(_))), 1);
    assert_eq!(ended.told(|event| matches!(event, ProgressEvent::Resumed)), 1);
}

#[tokio::test]
async fn the_fourth_error_in_a_row_ends_the_run_and_its_text_is_told() {
    let url = format!("http://{}", nobody().await);
    let ended = Test::in_real_time(vec![query("up")], Duration::from_secs(60), Some(&url)).run_alone().await;
    assert_eq!(ended.verdict(), (INCONCLUSIVE, "metrics_unavailable"));
    assert!(ended.outcome.result.failure_report["message"].contains("refused"));
    assert_eq!(ended.path.log(), ["route", "arm", "disarm", "disarm", "restore", "cut"]);
    assert!(ended.samples(0).is_empty());
}

#[tokio::test]
async fn a_run_without_data_succeeds_if_prometheus_knows_the_metric_and_is_inconclusive_if_not() {
    for (known, verdict) in [(r#"["up"]"#, (ResultState::Succeeded, "")), ("[]", (INCONCLUSIVE, "metrics_unavailable"))]
    {
        let server = Server::start(move |_, line| {
            Reply::Json(if line.contains("/label/") { success(known) } else { scalar("NaN") })
        })
        .await;
        let duration = Duration::from_millis(300);
        let ended = Test::in_real_time(vec![query("up")], duration, Some(&server.url())).run_alone().await;
        assert_eq!(ended.verdict(), verdict);
        assert_eq!(ended.condition(ConditionType::ConditionsObserved), Some((ConditionStatus::False, "NeverHadData")));
        assert!(ended.samples(0).len() >= 2 && ended.samples(0).iter().all(|value| value.is_nan()));
    }
}

#[tokio::test]
async fn a_webhook_that_answers_other_than_2xx_fails_the_run() {
    let server = Server::start(|n, _| Reply::Raw(http(if n < 2 { 204 } else { 503 }, "text/plain", "secret"))).await;
    let test = Test::in_real_time(vec![traffic(), webhook(&server.url())], Duration::from_secs(60), None);
    let ended = test.run_alone().await;
    assert_eq!(ended.verdict(), (ResultState::Failed, "webhook_failed"));
    assert_eq!(ended.outcome.result.failure_report["status"], "503");
    assert!(!format!("{:?}", ended.outcome).contains("secret"));
    assert_eq!(ended.samples(1), [204.0, 204.0, 503.0]);
}

#[tokio::test]
async fn a_webhook_that_nobody_answers_is_as_blind_as_a_query() {
    let url = format!("http://{}", nobody().await);
    let ended = Test::in_real_time(vec![webhook(&url)], Duration::from_secs(60), None).run_alone().await;
    assert_eq!(ended.verdict(), (INCONCLUSIVE, "metrics_unavailable"));
}

#[tokio::test]
async fn slow_queries_never_pile_up_and_a_run_that_nobody_observed_proves_nothing() {
    let server =
        Server::start(|_, line| if line.contains("/label/") { Reply::Json(success(r#"["up"]"#)) } else { Reply::Hang })
            .await;
    let duration = Duration::from_millis(500);
    let ended = Test::in_real_time(vec![query("up")], duration, Some(&server.url())).run_alone().await;
    assert_eq!(ended.verdict(), (INCONCLUSIVE, "metrics_unavailable"));
    assert_eq!(server.requests(), 2, "one query, and one question for the metric");
}

#[tokio::test]
async fn what_cannot_be_observed_is_an_error_before_anything_is_routed() {
    let (_stop, signal) = stop_channel();
    let test = Test::new(scenario(vec![traffic(), query("up")]));
    let error = test.run.run(signal.clone()).await.unwrap_err();
    assert_eq!(error, ConditionError::NoPrometheus { condition: 1 });
    assert!(error.to_string().starts_with("spec.spec.failureConditions[1].trigger.prometheus needs a Prometheus"));
    assert!(test.path.log().is_empty());

    let test = Test::new(scenario(vec![webhook("http://169.254.169.254/latest")]));
    let error = test.run.run(signal).await.unwrap_err();
    let ConditionError::Webhook { why: WebhookUrlError::Egress(EgressError::NotAllowed { .. }), .. } = error else {
        panic!("{error}");
    };
    assert!(test.path.log().is_empty());
}
