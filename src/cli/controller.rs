//! `glooshot controller`: runs the Experiments of a cluster, until it is told to stop.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::anyhow;
use glooshot_api::quantity::GoDuration;

use super::{cluster_options::ClusterOptions, options::positive};
use crate::{
    cluster::{Cluster, ClusterError},
    controller::{Controller, Settings, Stop},
    engine::condition::{AllowedHost, EgressPolicy, Prometheus},
    output::say,
    paths::redirect::{self, Redirect},
    signals::{Interrupt, parallel_runtime},
};

/// Exit code when the cluster cannot be reached, or refuses.
const NOT_STARTED: u8 = 1;

/// Run the Experiments of a cluster, until SIGINT or SIGTERM; then let another replica lead and exit 0
///
///   glooshot controller --proxy-image registry.example/glooshot:1.0
///
/// What it does with an Experiment: it puts its finalizer on it, routes the targets through
/// proxies of --proxy-image in the target's namespace, waits (routing.settle), switches the
/// faults on, watches the failure conditions, switches the faults off, puts everything back
/// and writes the result into status.result, and the samples into a Report of the same name.
/// Deleting the Experiment at any time does the same, without a result.
///
/// Run two of them or more: all take the calls of the proxies (--listen-control), and the one
/// that holds the Lease glooshot-controller leads. When it dies, another one leads within 16s
/// and goes on with what it was doing; faults are off 6s after its death and until then.
///
/// In its own namespace it keeps the Lease, the Secret glooshot-control-ca with certificates
/// of its own making, and the Mesh glooshot-proxy; and it heeds the ConfigMap glooshot-halt:
///
///   kubectl -n glooshot create configmap glooshot-halt --from-literal=halted=true
///
/// stops every run within a second and refuses new ones until it is deleted or says false.
///
/// Experiments break services of their own namespace only. `glooshot register` teaches the
/// cluster their kind first.
///
/// Exit code: 0 stopped, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
/// configured.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterOptions,

    /// Its own namespace
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "glooshot")]
    namespace: String,

    /// What people know this process by in the Lease
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "controller")]
    name: String,

    /// The image of the proxies: the one that this command is from
    #[arg(long, value_name = "IMAGE")]
    proxy_image: String,

    /// A Secret in the target's namespace that the proxies' image is pulled with; may be repeated
    #[arg(long = "pull-secret", value_name = "NAME")]
    pull_secrets: Vec<String>,

    /// Proxies of each target
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    proxy_replicas: u16,

    /// Take the calls of the proxies at this address
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9443")]
    listen_control: SocketAddr,

    /// Serve /metrics (Prometheus), /healthz and /readyz at this address
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9091")]
    listen_metrics: SocketAddr,

    /// How the proxies find every replica: HOST:PORT, where every address of HOST is one
    #[arg(long, value_name = "HOST:PORT", default_value = "glooshot-control.glooshot.svc:9443", value_parser = host_and_port)]
    control_address: String,

    /// The Prometheus that queries are sent to, as in `http://glooshot-prometheus-server.glooshot.svc`
    #[arg(long, value_name = "URL", env = "PROMETHEUS_URL", hide_env_values = true)]
    prometheus_url: Option<String>,

    /// The longest wait for one answer of Prometheus
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive)]
    query_timeout: GoDuration,

    /// Between two polls of a query or a webhook
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive)]
    polling_interval: GoDuration,

    /// A host (HOST or HOST:PORT) that webhookUrl may name; no other is asked
    #[arg(long = "allow-host", value_name = "HOST")]
    allow_hosts: Vec<AllowedHost>,

    /// Run only the Experiments of this namespace; may be repeated [default: those of all namespaces]
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    watch_namespaces: Vec<String>,

    /// Experiments that run at one time; the others wait, and their status says so
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    max_runs: u16,

    /// Experiments that are looked at at one time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = settings(args)?;
    parallel_runtime()?.block_on(async {
        let interrupt = Interrupt::new()?;
        let started = tokio::select! {
            started = start(args, settings) => started?,
            () = interrupt.wait() => return Ok(ExitCode::SUCCESS),
        };
        let Some((controller, redirect)) = started else { return Ok(ExitCode::from(NOT_STARTED)) };
        let stop = Stop::new();
        let working = controller.run(redirect, stop.clone());
        tokio::pin!(working);
        tokio::select! {
            () = &mut working => return Err(anyhow!("the controller has ended by itself")),
            () = interrupt.wait() => stop.cancel(),
        }
        say!("stopping");
        tokio::select! {
            () = &mut working => Ok(ExitCode::SUCCESS),
            // A second signal does not wait for the API server.
            () = interrupt.wait() => Ok(ExitCode::from(super::INTERRUPTED)),
        }
    })
}

/// What the arguments say, checked before anything is asked of a cluster.
fn settings(args: &Args) -> anyhow::Result<Settings> {
    let prometheus = args.prometheus_url.as_deref().map(|url| Prometheus::new(url, args.query_timeout.get()));
    Ok(Settings {
        namespace: args.namespace.clone(),
        process: args.name.clone(),
        listen_control: args.listen_control,
        listen_metrics: args.listen_metrics,
        control_address: args.control_address.clone(),
        prometheus: prometheus.transpose()?,
        webhooks: EgressPolicy::new(args.allow_hosts.iter().cloned()),
        polling: args.polling_interval.get(),
        namespaces: args.watch_namespaces.clone(),
        max_runs: usize::from(args.max_runs),
        concurrency: args.concurrency,
    })
}

/// Starts everything but the acting; none when the cluster is the reason why not, which is said.
async fn start(args: &Args, settings: Settings) -> anyhow::Result<Option<(Controller, Redirect)>> {
    let cluster = match Cluster::find(&args.cluster.access()).await {
        Ok(cluster) => cluster,
        Err(error @ ClusterError::NotConfigured(_)) => return Err(error.into()),
        Err(error) => {
            say!("error: {error}");
            return Ok(None);
        }
    };
    let controller = match Controller::start(cluster.client(), cluster.watching(), settings).await {
        Ok(controller) => controller,
        Err(error) => {
            say!("error: {:#}", anyhow!(error).context(format!("the controller cannot start with {cluster}")));
            return Ok(None);
        }
    };
    let settings = redirect::Settings {
        image: args.proxy_image.clone(),
        pull_secrets: args.pull_secrets.clone(),
        namespace: args.namespace.clone(),
        control_address: args.control_address.clone(),
        control_ca: controller.authority().to_owned(),
        replicas: args.proxy_replicas,
    };
    let redirect = Redirect::new(cluster.client(), controller.hub(), settings, controller.reign());
    say!("control on {}", controller.control_address());
    say!("metrics on {}", controller.metrics_address());
    say!("ready");
    Ok(Some((controller, redirect)))
}

fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err("write HOST:PORT, as in glooshot-control.glooshot.svc:9443".to_owned());
    }
    Ok(text.to_owned())
}
