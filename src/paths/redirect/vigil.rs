//! What goes on while a Service is on its way: its proxies are told what has changed, and that the run is alive.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{RedirectPath, eyes::Eyes, path::LOOK, target::Target};
use crate::engine::data_path::PathError;

/// Between two renewals of the plans.
const RENEW: Duration = Duration::from_secs(1);

/// Of one Service.
pub(super) struct Vigil<'a> {
    path: &'a RedirectPath,
    target: &'a Target,
    eyes: &'a Eyes,
    seen: watch::Receiver<u64>,
    heard: watch::Receiver<u64>,
    renewed: Instant,
}

impl<'a> Vigil<'a> {
    pub(super) fn keep(path: &'a RedirectPath, target: &'a Target, eyes: &'a Eyes) -> Self {
        let (seen, heard) = (eyes.changes(), path.shared.hub.changes());
        Self { path, target, eyes, seen, heard, renewed: Instant::now() }
    }

    /// Waits until something has changed, or for a moment.
    pub(super) async fn pass(&mut self) -> Result<(), PathError> {
        self.path.orders_for(self.target, self.eyes)?;
        // The engine renews what it has routed; until then proxies that come must find a plan that holds.
        if self.renewed.elapsed() >= RENEW {
            self.renewed = Instant::now();
            self.path.run.orders.renew()?;
        }
        tokio::select! {
            _ = self.seen.changed() => {}
            _ = self.heard.changed() => {}
            () = sleep(LOOK) => {}
        }
        Ok(())
    }
}
