//! Why a demo was not played to its end.

use std::{io, net::IpAddr, time::Duration};

use glooshot_api::{manifest::ManifestError, violation::Violations};

use super::prometheus::PrometheusError;
use crate::{
    engine::ConditionError,
    proxy::{Refusal, StartError},
};

/// Why a demo was not played to its end. The manifests are part of the program, so what is wrong with one of them, and a
/// refusal of the proxy, is a fault of this build; everything else is the environment's.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A signal came.
    #[error("interrupted; the faults are off and everything has been taken down")]
    Interrupted,
    /// Everything ran, and something came out differently than in the tutorial.
    #[error("the demo ran to its end, but not as in the tutorial: {}", .0.join("; "))]
    NotAsInTheTutorial(Vec<String>),
    /// Standard output is gone.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// A loopback address cannot be listened on.
    #[error("cannot listen on {address}: {source}; the demo needs the whole of 127.0.0.0/8, as Linux has it")]
    Listen {
        /// The address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread, a runtime or a socket could not be had.
    #[error("cannot start {what}: {source}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy could not be started.
    #[error(transparent)]
    Proxy(#[from] StartError),
    /// The proxy refused what it was told.
    #[error("the proxy refused the demo's routes: {0}")]
    Refused(#[from] Refusal),
    /// A manifest cannot be read.
    #[error("a manifest of the demo cannot be read: {0}")]
    Manifest(#[from] ManifestError),
    /// A manifest cannot be used here.
    #[error("a manifest of the demo cannot be used: {0}")]
    Invalid(#[from] Violations),
    /// An experiment cannot be observed.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// The engine's task ended without an outcome.
    #[error("the engine failed, and the faults are off: {0}")]
    Engine(String),
    /// Prometheus cannot be used.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
    /// The tutorial's query has not forgotten the first experiment in time.
    #[error("after {0:?} the query has still not come down: {1}")]
    StillTripping(Duration, String),
    /// Something did not end in order.
    #[error("{what} did not end in order: {problem}")]
    End {
        /// What was to end.
        what: &'static str,
        /// What came of it.
        problem: String,
    },
}
