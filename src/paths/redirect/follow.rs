//! What happens on the path by itself: plans follow the cluster, trips and pauses are told, and so is whoever changes a Service.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use tokio::time::sleep;

use super::{
    Owner,
    eyes::Eyes,
    patch::{self, Selects},
    plan, pods,
    run_state::RunState,
    target::Target,
};
use crate::{control::server::Hub, engine::data_path::PathEvent, proxy::Moment};

/// Between two looks where nothing says that something has changed.
const LOOK: Duration = Duration::from_secs(1);
/// Changes that come together are told together: a rollout changes a dozen objects within a second.
const TOGETHER: Duration = Duration::from_millis(50);

/// Follows one run.
pub(super) struct Follower {
    pub(super) run: Arc<RunState>,
    pub(super) hub: Hub,
    pub(super) eyes: Arc<Eyes>,
    pub(super) owner: Owner,
}

impl Follower {
    /// Follows until nobody listens any more.
    pub(super) async fn run(self) {
        let (mut seen, mut heard) = (self.eyes.changes(), self.hub.changes());
        let (mut paused, mut interrupted, mut tripped) = (false, false, false);
        loop {
            seen.mark_unchanged();
            heard.mark_unchanged();
            let mut events = Vec::new();
            if !tripped && let Some(event) = self.trip() {
                tripped = true;
                events.push(event);
            }
            let pauses = self.pauses();
            if pauses != paused {
                paused = pauses;
                events.push(PathEvent::Paused(paused));
            }
            if !interrupted && let Some(why) = self.interruption() {
                interrupted = true;
                events.push(PathEvent::Interrupted(why));
            }
            for event in events {
                if self.run.sender.send(event).await.is_err() {
                    return;
                }
            }
            note_callers(&self.run);
            self.refresh();
            // A trip is told at once; what is seen of the cluster may wait until all of it is there.
            tokio::select! {
                _ = heard.changed() => {}
                _ = seen.changed() => sleep(TOGETHER).await,
                () = sleep(LOOK) => {}
            }
        }
    }

    fn targets(&self) -> Vec<Arc<Target>> {
        self.run.notes().targets.clone()
    }

    /// The first trip of this run.
    fn trip(&self) -> Option<PathEvent> {
        let proxies = self.targets().into_iter().flat_map(|target| self.hub.proxies(&target.name));
        let trips = proxies.filter_map(|proxy| proxy.trip).filter(|trip| trip.uid == self.owner.uid);
        let first = trips.min_by_key(|trip| trip.received.minus(trip.age))?;
        self.run.notes().trip = Some((first.age, first.received));
        Some(PathEvent::Tripped {
            condition: usize::from(first.condition),
            value: first.value,
            age: first.age + Moment::now().since(first.received),
        })
    }

    fn pauses(&self) -> bool {
        self.targets().iter().any(|target| self.run.orders.obeying(&target.name).iter().any(|proxy| proxy.paused))
    }

    /// Why the run is no longer what it was meant to be.
    fn interruption(&self) -> Option<String> {
        if self.run.is_restoring() {
            return None;
        }
        self.targets().iter().find_map(|target| {
            let service = self.eyes.service(&target.name);
            let ready = self.eyes.proxies(&target.name.namespace, &target.uid);
            let ready = ready.iter().filter(|pod| pods::is_ready(pod)).count();
            interruption(service.as_deref(), &target.uid, &target.holder, ready)
                .map(|why| format!("Service {}: {why}", target.name))
        })
    }

    /// Tells the proxies what has changed of the endpoints and callers.
    fn refresh(&self) {
        let scenario = self.run.notes().scenario.clone();
        let Some(scenario) = scenario.filter(|_| !self.run.is_restoring()) else { return };
        for target in self.targets() {
            if let Err(error) = self
                .run
                .orders
                .set(&target.name, target.inputs(&self.eyes, &scenario, &self.owner.uid, &self.run.shifts))
            {
                tracing::warn!(service = %target.name, %error, "the proxies keep what they were told before");
            }
        }
    }
}

/// Why a redirected Service is no longer what we have made of it.
pub(super) fn interruption(service: Option<&Service>, uid: &str, owner: &Owner, ready: usize) -> Option<String> {
    let Some(service) = service else { return Some("it has been deleted".to_owned()) };
    if service.uid().as_deref() != Some(uid) {
        return Some("it has been deleted and created anew".to_owned());
    }
    match patch::record(service) {
        Ok(Some(record)) if record.experiment.uid == owner.uid => {}
        Ok(_) => return Some("somebody else has removed our annotation".to_owned()),
        Err(error) => return Some(format!("somebody else has changed our annotation: {error}")),
    }
    match patch::selects(service) {
        Selects::Proxies if ready == 0 => Some("no proxy of it is ready".to_owned()),
        Selects::Proxies => None,
        Selects::Both | Selects::Others => Some("somebody else has changed its selector".to_owned()),
    }
}

/// Remembers which callers have come: a proxy that is replaced forgets it.
pub(super) fn note_callers(run: &RunState) {
    let mut notes = run.notes();
    let Some(scenario) = notes.scenario.clone() else { return };
    for target in notes.targets.clone() {
        let expected = plan::callers(&scenario, &target.name);
        for proxy in run.orders.obeying(&target.name) {
            let seen = notes.seen.entry(target.name.clone()).or_default();
            for caller in expected.iter().filter(|caller| !proxy.missing.contains(caller)) {
                if !seen.contains(caller) {
                    seen.push(caller.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::names::{self, REDIRECT},
        *,
    };

    fn owner() -> Owner {
        Owner {
            namespace: "bookinfo".into(),
            name: "abort".into(),
            uid: "e-1".into(),
            kind: super::super::Holder::default(),
        }
    }

    fn service(change: impl FnOnce(&mut Value)) -> Service {
        let annotation = json!({
            "selector": {"app": "ratings"}, "serviceUid": "s-1", "experiment": owner(), "deadline": "2026-01-01T00:00:00Z",
        });
        let mut service = json!({
            "metadata": {"name": "ratings", "namespace": "bookinfo", "uid": "s-1", "annotations": {REDIRECT: annotation.to_string()}},
            "spec": {"selector": {"app": names::proxy("s-1")}},
        });
        change(&mut service);
        serde_json::from_value(service).unwrap()
    }

    #[test]
    fn whoever_changes_a_redirected_service_interrupts_the_run() {
        type Case = (&'static str, fn(&mut Value), usize, Option<&'static str>);
        let cases: [Case; 6] = [
            ("as we have made it", |_| {}, 2, None),
            ("created anew", |it| it["metadata"]["uid"] = json!("s-2"), 2, Some("created anew")),
            (
                "without our annotation",
                |it| it["metadata"]["annotations"] = json!({}),
                2,
                Some("removed our annotation"),
            ),
            (
                "with another one",
                |it| it["metadata"]["annotations"][REDIRECT] = json!("{}"),
                2,
                Some("changed our annotation"),
            ),
            (
                "with its own selector",
                |it| it["spec"]["selector"]["app"] = json!("ratings"),
                2,
                Some("changed its selector"),
            ),
            ("without a proxy", |_| {}, 0, Some("no proxy")),
        ];
        for (case, change, ready, expected) in cases {
            let told = interruption(Some(&service(change)), "s-1", &owner(), ready);
            assert_eq!(told.is_some(), expected.is_some(), "{case}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{case}");
        }
        assert!(interruption(None, "s-1", &owner(), 2).unwrap().contains("deleted"));
    }
}
