//! Callers that kept their connections connect anew: what they call is restarted, once in a run, when all its Services are redirected.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::{
    RedirectPath, Step,
    eyes::Eyes,
    follow, patch,
    path::error,
    pods,
    restart::{self, Keeper, Next},
    steps,
    target::Target,
    vigil::Vigil,
};
use crate::engine::data_path::PathError;

/// Between two looks at the workloads.
const LOOK: Duration = Duration::from_secs(1);

impl RedirectPath {
    /// Restarts what is behind one Service, unless that has been done for this run, and waits until no pod from before is left.
    pub(super) async fn restart(&self, target: &Target, eyes: &Eyes) -> Result<(), PathError> {
        let (name, uid, since) = (&target.name, &self.owner.uid, Instant::now());
        let (limit, mut vigil) = (steps::limit(Step::Restarted), Vigil::keep(self, target, eyes));
        let selector = patch::original(&target.service);
        let (mut looked, mut waits) = (None, "who keeps the pods to be known".to_owned());
        loop {
            let proxies = eyes.proxies(&name.namespace, &target.uid);
            let ready = proxies.iter().filter(|pod| pods::is_ready(pod)).count();
            if let Some(why) = follow::interruption(eyes.service(name).as_deref(), &target.uid, &target.holder, ready) {
                return Err(error(format!("Service {name}: {why}")));
            }
            if looked.is_none_or(|at: Instant| at.elapsed() >= LOOK) {
                looked = Some(Instant::now());
                let is_behind = |pod: &Arc<Pod>| {
                    pod.metadata.namespace.as_ref() == Some(&name.namespace) && restart::is_behind(pod, &selector)
                };
                let behind: Vec<Arc<Pod>> = eyes.pods().into_iter().filter(is_behind).collect();
                match self.shared.world.keepers(&name.namespace, &behind).await {
                    Ok(keepers) => match self.go_on(target, &behind, &keepers).await? {
                        Some(what) => waits = what,
                        None => break,
                    },
                    // What has been restarted is restarted: there is nothing that could not wait for an answer.
                    Err(unread) => waits = unread.message,
                }
            }
            self.run.reach(Step::Restarted, format!("Service {name} waits: {waits}"));
            if since.elapsed() > limit {
                let seconds = limit.as_secs();
                return Err(error(format!(
                    "what is behind Service {name} was not restarted within {seconds}s: {waits}"
                )));
            }
            vigil.pass().await?;
        }
        tracing::info!(service = %name, experiment = %uid, "no pod from before the run is left");
        self.run.reach(Step::Restarted, format!("what is behind Service {name} has been restarted"));
        Ok(())
    }

    /// Does what is next; gives what is waited for, or nothing when all is done.
    async fn go_on(
        &self,
        target: &Target,
        behind: &[Arc<Pod>],
        keepers: &[Keeper],
    ) -> Result<Option<String>, PathError> {
        let (name, uid) = (&target.name, &self.owner.uid);
        let next = {
            let mut notes = self.run.notes();
            notes.restarted.extend(keepers.iter().filter_map(|keeper| keeper.restarted_for(uid)));
            restart::next(uid, behind, keepers, &notes.restarted)
        };
        match next {
            Next::Restart(workload) => {
                self.may_write()?;
                self.shared.world.restart(&name.namespace, workload, uid).await?;
                Ok(Some(format!("{workload} to be restarted")))
            }
            Next::Wait(what) => Ok(Some(what)),
            Next::GiveUp(why) => Err(error(format!("callers of Service {name} cannot be made to connect anew: {why}"))),
            Next::Done => Ok(None),
        }
    }
}
