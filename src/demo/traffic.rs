//! The visitors: the load generator in a thread of its own, loading the product page at a constant rate.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use glooshot_loadgen::{Config, ConfigError, Inspect, LiveStats, Pace, Summary};
use http::Uri;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    error::DemoError,
    pages::{Counts, Page, Pages},
};

/// Pages that can be under way at one time: enough for a rate of a thousand and answers within 60 ms.
const CONNECTIONS: usize = 64;
/// Longer than productpage ever takes: it gives up reviews after two tries of three seconds.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The visitors while they come.
#[derive(Debug)]
pub(super) struct Traffic {
    counts: Arc<Counts>,
    live: Arc<LiveStats>,
    /// Sends them away when it is dropped.
    cancel: DropGuard,
    thread: JoinHandle<Result<Summary, ConfigError>>,
}

/// The page as a person would open it.
pub(super) fn url(productpage: SocketAddr) -> String {
    format!("http://{productpage}/productpage?u=normal")
}

impl Traffic {
    /// Begins to load `rate` pages per second.
    pub(super) fn start(productpage: SocketAddr, rate: u32) -> Result<Self, DemoError> {
        let start = |source| DemoError::Start { what: "the load generator", source };
        let target: Uri = url(productpage).parse().map_err(|error| start(std::io::Error::other(error)))?;
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        let mut config =
            Config::new(target, Pace::Constant { rate_per_second: f64::from(rate), connections: CONNECTIONS });
        config.timeout = TIMEOUT;
        config.threads = Some(1);
        config.inspect =
            Some(Inspect::new(move |answer| seen.add(Page::recognise(answer.status.as_u16(), answer.body))));
        let live = Arc::new(LiveStats::default());
        let cancel = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
        let running = glooshot_loadgen::run(config, Arc::clone(&live), cancel.clone());
        let thread = std::thread::Builder::new()
            .name("visitors".to_owned())
            .spawn(move || runtime.block_on(running))
            .map_err(start)?;
        Ok(Self { counts, live, cancel: cancel.drop_guard(), thread })
    }

    /// What has been seen so far.
    pub(super) fn pages(&self) -> Pages {
        self.counts.read(self.live.snapshot().errors.total())
    }

    /// Gives up what is under way, and waits for the thread's end. Blocks.
    pub(super) fn stop(self) -> Result<(), DemoError> {
        let end = |problem: String| DemoError::End { what: "the load generator", problem };
        drop(self.cancel);
        let ended = self.thread.join().map_err(|_| end("its thread panicked".to_owned()))?;
        ended.map(|_| ()).map_err(|error| end(error.to_string()))
    }
}
