//! One run from its configuration to its summary.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::core_thread::{Job, drive};
use crate::live::{LiveStats, Shard};
use crate::prepared::Prepared;
use crate::schedule::Plan;
use crate::summary::{Setup, Summary};

/// Time from the order to begin to the first request that is due: the threads need a moment to wake up.
const LEAD: Duration = Duration::from_millis(1);

/// Drives the targets until a limit is reached or `cancel` is cancelled, and says what happened.
///
/// The requests are made on threads of their own. The future needs a tokio runtime with IO, for the look-up of
/// names; a current-thread one will do.
///
/// # Cancellation
/// When `cancel` is cancelled, requests in flight are given up at once (and counted as
/// [`cancelled`](Summary::cancelled)) and the summary is returned. Dropping the future ends everything too.
///
/// # Errors
/// The configuration is wrong, a host has no address, or the machine denies a thread. A target that refuses or
/// breaks connections is not an error of the run: it is what the summary is about.
pub async fn run(config: Config, live: Arc<LiveStats>, cancel: CancellationToken) -> Result<Summary, ConfigError> {
    let prepared = Arc::new(Prepared::resolve(&config).await?);
    let cores = cores(&config);
    let order = Order {
        plan: Arc::new(Plan::new(&config.pace, config.limit, cores)),
        targets: config.requests.iter().map(|spec| format!("{} {}", spec.method, spec.target)).collect(),
        cancel: cancel.child_token(),
        cores,
        prepared,
        live,
        config,
    };
    // Whatever becomes of this future, the threads end.
    let _guard = order.cancel.clone().drop_guard();
    let threads = (0..cores).map(|core| order.spawn(core)).collect::<Result<Vec<_>, _>>()?;
    let threads = order.begin(threads).await;
    let mut whole: Option<Summary> = None;
    for thread in threads {
        let Some(summary) = thread.join().await? else { continue };
        match &mut whole {
            Some(whole) => whole.add(&summary),
            None => whole = Some(summary),
        }
    }
    let mut whole = whole.ok_or_else(|| std::io::Error::other("no thread began"))?;
    whole.setup = order.setup();
    Ok(whole)
}

/// The threads of a run: as asked, at most one for each connection.
fn cores(config: &Config) -> usize {
    let available = || thread::available_parallelism().map_or(1, usize::from);
    config.threads.unwrap_or_else(available).min(config.pace.connections()).max(1)
}

/// What all threads are told.
#[derive(Debug)]
struct Order {
    config: Config,
    prepared: Arc<Prepared>,
    plan: Arc<Plan>,
    targets: Arc<[String]>,
    live: Arc<LiveStats>,
    cancel: CancellationToken,
    cores: usize,
}

/// A thread that may have begun.
#[derive(Debug)]
struct CoreThread {
    handle: JoinHandle<()>,
    ready: Option<oneshot::Receiver<()>>,
    start: Option<oneshot::Sender<Instant>>,
    result: oneshot::Receiver<Result<Option<Summary>, ConfigError>>,
    live: Arc<LiveStats>,
    shard: Arc<Shard>,
}

impl Order {
    /// Starts the thread of one core, which waits for the beginning.
    fn spawn(&self, core: usize) -> Result<CoreThread, ConfigError> {
        let (ready, is_ready) = oneshot::channel();
        let (begin, start) = oneshot::channel();
        let (done, result) = oneshot::channel();
        let shard = self.live.shard();
        let job = Job {
            core,
            connections: (self.config.pace.connections() - core).div_ceil(self.cores),
            protocol: self.config.protocol,
            prepared: Arc::clone(&self.prepared),
            plan: Arc::clone(&self.plan),
            targets: Arc::clone(&self.targets),
            shard: Arc::clone(&shard),
            cancel: self.cancel.clone(),
            ready,
            start,
        };
        let body = move || {
            let _ = done.send(drive(job));
        };
        let handle = thread::Builder::new().name(format!("loadgen-{core}")).spawn(body)?;
        let (ready, start) = (Some(is_ready), Some(begin));
        Ok(CoreThread { handle, ready, start, result, live: Arc::clone(&self.live), shard })
    }

    /// Lets all threads begin at the same time, when each has what it needs or has failed.
    async fn begin(&self, mut threads: Vec<CoreThread>) -> Vec<CoreThread> {
        for thread in &mut threads {
            if let Some(ready) = thread.ready.take() {
                // One that failed says why in its result.
                let _ = ready.await;
            }
        }
        let lead = if self.config.pace.open_loop().is_some() { LEAD } else { Duration::ZERO };
        let start = Instant::now() + lead;
        self.live.begin(start);
        for thread in &mut threads {
            if let Some(begin) = thread.start.take() {
                let _ = begin.send(start);
            }
        }
        threads
    }

    fn setup(&self) -> Setup {
        Setup {
            paces: vec![self.config.pace.to_string()],
            protocols: vec![self.config.protocol.to_string()],
            connections: self.config.pace.connections() as u64,
            threads: self.cores as u64,
            runs: 1,
        }
    }
}

impl CoreThread {
    /// Its result, when it has ended.
    async fn join(self) -> Result<Option<Summary>, ConfigError> {
        let result = self.result.await;
        self.live.retire(&self.shard);
        // It has nothing left to do, or panicked.
        if let Err(panic) = self.handle.join() {
            std::panic::resume_unwind(panic);
        }
        result.unwrap_or(Ok(None))
    }
}
