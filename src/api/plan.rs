//! What a data plane is told: routes, faults, conditions, and for how long any of it holds.
//!
//! A plan is immutable. It is refused whole when any part of it is malformed ([`Plan::check`]), when it is older than the
//! one in force, or when its fencing token is lower. It expires by itself; faults of an expired plan are never injected.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    names::{Destination, ServiceName, ServicePort},
    pattern,
    quantity::Percent,
    scenario::{Scenario, TrafficRule, TriggerRule},
    share::{self, Share},
};

/// Faults in one plan at the most, as in the CRD.
pub const MAX_FAULTS: usize = 16;
/// Conditions in one plan at the most, as in the CRD.
pub const MAX_CONDITIONS: usize = 16;
/// Routes (Service ports) in one plan at the most: a proxy serves one Service, and a Service has few ports.
pub const MAX_ROUTES: usize = 256;
/// Endpoints of one route at the most; more are refused rather than dropped silently.
pub const MAX_ENDPOINTS: usize = 5_000;
/// Known callers in one plan at the most.
pub const MAX_SOURCES: usize = 50_000;
/// Services in one list of a fault at the most, as in the CRD.
pub const MAX_SERVICES: usize = 32;
/// Methods, and headers, in one match at the most, as in the CRD.
pub const MAX_MATCHES: usize = 16;
/// The longest text, in bytes, that a path or header is compared with, as in the CRD.
pub const MAX_TEXT: usize = 2_048;
/// The longest window of a condition: a window keeps counters for all of its length.
pub const MAX_INTERVAL: Duration = Duration::from_secs(600);
/// The time a plan holds after its renewal: faults end this long after everything that could end them is dead.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(5);
/// The longest delay that may be injected: a delayed request holds memory on both sides.
pub const MAX_DELAY: Duration = Duration::from_secs(60);

/// Who may say what holds: compared as a pair, highest wins. From the Lease in a cluster, constant in one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FencingToken {
    /// When the Lease was created, in nanoseconds of Unix time.
    pub lease_created: i64,
    /// How often its holder has changed.
    pub transitions: u64,
}

/// Everything that a data plane is told at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Rises with every new plan of one leader.
    pub generation: u64,
    /// Whose plan this is.
    pub fencing: FencingToken,
    /// Where each Service port's requests go.
    pub routes: Vec<PlannedRoute>,
    /// Callers that are known by their address.
    #[serde(default)]
    pub sources: Vec<PlannedSource>,
    /// What is broken, and what must not happen; none when nothing runs.
    #[serde(default)]
    pub experiment: Option<PlannedExperiment>,
}

/// Where a Service port's requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedRoute {
    /// The Service port.
    pub port: ServicePort,
    /// Its ready endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Shares of the traffic by subset; empty means every endpoint alike.
    #[serde(default)]
    pub weights: Vec<SubsetWeight>,
}

/// One address that serves a Service port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// The address.
    pub address: SocketAddr,
    /// The subset it belongs to (`v4`), which is its version in metrics.
    #[serde(default)]
    pub subset: Option<String>,
}

/// The share of one subset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubsetWeight {
    /// The subset.
    pub subset: String,
    /// Its share, in proportion to the sum of all weights.
    pub weight: u32,
}

/// A caller that is known by its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedSource {
    /// The address that its connections come from.
    pub address: IpAddr,
    /// The service whose pod this is; its name is the `source_app` of metrics.
    pub service: ServiceName,
    /// The version (`v1`), if known.
    #[serde(default)]
    pub version: Option<String>,
}

/// The faults and conditions of one experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedExperiment {
    /// Namespace and name of the Experiment.
    pub name: ServiceName,
    /// The Experiment object's uid: a re-created experiment of the same name is another run.
    pub uid: String,
    /// Whether faults are injected. Off while settling, while metrics are unavailable, and after a stop.
    pub armed: bool,
    /// The faults, in the order of the spec.
    pub faults: Vec<PlannedFault>,
    /// The conditions that this data plane evaluates.
    #[serde(default)]
    pub conditions: Vec<PlannedCondition>,
    /// Requests and connections that this data plane may still fault; unlimited when absent.
    #[serde(default)]
    pub max_injected: Option<u64>,
    /// Requests and connections that are being delayed at one time.
    pub max_concurrent_delays: u32,
    /// The seed of the dice, for runs that must repeat exactly; random when absent.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedFault {
    /// Only requests sent by these services; any caller when empty. An unknown caller matches no name.
    #[serde(default)]
    pub origins: Vec<ServiceName>,
    /// Requests sent to these.
    pub destinations: Vec<Destination>,
    /// Only requests that match. A fault on connections has none.
    #[serde(default)]
    pub matches: MatchRule,
    /// The share of them.
    pub percentage: Percent,
    /// What is done to them.
    pub disruption: Disruption,
}

