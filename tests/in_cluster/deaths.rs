//! What dies while every request to a Service is being aborted: when the faults end, when users get their answers again, and that
//! Service and verdict are what they should be.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    stage::{ABORT, PATIENCE, Stage, Target},
    traffic::{Fate, Log, Traffic},
    victims,
};
use crate::harness::{
    patience::let_pass,
    scale::{API_SERVER_AWAY_SECONDS, DEATH_RUN_SECONDS},
};

/// Requests a second.
const RATE: u64 = 100;
/// Faults are on for so long before something dies.
const BEFORE: Duration = Duration::from_secs(2);
/// The engine lets faults be off for so long, or a tenth of the run, in sum.
const OFF_ALLOWANCE: Duration = Duration::from_secs(10);
/// What is measured from this machine comes with a request's interval and the scheduler's on top.
const SLACK: Duration = Duration::from_millis(300);

/// What was seen of a run in which something died.
pub struct Seen {
    target: Target,
    status: Value,
    log: Log,
    /// From the death on.
    died: Instant,
}

/// One of two proxies: the other goes on, and so does the run.
pub fn one_proxy(stage: &Stage<'_>) {
    let seen = while_aborting(stage, "one-proxy", |target| victims::kill(stage.bed, &proxies(stage, target)[..1]));
    seen.assert_recovers_within(Duration::from_secs(15));
}

/// All of a Service's proxies.
pub fn all_proxies(stage: &Stage<'_>) {
    let seen = while_aborting(stage, "all-proxies", |target| victims::kill(stage.bed, &proxies(stage, target)));
    seen.assert_recovers_within(Duration::from_secs(15));
}

/// The controller that leads: nobody renews the plan, until the other leads.
pub fn the_leader(stage: &Stage<'_>) {
    let seen = while_aborting(stage, "leader", |_| {
        let lease = "lease -n glooshot glooshot-controller -o jsonpath='{.spec.holderIdentity}'";
        let holder = stage.shell(&format!("kubectl get {lease}"));
        let (pod, _) = holder.rsplit_once('_').unwrap();
        victims::kill(stage.bed, &victims::find(stage.bed, &format!("-n glooshot {pod}")))
    });
    seen.assert_faults_end_within(Duration::from_secs(6));
    seen.log.assert_none_failed();
}

/// Both controllers and all proxies.
pub fn everything(stage: &Stage<'_>) {
    let seen = while_aborting(stage, "everything", |target| {
        let controllers = victims::find(stage.bed, CONTROLLERS);
        victims::kill(stage.bed, &[controllers, proxies(stage, target)].concat())
    });
    seen.assert_faults_end_within(Duration::from_secs(1));
    seen.assert_recovers_within(Duration::from_secs(15));
}

/// The API server does not answer for a while: the plan is not renewed past the lease.
pub fn the_api_server(stage: &Stage<'_>) {
    let seen = while_aborting(stage, "api-server", |_| {
        let died = Instant::now();
        stage.bed.on("node1", &["-STOP", "kube-apiserver"]);
        let_pass(Duration::from_secs(API_SERVER_AWAY_SECONDS.get()));
        stage.bed.on("node1", &["-CONT", "kube-apiserver"]);
        died
    });
    seen.assert_faults_end_within(Duration::from_secs(16));
    seen.log.assert_none_failed();
}

/// The pods of the controller.
pub const CONTROLLERS: &str = "-n glooshot -l app.kubernetes.io/name=glooshot-controller";

fn proxies(stage: &Stage<'_>, target: &Target) -> Vec<victims::Victim> {
    victims::find(stage.bed, &target.proxies())
}

/// Each node has a proxy, so that one which goes down never takes all of them along.
fn assert_spread(stage: &Stage<'_>, target: &Target) {
    let nodes = stage.shell(&format!(
        "kubectl get pods {} -o jsonpath='{{range .items[*]}}{{.spec.nodeName}} {{end}}'",
        target.proxies()
    ));
    let mut nodes: Vec<&str> = nodes.split_whitespace().collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["node1", "node2"], "{}", target.name);
}

