//! Where Glooshot itself is installed, and names of Kubernetes in arguments.

/// The namespace of the installation.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct InstallNamespace {
    /// Glooshot's own namespace
    #[arg(
        id = "install_namespace",
        long = "namespace",
        value_name = "NAMESPACE",
        default_value = "glooshot",
        value_parser = namespace_name
    )]
    name: String,
}

impl InstallNamespace {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The namespace of the installation, for commands whose `--namespace` is another one.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ControllerNamespace {
    /// Glooshot's own namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "glooshot", value_parser = namespace_name)]
    controller_namespace: String,
}

impl ControllerNamespace {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.controller_namespace
    }
}

/// A name that Kubernetes accepts for a namespace.
pub(super) fn namespace_name(text: &str) -> Result<String, String> {
    if super::options::is_dns_label(text) {
        return Ok(text.to_owned());
    }
    Err("not a Kubernetes name (lower-case letters, digits and '-')".to_owned())
}
