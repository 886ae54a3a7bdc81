//! `glooshot resume`: allows experiments again.

use std::process::ExitCode;

use super::{cluster_options::ClusterOptions, halt::RIGHTS, in_cluster, install_options::InstallNamespace};
use crate::{cluster::halt, output::say};

/// Allow experiments again, after `glooshot halt`
///
/// Experiments that waited start now. Those that were stopped do not go on: they are over.
///
/// Exit code: 0 resumed, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
/// configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterOptions,

    #[command(flatten)]
    namespace: InstallNamespace,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        halt::switch(cluster, args.namespace.name(), None).await?;
        say!("resumed: experiments may start");
        Ok(())
    })
}
