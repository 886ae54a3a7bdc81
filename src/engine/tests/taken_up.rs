//! A run that another process began goes on with what is left of it.

use std::{sync::Arc, time::Duration};

use glooshot_api::{
    report::{ConditionHistory, SampleValue, Snapshot},
    scenario::{Scenario, TriggerRule},
    status::ResultState,
};
use jiff::Timestamp;
use tokio::time::Instant;

use super::scripted_path::{ScriptedPath, scenario, traffic};
use crate::engine::{Outcome, ProgressEvent, Run, TakenUp, clock, progress_channel, stop_channel};

/// An earlier run of `scenario` that started this long ago, and was seen to until this long ago.
fn earlier(started: u64, seen_until: u64) -> TakenUp {
    let ago = |seconds| clock::now() - Duration::from_secs(seconds);
    let snapshot = Snapshot { timestamp: clock::rfc3339(ago(started)), value: SampleValue(0.25) };
    let history =
        ConditionHistory { failure_condition_name: String::new(), failure_condition_snapshots: vec![snapshot] };
    TakenUp { started: ago(started), seen_until: ago(seen_until), history: vec![history] }
}

struct Ended {
    path: Arc<ScriptedPath>,
    outcome: Outcome,
    took: Duration,
    started: Vec<Timestamp>,
}

async fn run(scenario: Scenario, earlier: TakenUp) -> Ended {
    let begin = Instant::now();
    let path = Arc::new(ScriptedPath::new());
    let (sender, mut progress) = progress_channel();
    let run = Run::new(scenario, Arc::clone(&path)).progress(sender).taken_up(Some(earlier));
    let outcome = run.run(stop_channel().1).await.unwrap();
    let mut started = Vec::new();
    while let Ok(told) = progress.try_recv() {
        started.extend((told.event == ProgressEvent::FaultsOn).then_some(told.at));
    }
    Ended { path, outcome, took: begin.elapsed(), started }
}

fn of(triggers: Vec<TriggerRule>, duration: u64) -> Scenario {
    Scenario { duration: Duration::from_secs(duration), ..scenario(triggers) }
}

#[tokio::test(start_paused = true)]
async fn it_has_the_remaining_time_the_first_start_and_what_was_observed_before() {
    let earlier = earlier(40, 2);
    let ended = run(of(vec![traffic()], 60), earlier.clone()).await;
    assert_eq!(ended.outcome.result.state, ResultState::Succeeded, "{:?}", ended.outcome.result);
    assert!((19.0..21.0).contains(&ended.took.as_secs_f64()), "{:?}", ended.took);
    assert_eq!(ended.outcome.result.time_started, Some(clock::rfc3339(earlier.started)));
    assert_eq!(ended.started, [earlier.started]);
    let history = &ended.outcome.report.failure_condition_history[0];
    assert_eq!(history.failure_condition_name, format!("0-{}", earlier.started.as_nanosecond()));
    assert_eq!(history.failure_condition_snapshots[0], earlier.history[0].failure_condition_snapshots[0]);
    assert!(history.failure_condition_snapshots.len() > 10);
    assert_eq!(ended.path.log(), ["route", "arm", "disarm", "restore", "cut"]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_time_ran_out_meanwhile_is_judged_without_another_fault() {
    let ended = run(of(Vec::new(), 60), earlier(62, 4)).await;
    assert_eq!(ended.outcome.result.state, ResultState::Succeeded, "{:?}", ended.outcome.result);
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
    assert_eq!(ended.path.log(), ["route", "disarm", "restore", "cut"]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_faults_were_off_for_too_long_is_inconclusive() {
    let ended = run(of(Vec::new(), 60), earlier(40, 20)).await;
    let result = &ended.outcome.result;
    assert_eq!(
        (result.state, result.failure_report["failure_type"].as_str()),
        (ResultState::Inconclusive, "interrupted")
    );
    assert!(ended.took < Duration::from_secs(2), "{:?}", ended.took);
}
