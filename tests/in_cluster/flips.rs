//! No request fails because a Service is redirected, stays so, or is put back.

use std::time::{Duration, Instant};

use super::{
    stage::{ABORT, PATIENCE, Stage, WATCH},
    traffic::{Fate, Seen, Traffic},
};
use crate::harness::{patience::let_pass, scale::NEW_CONNECTIONS};

/// Connections that were opened before.
const KEPT: usize = 50;
/// For the faults behind a restart.
const FAULTS: Duration = Duration::from_secs(8);
/// For how long a Service stays routed behind the end.
const ROUTED: Duration = Duration::from_secs(15);
/// For the service to be restarted, two pods one after the other.
const RESTART: Duration = Duration::from_secs(150);

/// A whole run without faults, with many new connections and some from before.
pub fn under_load(stage: &Stage<'_>) {
    let target = stage.target("load");
    let kept = Traffic::kept_connections(target.address, KEPT);
    let new = Traffic::new_connections(target.address, NEW_CONNECTIONS.get());
    new.first(&Fate::Good, Instant::now(), PATIENCE);
    stage.experiment(&target, 5, WATCH);
    let status = stage.ended(&target, PATIENCE);
    // Until everybody has heard of it, and a proxy that nobody comes to may go.
    let_pass(Duration::from_secs(3));
    let (new, kept) = (new.finish(), kept.finish());
    let (connected, over) = new.slowest();
    eprintln!(
        "  {} requests over new connections, {} over {KEPT} kept ones; the slowest was connected after {connected:.0?}, and over after {over:.0?}",
        new.0.len(),
        kept.0.len()
    );
    new.assert_none_failed();
    kept.assert_none_failed();
    assert_eq!(status["result"]["state"], "Succeeded", "{status:#}");
    let report = stage.bed.get("reports -n shop load");
    let values = report.pointer("/spec/failureConditionHistory/0/failureConditionSnapshots");
    let measured = values.and_then(|it| it.as_array()).is_some_and(|all| all.iter().any(|it| it["value"] == 0.0));
    assert!(measured, "no request was measured, so none came through a proxy: {report:#}");
    stage.assert_as_before(&target);
}

/// Connections from before go on past the proxies, unless the service is restarted: then every one of them is made anew, and broken.
pub fn restarted_targets(stage: &Stage<'_>) {
    let [past, target] = ["past", "reconnect"].map(|name| stage.target(name));
    let kept = Traffic::kept_connections(past.address, KEPT);
    stage.experiment(&past, 3, ABORT);
    let status = stage.ended(&past, PATIENCE);
    let log = kept.finish();
    assert_eq!(log.count(&Fate::Good), log.0.len(), "{:?}", log.failures());
    assert_eq!(status["result"]["failureReport"]["failure_type"], "no_fault_injected", "{status:#}");

    let kept = Traffic::reconnecting_connections(target.address, KEPT);
    let began = Instant::now();
    stage.experiment_routed(&target, FAULTS.as_secs(), "settle: 1s, reconnect: RestartTargets", ABORT);
    let first = kept.first(&Fate::Injected, began, RESTART);
    let status = stage.ended(&target, PATIENCE);
    let_pass(Duration::from_secs(2));
    let log = kept.finish();
    log.assert_none_failed();
    assert_eq!(status["result"]["state"], "Succeeded", "{status:#}");
    // Faults go on and off at one proxy a moment after the other.
    let moment = Duration::from_secs(1);
    let during = |seen: &&Seen| seen.sent > first.over + moment && seen.over < first.over + FAULTS - 2 * moment;
    let seen: Vec<&Seen> = log.0.iter().filter(during).collect();
    let passed: Vec<_> = seen.iter().filter(|seen| seen.fate != Fate::Injected).map(|seen| seen.way).collect();
    eprintln!(
        "  faults {:.1?} after the command; {} requests over {KEPT} connections while they were on, {} past the proxies",
        first.over - began,
        seen.len(),
        passed.len()
    );
    assert!(seen.len() > KEPT, "{} requests", seen.len());
    assert!(passed.is_empty(), "{passed:#?}");
    stage.assert_as_before(&target);
}

/// Behind a verdict a Service goes on through the proxies for as long as asked, without faults.
pub fn kept_routed(stage: &Stage<'_>) {
    let target = stage.target("kept");
    let traffic = Traffic::new_connections(target.address, 50);
    let began = Instant::now();
    stage.experiment_routed(&target, 3, &format!("settle: 0s, keepRouted: {}s", ROUTED.as_secs()), ABORT);
    traffic.first(&Fate::Injected, began, PATIENCE);
    let is_over = "--for=jsonpath='{.status.result.state}'=Succeeded --timeout=90s";
    stage.shell(&format!("kubectl wait -n shop exp/{} {is_over}", target.name));
    let over = Instant::now();
    traffic.first(&Fate::Good, over, PATIENCE);
    let kept = stage.service(&target);
    assert_ne!(kept["spec"]["selector"], target.before["spec"]["selector"], "{kept:#}");
    let status = stage.ended(&target, PATIENCE);
    let (lasted, looks) = (over.elapsed(), Duration::from_secs(3));
    let_pass(Duration::from_secs(1));
    let log = traffic.finish();
    let good = log.0.iter().filter(|seen| seen.sent > over + looks && seen.fate == Fate::Good).count();
    eprintln!("  {good} requests through the proxies and none of them faulted, for {lasted:.1?}");
    log.assert_none_failed();
    assert_eq!(log.0.iter().filter(|seen| seen.sent > over + looks && seen.fate == Fate::Injected).count(), 0);
    assert!(good > 0 && lasted + looks > ROUTED, "{lasted:?}: {status:#}");
    stage.assert_as_before(&target);
}
