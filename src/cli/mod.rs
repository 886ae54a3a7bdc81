//! The command line: one file per command; this one has the list, the telemetry and the exit codes.

mod apply;
mod bookinfo;
mod cluster_options;
mod control_options;
mod controller;
mod crds;
mod create;
mod delete;
mod demo;
mod disable;
mod enable;
mod files;
mod get;
mod halt;
mod in_cluster;
mod init;
mod install_options;
mod namespace_option;
mod options;
mod progress;
mod proxy;
mod register;
mod rescue;
mod resume;
mod run;
mod transport_options;
mod uninstall;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{output::say, telemetry};

/// Exit code of a usage error or an invalid file.
pub(crate) const USAGE: u8 = 2;
/// Exit code after Ctrl-C, as shells count it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Chaos experiments on HTTP services, with a fault-injecting proxy that stops in milliseconds.
#[derive(Debug, Parser)]
#[command(name = "glooshot", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Try it:  glooshot demo
Logs:    RUST_LOG=debug glooshot ...   (RUST_LOG=glooshot::access=debug shows each request)")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(Box<run::Args>),
    Proxy(Box<proxy::Args>),
    Bookinfo(bookinfo::Args),
    Validate(validate::Args),
    Register(register::Args),
    Init(Box<init::Args>),
    Enable(enable::Args),
    Disable(disable::Args),
    Get(Box<get::Args>),
    Create(create::Args),
    Delete(delete::Args),
    Apply(apply::Args),
    Halt(halt::Args),
    Resume(resume::Args),
    Rescue(rescue::Args),
    Uninstall(uninstall::Args),
    Controller(Box<controller::Args>),
    Crds(crds::Args),
}

/// Reads the arguments, runs the command, and gives the exit code of the process.
pub fn main() -> ExitCode {
    telemetry::start();
    // Once for the process: reqwest and rustls take the provider from here.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider had been installed before");
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    let done = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(&args),
        Command::Proxy(args) => proxy::run(&args),
        Command::Bookinfo(args) => bookinfo::run(args),
        Command::Validate(args) => validate::run(&args),
        Command::Register(args) => register::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Enable(args) => enable::run(&args),
        Command::Disable(args) => disable::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Create(args) => create::run(&args),
        Command::Delete(args) => delete::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Halt(args) => halt::run(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Rescue(args) => rescue::run(&args),
        Command::Uninstall(args) => uninstall::run(&args),
        Command::Controller(args) => controller::run(&args),
        Command::Crds(args) => crds::run(&args),
    };
    done.unwrap_or_else(|error| {
        say!("error: {error:#}");
        ExitCode::from(USAGE)
    })
}
