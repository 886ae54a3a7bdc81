//! `glooshot run`: a real Experiment file against services on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum;
use glooshot_api::{
    experiment::Experiment,
    manifest::{self, Resource},
    names::{KnownPort, ServiceName},
    quantity::GoDuration,
    report::{Report, ReportSpec},
    scenario::Scenario,
    status::ResultState,
    traffic_shift, validate,
    without_effect::{Place, without_effect},
};

use super::{
    INTERRUPTED, files,
    options::{ProxyOptions, positive},
    progress::Show,
    proxy::start,
};
use crate::{
    engine::{
        Outcome,
        condition::{AllowedHost, EgressPolicy, Prometheus, check as check_conditions},
        progress::progress_channel,
        run::Run,
        stop::stop_channel,
    },
    output::{print, say},
    paths::local::LocalPath,
    proxy::{DrainRule, Proxy},
    signals::{Interrupt, runtime},
};

/// Exit code of an experiment that failed.
const FAILED: u8 = 1;
/// Exit code of an experiment from which nothing can be concluded.
const INCONCLUSIVE: u8 = 3;

/// Run an Experiment file against services on this machine, through a proxy in this process
///
///   glooshot run -f experiment.yaml \
///     --route 'bookinfo/ratings:9080=127.0.0.1:19080->127.0.0.1:9080'
///
/// Send your traffic to 127.0.0.1:19080 meanwhile. The faults begin after a time to settle (routing.settle, 5s by
/// default) and end with the experiment, with Ctrl-C, and with this process, however it ends.
///
/// Exit code: 0 Succeeded, 1 Failed, 3 Inconclusive, 2 usage or invalid file, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The file with the Experiment; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    proxy: ProxyOptions,

    /// A file with a RoutingRule that shifts traffic between subsets
    #[arg(long = "routing-rule", value_name = "FILE")]
    routing_rules: Vec<PathBuf>,

    /// The Prometheus that queries are sent to, as in http://127.0.0.1:9090
    #[arg(long, value_name = "URL", env = "PROMETHEUS_URL", hide_env_values = true)]
    prometheus_url: Option<String>,

    /// Between two polls of a query or a webhook
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    polling_interval: GoDuration,

    /// The longest wait for one answer of Prometheus
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive)]
    query_timeout: GoDuration,

    /// A host (HOST or HOST:PORT) that webhookUrl may name; no other is asked
    #[arg(long = "allow-webhook", value_name = "HOST")]
    allow_webhooks: Vec<AllowedHost>,

    /// Write the result and the Report into this directory as well
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,

    /// The form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,

    /// Make the dice repeat: the same seed and the same requests give the same faults
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As kubectl prints it
    Yaml,
    /// One JSON document
    Json,
}

/// Everything that the arguments and files say, checked before anything is started.
struct Prepared {
    experiment: Experiment,
    scenario: Scenario,
    options: ProxyOptions,
    prometheus: Option<Prometheus>,
    webhooks: EgressPolicy,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let prepared = prepare(args)?;
    runtime()?.block_on(execute(prepared, args))
}

