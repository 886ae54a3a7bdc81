//! The `glooshot-loadgen` command: arguments in, progress and a summary out.

mod args;
mod progress;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use glooshot_loadgen::{Config, LiveStats, Summary, render, run};
use tokio_util::sync::CancellationToken;

use crate::args::{Args, Output};

/// No request was answered with a status below 400.
const ALL_FAILED: u8 = 1;

/// The run could not start as asked; also clap's code for wrong arguments.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let output = args.output;
    let finished = args.into_config().and_then(drive);
    match finished {
        Ok(summary) => {
            print(&summary, output);
            if summary.all_failed() { ExitCode::from(ALL_FAILED) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(USAGE)
        }
    }
}

fn drive(config: Config) -> anyhow::Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let live = Arc::new(LiveStats::default());
        let cancel = CancellationToken::new();
        let interrupt = interrupt(cancel.clone());
        let progress = progress::show(&live, config.limit);
        let running = run(config, Arc::clone(&live), cancel);
        tokio::select! {
            summary = running => Ok(summary?),
            never = async { tokio::join!(interrupt, progress) } => match never.0 {},
        }
    })
}

/// The first Ctrl-C ends the run, which then reports what it has; it never completes.
async fn interrupt(cancel: CancellationToken) -> std::convert::Infallible {
    if tokio::signal::ctrl_c().await.is_ok() {
        cancel.cancel();
    }
    std::future::pending().await
}

fn print(summary: &Summary, output: Output) {
    use std::io::Write as _;
    let shown = match output {
        Output::Text => render::text(summary),
        Output::Json => format!("{:#}\n", render::json(summary)),
    };
    // A reader that has gone away is not a failure of the run.
    let _ = std::io::stdout().write_all(shown.as_bytes());
}
