//! `glooshot rescue`: puts every redirected Service back, without a controller.

use std::process::ExitCode;

use super::{cluster_options::ClusterOptions, in_cluster, install_options::namespace_name};
use crate::{
    cluster::{Cluster, ClusterError},
    output::{print, say},
    paths::redirect::{Redirected, Rescue},
};

/// What the cluster's own words do not say about a missing right.
pub(super) const RIGHTS: &str = "\
rescue needs the rights to list and patch services, and to get and delete the proxies' deployments, poddisruptionbudgets,
serviceaccounts, networkpolicies and services; in one namespace if -n names one.";

/// Put every Service back that glooshot has redirected, whatever is dead
///
///   glooshot rescue
///   glooshot rescue -n bookinfo
///   glooshot rescue --dry-run
///
/// What a Service was before stands in its annotation glooshot.solo.io/redirect: neither a
/// controller nor an Experiment is needed. Only what is still ours is changed. Then the proxies
/// are removed, which takes them half a minute: they go on serving until nobody comes any more.
/// An experiment that goes on meanwhile ends Inconclusive.
///
/// --dry-run prints the kubectl commands that do the same, for those without glooshot.
///
/// Exit code: 0 all is as before, 1 something could not be put back, 2 usage or no cluster
/// configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterOptions,

    /// Only the Services of this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace_name)]
    namespace: Option<String>,

    /// Print commands that put the Services back, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let namespace = args.namespace.as_deref();
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        if !args.dry_run {
            return rescue(cluster, namespace).await;
        }
        let found = Rescue::new(cluster.client()).redirected(namespace).await.map_err(not_put_back)?;
        let (commands, unknown): (Vec<_>, Vec<_>) = found.iter().map(Redirected::by_hand).partition(Result::is_ok);
        let commands: String = commands.into_iter().flatten().map(|command| format!("{command}\n")).collect();
        print(&commands).map_err(|error| ClusterError::NotPutBack(format!("cannot write: {error}")))?;
        all_of(unknown.into_iter().filter_map(Result::err).map(|error| error.message))
    })
}

/// Puts back what is redirected, and then removes the proxies.
pub(super) async fn rescue(cluster: &Cluster, namespace: Option<&str>) -> Result<(), ClusterError> {
    let rescue = Rescue::new(cluster.client());
    let mut problems = Vec::new();
    for found in rescue.redirected(namespace).await.map_err(not_put_back)? {
        match rescue.put_back(&found).await {
            Ok(()) => {
                let of = found.experiment().unwrap_or_default();
                say!("services/{} in {} is as it was before {of}", found.service.name, found.service.namespace);
            }
            Err(error) => problems.push(error.message),
        }
    }
    say!("no other Service is redirected; removing proxies");
    match rescue.remove_proxies(namespace).await {
        Ok(removed) => say!("the proxies of {removed} Services are removed"),
        Err(error) => problems.push(error.message),
    }
    all_of(problems)
}

fn all_of(problems: impl IntoIterator<Item = String>) -> Result<(), ClusterError> {
    let problems: Vec<String> = problems.into_iter().collect();
    if problems.is_empty() { Ok(()) } else { Err(ClusterError::NotPutBack(problems.join("\n"))) }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_put_back(error: crate::engine::data_path::PathError) -> ClusterError {
    ClusterError::NotPutBack(error.message)
}
