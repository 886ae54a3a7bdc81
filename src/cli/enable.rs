//! `glooshot enable`: allows experiments on the Services of a namespace.

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::{
    cluster_options::ClusterOptions,
    in_cluster,
    install_options::{ControllerNamespace, namespace_name},
};
use crate::{
    api::names::is_protected_namespace,
    cluster::{install, objects},
    output::{print, say},
};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "\
enable binds the ClusterRole glooshot-workloads in the namespace: it needs the right to create rolebindings there, and either
every right of that role or the right to bind it.";

/// Allow experiments on the Services of a namespace
///
///   glooshot enable -n bookinfo
///   glooshot enable -n bookinfo -n shop
///
/// The controller may then, in that namespace, create proxies and the Services that lead to the
/// real pods, and change the selectors of Services to and from its proxies; policies keep it to
/// that. Nothing is changed until somebody creates an Experiment.
///
/// Exit code: 0 enabled, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
/// configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterOptions,

    /// The namespace of the Services; may be repeated
    #[arg(short, long = "namespace", value_name = "NAMESPACE", required = true, value_parser = namespace_name)]
    namespaces: Vec<String>,

    #[command(flatten)]
    controller: ControllerNamespace,

    /// Print what would be written, and ask no cluster
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let own = args.controller.name();
    if let Some(protected) = args.namespaces.iter().find(|name| *name == own || is_protected_namespace(name)) {
        bail!("{protected} is protected: nothing is broken there");
    }
    let enabling = |target: &String| install::enabling(own, target);
    let parts = args.namespaces.iter().map(enabling).collect::<Result<Vec<_>, _>>()?;
    if args.dry_run {
        let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
        print(&texts.join("---\n")).context("cannot write")?;
        return Ok(ExitCode::SUCCESS);
    }
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        for (namespace, part) in args.namespaces.iter().zip(&parts) {
            for object in &part.objects {
                objects::apply(cluster, object).await?;
            }
            say!("{namespace} is enabled");
        }
        Ok(())
    })
}
