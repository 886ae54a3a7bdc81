//! How fast faults stop: by a condition, by `glooshot halt`, by `kubectl delete`.

use std::time::{Duration, Instant};

use super::{
    stage::{ABORT, PATIENCE, Stage, TRIP},
    traffic::{Fate, Log, Traffic},
};
use crate::harness::{patience::let_pass, scale::CLUSTER_STOPS};

/// The bound of a stop by a condition.
const LATENCY: Duration = Duration::from_millis(250);
/// The bound of a stop by a person.
const BY_A_PERSON: Duration = Duration::from_secs(1);
/// Services that take turns, so that the proxies of one drain while another's are asked.
const SERVICES: usize = 3;

/// Runs that a condition ends, on Services with two proxies.
pub fn by_conditions(stage: &Stage<'_>) {
    let targets: Vec<_> = (0..SERVICES).map(|n| stage.target(&format!("stop-{n}"))).collect();
    let traffic: Vec<_> = targets.iter().map(|target| Traffic::new_connections(target.address, 50)).collect();
    let trials = usize::try_from(CLUSTER_STOPS.get()).unwrap();
    let mut latencies = Vec::new();
    for target in targets.iter().cycle().take(trials) {
        stage.shell(&format!("kubectl delete exp -n shop {} --ignore-not-found --timeout=90s", target.name));
        stage.experiment(target, 60, &format!("{TRIP}{ABORT}"));
        let status = stage.ended(target, PATIENCE);
        assert_eq!(status["result"]["state"], "Failed", "{status:#}");
        let latency: f64 = status["stopLatency"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        latencies.push(Duration::from_secs_f64(latency));
        // The next on this Service has the same name; what is left of this one is put away meanwhile.
        stage.shell(&format!("kubectl delete exp -n shop {} --wait=false", target.name));
    }
    let logs: Vec<_> = traffic.into_iter().map(Traffic::finish).collect();
    for log in &logs {
        log.assert_none_failed();
    }
    let slowest = logs.iter().map(Log::slowest).max().unwrap();
    eprintln!(
        "  {} requests; the slowest was connected after {:.0?}, over after {:.0?}",
        logs.iter().map(|log| log.0.len()).sum::<usize>(),
        slowest.0,
        slowest.1
    );
    latencies.sort_unstable();
    let (median, max) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    eprintln!("  {} stops: p50 {median:.1?}, max {max:.1?}", latencies.len());
    assert!(max < LATENCY, "{latencies:?}");
    for target in &targets {
        stage.assert_as_before(target);
    }
}

/// One run is deleted, and then everything is halted.
pub fn by_people(stage: &Stage<'_>) {
    let cases =
        [("deleted", "kubectl delete exp -n shop deleted --wait=false"), ("halted", "glooshot halt --reason drill")];
    let runs = cases.map(|(name, command)| {
        let target = stage.target(name);
        let traffic = Traffic::new_connections(target.address, 100);
        stage.experiment(&target, 120, ABORT);
        (target, traffic, command)
    });
    let began = Instant::now();
    for (target, traffic, command) in runs {
        traffic.first(&Fate::Injected, began, PATIENCE);
        let_pass(Duration::from_secs(1));
        let before = Instant::now();
        stage.shell(command);
        let done = Instant::now();
        // One that is deleted stays until its proxies have drained.
        if target.name != "deleted" {
            let status = stage.ended(&target, PATIENCE);
            assert_eq!(status["result"]["state"], "Inconclusive", "{status:#}");
            assert_eq!(status["result"]["failureReport"]["failure_type"], "stopped", "{status:#}");
            stage.shell("glooshot resume");
        }
        let_pass(Duration::from_secs(1));
        let log = traffic.finish();
        let last = log.0.iter().filter(|seen| seen.fate == Fate::Injected).map(|seen| seen.over).max().unwrap();
        let took = last.saturating_duration_since(done);
        eprintln!(
            "  {}: the last fault {took:.2?} after the command, {:.2?} after its start",
            target.name,
            last - before
        );
        assert!(took <= BY_A_PERSON, "{}: faults went on for {took:?}", target.name);
        log.assert_none_failed();
        stage.is_put_back(&target);
        stage.assert_as_before(&target);
    }
}
