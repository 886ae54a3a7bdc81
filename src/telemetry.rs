//! Logs: to standard error, filtered by `RUST_LOG`, warnings and errors by default.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::output::say;

/// Warnings and errors. Those of h2 say what clients do to their own connections, which is counted: no client should be able to
/// fill the log. Those of kube_client come back as errors, too, and are told there in better words.
const DEFAULT: &str = "warn,h2=error,kube_client=off";

/// Starts the log. A filter that cannot be read is said and replaced by the default.
pub fn start() {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => EnvFilter::try_new(&text).unwrap_or_else(|error| {
            say!("RUST_LOG={text:?} cannot be read ({error}); logging warnings and errors");
            EnvFilter::new(DEFAULT)
        }),
        Err(_) => EnvFilter::new(DEFAULT),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if let Err(error) = log.try_init() {
        say!("the log was started before: {error}");
    }
}
