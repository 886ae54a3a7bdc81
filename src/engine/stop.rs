//! Asking a run to stop, with the reason that its result will tell.

use tokio::sync::watch;

/// Asks one run to stop. Clones ask the same run; the first reason stays.
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<Option<String>>);

/// What a run listens to. When every handle is gone, nobody can stop the run this way any more, and it goes on.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<Option<String>>);

/// A handle and the signal that it raises.
pub fn stop_channel() -> (StopHandle, StopSignal) {
    let (sender, receiver) = watch::channel(None);
    (StopHandle(sender), StopSignal(receiver))
}

impl StopHandle {
    /// Asks the run to stop: it switches the faults off, restores, and ends as `Inconclusive` with this reason.
    pub fn stop(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }
}

impl StopSignal {
    /// Waits until the run is asked to stop. Cancel safe, and immediate once it has been asked.
    pub async fn requested(&mut self) -> String {
        let reason = self.0.wait_for(Option::is_some).await.ok().and_then(|reason| (*reason).clone());
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_and_is_told_every_time() {
        let (handle, mut signal) = stop_channel();
        handle.clone().stop("first");
        handle.stop("second");
        drop(handle);
        assert_eq!(signal.requested().await, "first");
        assert_eq!(signal.requested().await, "first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_nobody_can_stop_any_more_goes_on() {
        let (handle, mut signal) = stop_channel();
        drop(handle);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(3600), signal.requested()).await;
        assert!(waited.is_err());
    }
}
