//! `glooshot halt`: stops every experiment.

use std::process::ExitCode;

use super::{cluster_options::ClusterOptions, in_cluster, install_options::InstallNamespace};
use crate::{cluster::halt, output::say};

/// What the cluster's own words do not say about a missing right.
pub(super) const RIGHTS: &str = "\
halt and resume write the ConfigMap glooshot-halt in Glooshot's own namespace: they need the rights to create and patch configmaps there.";

/// Stop every experiment, and let none start until `glooshot resume`
///
///   glooshot halt
///   glooshot halt --reason "incident 4711"
///
/// Faults end within a second, and every Service is put back, those of routing rules too. Where no controller is left to do
/// that, faults end by themselves after a few seconds, and `glooshot rescue` puts Services back.
///
/// Exit code: 0 halted, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
/// configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterOptions,

    #[command(flatten)]
    namespace: InstallNamespace,

    /// Why; the status of experiments repeats it
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        halt::switch(cluster, args.namespace.name(), Some(&args.reason)).await?;
        say!("halted: no experiment goes on, and none starts until `glooshot resume`");
        Ok(())
    })
}
