//! One run from its configuration to its summary.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::live::LiveStats;
use crate::schedule::Schedule;
use crate::summary::Summary;
use crate::tally::Tally;
use crate::target::Target;
use crate::worker::work;

/// Drives the target until a limit is reached or `cancel` is cancelled, and says what happened.
///
/// Needs a tokio runtime with time and IO; a current-thread one will do.
///
/// # Cancellation
/// When `cancel` is cancelled, requests in flight are given up at once (and counted as
/// [`cancelled`](Summary::cancelled)) and the summary is returned. Dropping the future ends everything too.
///
/// # Errors
/// The configuration is wrong or its host has no address. A target that refuses or breaks connections is not
/// an error of the run: it is what the summary is about.
pub async fn run(config: Config, live: Arc<LiveStats>, cancel: CancellationToken) -> Result<Summary, ConfigError> {
    let (pace, limit) = (config.pace, config.limit);
    let target = Arc::new(Target::resolve(config).await?);
    let tally = Arc::new(Tally::new(Arc::clone(&live))?);
    let schedule = Arc::new(Schedule::new(pace, limit, Instant::now()));
    live.begin();

    let mut workers = JoinSet::new();
    for _ in 0..pace.connections() {
        let (target, schedule, tally) = (Arc::clone(&target), Arc::clone(&schedule), Arc::clone(&tally));
        let cancel = cancel.clone();
        workers.spawn(async move {
            cancel.run_until_cancelled(work(&target, &schedule, &tally)).await;
        });
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            // Only an `Inspect` hook can: its panic belongs to the caller.
            std::panic::resume_unwind(panic);
        }
    }
    Ok(tally.summary(&schedule, Instant::now()))
}
