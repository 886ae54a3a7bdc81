//! Every static rule of an Experiment. Turns an [`Experiment`] into a [`Scenario`], or says all that is wrong with it.
//!
//! [`check`] needs nothing but the object, and is what the webhook and `glooshot validate` use. [`Checked::resolve`] then needs to
//! know which Services there are. Both walk the same rules: the first with names taken as they are written.

mod condition;
mod fault;
mod resource;
mod settings;
mod syntax;

use std::time::Duration;

use crate::{
    experiment::Experiment,
    names::{self, Destination, KnownPort, ResolveError, ResourceRef, ServiceName},
    plan,
    quantity::GoDuration,
    scenario::Scenario,
    violation::Violation,
};

pub use self::resource::{check_resource, check_routing_rule};
pub use crate::violation::Violations;

/// The longest experiment.
pub const MAX_DURATION: Duration = Duration::from_secs(3600);
/// How long an experiment runs when it does not say.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(600);
/// The longest window of a traffic condition.
pub const MAX_TRAFFIC_INTERVAL: Duration = plan::MAX_INTERVAL;
/// The window of a traffic condition that does not say.
pub const DEFAULT_TRAFFIC_INTERVAL: Duration = Duration::from_secs(5);
/// The requests that a window needs when the condition does not say.
pub const DEFAULT_MIN_REQUESTS: u32 = 10;
/// The longest range of the prepared success-rate query.
pub const MAX_SUCCESS_RATE_INTERVAL: Duration = Duration::from_secs(3600);
/// The range of the prepared success-rate query when the condition does not say.
pub const DEFAULT_SUCCESS_RATE_INTERVAL: Duration = Duration::from_secs(60);
/// The longest `routing.settle`.
pub const MAX_SETTLE: Duration = Duration::from_secs(300);
/// `routing.settle` when the experiment does not say.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(5);
/// The longest `routing.keepRouted`.
pub const MAX_KEEP_ROUTED: Duration = Duration::from_secs(3600);
/// `limits.maxConcurrentDelays` when the experiment does not say.
pub const DEFAULT_MAX_CONCURRENT_DELAYS: u32 = 5_000;
/// The highest `limits.maxConcurrentDelays`.
pub const MAX_CONCURRENT_DELAYS: u32 = 100_000;

/// Where everything that an author writes stands.
const BODY: &str = "spec.spec";

/// An experiment that keeps every rule that can be checked without knowing which Services there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    experiment: Experiment,
}

/// Checks every rule that needs nothing but the object.
///
/// # Errors
/// Everything that is wrong, each with its field's path and an example.
pub fn check(experiment: &Experiment) -> Result<Checked, Violations> {
    Pass::new(experiment, Names::AsWritten).run(experiment)?;
    Ok(Checked { experiment: experiment.clone() })
}

impl Checked {
    /// The experiment as its author wrote it.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Finds what every name means among the Services that there are.
    ///
    /// # Errors
    /// Every name that means nothing or several things, and the rules that only show once the names are known.
    pub fn resolve(&self, known: &[KnownPort]) -> Result<Scenario, Violations> {
        self.resolve_with_callers(known, &[])
    }

    /// As [`Checked::resolve`], where `originServices` may also name callers that are no targets themselves.
    ///
    /// # Errors
    /// As [`Checked::resolve`].
    pub fn resolve_with_callers(&self, known: &[KnownPort], callers: &[ServiceName]) -> Result<Scenario, Violations> {
        Pass::new(&self.experiment, Names::Known { ports: known, callers }).run(&self.experiment)
    }
}

/// [`check`] and [`Checked::resolve`] in one.
///
/// # Errors
/// As both.
pub fn validate(experiment: &Experiment, known: &[KnownPort]) -> Result<Scenario, Violations> {
    check(experiment)?.resolve(known)
}

/// How names are understood.
#[derive(Clone, Copy, Debug)]
enum Names<'a> {
    /// As they are written: nothing is known of the world.
    AsWritten,
    /// By what there is.
    Known {
        /// The targets.
        ports: &'a [KnownPort],
        /// More names that `originServices` may use.
        callers: &'a [ServiceName],
    },
}

/// One walk over an experiment.
struct Pass<'a> {
    names: Names<'a>,
    /// The experiment's namespace, for names that do not say theirs.
    namespace: &'a str,
    found: Vec<Violation>,
}

impl<'a> Pass<'a> {
    fn new(experiment: &'a Experiment, names: Names<'a>) -> Self {
        let namespace = experiment.metadata.namespace.as_deref().unwrap_or("default");
        Self { names, namespace, found: Vec::new() }
    }

    fn run(mut self, experiment: &Experiment) -> Result<Scenario, Violations> {
        let body = &experiment.spec.spec;
        let name = self.experiment_name(experiment);
        let duration =
            self.duration(&format!("{BODY}.duration"), body.duration, DEFAULT_DURATION, Range::upto(MAX_DURATION));
        if let Some(mesh) = &body.target_mesh {
            self.reference(&format!("{BODY}.targetMesh"), mesh, "{name: glooshot-proxy, namespace: glooshot}");
        }
        let faults = self.faults(&body.faults);
        let conditions = self.conditions(&body.failure_conditions, duration);
        let limits = self.limits(body.limits.as_ref(), body.faults.is_empty());
        let settle = self.routing(body.routing.as_ref());
        self.tls(&body.tls);
        Violations::check(self.found)?;
        Ok(Scenario {
            experiment: name,
            duration,
            faults,
            conditions,
            max_injected: limits.max_injected,
            max_concurrent_delays: limits.max_concurrent_delays,
            min_injected: limits.min_injected,
            network_policy: body.routing.as_ref().and_then(|routing| routing.network_policy).unwrap_or_default(),
            settle,
            reconnect: body.routing.as_ref().and_then(|routing| routing.reconnect).unwrap_or_default(),
        })
    }

