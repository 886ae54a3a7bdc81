//! No fault outlives its run, whatever becomes of the engine's task or of the path's answers.

use std::{sync::Arc, time::Duration};

use glooshot_api::status::{ConditionStatus, ConditionType, ResultState};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::scripted_path::{ScriptedPath, scenario, traffic};
use crate::engine::{Outcome, Run, StopHandle, data_path::PathEvent, stop_channel};

/// Settling is over by then, and so is the duration.
const LONG: Duration = Duration::from_secs(3_600);

fn start(path: &Arc<ScriptedPath>) -> JoinHandle<Outcome> {
    let run = Run::new(scenario(vec![traffic()]), Arc::clone(path));
    let (stop, signal) = stop_channel();
    tokio::spawn(async move {
        let _stop = stop;
        run.run(signal).await.unwrap()
    })
}

/// The same, of a run whose routing has to be written first.
fn start_unwritten(path: &Arc<ScriptedPath>, is_written: watch::Receiver<bool>) -> (StopHandle, JoinHandle<Outcome>) {
    let run = Run::new(scenario(vec![traffic()]), Arc::clone(path)).written_first(is_written);
    let (stop, signal) = stop_channel();
    (stop, tokio::spawn(async move { run.run(signal).await.unwrap() }))
}

async fn faults_on(path: &ScriptedPath) {
    let on = async {
        while !path.faults_on() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), on).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_fault_is_on_before_it_is_written_that_the_targets_are_routed() {
    let path = Arc::new(ScriptedPath::new());
    let (written, is_written) = watch::channel(false);
    let (_stop, task) = start_unwritten(&path, is_written);
    sleep(LONG).await;
    assert_eq!(path.log(), ["route"]);
    written.send_replace(true);
    faults_on(&path).await;
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_nothing_can_be_written_any_more_is_stopped_without_a_fault() {
    let path = Arc::new(ScriptedPath::new());
    let (written, is_written) = watch::channel(false);
    let (stop, task) = start_unwritten(&path, is_written);
    drop(written);
    sleep(LONG).await;
    stop.stop("enough");
    let outcome = task.await.unwrap();
    assert_eq!(outcome.result.failure_report["failure_type"], "stopped");
    assert!(!path.log().contains(&"arm"), "{:?}", path.log());
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_leaves_no_fault_on() {
    let path = Arc::new(ScriptedPath::new());
    let task = start(&path);
    faults_on(&path).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(!path.faults_on());
    assert_eq!(path.log().last(), Some(&"cut"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_engines_task_leaves_no_fault_on() {
    let path = Arc::new(ScriptedPath::new());
    let task = start(&path);
    faults_on(&path).await;
    // `renew` is called in the engine's own task; a poisoned lock makes it panic.
    let poison = Arc::clone(&path);
    std::thread::spawn(move || poison.poison()).join().unwrap_err();
    assert!(task.await.unwrap_err().is_panic());
    assert!(!path.faults_on());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_sampler_interrupts_the_run() {
    let path = Arc::new(ScriptedPath::new());
    let task = start(&path);
    faults_on(&path).await;
    *path.reading.lock().unwrap() = -1.0;
    let outcome = task.await.unwrap();
    assert_eq!(outcome.result.failure_report["failure_type"], "interrupted");
    assert!(!path.faults_on());
}

#[tokio::test(start_paused = true)]
async fn switching_off_is_tried_again_until_it_succeeds() {
    let path = Arc::new(ScriptedPath::new());
    path.fail("disarm", 5);
    let outcome = start(&path).await.unwrap();
    assert_eq!(outcome.result.state, ResultState::Succeeded);
    assert_eq!(path.log().iter().filter(|call| **call == "disarm").count(), 6);
    assert!(!path.faults_on());
}

fn status_of(outcome: &Outcome, kind: ConditionType) -> ConditionStatus {
    outcome.status.conditions.iter().find(|condition| condition.kind == kind).unwrap().status
}

#[tokio::test(start_paused = true)]
async fn a_path_that_never_switches_off_is_never_called_restored() {
    let path = Arc::new(ScriptedPath::new());
    path.fail("disarm", usize::MAX);
    let task = start(&path);
    faults_on(&path).await;
    path.say(PathEvent::Tripped { condition: 0, value: 0.5, age: Duration::ZERO });
    let outcome = task.await.unwrap();
    assert_eq!(outcome.result.state, ResultState::Failed);
    assert_eq!(status_of(&outcome, ConditionType::FaultsActive), ConditionStatus::Unknown);
    assert_eq!(status_of(&outcome, ConditionType::Restored), ConditionStatus::False);
    assert!(outcome.warnings[0].contains("disarm failed"), "{:?}", outcome.warnings);
    assert!(path.log().contains(&"restore"));
}

#[tokio::test(start_paused = true)]
async fn a_path_that_cannot_restore_or_hangs_in_it_is_reported_and_does_not_hold_the_result() {
    for hangs in [false, true] {
        let path = Arc::new(ScriptedPath::new());
        if hangs {
            *path.hangs.lock().unwrap() = Some("restore");
        } else {
            path.fail("restore", usize::MAX);
        }
        let outcome = timeout(Duration::from_secs(600), start(&path)).await.unwrap().unwrap();
        assert_eq!(outcome.result.state, ResultState::Succeeded);
        assert_eq!(status_of(&outcome, ConditionType::Restored), ConditionStatus::False);
        assert_eq!(status_of(&outcome, ConditionType::Routed), ConditionStatus::True);
    }
}
