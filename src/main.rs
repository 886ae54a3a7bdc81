//! The one binary: everything is a subcommand of [`glooshot::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    glooshot::cli::main()
}
