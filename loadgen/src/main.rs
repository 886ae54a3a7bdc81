//! The `glooshot-loadgen` command: arguments in, progress and reports out.

mod args;
mod output;
mod progress;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use glooshot_loadgen::report::read;
use glooshot_loadgen::{Config, ConfigError, LiveStats, Summary, run};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Command, MergeArgs, RunArgs};
use crate::output::OutputArgs;

/// An assertion does not hold.
const ASSERTION_FAILED: u8 = 1;

/// What was asked for cannot be done; also clap's code for wrong arguments.
const USAGE: u8 = 2;

/// No request was answered.
const NOTHING_MEASURED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Merge(args)) => merge(&args),
        Some(Command::Run(args)) => drive(&args),
        None => drive(&cli.run),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        let denied = matches!(error.downcast_ref(), Some(ConfigError::Machine(_)));
        ExitCode::from(if denied { NOTHING_MEASURED } else { USAGE })
    })
}

fn drive(args: &RunArgs) -> anyhow::Result<ExitCode> {
    args.output.check()?;
    let config = args.config()?;
    allow_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ConfigError::Machine)?;
    let summary = runtime.block_on(async {
        let live = Arc::new(LiveStats::default());
        let cancel = CancellationToken::new();
        let progress = progress::show(&live, &config);
        tokio::select! {
            summary = make_requests(&config, &live, &cancel) => summary,
            never = async { tokio::join!(interrupt(&cancel), progress) } => match never.1 {},
        }
    })?;
    report(&args.output, &summary)
}

async fn make_requests(config: &Config, live: &Arc<LiveStats>, cancel: &CancellationToken) -> anyhow::Result<Summary> {
    Ok(run(config.clone(), Arc::clone(live), cancel.clone()).await?)
}

fn merge(args: &MergeArgs) -> anyhow::Result<ExitCode> {
    args.output.check()?;
    let mut whole: Option<Summary> = None;
    for file in &args.files {
        let results = read_file(file).and_then(|text| Ok(read(&text)?));
        for result in results.with_context(|| format!("{}", file.display()))? {
            match &mut whole {
                Some(whole) => whole.merge(&result),
                None => whole = Some(result),
            }
        }
    }
    report(&args.output, &whole.context("there is no result")?)
}

fn read_file(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    Ok(std::fs::read_to_string(file)?)
}

fn report(output: &OutputArgs, summary: &Summary) -> anyhow::Result<ExitCode> {
    let verdicts = output.judge(summary);
    output.write(summary, &verdicts)?;
    Ok(if summary.responses == 0 {
        ExitCode::from(NOTHING_MEASURED)
    } else if verdicts.iter().any(|verdict| !verdict.holds) {
        ExitCode::from(ASSERTION_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The first Ctrl-C or SIGTERM ends the run, which then reports what it has; it never completes.
async fn interrupt(cancel: &CancellationToken) -> std::convert::Infallible {
    if let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
    }
    std::future::pending().await
}

/// Each connection needs a descriptor; many systems allow few until one asks.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // If it is denied, the connections that fail are counted.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
