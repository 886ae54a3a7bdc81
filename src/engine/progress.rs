//! What a run tells while it goes on: one line each for a terminal, or the phase changes of a status.

use std::{fmt, time::Duration};

use glooshot_api::{
    quantity::{ComparisonOperator, go_float},
    status::{FailureType, ResultState},
};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::clock;

/// Lines that a slow reader may be behind.
const BACKLOG: usize = 1024;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The time of day.
    pub at: Timestamp,
    /// What happened.
    pub event: ProgressEvent,
}

/// Something that happened in a run. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq)]
pub enum ProgressEvent {
    /// The targets' traffic goes through the data path, without faults.
    Routed {
        /// `Standalone`, `Proxy` or `Istio`.
        path: &'static str,
        /// Why this one.
        reason: String,
    },
    /// The time to settle has begun.
    Settling(Duration),
    /// The faults were switched on; its time is the start of the run, also of one that another process began.
    FaultsOn,
    /// A condition was observed; NaN where there was no data, the HTTP status for a webhook.
    Sample {
        /// The condition's index in the spec.
        condition: usize,
        /// The condition's name.
        name: String,
        /// What was observed.
        value: f64,
    },
    /// A condition could not be observed.
    QueryError {
        /// The condition's index in the spec.
        condition: usize,
        /// The condition's name.
        name: String,
        /// What came of the attempt.
        message: String,
        /// Errors of this condition in a row, with this one.
        in_a_row: u32,
    },
    /// The faults were switched off for a while: nobody could see what they do.
    Paused(String),
    /// The faults were switched on again.
    Resumed,
    /// A threshold was crossed.
    Tripped {
        /// The condition's index in the spec.
        condition: usize,
        /// The condition's name.
        name: String,
        /// The value that crossed.
        value: f64,
        /// What it was compared with.
        threshold: f64,
        /// How.
        operator: ComparisonOperator,
    },
    /// The faults were switched off for good.
    FaultsOff {
        /// From the observation that crossed the threshold to the last injected response, where that is known.
        stop_latency: Option<Duration>,
    },
    /// The faults could not be switched off or the targets not restored yet; the attempt is repeated.
    StopError(String),
    /// Everything is as it was before.
    Restored,
    /// The verdict.
    Finished {
        /// `Failed`, `Succeeded` or `Inconclusive`.
        state: ResultState,
        /// Why it is not `Succeeded`.
        failure_type: Option<FailureType>,
        /// The same in a sentence, where there is more to say than the type does.
        message: Option<String>,
    },
}

impl fmt::Display for ProgressEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routed { path, reason } => write!(f, "routed through the {path} data path: {reason}"),
            Self::Settling(time) => write!(f, "settling for {time:?}, faults off"),
            Self::FaultsOn => f.write_str("faults on"),
            Self::Sample { name, value, .. } => write!(f, "condition {name}: {}", go_float(*value)),
            Self::QueryError { name, message, in_a_row, .. } => {
                write!(f, "condition {name}: {message} ({in_a_row} in a row)")
            }
            Self::Paused(reason) => write!(f, "faults paused: {reason}"),
            Self::Resumed => f.write_str("faults on again"),
            Self::Tripped { name, value, threshold, operator, .. } => {
                write!(f, "condition {name} TRIPPED: {} {operator} {}", go_float(*value), go_float(*threshold))
            }
            Self::FaultsOff { stop_latency: None } => f.write_str("faults off"),
            Self::FaultsOff { stop_latency: Some(time) } => {
                write!(f, "faults off {:.3} ms after the crossing", time.as_secs_f64() * 1_000.0)
            }
            Self::StopError(message) => write!(f, "not stopped yet, trying again: {message}"),
            Self::Restored => f.write_str("everything is as it was before"),
            Self::Finished { state, failure_type, message } => {
                write!(f, "{state:?}")?;
                if let Some(failure_type) = failure_type {
                    write!(f, " ({})", failure_type.as_str())?;
                }
                message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
        }
    }
}

/// Where a run tells what happens. A reader that is too slow misses events; it never holds up a stop.
#[derive(Clone, Debug, Default)]
pub struct ProgressSender(Option<mpsc::Sender<Progress>>);

/// A sender and what reads from it.
pub fn progress_channel() -> (ProgressSender, mpsc::Receiver<Progress>) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    (ProgressSender(Some(sender)), receiver)
}

impl ProgressSender {
    pub(crate) fn tell(&self, event: ProgressEvent) {
        self.tell_of(clock::now(), event);
    }

    /// Tells of something that has a time of its own.
    pub(crate) fn tell_of(&self, at: Timestamp, event: ProgressEvent) {
        if let Some(sender) = &self.0 {
            // A full backlog loses the event: the result, status and report do not depend on it.
            let _ = sender.try_send(Progress { at, event });
        }
    }
}
