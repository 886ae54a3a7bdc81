//! The one binary: everything is a subcommand of [`glooshot::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// What `make bench` measured; the C library's takes more of each request's time, and gives less back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    glooshot::cli::main()
}
