//! `glooshot disable`: takes back what `glooshot enable` has allowed.

use std::process::ExitCode;

use super::{
    cluster_options::ClusterOptions,
    in_cluster,
    install_options::{ControllerNamespace, namespace_name},
};
use crate::{
    cluster::{ClusterError, install, objects},
    output::say,
    paths::redirect::Rescue,
};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "disable needs the rights to list services and to delete rolebindings in the namespace.";

/// Allow no more experiments on the Services of a namespace
///
///   glooshot disable -n bookinfo
///
/// It is refused while a Service there is redirected: without its rights the controller could
/// not put it back.
///
/// Exit code: 0 disabled, 1 refused, or the cluster cannot be reached, 2 usage or no cluster
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
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let enabling = |target: &String| install::enabling(args.controller.name(), target);
    let parts = args.namespaces.iter().map(enabling).collect::<Result<Vec<_>, _>>()?;
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        let rescue = Rescue::new(cluster.client());
        for (namespace, part) in args.namespaces.iter().zip(&parts) {
            let redirected = rescue.redirected(Some(namespace)).await;
            let redirected = redirected.map_err(|error| ClusterError::NotPutBack(error.message))?;
            if let Some(first) = redirected.first() {
                return Err(ClusterError::NotYet(format!(
                    "services/{} in {namespace} is redirected for the experiment {}: delete it first, or run `glooshot rescue -n {namespace}`",
                    first.service.name,
                    first.experiment().as_deref().unwrap_or("of an annotation that cannot be read"),
                )));
            }
            for object in &part.objects {
                objects::remove(cluster, object).await?;
            }
            say!("{namespace} is disabled");
        }
        Ok(())
    })
}
