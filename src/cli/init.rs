//! `glooshot init`: installs Glooshot in a cluster.

use std::process::ExitCode;

use anyhow::Context as _;
use glooshot_api::quantity::GoDuration;
use tokio::time::Instant;

use super::{
    cluster_options::ClusterOptions,
    in_cluster,
    install_options::{InstallNamespace, namespace_name},
    options::positive,
};
use crate::{
    api::crds,
    cluster::{
        Cluster, ClusterError, definitions,
        install::{self, PrometheusServer, Values},
        objects, rollout,
    },
    engine::condition::AllowedHost,
    output::{print, say},
};

/// The image of this version.
const IMAGE: &str = concat!("glooshot:", env!("CARGO_PKG_VERSION"));
/// The one that was tested.
const PROMETHEUS_IMAGE: &str = "prom/prometheus:v3.13.5";

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "\
init writes a namespace, roles and their bindings, and admission policies: it needs the rights of a cluster's administrator.
Who has them can apply the output of `glooshot init --dry-run`.";

/// Install Glooshot in a cluster: controller, access, and a Prometheus
///
///   glooshot register
///   glooshot init
///   glooshot init --prometheus-url http://prometheus.monitoring:9090
///   glooshot init --dry-run > glooshot.yaml
///
/// It writes the namespace (glooshot) with the controller in two replicas, what the controller
/// may do, policies that bind it to that, and a Prometheus that scrapes controller, proxies and
/// pods with the usual annotations, unless --prometheus-url names one that is there. It waits
/// until all of it is ready.
///
/// The controller may then read, and change no workload and no Service anywhere:
///
///   glooshot enable -n bookinfo
///
/// allows it in one namespace. Run init again at any time, and after each upgrade.
///
/// Exit code: 0 installed, 1 the cluster cannot be reached or refuses, or the pods do not become
/// ready, 2 usage or no cluster configured, 130 Ctrl-C.
#[allow(rustdoc::bare_urls, reason = "a terminal shows this text")]
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterOptions,

    #[command(flatten)]
    namespace: InstallNamespace,

    /// The image of the controller and of the proxies
    #[arg(long, value_name = "IMAGE", env = "GLOOSHOT_IMAGE", default_value = IMAGE)]
    image: String,

    /// A Secret in Glooshot's namespace with which its images are pulled; may be repeated
    #[arg(long = "pull-secret", value_name = "NAME", value_parser = namespace_name)]
    pull_secrets: Vec<String>,

    /// A Secret in the targets' namespaces with which the image of the proxies is pulled; may be repeated
    #[arg(long = "proxy-pull-secret", value_name = "NAME", value_parser = namespace_name)]
    proxy_pull_secrets: Vec<String>,

    /// Ask this Prometheus, and install none
    #[arg(long, value_name = "URL")]
    prometheus_url: Option<String>,

    /// The image of the Prometheus that is installed
    #[arg(long, value_name = "IMAGE", env = "GLOOSHOT_PROMETHEUS_IMAGE", default_value = PROMETHEUS_IMAGE)]
    prometheus_image: String,

    /// A host (HOST or HOST:PORT) that webhookUrl of an Experiment may name; may be repeated
    #[arg(long = "allow-host", value_name = "HOST")]
    allow_hosts: Vec<AllowedHost>,

    /// Print what would be written, and ask no cluster
    #[arg(long)]
    dry_run: bool,

    /// The longest wait until everything is ready
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = positive)]
    timeout: GoDuration,
}

impl Args {
    fn values(&self) -> Values {
        Values {
            namespace: self.namespace.name().to_owned(),
            image: self.image.clone(),
            pull_secrets: self.pull_secrets.clone(),
            proxy_pull_secrets: self.proxy_pull_secrets.clone(),
            allow_hosts: self.allow_hosts.iter().map(ToString::to_string).collect(),
            prometheus: match &self.prometheus_url {
                Some(url) => PrometheusServer::At { url: url.clone() },
                None => PrometheusServer::Own { image: self.prometheus_image.clone() },
            },
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let values = args.values();
    let parts = install::parts(&values)?;
    if args.dry_run {
        let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
        print(&texts.join("---\n")).context("cannot write")?;
        return Ok(ExitCode::SUCCESS);
    }
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        let deadline = Instant::now() + args.timeout.get();
        require_kinds(cluster).await?;
        say!("installing in {cluster}, namespace {}", values.namespace);
        for object in parts.iter().flat_map(|part| &part.objects) {
            let change = objects::apply(cluster, object).await?;
            say!("{} {change}", objects::called(object));
        }
        let mut deployments = vec![install::CONTROLLER];
        if let PrometheusServer::Own { .. } = values.prometheus {
            deployments.push(install::PROMETHEUS_SERVER);
        }
        for name in deployments {
            let tell = |obstacle: &str| say!("waiting for deployments.apps/{name}: {obstacle}");
            rollout::await_ready(cluster, &values.namespace, name, deadline, tell).await?;
            say!("deployments.apps/{name} is ready");
        }
        say!("installed; `glooshot enable -n NAMESPACE` allows experiments on the Services of a namespace");
        Ok(())
    })
}

/// Without its kinds a controller only fails again and again.
async fn require_kinds(cluster: &Cluster) -> Result<(), ClusterError> {
    for definition in crds::all() {
        if !definitions::is_there(cluster, &definition).await? {
            let name = definition.metadata.name.unwrap_or_default();
            return Err(ClusterError::NotYet(format!(
                "the cluster does not know {name}; `glooshot register` teaches it the kinds of Glooshot"
            )));
        }
    }
    Ok(())
}
