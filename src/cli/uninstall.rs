//! `glooshot uninstall`: puts every Service back, and then removes Glooshot from a cluster.

use std::{process::ExitCode, time::Duration};

use tokio::time::{Instant, sleep};

use super::{cluster_options::ClusterOptions, in_cluster, install_options::InstallNamespace, rescue::rescue};
use crate::{
    cluster::{
        Cluster, ClusterError, experiments, halt,
        install::{self, PrometheusServer, Values},
        objects,
    },
    output::say,
    paths::redirect::Rescue,
};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str =
    "uninstall removes what init has written, everywhere: it needs the rights of a cluster's administrator.";
/// The time that the controller has to stop what runs.
const STOPPING: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Put every Service back, and then remove Glooshot from the cluster
///
/// First everything is halted, as by `glooshot halt`; then what is still redirected is put back,
/// as by `glooshot rescue`. Then the controller, the Prometheus, what they may do, the policies
/// and the namespace go, with everything that is in it. The kinds stay, and with them the
/// Experiments and their results; to take these away as well:
///
///   glooshot crds | kubectl delete -f -
///
/// Exit code: 0 removed, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
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
    let namespace = args.namespace.name();
    // Which values they were installed with makes no difference to their names.
    let parts = install::parts(&Values {
        namespace: namespace.to_owned(),
        image: String::new(),
        pull_secrets: Vec::new(),
        proxy_pull_secrets: Vec::new(),
        allow_hosts: Vec::new(),
        prometheus: PrometheusServer::Own { image: String::new() },
    })?;
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        stop_all(cluster, namespace).await?;
        rescue(cluster, None).await?;
        let (controller, others): (Vec<_>, Vec<_>) = parts
            .iter()
            .flat_map(|part| &part.objects)
            .rev()
            .partition(|object| objects::called(object) == format!("deployments.apps/{}", install::CONTROLLER));
        for object in controller {
            remove(cluster, object).await?;
        }
        // Nobody would take its mark from an Experiment or a RoutingRule any more, and none could ever be deleted.
        let released = experiments::release_all(cluster).await?;
        say!("{released} experiments and routing rules are released");
        for namespace in objects::remove_role_bindings(cluster, install::ENABLING).await? {
            say!("{namespace} is disabled");
        }
        for object in others {
            remove(cluster, object).await?;
        }
        say!("removed; `glooshot crds | kubectl delete -f -` takes the kinds away, and every Experiment and Report");
        Ok(())
    })
}

async fn remove(cluster: &Cluster, object: &kube::core::DynamicObject) -> Result<(), ClusterError> {
    if objects::remove(cluster, object).await? {
        say!("{} removed", objects::called(object));
    }
    Ok(())
}

/// Asks the controller to stop everything, and waits for it as long as that is worth it: whatever is left is put back anyway.
async fn stop_all(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    match halt::switch(cluster, namespace, Some("glooshot is being removed")).await {
        Ok(()) => say!("halted"),
        Err(ClusterError::NotYet(why)) => say!("{why}"),
        Err(error) => return Err(error),
    }
    let rescue = Rescue::new(cluster.client());
    let deadline = Instant::now() + STOPPING;
    while Instant::now() < deadline {
        match rescue.redirected(None).await {
            Ok(left) if left.is_empty() => break,
            Ok(_) => sleep(LOOK_AGAIN).await,
            Err(error) => return Err(ClusterError::NotPutBack(error.message)),
        }
    }
    Ok(())
}
