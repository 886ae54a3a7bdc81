//! The operator's switch.

use serde_json::json;

use super::{control_plane::registered, stage::Stage};

#[test]
fn halted_every_run_stops_and_none_starts_until_it_is_resumed() {
    let stage = Stage::new(registered(), "halting");
    let _controller = stage.controller("one");
    stage.create("running", "1m", "0s");
    stage.awaits("running", "Started");

    stage.halts(true);
    let stopped = stage.awaits("running", "Inconclusive");
    let report = &stopped["status"]["result"]["failureReport"];
    assert_eq!(report, &json!({"failure_type": "stopped", "message": "halted: incident 7"}));

    stage.create("refused", "1s", "0s");
    assert_eq!(stage.awaits_reason("refused", "Routed", "Halted"), "halted: incident 7");
    stage.halts(false);
    stage.awaits("refused", "Succeeded");
}
