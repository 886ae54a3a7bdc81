//! Whose objects a command means: `--namespace`, as kubectl has it.

use super::install_options::namespace_name;
use crate::cluster::Cluster;

/// One namespace.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NamespaceOption {
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(id = "object_namespace", short = 'n', long = "namespace", value_name = "NAMESPACE", value_parser = namespace_name)]
    name: Option<String>,
}

impl NamespaceOption {
    /// What was said.
    pub(super) fn said(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its name.
    pub(super) fn name<'a>(&'a self, cluster: &'a Cluster) -> &'a str {
        self.said().unwrap_or_else(|| cluster.namespace())
    }
}
