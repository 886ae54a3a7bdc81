//! `glooshot demo`: the tutorial on this machine.

use std::{path::PathBuf, process::ExitCode};

use super::INTERRUPTED;
use crate::{
    demo::{self, DemoError, Options},
    output::say,
    signals::runtime,
};

/// Exit code of a demo that did not come out as in the tutorial.
const NOT_AS_IN_THE_TUTORIAL: u8 = 1;

/// Watch the tutorial on this machine: a weakness is found, and its fix is proved
///
/// A bookshop of four services runs on loopback, under load. An experiment makes
/// its ratings service fail. With reviews v4 that takes the reviews away, so the
/// experiment stops within milliseconds and has Failed; with reviews v3 only the
/// stars go away, and it has Succeeded. Nothing is needed but this program, and
/// nothing is left behind. It takes half a minute:
///
///   glooshot demo
///
/// The same with the tutorial's own files and a real Prometheus that is started for
/// it, in about two minutes:
///
///   glooshot demo --prometheus
///   glooshot demo --prometheus=/opt/prometheus/prometheus
///
/// Exit code: 0 as in the tutorial, 1 something came out differently,
/// 2 it could not be run, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Run the tutorial's own files with this prometheus program, or the one on PATH
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "prometheus"
    )]
    prometheus: Option<PathBuf>,

    /// Pages that are loaded each second, from 10 to 1000
    #[arg(long, value_name = "PAGES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1000))]
    rate: u32,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { prometheus, rate } = args;
    let played = runtime()?.block_on(demo::play(Options { rate, prometheus }));
    let (code, error) = match played {
        Ok(()) => return Ok(ExitCode::SUCCESS),
        Err(error @ DemoError::Interrupted) => (INTERRUPTED, error),
        Err(error @ DemoError::NotAsInTheTutorial(_)) => (NOT_AS_IN_THE_TUTORIAL, error),
        Err(error) => return Err(error.into()),
    };
    say!("\n{error}");
    Ok(ExitCode::from(code))
}
