//! What the engine needs of a data path, whichever it is: our proxy in this process, our proxies in a cluster, or Istio.

use std::{fmt, future::Future, time::Duration};

use glooshot_api::{scenario::Scenario, status::InjectionStatus};
use tokio::sync::mpsc;

/// A way to route a target, switch its faults on and off, and observe it.
///
/// # Guarantees that an implementation gives
/// - Faults are off after [`route`](Self::route), and whenever [`renew`](Self::renew) has not been called for the time to live.
/// - [`cut`](Self::cut) never blocks and never fails; after it no new fault is injected, at the latest when the time to live has passed.
/// - [`cut`](Self::cut), [`disarm`](Self::disarm) and [`restore`](Self::restore) may be called at any time, any number of times, also
///   after a half-done `route` or `arm`; `cut` is also called once at the end of every run.
/// - Futures may be dropped half-done: a stop or a deadline does not wait for them.
pub trait DataPath: Send + Sync + 'static {
    /// The kind of path, and why it was chosen, for the status.
    fn describe(&self) -> PathDescription;

    /// Routes the targets of `scenario` through this path, with the faults off.
    fn route(&self, scenario: &Scenario) -> impl Future<Output = Result<(), PathError>> + Send;

    /// Switches the faults on, for the first time or after a pause. Returns when every data plane has them.
    fn arm(&self) -> impl Future<Output = Result<(), PathError>> + Send;

    /// Switches the faults off. Returns when no data plane injects any more.
    fn disarm(&self) -> impl Future<Output = Result<(), PathError>> + Send;

    /// Switches the faults off from a place that cannot wait: a panic, a cancelled task.
    fn cut(&self);

    /// Says that the experiment is alive: faults end by themselves when this is not said for the time to live.
    fn renew(&self) -> Result<(), PathError>;

    /// Puts everything back as it was before [`route`](Self::route).
    fn restore(&self) -> impl Future<Output = Result<(), PathError>> + Send;

    /// Leaves the targets routed instead, without faults, for `routing.keepRouted`: whoever runs the experiment puts them back then.
    /// False where nothing of this run stays, and there is only [`restore`](Self::restore).
    fn keep(&self) -> bool {
        false
    }

    /// What happens on the path by itself. Called once, after `route`. The path keeps the sender: a channel that closes says that
    /// the path has ended, which interrupts the run.
    fn events(&self) -> mpsc::Receiver<PathEvent>;

    /// The value of each traffic condition now.
    fn readings(&self) -> Vec<Reading>;

    /// What has been injected, one entry for each fault of the spec.
    fn injection(&self) -> Vec<InjectionStatus>;

    /// The origin services named by the faults that have opened no connection through this path yet.
    fn missing_callers(&self) -> Vec<String>;

    /// How long it took from the observation that crossed a threshold to the last injected response, once the faults are off after a trip.
    fn stop_latency(&self) -> Option<Duration>;
}

/// The kind of a path, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathDescription {
    /// `Standalone`, `Proxy` or `Istio`.
    pub kind: &'static str,
    /// Why.
    pub reason: String,
}

/// The value of one traffic condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The condition's index in the spec.
    pub condition: usize,
    /// The value; NaN while the window holds too few requests.
    pub value: f64,
}

/// What happens on a path by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum PathEvent {
    /// A condition tripped in a data plane, which has already switched its own faults off.
    Tripped {
        /// The condition's index in the spec.
        condition: usize,
        /// The value that tripped.
        value: f64,
        /// How long ago the observation crossed the threshold, when this was sent.
        age: Duration,
    },
    /// A data plane switched its faults off for a while by itself (no fresh sums of the others), or on again.
    Paused(bool),
    /// Somebody else changed the target or took it away.
    Interrupted(String),
}

/// What went wrong on a path: always the path's own fault, never the author's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// What was attempted, and what came of it.
    pub message: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PathError {}
