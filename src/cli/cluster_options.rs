//! Which cluster a command works in: the flags that kubectl has, under the same names.

use std::path::PathBuf;

use crate::cluster::Access;

/// The cluster, as kubectl finds it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterOptions {
    /// The kubeconfig file [default: the files in KUBECONFIG, else ~/.kube/config, else the account of the pod this runs in]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl ClusterOptions {
    /// The way to it.
    pub(crate) fn access(&self) -> Access {
        Access { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }
}
