//! Stopping: faults end whatever happens to the engine's task, and what can fail is tried again.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::data_path::{DataPath, PathError};

/// The first wait after a failed attempt; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Switches the faults off when it is dropped: at the end, by a panic, or with a task that is cancelled.
pub(super) struct CutOnDrop<P: DataPath>(pub(super) Arc<P>);

impl<P: DataPath> Drop for CutOnDrop<P> {
    fn drop(&mut self) {
        self.0.cut();
    }
}

impl<P: DataPath> fmt::Debug for CutOnDrop<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CutOnDrop")
    }
}

/// How long something is insisted on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For one attempt.
    pub(super) attempt: Duration,
    /// After this no new attempt begins.
    pub(super) all: Duration,
}

/// Tries until it succeeds, or until patience is at its end; the last error then.
pub(super) async fn insist<F, Fut>(
    patience: Patience,
    mut attempt: F,
    mut failed: impl FnMut(&PathError),
) -> Result<(), PathError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), PathError>>,
{
    let begin = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let error = match in_time(patience.attempt, attempt()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        failed(&error);
        if begin.elapsed() + wait >= patience.all {
            return Err(error);
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One attempt, with its own deadline: a data path that hangs is one that failed.
pub(super) async fn in_time(
    limit: Duration,
    attempt: impl Future<Output = Result<(), PathError>>,
) -> Result<(), PathError> {
    match timeout(limit, attempt).await {
        Ok(result) => result,
        Err(_) => Err(PathError { message: format!("the data path did not answer within {limit:?}") }),
    }
}