/// Aborts every request, lets something die, which says when, and waits for the end.
pub fn while_aborting(stage: &Stage<'_>, name: &str, death: impl FnOnce(&Target) -> Instant) -> Seen {
    let target = stage.target(name);
    let traffic = Traffic::new_connections(target.address, RATE);
    let seconds = DEATH_RUN_SECONDS.get();
    stage.experiment(&target, seconds, ABORT);
    traffic.first(&Fate::Injected, Instant::now(), PATIENCE);
    assert_spread(stage, &target);
    let_pass(BEFORE);
    let died = death(&target);
    let status = stage.ended(&target, Duration::from_secs(seconds) + PATIENCE);
    traffic.first(&Fate::Good, Instant::now(), PATIENCE);
    let_pass(Duration::from_secs(2));
    let seen = Seen { target, status, log: traffic.finish(), died };
    seen.print();
    stage.assert_as_before(&seen.target);
    seen.assert_honest(Duration::from_secs(seconds));
    seen
}

impl Seen {
    /// From the death to the last of our answers before a quiet second.
    fn faults_end(&self) -> Duration {
        self.log.injected_until(self.died) - self.died
    }

    /// From the death to the last failed request.
    fn recovers(&self) -> Duration {
        self.log
            .failed()
            .map(|seen| seen.over)
            .max()
            .map_or(Duration::ZERO, |last| last.saturating_duration_since(self.died))
    }

    fn print(&self) {
        let result = &self.status["result"];
        let good = self.log.good_again(self.died).map(|time| time - self.died);
        eprintln!(
            "  {}: faults ended after {:.2?} and were on for {:.1?} in all; {} of {} requests failed, the last sent after {:.2?} ({:?}); \
             good for a second from {good:.2?} on; {} {}",
            self.target.name,
            self.faults_end(),
            self.log.injected_for(),
            self.log.failed().count(),
            self.log.0.len(),
            self.recovers(),
            self.log.failures(),
            result["state"],
            result["failureReport"],
        );
    }

    #[track_caller]
    fn assert_faults_end_within(&self, limit: Duration) {
        let took = self.faults_end();
        assert!(took <= limit + SLACK, "{}: faults ended after {took:?}, not within {limit:?}", self.target.name);
    }

    #[track_caller]
    pub fn assert_recovers_within(&self, limit: Duration) {
        let took = self.recovers();
        assert!(took <= limit, "{}: requests failed for {took:?}", self.target.name);
    }

    /// A success only of a run whose faults were on as long as the engine demands; anything else says why.
    #[track_caller]
    fn assert_honest(&self, duration: Duration) {
        let (result, off) = (&self.status["result"], self.log.untouched_within(duration));
        let report = &result["failureReport"];
        if result["state"] == "Succeeded" {
            let allowed = OFF_ALLOWANCE.max(duration / 10);
            // The clients see the edges of a fault a tenth of a second later or earlier, each time it goes on or off.
            assert!(off <= allowed + Duration::from_secs(1), "off for {off:?} of {duration:?}: {:#}", self.status);
        } else {
            assert_eq!(result["state"], "Inconclusive", "{:#}", self.status);
            assert_eq!(report["failure_type"], "interrupted", "{:#}", self.status);
            assert!(report["message"].as_str().is_some_and(|why| !why.is_empty()), "{:#}", self.status);
        }
        // What a dead proxy had counted since it last reported is lost; nothing is ever made up.
        let aborted = self.status["injection"][0]["aborted"].as_u64().unwrap_or_default();
        let answered = self.log.count(&Fate::Injected) + self.log.failed().count();
        assert!(aborted <= u64::try_from(answered).unwrap(), "{aborted} of {answered}: {:#}", self.status);
    }
}
