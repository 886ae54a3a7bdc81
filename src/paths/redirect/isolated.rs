//! The way of a Service whose pods or proxies NetworkPolicies isolate: ours are read off those, made before the proxies, given the time to
//! be in force, and removed behind the proxies. Thin.

use std::time::Duration;

use glooshot_api::{experiment::NetworkPolicyMode, names::ServiceName, scenario::Scenario};
use k8s_openapi::api::{core::v1::Pod, networking::v1::NetworkPolicy};

use super::{
    RedirectPath, Step,
    isolation::Isolation,
    mirror::Mirror,
    names,
    objects::{self, Parts},
    patch,
    path::error,
    target::Target,
    world::{Held, World, unwritten},
};
use crate::engine::data_path::PathError;

/// For policies to be in force on every node: nobody tells when they are, and a proxy that is not let in yet would fail requests.
pub(super) const IN_FORCE: Duration = Duration::from_secs(5);
/// For a caller to arrive at a proxy where we ourselves may not be let in.
pub(super) const CALLERS: Duration = Duration::from_secs(10);

impl RedirectPath {
    /// Whether policies of ours are to stand for those of others; a guest changes nothing in the world.
    pub(super) fn mirrors(&self, scenario: &Scenario, name: &ServiceName) -> bool {
        scenario.network_policy == NetworkPolicyMode::Mirror && self.holder(name) == self.owner
    }

    /// What there should be of ours for a Service with these real pods, by the policies that there are now.
    pub(super) async fn mirror(&self, target: &Target, pods: &[Pod]) -> Result<Mirror, PathError> {
        let policies: Vec<NetworkPolicy> = self.shared.world.all(&target.name.namespace).await?;
        if pods.is_empty() {
            if patch::is_redirected_by(&target.service, &self.owner.uid) {
                return Ok(Mirror::standing(&policies, &target.uid));
            }
            let message = "has no pod, so nobody can tell whom its pods let in; let one be ready";
            return Err(error(format!("Service {} {message}", target.name)));
        }
        let parts = target.parts(&self.owner, &self.shared.settings);
        let pods: Vec<&Pod> = pods.iter().collect();
        let isolation =
            Isolation::of(&policies, &target.service, &pods, &objects::pod_labels(&target.uid, parts.selector));
        // Others may have written since the preflight.
        if let Some(obstacle) = isolation.obstacles().first() {
            return Err(error(format!("Service {}: {obstacle}", target.name)));
        }
        parts.mirror(&isolation, &pods).map_err(|error| unwritten(&error))
    }

    /// Goes on without having seen a connection arrive: the controller is not among those whom the policies let in.
    pub(super) fn goes_on_unseen(&self, target: &Target) {
        let message = format!(
            "Service {} selects the proxies; no caller has come in {}s, and NetworkPolicies may keep the controller itself out",
            target.name,
            CALLERS.as_secs()
        );
        tracing::warn!("{message}");
        self.run.reach(Step::Verified, message);
    }
}

impl World {
    /// Makes the policies that there should be, and removes those that there should not be any more.
    pub(super) async fn make_policies(&self, parts: &Parts<'_>, mirror: &Mirror) -> Result<(), PathError> {
        let namespace = parts.namespace();
        for (name, policy) in policy_names(&parts.uid()).into_iter().zip([&mirror.pods, &mirror.proxies]) {
            match policy {
                Some(policy) => drop(self.apply(policy).await?),
                None => self.delete::<NetworkPolicy>(&namespace, &name, &parts.owner.uid).await?,
            }
        }
        Ok(())
    }

    /// Removes all policies of ours for this Service.
    pub(super) async fn remove_policies(&self, held: &Held, experiment_uid: &str) -> Result<(), PathError> {
        for name in policy_names(&held.service_uid) {
            self.delete::<NetworkPolicy>(&held.service.namespace, &name, experiment_uid).await?;
        }
        Ok(())
    }
}

/// The one on the real pods, and the one on the proxies.
fn policy_names(service_uid: &str) -> [String; 2] {
    [names::let_in(service_uid), names::proxy(service_uid)]
}
