//! The rules of this process: one task for each, which puts it in force, keeps it so, or puts its Services back.

use std::{sync::Arc, time::Duration};

use glooshot_api::{
    experiment::{NetworkPolicyMode, Reconnect},
    names::ServiceName,
    scenario::Scenario,
};
use kube::{ResourceExt as _, api::DynamicObject};
use tokio::{
    select,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{super::Paths, decide::Phase};
use crate::{
    engine::{DataPath, data_path::PathEvent},
    paths::redirect::{Holder, Owner, Shares},
    proxy::Moment,
};

/// Between two renewals of what the proxies are told.
const RENEW: Duration = Duration::from_secs(1);
/// Between two looks at whether the guests of a rule have left.
const LOOK: Duration = Duration::from_millis(500);

/// What a rule's task has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Routing,
    InForce,
    Failed(String),
    Ending(String),
    Ended,
}

/// One rule.
pub(super) struct Entry<D> {
    generation: i64,
    path: Option<Arc<D>>,
    state: watch::Receiver<State>,
    /// Until when it is left alone after it has ended.
    cooling: Option<Moment>,
    _task: Option<AbortOnDropHandle<()>>,
}

impl<D: DataPath> Entry<D> {
    /// Puts a rule in force.
    pub(super) fn start(generation: i64, object: &DynamicObject, path: Arc<D>) -> Self {
        let (sender, state) = watch::channel(State::Routing);
        let task = tokio::spawn(go(Arc::clone(&path), scenario(object), sender));
        Self { generation, path: Some(path), state, cooling: None, _task: Some(AbortOnDropHandle::new(task)) }
    }

    /// One that could not even begin.
    pub(super) fn failed(generation: i64, why: String) -> Self {
        let state = watch::channel(State::Failed(why)).1;
        Self { generation, path: None, state, cooling: None, _task: None }
    }

    /// Puts back what the rule with this uid holds, whoever began it.
    pub(super) fn end<P: Paths<Path = D>>(
        before: Option<Self>,
        paths: Arc<P>,
        uid: String,
        cooling: Option<Moment>,
    ) -> Self {
        // What kept it in force ends with `before`; its Services are free when the last has dropped the path.
        let (generation, path) = before.map_or((0, None), |before| (before.generation, before.path.clone()));
        let (sender, state) = watch::channel(State::Ending(String::new()));
        let task = tokio::spawn(end(path, paths, uid, sender));
        Self { generation, path: None, state, cooling, _task: Some(AbortOnDropHandle::new(task)) }
    }

    /// Its shares have been changed.
    pub(super) fn changed(&mut self, generation: i64) {
        self.generation = generation;
    }

    pub(super) fn phase(&self) -> Phase {
        match &*self.state.borrow() {
            State::Routing | State::InForce => Phase::Going(self.generation),
            State::Failed(_) => Phase::Failed,
            State::Ending(_) => Phase::Ending,
            State::Ended if self.cooling.is_some_and(|until| Moment::now() < until) => Phase::Cooling,
            State::Ended => Phase::Ended,
        }
    }

    /// Whether it is in force; if not, what it waits for.
    pub(super) fn in_force<P: Paths<Path = D>>(&self) -> Result<(), String> {
        match &*self.state.borrow() {
            State::InForce => Ok(()),
            State::Failed(why) | State::Ending(why) => Err(why.clone()),
            State::Routing | State::Ended => Err(self.path.as_deref().map(P::stage).unwrap_or_default()),
        }
    }
}

/// The holder that a rule is.
pub(super) fn owner(object: &DynamicObject) -> Owner {
    Owner {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        kind: Holder::RoutingRule,
    }
}

/// The Services of a rule.
pub(super) fn services(shares: &Shares) -> std::collections::BTreeSet<ServiceName> {
    shares.iter().map(|(port, _)| port.service.clone()).collect()
}

/// A run without a fault, a condition or an end.
fn scenario(object: &DynamicObject) -> Scenario {
    Scenario {
        experiment: ServiceName { namespace: object.namespace().unwrap_or_default(), name: object.name_any() },
        duration: Duration::MAX,
        faults: Vec::new(),
        conditions: Vec::new(),
        max_injected: None,
        max_concurrent_delays: 0,
        min_injected: 0,
        network_policy: NetworkPolicyMode::Refuse,
        settle: Duration::ZERO,
        reconnect: Reconnect::None,
    }
}

async fn go<D: DataPath>(path: Arc<D>, scenario: Scenario, state: watch::Sender<State>) {
    if let Err(error) = path.route(&scenario).await {
        state.send_replace(State::Failed(error.message));
        return;
    }
    state.send_replace(State::InForce);
    let mut events = path.events();
    let mut ticks = interval(RENEW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        select! {
            event = events.recv() => match event {
                Some(PathEvent::Interrupted(why)) => break drop(state.send_replace(State::Failed(why))),
                Some(_) => {}
                None => break drop(state.send_replace(State::Failed("the data path has ended".to_owned()))),
            },
            _ = ticks.tick() => if let Err(error) = path.renew() {
                tracing::warn!(%error, rule = %scenario.experiment, "the proxies are not told the shares; they forward to the whole Service");
            },
        }
    }
}

async fn end<P: Paths>(path: Option<Arc<P::Path>>, paths: Arc<P>, uid: String, state: watch::Sender<State>) {
    // A guest's faults and its verdict are about a Service that stays as it is.
    while let Some(guest) = paths.close_rule(&uid) {
        state.send_replace(State::Ending(format!("waits until {guest} is over")));
        sleep(LOOK).await;
    }
    loop {
        state.send_replace(State::Ending("the Services are being put back".to_owned()));
        let restored = match &path {
            Some(path) => path.restore().await,
            None => Ok(()),
        };
        let released = match restored {
            Ok(()) => paths.release(&uid).await,
            Err(error) => Err(error),
        };
        let Err(error) = released else { break };
        tracing::warn!(%error, %uid, "what a routing rule holds could not be put back yet");
        state.send_replace(State::Ending(error.message));
        sleep(RENEW).await;
    }
    // Whoever comes next may have the Services.
    drop(path);
    state.send_replace(State::Ended);
}