/// What is done to a request, or to a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Disruption {
    /// Answered with an HTTP status, 200 to 599; the service never sees it.
    AbortHttp(u16),
    /// Answered with a gRPC status, 1 to 16, as trailers only; the service never sees it.
    AbortGrpc(u16),
    /// Held back before the service sees it.
    Delay {
        /// How long, at most [`MAX_DELAY`].
        duration: Duration,
        /// Longer or shorter by up to this, uniformly; at most `duration`.
        jitter: Duration,
    },
    /// A new connection is reset before a byte of it is read; the service never sees it.
    ResetConnection,
    /// A new connection is held back before a byte of it is read, and before the service sees it.
    DelayConnection {
        /// How long, at most [`MAX_DELAY`].
        duration: Duration,
        /// Longer or shorter by up to this, uniformly; at most `duration`.
        jitter: Duration,
    },
}

impl Disruption {
    /// Whether it is done to new connections, and not to requests.
    pub const fn is_of_connections(self) -> bool {
        match self {
            Self::ResetConnection | Self::DelayConnection { .. } => true,
            Self::AbortHttp(_) | Self::AbortGrpc(_) | Self::Delay { .. } => false,
        }
    }
}

/// Which requests a fault applies to; an empty rule applies to all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchRule {
    /// How the path must look, byte for byte as it was sent and without the query.
    #[serde(default)]
    pub path: Option<TextMatch>,
    /// Any of these methods; all when empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// All of these headers.
    #[serde(default)]
    pub headers: Vec<HeaderRule>,
}

/// How one header must look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderRule {
    /// Its name, in lower case.
    pub name: String,
    /// How a value of it must look, or whether it is there.
    pub value: HeaderValueRule,
}

/// How a header's value must look, or whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HeaderValueRule {
    /// One of its values looks like this.
    Text(TextMatch),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

/// How a text must look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum TextMatch {
    /// The whole of it.
    Exact(String),
    /// The beginning of it.
    Prefix(String),
    /// A regular expression that the whole of it matches.
    Regex(String),
}

/// One condition that a data plane evaluates on the requests that it sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedCondition {
    /// Its index among all conditions of the spec.
    pub index: u16,
    /// What is measured, and when it trips.
    pub rule: TrafficRule,
    /// Whether other data planes see a part of the same traffic, so that their sums must be fresh before a verdict.
    #[serde(default)]
    pub shared: bool,
}

impl PlannedExperiment {
    /// What a data plane that sees all of the traffic is told of a scenario, faults off. Faults and conditions keep their places, by
    /// which they are counted.
    pub fn of(scenario: &Scenario, uid: impl Into<String>) -> Self {
        let faults = scenario.faults.iter().map(|fault| PlannedFault {
            origins: fault.origins.clone(),
            destinations: fault.destinations.clone(),
            matches: fault.matches.clone(),
            percentage: fault.percentage,
            disruption: fault.disruption,
        });
        let conditions =
            scenario.conditions.iter().zip(0u16..).filter_map(|(condition, index)| match &condition.trigger {
                TriggerRule::Traffic(rule) => Some(PlannedCondition::new(index, rule)),
                TriggerRule::Prometheus { .. } | TriggerRule::Webhook { .. } => None,
            });
        Self {
            name: scenario.experiment.clone(),
            uid: uid.into(),
            armed: false,
            faults: faults.collect(),
            conditions: conditions.collect(),
            max_injected: scenario.max_injected,
            max_concurrent_delays: scenario.max_concurrent_delays,
            seed: None,
        }
    }
}

impl PlannedCondition {
    /// The condition with this index in the spec, for a data plane that sees all of the traffic.
    pub fn new(index: u16, rule: &TrafficRule) -> Self {
        Self { index, rule: rule.clone(), shared: false }
    }
}

