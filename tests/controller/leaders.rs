//! Two controllers: one leads, and what it was doing goes on when it is gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    stage::{SOON, Stage},
    target::{NAME, Target, is_let_go},
};
use crate::harness::patience::within;

/// From the death of a leader to the next: a lease, and what a busy machine takes.
const TAKE_OVER: Duration = Duration::from_secs(16);
/// Leaders that are told to stop, one after the other.
const HANDOVERS: usize = 5;
/// For half of them, on a machine that is busy with other tests.
const HANDED_OVER: Duration = Duration::from_secs(2);

fn seconds(result: &Value) -> f64 {
    let at = |field: &str| result[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    at("timeFinished").duration_since(at("timeStarted")).as_secs_f64()
}

#[test]
fn when_the_leader_is_killed_the_other_takes_its_runs_up_with_the_remaining_time() {
    let stage = Stage::new(registered(), "killed");
    let first = stage.controller("first");
    first.awaits_leading();
    let second = stage.controller("second");
    stage.create("long", "25s", "0s");
    let started = stage.awaits("long", "Started");
    assert_eq!(stage.lease(), ("first".to_owned(), 0));
    assert_eq!(second.metric("glooshot_controller_leading"), 0.0);

    let killed = Instant::now();
    drop(first);
    within(TAKE_OVER + Duration::from_secs(2), "the other leads", || {
        (second.metric("glooshot_controller_leading") > 0.0).then_some(())
    });
    assert!(killed.elapsed() <= TAKE_OVER, "{:?}", killed.elapsed());
    assert_eq!(stage.lease(), ("second".to_owned(), 1));

    let done = stage.awaits("long", "Succeeded");
    let result = &done["status"]["result"];
    assert_eq!(result["timeStarted"], started["status"]["result"]["timeStarted"]);
    assert!((24.0..27.0).contains(&seconds(result)), "{result}");
}

#[test]
fn when_the_leader_is_told_to_stop_the_other_leads_at_once() {
    let stage = Stage::new(registered(), "stopped");
    let first = stage.controller("first");
    first.awaits_leading();
    let second = stage.controller("second");
    stage.create("long", "6s", "0s");
    let started = stage.awaits("long", "Started");

    let told = Instant::now();
    first.stop();
    second.awaits_leading();
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    let done = stage.awaits("long", "Succeeded");
    let result = &done["status"]["result"];
    assert_eq!(result["timeStarted"], started["status"]["result"]["timeStarted"]);
    assert!((5.5..8.0).contains(&seconds(result)), "{result}");
}

#[test]
fn a_run_whose_time_passed_while_nobody_led_is_concluded_and_a_deleted_one_goes() {
    let stage = Stage::new(registered(), "nobody");
    let first = stage.controller("first");
    stage.create("deleted", "1m", "0s");
    stage.awaits("deleted", "Started");
    stage.create("short", "5s", "0s");
    let short = stage.awaits("short", "Started");
    first.stop();
    stage.kubectl.succeeds(["delete", "experiment", "deleted", "-n", &stage.namespace, "--wait=false"]);
    let held = stage.get("experiment", "deleted").unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "the finalizer holds it: {held}");

    let started = short["status"]["result"]["timeStarted"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    within(Duration::from_secs(10), "its time is over", || {
        (jiff::Timestamp::now().duration_since(started).as_secs() >= 5).then_some(())
    });
    let _second = stage.controller("second");
    stage.awaits("short", "Succeeded");
    within(Duration::from_secs(10), "it is gone", || stage.get("experiment", "deleted").is_none().then_some(()));
}

#[test]
fn a_run_goes_on_under_the_next_leader_also_while_no_pod_of_its_target_is_there() {
    let target = Target::new(registered(), "pods-away");
    let named = json!([{"name": "http", "port": 9080, "targetPort": "http"}]);
    target.stage.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ratings", "namespace": target.stage.namespace},
        "spec": {"selector": {"app": "ratings"}, "ports": named},
    }));
    let (start, first) = (target.selector(), target.controller("first"));
    target.watches(NAME, "20s", &json!({"settle": "0s"}));
    let started = target.stage.awaits(NAME, "Started");
    let namespace = &target.stage.namespace;
    target.stage.kubectl.succeeds(["delete", "pod", "ratings-v1", "-n", namespace, "--grace-period=0", "--force"]);
    first.stop();
    let second = target.controller("second");
    within(SOON, "it is taken up", || (second.metric("glooshot_controller_runs") > 0.0).then_some(()));
    let done = target.stage.awaits(NAME, "Succeeded");
    assert_eq!(done["status"]["result"]["timeStarted"], started["status"]["result"]["timeStarted"]);
    target.awaits(SOON, "it lets go", |it| it.filter(|it| is_let_go(it)).map(drop));
    assert_eq!(target.selector(), start);
}

#[test]
fn the_lead_is_handed_over_as_soon_as_a_leader_that_is_told_to_stop_has_let_go() {
    let stage = Stage::new(registered(), "handed-over");
    let mut leader = stage.controller("first");
    leader.awaits_leading();
    let mut gaps = Vec::new();
    for number in 0..HANDOVERS {
        let next = stage.controller(&format!("next-{number}"));
        let told = Instant::now();
        leader.stop();
        next.awaits_leading();
        gaps.push(told.elapsed());
        leader = next;
    }
    gaps.sort_unstable();
    eprintln!("from the signal to the next leader: {gaps:?}");
    assert_eq!(stage.lease().1, u64::try_from(HANDOVERS).unwrap(), "each is another one's");
    assert!(gaps[HANDOVERS / 2] < HANDED_OVER, "{gaps:?}");
}
