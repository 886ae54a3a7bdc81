//! The load: our load generator on a thread of its own, open loop.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use glooshot_loadgen::{Config, Inspect, LiveSnapshot, LiveStats, Pace, Summary};
use tokio::{runtime::Builder, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::seen::Seen;

/// Requests per second.
pub const RATE: u32 = 10_000;
/// Kept connections.
pub const CONNECTIONS: usize = 64;
/// Between two looks at what has been answered.
const LOOK: Duration = Duration::from_millis(1);

/// The load while it goes on.
#[derive(Debug)]
pub struct Load {
    live: Arc<LiveStats>,
    cancel: CancellationToken,
    thread: JoinHandle<Summary>,
}

impl Load {
    /// Begins it.
    pub fn start(target: SocketAddr, seen: Arc<Seen>) -> Self {
        let pace = Pace::Constant { rate_per_second: f64::from(RATE), connections: CONNECTIONS };
        let mut config = Config::new(format!("http://{target}/").parse().unwrap(), pace);
        config.threads = Some(1);
        config.inspect = Some(Inspect::new(move |response| seen.note(response)));
        let (live, cancel) = (Arc::new(LiveStats::default()), CancellationToken::new());
        let run = glooshot_loadgen::run(config, Arc::clone(&live), cancel.clone());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::Builder::new().name("load".into()).spawn(move || runtime.block_on(run).unwrap());
        Self { live, cancel, thread: thread.unwrap() }
    }

    /// What has happened so far.
    pub fn snapshot(&self) -> LiveSnapshot {
        self.live.snapshot()
    }

    /// Returns when so many more responses have been read.
    pub async fn responses(&self, more: u64) {
        let enough = self.snapshot().responses + more;
        while self.snapshot().responses < enough {
            sleep(LOOK).await;
        }
    }

    /// Ends it; what it was.
    pub async fn end(self) -> Summary {
        self.cancel.cancel();
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap()
    }
}
