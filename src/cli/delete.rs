//! `glooshot delete experiment`: ends an Experiment, and waits until everything is as it was.

use std::process::ExitCode;

use clap::Subcommand;
use glooshot_api::quantity::GoDuration;

use super::{cluster_options::ClusterOptions, in_cluster, namespace_option::NamespaceOption, options::positive};
use crate::{
    cluster::{ClusterError, experiments},
    output::say,
};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "\
delete experiment needs the rights to delete, get, list and watch experiments.glooshot.solo.io in the namespace.";

/// Delete an experiment
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Experiment(ExperimentArgs),
}

/// Delete an experiment; one that runs ends at once
///
///   glooshot delete experiment abort-ratings -n bookinfo
///
/// Faults end within a second. The command waits until every Service of the experiment has been
/// put back, and its proxies are gone.
///
/// Exit code: 0 deleted, 1 it is not gone in time, or the cluster cannot be reached or refuses,
/// 2 usage or no cluster configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, visible_alias = "exp")]
struct ExperimentArgs {
    /// Its name
    name: String,

    #[command(flatten)]
    namespace: NamespaceOption,

    /// The longest wait for everything to be put back
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = positive)]
    timeout: GoDuration,

    #[command(flatten)]
    cluster: ClusterOptions,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let What::Experiment(args) = &args.what;
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        let (name, namespace) = (&args.name, args.namespace.name(cluster));
        if experiments::delete(cluster, namespace, name, args.timeout.get()).await? {
            say!("experiment {name} deleted");
            return Ok(());
        }
        Err(ClusterError::NotYet(format!(
            "experiment {name} is still there after {}s: a controller has to put its Services back first. \
             `kubectl get deployments -A -l app.kubernetes.io/name=glooshot-controller` shows whether one runs; `glooshot rescue` puts them back without",
            args.timeout.get().as_secs()
        )))
    })
}
