//! What becomes of a node while a Service is redirected: its kube-proxy stands still, or it is cut off from everybody.

use std::time::{Duration, Instant};

use super::{
    deaths,
    stage::{ABORT, PATIENCE, Stage},
    traffic::{Fate, Traffic},
};
use crate::harness::{
    patience::let_pass,
    scale::{KUBE_PROXY_STOPPED_SECONDS, NODE_AWAY_SECONDS},
};

/// The node that this machine's requests to Services go through hears late of the flip, and late of the restore.
pub fn kube_proxy_stands_still(stage: &Stage<'_>) {
    let target = stage.target("late");
    let traffic = Traffic::new_connections(target.address, 100);
    let stopped = Duration::from_secs(KUBE_PROXY_STOPPED_SECONDS.get());
    // At the flip: callers meet the real pods until it goes on.
    stage.bed.on("node1", &["-STOP", "kube-proxy"]);
    stage.experiment(&target, 600, ABORT);
    stage.selects_proxies(&target);
    let_pass(stopped);
    let heard = Instant::now();
    stage.bed.on("node1", &["-CONT", "kube-proxy"]);
    traffic.first(&Fate::Injected, heard, PATIENCE);
    // At the restore: they meet the proxies, which forward.
    stage.bed.on("node1", &["-STOP", "kube-proxy"]);
    stage.shell("kubectl delete exp -n shop late --wait=false");
    stage.is_put_back(&target);
    let restored = Instant::now();
    let_pass(stopped);
    stage.bed.on("node1", &["-CONT", "kube-proxy"]);
    let_pass(Duration::from_secs(2));
    let log = traffic.finish();
    let early = log.0.iter().filter(|seen| seen.fate == Fate::Injected && seen.sent < heard).count();
    assert_eq!(early, 0, "kube-proxy did not stand still");
    assert!(log.injected_until(restored) <= restored + Duration::from_secs(1), "faults outlive the restore");
    let (connected, over) = log.slowest();
    eprintln!("  {} requests; the slowest was connected after {connected:.0?}, and over after {over:.0?}", log.0.len());
    log.assert_none_failed();
    stage.assert_as_before(&target);
}

/// A node with a proxy, a pod of the service and perhaps the leader is cut off, and comes back.
pub fn is_cut_off(stage: &Stage<'_>) {
    let away = Duration::from_secs(NODE_AWAY_SECONDS.get());
    deaths::while_aborting(stage, "cut-off", |_| {
        let died = Instant::now();
        stage.bed.link("node2", "down");
        let_pass(away);
        stage.bed.link("node2", "up");
        died
    })
    .assert_recovers_within(away + Duration::from_secs(15));
}
