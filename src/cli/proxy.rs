//! `glooshot proxy`: forwards Service ports, with the faults that a controller says if it has one, until it is told to stop.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use glooshot_api::plan::{Plan, TIME_TO_LIVE};
use prometheus_client::registry::Registry;

use super::{INTERRUPTED, control_options::ControlOptions, options::ProxyOptions};
use crate::{
    control::client::{Client, Settings},
    metrics_server::{self, Health},
    output::say,
    proxy::Proxy,
    signals::{Interrupt, runtime},
};

/// Forward Service ports, without faults unless a controller says so, until SIGINT or SIGTERM; then drain and exit 0
///
///   glooshot proxy --route bookinfo/ratings:9080=127.0.0.1:19080->127.0.0.1:9080 --listen-metrics 127.0.0.1:9901
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    proxy: ProxyOptions,

    #[command(flatten)]
    control: ControlOptions,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(serve(&args.proxy, args.control.settings()))
}

async fn serve(options: &ProxyOptions, control: Option<Settings>) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::new()?;
    // The client is kept while the proxy drains, so that the controllers know of it.
    let (proxy, _client) = start(options, control).await?;
    say!("ready");
    interrupt.wait().await;
    say!("draining");
    tokio::select! {
        drained = proxy.drain(options.drain_rule()) => drained.context("the proxy did not stop in order")?,
        // A second signal does not wait for requests under way.
        () = interrupt.wait() => std::process::exit(i32::from(INTERRUPTED)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a proxy, the channel to its controllers if it has any, and its metrics, saying on standard error where they listen.
pub(super) async fn start(
    options: &ProxyOptions,
    control: Option<Settings>,
) -> anyhow::Result<(Proxy, Option<Client>)> {
    let proxy = Proxy::start(options.config().map_err(|error| anyhow!(error))?)?;
    for (port, address) in proxy.listening() {
        say!("listening {port} on {address}");
    }
    let client = control.map(|settings| Client::start(settings, proxy.control())).transpose()?;
    if let Some(address) = options.listen_metrics {
        let register = |registry: &mut Registry| {
            proxy.register(registry);
            if let Some(client) = &client {
                client.register(registry);
            }
        };
        let address = metrics_server::start(address, Health::of(proxy.control()), register).await?;
        say!("metrics on {address}");
    }
    let sources = options.planned_sources();
    if !sources.is_empty() {
        // Names of callers outlive the plan's time to live: only faults and endpoints end with it.
        proxy.control().accept(Plan { generation: 1, sources, ..Plan::default() }, TIME_TO_LIVE)?;
    }
    Ok((proxy, client))
}