/// Why a plan is refused whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A list is longer than its bound.
    #[error("the plan has {count} {what}; at most {limit} are accepted")]
    TooMany {
        /// The list.
        what: &'static str,
        /// Its length.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// A value is outside its range.
    #[error("{path}: {message}")]
    Invalid {
        /// Where in the plan.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Plan {
    /// Checks every bound and range that the types do not state.
    ///
    /// # Errors
    /// The first thing that is wrong; the plan must then be refused whole.
    pub fn check(&self) -> Result<(), PlanError> {
        bounded("routes", self.routes.len(), MAX_ROUTES)?;
        bounded("sources", self.sources.len(), MAX_SOURCES)?;
        for (i, route) in self.routes.iter().enumerate() {
            bounded("endpoints", route.endpoints.len(), MAX_ENDPOINTS)?;
            bounded("weights", route.weights.len(), MAX_ENDPOINTS)?;
            if let Some(at) = route.endpoints.iter().position(|endpoint| endpoint.address.port() == 0) {
                return Err(invalid(format!("routes[{i}].endpoints[{at}]"), "port 0 cannot be dialled"));
            }
            if !route.weights.is_empty() && route.weights.iter().all(|w| w.weight == 0) {
                return Err(invalid(format!("routes[{i}].weights"), "the weights add up to 0"));
            }
        }
        let Some(experiment) = &self.experiment else { return Ok(()) };
        bounded("faults", experiment.faults.len(), MAX_FAULTS)?;
        bounded("conditions", experiment.conditions.len(), MAX_CONDITIONS)?;
        for (i, fault) in experiment.faults.iter().enumerate() {
            fault.check(&format!("experiment.faults[{i}]"))?;
        }
        let shares: Vec<Option<Share<'_>>> = experiment.faults.iter().map(|fault| Some(fault.into())).collect();
        if let Some(excess) = share::excesses(&shares).next() {
            let path = format!("experiment.faults[{}].percentage", excess.fault);
            let message = format!("with the faults before on the same {} this makes {}%", excess.what, excess.sum);
            return Err(invalid(path, &message));
        }
        for (i, condition) in experiment.conditions.iter().enumerate() {
            let path = format!("experiment.conditions[{i}]");
            if condition.rule.interval.is_zero() || condition.rule.interval > MAX_INTERVAL {
                return Err(invalid(path + ".interval", "a window must be longer than 0 and at most 600s"));
            }
            if condition.rule.threshold.value.is_nan() {
                return Err(invalid(path + ".threshold", "NaN compares with nothing"));
            }
            if experiment.conditions.iter().take(i).any(|other| other.index == condition.index) {
                return Err(invalid(path, &format!("another condition has the index {}", condition.index)));
            }
        }
        Ok(())
    }
}

impl PlannedFault {
    /// Checks the ranges of one fault.
    fn check(&self, path: &str) -> Result<(), PlanError> {
        if self.destinations.is_empty() {
            return Err(invalid(format!("{path}.destinations"), "a fault must have a destination"));
        }
        bounded("destinations", self.destinations.len(), MAX_SERVICES)?;
        bounded("origins", self.origins.len(), MAX_SERVICES)?;
        self.matches.check(&format!("{path}.matches"))?;
        if self.disruption.is_of_connections() {
            if self.matches != MatchRule::default() {
                return Err(invalid(format!("{path}.matches"), "a connection has no request to match"));
            }
            if let Some(at) = self.destinations.iter().position(|destination| destination.subset.is_some()) {
                let message = "a connection has no subset before its endpoint is chosen";
                return Err(invalid(format!("{path}.destinations[{at}]"), message));
            }
        }
        match self.disruption {
            Disruption::AbortHttp(status) if !(200..=599).contains(&status) => {
                Err(invalid(format!("{path}.disruption"), &format!("HTTP status {status} is not within 200 to 599")))
            }
            Disruption::AbortGrpc(status) if !(1..=16).contains(&status) => {
                Err(invalid(format!("{path}.disruption"), &format!("gRPC status {status} is not within 1 to 16")))
            }
            Disruption::Delay { duration, jitter } | Disruption::DelayConnection { duration, jitter }
                if duration > MAX_DELAY || jitter > duration =>
            {
                Err(invalid(
                    format!("{path}.disruption"),
                    "a delay is at most 60s, and its jitter at most the delay itself",
                ))
            }
            Disruption::AbortHttp(_)
            | Disruption::AbortGrpc(_)
            | Disruption::Delay { .. }
            | Disruption::ResetConnection
            | Disruption::DelayConnection { .. } => Ok(()),
        }
    }
}

impl MatchRule {
    /// Checks the bounds of a match, and that its patterns compile.
    fn check(&self, path: &str) -> Result<(), PlanError> {
        bounded("methods", self.methods.len(), MAX_MATCHES)?;
        bounded("headers", self.headers.len(), MAX_MATCHES)?;
        if let Some(text) = &self.path {
            text.check(&format!("{path}.path"))?;
        }
        for (i, header) in self.headers.iter().enumerate() {
            if let HeaderValueRule::Text(text) = &header.value {
                text.check(&format!("{path}.headers[{i}]"))?;
            }
        }
        Ok(())
    }
}

impl TextMatch {
    fn check(&self, path: &str) -> Result<(), PlanError> {
        match self {
            Self::Exact(text) | Self::Prefix(text) if text.len() > MAX_TEXT => {
                Err(invalid(path.to_owned(), "the text is longer than 2048 bytes"))
            }
            Self::Exact(_) | Self::Prefix(_) => Ok(()),
            Self::Regex(pattern) => {
                pattern::whole(pattern).map(drop).map_err(|error| invalid(path.to_owned(), &error.to_string()))
            }
        }
    }
}

fn bounded(what: &'static str, count: usize, limit: usize) -> Result<(), PlanError> {
    if count > limit { Err(PlanError::TooMany { what, count, limit }) } else { Ok(()) }
}

fn invalid(path: String, message: &str) -> PlanError {
    PlanError::Invalid { path, message: message.to_owned() }
}