    fn report(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(Violation::new(path, message));
    }

    fn experiment_name(&mut self, experiment: &Experiment) -> ServiceName {
        let metadata = &experiment.metadata;
        match &metadata.name {
            // The API server completes a generated name before it is used.
            None if metadata.generate_name.is_some() => {}
            Some(name) if syntax::is_subdomain(name) => {}
            Some(name) => self.report(
                "metadata.name",
                format!("{name:?} is not a name: small letters, digits, \"-\" and \".\" only, as in abort-ratings"),
            ),
            None => self.report("metadata.name", "is required, as in name: abort-ratings"),
        }
        if !syntax::is_label(self.namespace) {
            let message = format!(
                "{:?} is not a namespace: small letters, digits and \"-\" only, as in bookinfo",
                self.namespace
            );
            self.report("metadata.namespace", message);
        }
        ServiceName { namespace: self.namespace.to_owned(), name: metadata.name.clone().unwrap_or_default() }
    }

    /// A duration or its default, checked against a range.
    fn duration(&mut self, path: &str, given: Option<GoDuration>, default: Duration, range: Range) -> Duration {
        let Some(duration) = given.map(GoDuration::get) else { return default };
        if duration.is_zero() && !range.zero {
            self.report(path, format!("must be longer than 0, as in \"{}\"", GoDuration::from(default)));
        } else if duration > range.longest {
            let (duration, longest) = (GoDuration::from(duration), GoDuration::from(range.longest));
            self.report(path, format!("{duration} is too long; at most {longest} is accepted"));
        }
        duration
    }

    /// Whether a reference is written as one. Says so if not.
    fn reference(&mut self, path: &str, reference: &ResourceRef, example: &str) -> bool {
        let mut sound = true;
        if !syntax::is_subdomain(&reference.name) {
            let message = format!(
                "{:?} is not a name: small letters, digits, \"-\" and \".\" only, as in {example}",
                reference.name
            );
            self.report(format!("{path}.name"), message);
            sound = false;
        }
        if let Some(namespace) = reference.namespace.as_ref().filter(|namespace| !syntax::is_label(namespace)) {
            let message =
                format!("{namespace:?} is not a namespace: small letters, digits and \"-\" only, as in {example}");
            self.report(format!("{path}.namespace"), message);
            sound = false;
        }
        sound
    }

    /// What a reference to a target means.
    fn destination(&mut self, path: &str, reference: &ResourceRef) -> Option<Destination> {
        if !self.reference(path, reference, "{name: bookinfo-ratings-9080, namespace: glooshot}") {
            return None;
        }
        match self.names {
            Names::AsWritten => Some(Destination { service: self.as_written(reference), port: None, subset: None }),
            Names::Known { ports, .. } => {
                self.resolve(reference, ports).map_err(|error| self.report(path, error.to_string())).ok()
            }
        }
    }

    /// What a reference to a caller means.
    fn origin(&mut self, path: &str, reference: &ResourceRef) -> Option<ServiceName> {
        if !self.reference(path, reference, "{name: productpage, namespace: bookinfo}") {
            return None;
        }
        let Names::Known { ports, callers } = self.names else { return Some(self.as_written(reference)) };
        let written = self.as_written(reference);
        if callers.contains(&written) {
            return Some(written);
        }
        match self.resolve(reference, ports) {
            Ok(Destination { subset: Some(subset), service, .. }) => {
                self.report(path, format!("names the subset {subset} of {service}; an origin is a whole service"));
                None
            }
            Ok(destination) => Some(destination.service),
            Err(error) => {
                let callers: Vec<String> = callers.iter().take(10).map(ToString::to_string).collect();
                let hint = match error {
                    ResolveError::Unknown { .. } if !callers.is_empty() => {
                        format!("; known callers are {}", callers.join(", "))
                    }
                    _ => String::new(),
                };
                self.report(path, format!("{error}{hint}"));
                None
            }
        }
    }

    /// A Service that is named without a namespace is in the experiment's own: a name must not reach into another by omission.
    fn resolve(&self, reference: &ResourceRef, ports: &[KnownPort]) -> Result<Destination, ResolveError> {
        let ServiceName { namespace, name } = self.as_written(reference);
        names::resolve(&ResourceRef { name, namespace: Some(namespace) }, ports)
    }

    fn as_written(&self, reference: &ResourceRef) -> ServiceName {
        let namespace = reference.namespace.as_deref().unwrap_or(self.namespace).to_owned();
        ServiceName { namespace, name: reference.name.clone() }
    }

    /// A list that is not longer than its bound.
    fn bounded(&mut self, path: &str, count: usize, limit: usize) {
        if count > limit {
            self.report(path, format!("has {count} entries; at most {limit} are accepted"));
        }
    }
}

/// The range of a duration.
#[derive(Clone, Copy)]
struct Range {
    /// Whether zero is accepted.
    zero: bool,
    longest: Duration,
}

impl Range {
    /// Above zero and at most `longest`.
    const fn upto(longest: Duration) -> Self {
        Self { zero: false, longest }
    }

    /// From zero to `longest`.
    const fn from_zero(longest: Duration) -> Self {
        Self { zero: true, longest }
    }
}
