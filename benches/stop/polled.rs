//! The same experiment where the condition is a query of Prometheus, which the engine polls.

use std::time::Duration;

use glooshot::engine::{Prometheus, run::POLLING_INTERVAL};
use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use crate::{
    experiment::{polled, rate},
    metric_store::MetricStore,
    stage::Stage,
    trial::{self, Stop},
};

/// The status that the service fails with in the first trial; each has one of its own, since a rate takes a minute to be 0 again.
const FIRST_STATUS: u16 = 510;
/// What a query takes at the most.
const QUERY: Duration = Duration::from_secs(5);
/// What a verdict takes at the most.
const VERDICT: Duration = Duration::from_secs(60);
/// Until Prometheus knows everything.
const READY: Duration = Duration::from_secs(60);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(200);

/// Plays so many trials, with a Prometheus of their own.
pub async fn run(stage: &Stage, trials: u16) -> Vec<Stop> {
    if trials == 0 {
        return Vec::new();
    }
    let statuses = FIRST_STATUS..FIRST_STATUS + trials;
    let store = MetricStore::start();
    store.scrape_at(stage.metrics);
    let client = Prometheus::new(&store.url, QUERY).unwrap();
    // So that a trial need not wait for a series to begin: one failure of each kind lies behind, and no rate.
    for status in statuses.clone() {
        stage.service.fail(status, 1);
        while stage.service.first_failure().is_none() {
            stage.load.responses(1).await;
        }
    }
    let known = async {
        for status in statuses.clone() {
            while client.query(&rate(&status.to_string()), Timestamp::now()).await != Ok(0.0) {
                sleep(LOOK).await;
            }
        }
    };
    timeout(READY, known).await.expect("Prometheus has scraped the proxy");
    let mut stops = Vec::new();
    for status in statuses {
        // A service begins to fail at any time between two polls.
        let phase = sleep(POLLING_INTERVAL.mul_f64(fastrand::f64()));
        stops.push(trial::play(stage, polled(status), Some(client.clone()), status, phase, VERDICT).await);
        println!("polled: {:.0} ms", stops[stops.len() - 1].outside.as_secs_f64() * 1e3);
    }
    stops
}
