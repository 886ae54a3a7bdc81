//! What the controller needs of a data path in a cluster: a path for each run, and everything put back for an Experiment that is known by its uid alone.

use std::future::Future;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use tokio::sync::watch;

use crate::{
    engine::{DataPath, data_path::PathError},
    paths::redirect::{Owner, Redirect, RedirectPath, Shares, Stage},
    proxy::Moment,
};

/// Makes data paths, and cleans up behind them.
pub trait Paths: Send + Sync + 'static {
    /// The path of one run.
    type Path: DataPath;

    /// The path of one run of `owner`. What it writes says that it is over at `deadline`; it says that the run is alive only
    /// while `live`, the moment at which the Experiment and the halt switch were last seen, is recent.
    fn path(&self, owner: Owner, deadline: Timestamp, live: watch::Receiver<Moment>) -> Self::Path;

    /// What a path is doing or waiting for, in a sentence; empty when there is nothing to say.
    fn stage(path: &Self::Path) -> String;

    /// The path of a RoutingRule: it has no end, and no fault.
    ///
    /// # Errors
    /// When another rule has one of its Services.
    fn rule_path(&self, owner: Owner, shares: &Shares) -> Result<Self::Path, PathError>;

    /// Other shares of the Services that a rule holds; false if they are of others.
    fn reshare(&self, rule_uid: &str, shares: &Shares) -> bool;

    /// Keeps Experiments off the Services of a rule that is to end; whoever is there still.
    fn close_rule(&self, rule_uid: &str) -> Option<Owner>;

    /// Whether `service` is still what a run that had begun has made of it; nobody whose Service has been put back meanwhile, by
    /// `glooshot rescue` or its owner, wants to have it redirected again.
    fn holds(&self, service: &Service, experiment_uid: &str) -> bool;

    /// For whom `service`, which may have an origin, goes through this data path now, or did while something of that is still there.
    fn holder(&self, service: &Service, origin: Option<&Service>) -> Option<Owner>;

    /// Puts back everything in the world that the Experiment or RoutingRule with this uid holds. Idempotent.
    fn release(&self, experiment_uid: &str) -> impl Future<Output = Result<(), PathError>> + Send;
}

impl Paths for Redirect {
    type Path = RedirectPath;

    fn path(&self, owner: Owner, deadline: Timestamp, live: watch::Receiver<Moment>) -> RedirectPath {
        Self::path(self, owner, deadline, live)
    }

    fn stage(path: &RedirectPath) -> String {
        let progress = path.progress();
        let Stage { message, findings, .. } = &*progress.borrow();
        let warnings = findings.iter().map(|(service, finding)| format!("; Service {service}: {finding}"));
        format!("{message}{}", warnings.collect::<String>())
    }

    fn rule_path(&self, owner: Owner, shares: &Shares) -> Result<RedirectPath, PathError> {
        Self::rule_path(self, owner, shares)
    }

    fn reshare(&self, rule_uid: &str, shares: &Shares) -> bool {
        Self::reshare(self, rule_uid, shares)
    }

    fn close_rule(&self, rule_uid: &str) -> Option<Owner> {
        Self::close_rule(self, rule_uid)
    }

    fn holds(&self, service: &Service, experiment_uid: &str) -> bool {
        Self::holds(service, experiment_uid)
    }

    fn holder(&self, service: &Service, origin: Option<&Service>) -> Option<Owner> {
        Self::holder(service).or_else(|| Self::maker(origin?))
    }

    async fn release(&self, experiment_uid: &str) -> Result<(), PathError> {
        Self::release(self, experiment_uid).await
    }
}
