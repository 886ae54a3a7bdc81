//! All controllers are gone while Services are redirected: their users notice nothing, and their owners, or `glooshot rescue`, put them back.

use std::time::{Duration, Instant};

use super::{
    owners::Redirected,
    stage::{ABORT, PATIENCE, Stage},
    traffic::{Fate, Traffic},
};
use crate::harness::{patience::let_pass, scale::ALONE_SECONDS};

/// Controllers scaled to nothing, traffic for a while, owners who apply their Services again, rescue of what nobody applies.
pub fn rescue(stage: &Stage<'_>) {
    // Without a controller nobody tells the proxies which pods are ready: they ask the Service behind them, and lose what it would lose.
    let stage = &Stage::set(stage.bed, "alone");
    let target = stage.target("alone");
    let traffic = Traffic::new_connections(target.address, 50);
    stage.experiment(&target, 600, ABORT);
    traffic.first(&Fate::Injected, Instant::now(), PATIENCE);
    let owned = Redirected::all(stage, "orphan");
    stage.shell(
        "kubectl scale -n glooshot deployment/glooshot-controller --replicas=0
         kubectl wait -n glooshot pod -l app.kubernetes.io/name=glooshot-controller --for=delete --timeout=60s",
    );
    let gone = Instant::now();
    let good = traffic.first(&Fate::Good, gone, PATIENCE);
    // What Kubernetes itself does goes on: the service is rolled twice, and every proxy is replaced by one that meets no controller.
    let proxies = target.proxies();
    stage.shell(&format!(
        "kubectl rollout restart -n alone deployment/ratings
         kubectl rollout status -n alone deployment/ratings --timeout=90s
         kubectl rollout restart -n alone deployment/ratings
         for pod in $(kubectl get pods {proxies} -o name); do
           kubectl delete -n alone $pod --wait=false
           kubectl rollout status deployment {proxies} --timeout=90s
         done
         kubectl rollout status -n alone deployment/ratings --timeout=90s"
    ));
    let_pass((gone + Duration::from_secs(ALONE_SECONDS.get())).saturating_duration_since(Instant::now()));
    let selector = stage.service(&target)["spec"]["selector"].clone();
    assert_ne!(selector, target.before["spec"]["selector"], "it is not redirected any more");
    let owned: Vec<_> = owned.into_iter().map(|run| (run.apply(stage), run)).collect();
    let rescued = Instant::now();
    let said = stage.shell("glooshot rescue -n alone");
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
    for (applied, run) in owned {
        run.interrupted(stage, applied);
    }
    let log = traffic.finish();
    log.assert_none_failed();
    // Not even when somebody leads again: what was rescued is not taken again.
    assert!(log.0.iter().all(|seen| seen.fate != Fate::Injected || seen.over < gone + Duration::from_secs(6)));
}
