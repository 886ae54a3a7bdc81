//! The life of one experiment, from Pending to its result.

use std::{sync::Arc, time::Duration};

use glooshot_api::{report::ConditionHistory, scenario::Scenario};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    condition::{ConditionError, EgressPolicy, Prometheus, Samplers},
    data_path::DataPath,
    life::Life,
    outcome::Outcome,
    progress::ProgressSender,
    safety::CutOnDrop,
    stop::StopSignal,
};

/// Between two polls of a Prometheus query or a webhook, as in the original.
pub const POLLING_INTERVAL: Duration = Duration::from_secs(5);
/// Between two samples of a traffic condition in the Report.
pub const READING_INTERVAL: Duration = Duration::from_secs(1);

/// One experiment that is ready to run over a data path.
#[derive(Debug)]
pub struct Run<P> {
    scenario: Scenario,
    path: Arc<P>,
    prometheus: Option<Prometheus>,
    webhooks: EgressPolicy,
    polling: Duration,
    reading: Duration,
    progress: ProgressSender,
    taken_up: Option<TakenUp>,
    written: Option<watch::Receiver<bool>>,
}

/// A run that another process began, and did not end.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenUp {
    /// When its faults were switched on.
    pub started: Timestamp,
    /// Until when somebody saw to it; from then on its faults have been off.
    pub seen_until: Timestamp,
    /// What its conditions were observed to be meanwhile, in the order of the spec.
    pub history: Vec<ConditionHistory>,
}

impl<P: DataPath> Run<P> {
    /// A run without a Prometheus, without allowed webhook hosts, and with the default intervals.
    pub fn new(scenario: Scenario, path: Arc<P>) -> Self {
        Self {
            scenario,
            path,
            prometheus: None,
            webhooks: EgressPolicy::default(),
            polling: POLLING_INTERVAL,
            reading: READING_INTERVAL,
            progress: ProgressSender::default(),
            taken_up: None,
            written: None,
        }
    }

    /// The Prometheus that queries are sent to.
    #[must_use]
    pub fn prometheus(mut self, prometheus: Option<Prometheus>) -> Self {
        self.prometheus = prometheus;
        self
    }

    /// The hosts that webhooks may be on.
    #[must_use]
    pub fn webhooks(mut self, policy: EgressPolicy) -> Self {
        self.webhooks = policy;
        self
    }

    /// The time between two polls of a query or a webhook; zero means [`POLLING_INTERVAL`], as in the original.
    #[must_use]
    pub fn polling_interval(mut self, interval: Duration) -> Self {
        self.polling = if interval.is_zero() { POLLING_INTERVAL } else { interval };
        self
    }

    /// The time between two samples of a traffic condition in the Report; zero means [`READING_INTERVAL`].
    #[must_use]
    pub fn reading_interval(mut self, interval: Duration) -> Self {
        self.reading = if interval.is_zero() { READING_INTERVAL } else { interval };
        self
    }

    /// Where the run tells what happens.
    #[must_use]
    pub fn progress(mut self, progress: ProgressSender) -> Self {
        self.progress = progress;
        self
    }

    /// The run was begun by another process: it goes on with the time that is left of it, without settling anew, and the time without
    /// faults in between is held against it.
    #[must_use]
    pub fn taken_up(mut self, run: Option<TakenUp>) -> Self {
        self.taken_up = run;
        self
    }

    /// The faults are not switched on for the first time before this is true: that the targets are routed has been written where whoever
    /// comes after this process reads it. A run whose faults may have been on must not look as if it had never begun.
    #[must_use]
    pub fn written_first(mut self, written: watch::Receiver<bool>) -> Self {
        self.written = Some(written);
        self
    }

    /// Runs the experiment to its verdict.
    ///
    /// # Guarantees
    /// - Nothing is routed when this returns an error.
    /// - The faults are switched off before anything else is done about a verdict, and also when this future panics or is dropped.
    /// - `Restored` is only ever claimed when both switching off and restoring succeeded.
    ///
    /// # Cancellation
    /// Dropping the future cuts the faults at once and leaves the route in place; raise `stop` for an orderly end.
    ///
    /// # Errors
    /// When the scenario has a condition that cannot be observed as this run is configured.
    pub async fn run(self, stop: StopSignal) -> Result<Outcome, ConditionError> {
        let samplers =
            Samplers::new(&self.scenario, self.prometheus.as_ref(), &self.webhooks, self.polling, self.reading)?;
        // Declared first, so dropped last: whatever becomes of the life, the faults end.
        let _cut = CutOnDrop(Arc::clone(&self.path));
        let mut life = Life::new(self.scenario, self.path, samplers, stop, self.progress, self.taken_up.as_ref());

        life.route().await;
        life.settle(self.written).await;
        life.arm().await;
        life.watch().await;
        life.disarm().await;
        life.conclude().await;
        life.restore().await;
        Ok(life.outcome())
    }
}
