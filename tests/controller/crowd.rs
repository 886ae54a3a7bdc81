//! Many Experiments at one time on fewer Services: each has its turn, and nobody who deletes one waits for the others.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    scripted::Script,
    stage::{Stage, state},
};
use crate::harness::{
    patience::within,
    scale::{CROWD_EXPERIMENTS, CROWD_SERVICES},
};

/// For all of them to be over.
const ALL: Duration = Duration::from_secs(180);
/// For a deletion, on a busy machine: far less than the others take.
const AT_ONCE: Duration = Duration::from_secs(5);

fn service(number: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{number}"), "namespace": "crowd"},
        "spec": {"selector": {"app": format!("s{number}")}, "ports": [{"port": 9080}]},
    })
}

#[test]
fn many_experiments_on_fewer_services_run_once_each_and_never_two_on_one_at_a_time() {
    let (experiments, services) = (CROWD_EXPERIMENTS.get(), CROWD_SERVICES.get());
    let stage = Stage::new(registered(), "crowd");
    let experiment = |name: &str, service: u64, duration: &str| {
        stage.abort(name, &json!({"name": format!("s{service}"), "namespace": "crowd"}), 50, duration)
    };
    let script = Script::default();
    let _controller = script.controller(&stage, "one");
    let target: BTreeMap<String, u64> = (0..experiments).map(|it| (format!("e{it}"), it % services)).collect();
    let crowd = target.iter().map(|(name, service)| experiment(name, *service, "1s"));
    // One more that has begun, and one that waits for it.
    let kept = [experiment("held", services, "1m"), experiment("waiting", services, "1m")];
    for list in [(0..=services).map(service).collect::<Vec<_>>(), kept[..1].to_vec()] {
        stage.apply(&json!({"apiVersion": "v1", "kind": "List", "items": list}));
    }
    stage.awaits("held", "Started");
    let list: Vec<Value> = kept[1..].iter().cloned().chain(crowd).collect();
    stage.apply(&json!({"apiVersion": "v1", "kind": "List", "items": list}));
    stage.awaits_reason("waiting", "Routed", "TargetBusy");
    for name in ["waiting", "held"] {
        stage.kubectl.succeeds(["delete", "experiment", name, "-n", "crowd", "--wait=false"]);
        within(AT_ONCE, &format!("{name} is gone"), || stage.get("experiment", name).is_none().then_some(()));
    }

    within(ALL, "all are over", || {
        let all = stage.kubectl.succeeds(["get", "experiments", "-n", "crowd", "-o=json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let over = all["items"].as_array().unwrap().iter().filter(|it| state(it) == Some("Succeeded")).count();
        (over == target.len()).then_some(())
    });
    let mut busy: BTreeMap<u64, String> = BTreeMap::new();
    for line in script.everything() {
        let (action, name) = line.split_once(' ').unwrap();
        let Some(service) = target.get(name) else { continue };
        match action {
            "route" => assert_eq!(busy.insert(*service, name.to_owned()), None, "{name}: {:#?}", script.everything()),
            "restore" => assert_eq!(busy.remove(service).as_deref(), Some(name), "{:#?}", script.everything()),
            _ => {}
        }
    }
    for name in target.keys() {
        assert_eq!(script.told(name), ["route", "arm", "disarm", "restore", "cut"], "{name}");
    }
    assert_eq!(script.told("waiting"), Vec::<String>::new());
}
