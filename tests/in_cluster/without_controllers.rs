//! All controllers are gone while a Service is redirected: its users notice nothing, and `glooshot rescue` puts it back.

use std::time::{Duration, Instant};

use super::{
    stage::{ABORT, Owner, PATIENCE, Stage},
    traffic::{Fate, Traffic},
};
use crate::harness::{patience::let_pass, scale::ALONE_SECONDS};

/// Controllers scaled to nothing, traffic for a while, rescue.
pub fn rescue(stage: &Stage) {
    let target = stage.target("alone", Owner::ClientSide);
    let traffic = Traffic::new_connections(target.address, 50);
    stage.experiment(&target, 600, ABORT);
    traffic.first(&Fate::Injected, Instant::now(), PATIENCE);
    let began = Instant::now();
    stage.shell(
        "kubectl scale -n glooshot deployment/glooshot-controller --replicas=0
         kubectl wait -n glooshot pod -l app.kubernetes.io/name=glooshot-controller --for=delete --timeout=60s",
    );
    let gone = Instant::now();
    let good = traffic.first(&Fate::Good, gone, PATIENCE);
    let_pass(Duration::from_secs(ALONE_SECONDS.get()));
    let service = stage.bed.get("service -n bookinfo alone");
    assert_ne!(service["spec"]["selector"], target.before["spec"]["selector"], "it is not redirected any more");
    let rescued = Instant::now();
    let said = stage.shell("glooshot rescue -n bookinfo");
    stage.assert_as_before(&target);
    eprintln!("  good {:.2?} after the last controller; rescue took {:.0?}", good.over - gone, rescued.elapsed());
    let pods = stage.shell("kubectl get pods -n glooshot -l app.kubernetes.io/name=glooshot-controller -o name");
    assert_eq!(pods, "", "{said}");
    // Whoever leads next ends the run, and lets go of it.
    stage.shell(
        "kubectl scale -n glooshot deployment/glooshot-controller --replicas=2
         kubectl rollout status -n glooshot deployment/glooshot-controller --timeout=60s",
    );
    let status = stage.ended(&target, PATIENCE);
    assert_eq!(status["result"]["state"], "Inconclusive", "{status:#}");
    assert_eq!(status["result"]["failureReport"]["failure_type"], "interrupted", "{status:#}");
    stage.assert_as_before(&target);
    let log = traffic.finish();
    log.assert_none_failed();
    // Not even when somebody leads again: what was rescued is not taken again.
    assert!(log.0.iter().all(|seen| seen.fate != Fate::Injected || seen.over < gone + Duration::from_secs(6)));
}
