//! Whoever applies a redirected Service again gets the real pods back at once, and no request fails, with a controller and without.

use std::time::{Duration, Instant};

use super::{
    stage::{ABORT, Owner, PATIENCE, Stage, Target, TargetPort},
    traffic::{Fate, Traffic},
};
use crate::harness::{patience::let_pass, scale::MANIFEST_FORMS};

/// Who has made the Service, and who applies it again.
const OWNERS: [(&str, Owner, Owner); 4] = [
    ("client-side", Owner::ClientSide, Owner::ClientSide),
    ("server-side", Owner::ServerSide, Owner::ServerSide),
    ("helm", Owner::Helm, Owner::Helm),
    ("by-force", Owner::ClientSide, Owner::AnotherByForce),
];
const FORMS: [TargetPort; 2] = [TargetPort::Written, TargetPort::Implied];

/// Applied again while all requests are aborted.
pub fn applied_again(stage: &Stage<'_>) {
    for run in Redirected::all(stage, "again") {
        let applied = run.apply(stage);
        run.interrupted(stage, applied);
    }
}

/// A Service with an Experiment that aborts all requests, and somebody who will apply it again.
pub struct Redirected {
    target: Target,
    traffic: Traffic,
    by: Owner,
    target_port: TargetPort,
}

/// When a command began, and when it was done.
pub struct Applied {
    began: Instant,
    done: Instant,
}

impl Redirected {
    /// One for each who applies, or for each form of a manifest as well.
    pub fn all(stage: &Stage<'_>, prefix: &str) -> Vec<Self> {
        let forms = usize::try_from(MANIFEST_FORMS.get()).unwrap();
        let cases = OWNERS.into_iter().enumerate().flat_map(|(place, owners)| {
            let chosen = if forms == 1 { &FORMS[place % 2..][..1] } else { &FORMS[..] };
            chosen.iter().map(move |form| (owners, *form))
        });
        // One after the other: all at once, starting their proxies is more than a small machine can do beside its API server.
        cases
            .map(|((name, owner, by), target_port)| {
                let suffix = if target_port == TargetPort::Written { "" } else { "-implied" };
                let target = stage.target_of(&format!("{prefix}-{name}{suffix}"), owner, target_port);
                let traffic = Traffic::new_connections(target.address, 50);
                stage.experiment(&target, 600, ABORT);
                traffic.first(&Fate::Injected, Instant::now(), PATIENCE);
                Self { target, traffic, by, target_port }
            })
            .collect()
    }

    /// Applies it again, and waits for an answer of the service.
    pub fn apply(&self, stage: &Stage<'_>) -> Applied {
        let began = Instant::now();
        stage.apply_service(&self.target.name, self.by, self.target_port);
        let done = Instant::now();
        self.traffic.first(&Fate::Good, began, PATIENCE);
        let service = stage.service(&self.target);
        assert_eq!(service["spec"]["selector"], self.target.before["spec"]["selector"], "{service:#}");
        Applied { began, done }
    }

    /// The run is said to be interrupted, and the Service selects what its owner wrote, and nothing of it is ours.
    pub fn interrupted(self, stage: &Stage<'_>, Applied { began, done }: Applied) {
        let Self { target, traffic, by, .. } = self;
        let status = stage.ended(&target, PATIENCE);
        let_pass(Duration::from_secs(1));
        let log = traffic.finish();
        let good = log.0.iter().filter(|seen| seen.fate == Fate::Good && seen.sent > began).map(|seen| seen.over).min();
        let last = log.0.iter().filter(|seen| seen.fate == Fate::Injected).map(|seen| seen.over).max().unwrap();
        eprintln!(
            "  {}: real pods {:.2?} after the command began, the last fault {:.2?} after it was done; {} {}",
            target.name,
            good.unwrap() - began,
            last.saturating_duration_since(done),
            status["result"]["state"],
            status["result"]["failureReport"]
        );
        log.assert_none_failed();
        assert_eq!(status["result"]["state"], "Inconclusive", "{status:#}");
        assert_eq!(status["result"]["failureReport"]["failure_type"], "interrupted", "{status:#}");
        let service = stage.service(&target);
        assert_eq!(service["spec"]["selector"], target.before["spec"]["selector"], "{service:#}");
        assert!(service["metadata"]["annotations"]["glooshot.solo.io/redirect"].is_null(), "{service:#}");
        let managers = service["metadata"]["managedFields"].as_array().unwrap();
        assert!(managers.iter().all(|it| it["manager"] != "glooshot"), "{service:#}");
        if by != Owner::AnotherByForce {
            stage.assert_as_before(&target);
        }
    }
}