/// Reads and checks everything.
fn prepare(args: &Args) -> anyhow::Result<Prepared> {
    let mut options = args.proxy.clone();
    let known = options.known_ports();
    let experiment = read_experiment(&args.file)?;
    let callers: Vec<ServiceName> = options.planned_sources().into_iter().map(|source| source.service).collect();
    let checked = validate::check(&experiment).and_then(|checked| checked.resolve_with_callers(&known, &callers));
    let scenario = checked.map_err(|violations| anyhow!("{}: {violations}", files::name(&args.file)))?;
    for field in without_effect(&experiment.spec.spec, Place::Machine) {
        say!("{field}");
    }
    for file in &args.routing_rules {
        shift(&mut options, file, &known)?;
    }
    // Now, not when a run of an hour has ended.
    if let Some(directory) = &args.report_dir {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let prometheus = args.prometheus_url.as_deref().map(|url| Prometheus::new(url, args.query_timeout.get()));
    let prometheus = prometheus.transpose()?;
    let webhooks = EgressPolicy::new(args.allow_webhooks.iter().cloned());
    check_conditions(&scenario, prometheus.as_ref(), &webhooks)?;
    Ok(Prepared { experiment, scenario, options, prometheus, webhooks })
}

fn read_experiment(file: &Path) -> anyhow::Result<Experiment> {
    let text = files::read(file).with_context(|| files::name(file))?;
    let mut experiment = manifest::read_experiment(&text).with_context(|| files::name(file))?;
    // What an earlier run left in the file is not this run's.
    experiment.status = None;
    Ok(experiment)
}

/// Applies the routing rules of a file.
fn shift(options: &mut ProxyOptions, file: &Path, known: &[KnownPort]) -> anyhow::Result<()> {
    let text = files::read(file).with_context(|| files::name(file))?;
    for resource in manifest::read(&text).with_context(|| files::name(file))? {
        let Resource::RoutingRule(rule) = resource else {
            bail!("{}: only RoutingRules can be given with --routing-rule", files::name(file));
        };
        let shares = traffic_shift::shares(&rule, known).map_err(|found| anyhow!("{}: {found}", files::name(file)))?;
        for (port, weights) in shares {
            options.shift(&port, &weights);
        }
    }
    Ok(())
}

async fn execute(prepared: Prepared, args: &Args) -> anyhow::Result<ExitCode> {
    let Prepared { experiment, scenario, options, prometheus, webhooks } = prepared;
    let interrupt = Interrupt::new()?;
    let (proxy, _) = start(&options, None).await?;
    say!("ready");
    let path = Arc::new(LocalPath::new(proxy.control(), options.planned_sources(), args.seed));
    let (stop, signal) = stop_channel();
    let (progress, events) = progress_channel();
    let show = tokio::spawn(Show::new(scenario.duration, proxy.control()).follow(events));
    let run = Run::new(scenario, path)
        .prometheus(prometheus)
        .webhooks(webhooks)
        .polling_interval(args.polling_interval.get())
        .progress(progress)
        .run(signal);
    // In a task of its own: a panic of the engine ends that task, whose guard cuts the faults, and is told here.
    let mut running = tokio::spawn(run);
    let mut interrupted = false;
    let outcome = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = interrupt.wait(), if !interrupted => {
                interrupted = true;
                stop.stop("interrupted by a signal");
            }
        }
    };
    let outcome = outcome.context("the engine failed; its faults are off")??;
    if let Err(error) = show.await {
        tracing::debug!(%error, "the progress display failed");
    }
    let in_a_hurry = tokio::select! {
        () = stop_proxy(proxy, options.drain_rule()) => false,
        // The faults are off; a second signal does not wait for requests under way.
        () = interrupt.wait() => true,
    };
    for warning in &outcome.warnings {
        say!("warning: {warning}");
    }
    tell(args, experiment, &outcome)?;
    if in_a_hurry {
        std::process::exit(i32::from(INTERRUPTED));
    }
    Ok(if interrupted { ExitCode::from(INTERRUPTED) } else { exit_code(outcome.result.state) })
}

/// Drains; a proxy that does not stop in order is ended with the process.
async fn stop_proxy(proxy: Proxy, rule: DrainRule) {
    if let Err(error) = proxy.drain(rule).await {
        say!("warning: the proxy did not stop in order: {error}");
    }
}

fn exit_code(state: ResultState) -> ExitCode {
    match state {
        ResultState::Succeeded => ExitCode::SUCCESS,
        ResultState::Failed => ExitCode::from(FAILED),
        ResultState::Inconclusive | ResultState::Pending | ResultState::Started => ExitCode::from(INCONCLUSIVE),
    }
}

/// Writes the experiment with its result, and the Report, where that is asked for; then prints the first.
fn tell(args: &Args, mut experiment: Experiment, outcome: &Outcome) -> anyhow::Result<()> {
    experiment.status = Some(outcome.status.clone());
    let result = render(args.output, &experiment)?;
    if let Some(directory) = &args.report_dir {
        let report = render(args.output, &report_of(&experiment, outcome.report.clone()))?;
        let extension = if args.output == Format::Json { "json" } else { "yaml" };
        let name = experiment.metadata.name.as_deref().unwrap_or("experiment");
        for (kind, text) in [("result", &result), ("report", &report)] {
            let file = directory.join(format!("{name}.{kind}.{extension}"));
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            say!("wrote {}", file.display());
        }
    }
    if let Err(error) = print(&result) {
        say!("warning: the result could not be printed: {error}");
    }
    Ok(())
}

/// The Report has the name and the namespace of its Experiment.
pub(crate) fn report_of(experiment: &Experiment, spec: ReportSpec) -> Report {
    let mut report = Report::new(experiment.metadata.name.as_deref().unwrap_or("experiment"), spec);
    report.metadata.namespace.clone_from(&experiment.metadata.namespace);
    report
}

fn render<T: serde::Serialize>(format: Format, value: &T) -> anyhow::Result<String> {
    Ok(match format {
        Format::Yaml => manifest::to_yaml(value)?,
        Format::Json => serde_json::to_string_pretty(value)? + "\n",
    })
}
