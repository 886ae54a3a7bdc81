//! Traffic conditions: sampled for the Report only. The data planes judge them, on every request, and say when one trips.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Observation, Observed, ticks};
use crate::engine::{clock, data_path::DataPath};

/// Sends the readings of `path` for these conditions every `interval`, until nobody wants them any more.
pub(super) async fn sample<P: DataPath>(
    path: Arc<P>,
    conditions: Vec<usize>,
    interval: Duration,
    observations: mpsc::Sender<Observation>,
) {
    let mut ticks = ticks(interval);
    loop {
        ticks.tick().await;
        let at = clock::now();
        let readings = path.readings();
        for reading in readings.iter().filter(|reading| conditions.contains(&reading.condition)) {
            let outcome = Ok(Observed::Value(reading.value));
            let observation = Observation { condition: reading.condition, at, outcome };
            if observations.send(observation).await.is_err() {
                return;
            }
        }
    }
}
