//! Observing the failure conditions of one run, each in its own task.
//!
//! Nothing is shared between runs or between conditions: each has at most one query under way, and a tick that comes while it
//! is under way is left out, so slow answers never pile up. The first sample comes one interval after the start.

mod egress;
mod http;
mod prometheus;
mod promql;
mod traffic;
mod webhook;

use std::{future::Future, sync::Arc, time::Duration};

use glooshot_api::scenario::{Scenario, TriggerRule};
use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

pub use self::{
    egress::{AllowedHost, AllowedHostError, EgressError, EgressPolicy},
    http::ClientError,
    prometheus::{Prometheus, PrometheusUrlError, QUERY_TIMEOUT, QueryError},
    webhook::{WEBHOOK_TIMEOUT, Webhook, WebhookError, WebhookUrlError},
};
use super::{clock, data_path::DataPath};

/// Observations that wait to be judged at the most; a sampler that is ahead waits.
pub(super) const MAX_WAITING: usize = 64;

/// One condition was observed, or could not be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Observation {
    /// The condition's index in the spec.
    pub(super) condition: usize,
    /// When the answer was received.
    pub(super) at: Timestamp,
    /// What it was.
    pub(super) outcome: Result<Observed, String>,
}

/// What was observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Observed {
    /// A number, or NaN.
    Value(f64),
    /// The status of a webhook's answer.
    Status(u16),
}

/// Why the conditions of a scenario cannot be observed. Found before anything is routed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// A query, and nobody to ask.
    #[error(
        "spec.spec.failureConditions[{condition}].trigger.prometheus needs a Prometheus, and none is configured; give its address, \
         as in --prometheus-url http://127.0.0.1:9090"
    )]
    NoPrometheus {
        /// The condition's index in the spec.
        condition: usize,
    },
    /// A webhook that cannot be polled.
    #[error("spec.spec.failureConditions[{condition}].trigger.webhookUrl: {why}")]
    Webhook {
        /// The condition's index in the spec.
        condition: usize,
        /// Why.
        why: WebhookUrlError,
    },
}

/// Says whether the conditions of a scenario can be observed, before anything is started for it.
///
/// # Errors
/// For the first condition that cannot.
pub fn check(
    scenario: &Scenario,
    prometheus: Option<&Prometheus>,
    policy: &EgressPolicy,
) -> Result<(), ConditionError> {
    Samplers::new(scenario, prometheus, policy, Duration::ZERO, Duration::ZERO).map(drop)
}

/// How the conditions of a run are observed.
#[derive(Clone, Debug)]
pub(super) struct Samplers {
    queries: Vec<(usize, Prometheus, String)>,
    webhooks: Vec<(usize, Webhook)>,
    traffic: Vec<usize>,
    /// Between two polls of a query or a webhook.
    polling: Duration,
    /// Between two readings of the traffic conditions.
    reading: Duration,
}

impl Samplers {
    /// Makes ready to observe the conditions of `scenario`.
    pub(super) fn new(
        scenario: &Scenario,
        prometheus: Option<&Prometheus>,
        policy: &EgressPolicy,
        polling: Duration,
        reading: Duration,
    ) -> Result<Self, ConditionError> {
        let mut samplers = Self { queries: Vec::new(), webhooks: Vec::new(), traffic: Vec::new(), polling, reading };
        for (condition, rule) in scenario.conditions.iter().enumerate() {
            match &rule.trigger {
                TriggerRule::Prometheus { query, .. } => {
                    let prometheus = prometheus.ok_or(ConditionError::NoPrometheus { condition })?;
                    samplers.queries.push((condition, prometheus.clone(), query.clone()));
                }
                TriggerRule::Webhook { url } => {
                    let webhook = Webhook::new(url, policy, WEBHOOK_TIMEOUT)
                        .map_err(|why| ConditionError::Webhook { condition, why })?;
                    samplers.webhooks.push((condition, webhook));
                }
                TriggerRule::Traffic(_) => samplers.traffic.push(condition),
            }
        }
        Ok(samplers)
    }

    /// Begins to observe. The tasks end with the set.
    pub(super) fn spawn<P: DataPath>(&self, path: &Arc<P>, observations: &mpsc::Sender<Observation>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (condition, prometheus, query) in self.queries.iter().cloned() {
            let ask = move || {
                let (prometheus, query) = (prometheus.clone(), query.clone());
                async move { prometheus.query(&query, clock::now()).await.map(Observed::Value).map_err(|e| e.to_string()) }
            };
            tasks.spawn(poll(condition, self.polling, observations.clone(), ask));
        }
        for (condition, webhook) in self.webhooks.iter().cloned() {
            let ask = move || {
                let webhook = webhook.clone();
                async move { webhook.poll().await.map(Observed::Status).map_err(|e| e.to_string()) }
            };
            tasks.spawn(poll(condition, self.polling, observations.clone(), ask));
        }
        if !self.traffic.is_empty() {
            let observations = observations.clone();
            tasks.spawn(traffic::sample(Arc::clone(path), self.traffic.clone(), self.reading, observations));
        }
        tasks
    }

    /// For each of these conditions that is a query: the first metric in it that Prometheus does not know at all.
    pub(super) async fn unknown_metrics(
        &self,
        conditions: &[usize],
    ) -> Vec<(usize, Result<Option<String>, QueryError>)> {
        let mut found = Vec::new();
        for (condition, prometheus, query) in self.queries.iter().filter(|(index, ..)| conditions.contains(index)) {
            found.push((*condition, prometheus.unknown_metric(query).await));
        }
        found
    }
}

/// Asks once per `interval`, never twice at a time, until nobody wants the answers any more.
async fn poll<F, Fut>(condition: usize, interval: Duration, observations: mpsc::Sender<Observation>, ask: F)
where
    F: Fn() -> Fut + Send,
    Fut: Future<Output = Result<Observed, String>> + Send,
{
    let mut ticks = ticks(interval);
    loop {
        ticks.tick().await;
        let outcome = ask().await;
        if observations.send(Observation { condition, at: clock::now(), outcome }).await.is_err() {
            return;
        }
    }
}

/// Ticks from one interval on; those that come too late are left out.
fn ticks(interval: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
