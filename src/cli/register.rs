//! `glooshot register`: installs the CustomResourceDefinitions in a cluster.

use std::process::ExitCode;

use anyhow::Context as _;
use glooshot_api::quantity::GoDuration;
use kube::ResourceExt as _;

use super::{cluster_options::ClusterOptions, in_cluster, options::positive};
use crate::{
    api::crds,
    cluster::{Cluster, ClusterError, definitions},
    output::{print, say},
};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "\
register needs get, create and patch on customresourcedefinitions.apiextensions.k8s.io at the cluster scope.
`kubectl auth can-i create crd` tells whether you have them. Who has them can apply the output of `glooshot crds`.";

/// Teach a cluster the kinds of Glooshot: Experiment, Report, RoutingRule and Mesh
///
///   glooshot register
///   glooshot register --context staging
///   glooshot register --dry-run
///
/// Four CustomResourceDefinitions are written, and the command waits until the cluster serves
/// them. Then objects of these kinds can be stored and read (kubectl get exp); nothing of
/// Glooshot runs in the cluster yet.
///
/// Run it again at any time, and after each upgrade: what differs is changed, and objects stay
/// as they are. To take the kinds away, and every object of them:
///
///   glooshot crds | kubectl delete -f -
///
/// Needed are the rights to get, create and patch
/// customresourcedefinitions.apiextensions.k8s.io.
///
/// Exit code: 0 registered, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
/// configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterOptions,

    /// Print what would be written, and ask no cluster
    #[arg(long)]
    dry_run: bool,

    /// The longest wait for each definition to be served
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = positive)]
    timeout: GoDuration,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.dry_run {
        print(&crds::to_yaml()?).context("cannot write")?;
        return Ok(ExitCode::SUCCESS);
    }
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| register(args, cluster).await)
}

async fn register(args: &Args, cluster: &Cluster) -> Result<(), ClusterError> {
    say!("registering with {cluster}");
    let all = crds::all();
    for definition in &all {
        let change = definitions::apply(cluster, definition).await?;
        say!("{} {change}", definition.name_any());
    }
    // All are written before any is waited for: the API server works on them side by side.
    for definition in &all {
        definitions::await_established(cluster, &definition.name_any(), args.timeout.get()).await?;
    }
    say!("registered; `kubectl get experiments --all-namespaces` shows what there is");
    Ok(())
}
