//! What people do to a cluster while an experiment runs in it: they roll, scale and delete.

use std::time::{Duration, Instant};

use super::{
    stage::{ABORT, PATIENCE, Stage, WATCH},
    traffic::{Fate, Traffic},
};
use crate::harness::patience::let_pass;

/// The service is rolled and scaled, and Glooshot itself is rolled: nobody's request fails, and the run goes on.
pub fn everything_is_rolled(stage: &Stage<'_>) {
    let target = stage.target("rolled");
    let traffic = Traffic::new_connections(target.address, 50);
    stage.experiment(&target, 40, WATCH);
    stage.selects_proxies(&target);
    stage.shell(
        "kubectl rollout restart -n shop deployment/ratings
         kubectl rollout restart -n glooshot deployment/glooshot-controller
         kubectl rollout status -n shop deployment/ratings --timeout=90s
         kubectl scale -n shop deployment/ratings --replicas=3
         kubectl rollout status -n shop deployment/ratings --timeout=90s
         kubectl scale -n shop deployment/ratings --replicas=2
         kubectl rollout status -n glooshot deployment/glooshot-controller --timeout=90s",
    );
    let status = stage.ended(&target, PATIENCE);
    let_pass(Duration::from_secs(2));
    traffic.finish().assert_none_failed();
    assert_eq!(status["result"]["state"], "Succeeded", "{status:#}");
    stage.assert_as_before(&target);
}

/// The Service is deleted: the run says so, and everything of ours goes with it.
pub fn the_target_is_deleted(stage: &Stage<'_>) {
    let target = stage.target("deleted-target");
    let traffic = Traffic::new_connections(target.address, 20);
    stage.experiment(&target, 600, ABORT);
    traffic.first(&Fate::Injected, Instant::now(), PATIENCE);
    // What fails from now on fails because there is no such Service.
    drop(traffic);
    stage.shell("kubectl delete service -n shop deleted-target");
    let status = stage.ended(&target, PATIENCE);
    assert_eq!(status["result"]["state"], "Inconclusive", "{status:#}");
    assert_eq!(status["result"]["failureReport"]["failure_type"], "interrupted", "{status:#}");
    let uid = target.before["metadata"]["uid"].as_str().unwrap();
    let labelled = format!(
        "-n shop deployments,pods,services,serviceaccounts,poddisruptionbudgets -l glooshot.solo.io/service-uid={uid}"
    );
    stage.shell(&format!(
        "end=$((SECONDS + 90))
         left=all
         while [ -n \"$left\" ]; do
           [ $SECONDS -lt $end ]
           left=$(kubectl get {labelled} -o name)
           sleep 0.5
         done"
    ));
}

/// The namespace is deleted: it is gone once the proxies have drained, and no finalizer of ours holds it.
pub fn the_namespace_is_deleted(stage: &Stage<'_>) {
    let doomed = Stage::set(stage.bed, "doomed");
    let target = doomed.target("ratings");
    let traffic = Traffic::new_connections(target.address, 20);
    doomed.experiment(&target, 600, ABORT);
    traffic.first(&Fate::Injected, Instant::now(), PATIENCE);
    drop(traffic);
    let began = Instant::now();
    doomed.shell("kubectl delete namespace doomed --timeout=150s");
    eprintln!("  the namespace was gone after {:.0?}", began.elapsed());
}
