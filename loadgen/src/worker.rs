//! The worker loop: take a request, wait until it is due, make it, count it. There is only this one.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep;

use crate::client::Client;
use crate::crew::Crew;
use crate::deadlines::Watch;
use crate::summary::ErrorClass;

/// First pause of a closed loop after a request that got no response.
const BACKOFF_MIN: Duration = Duration::from_millis(5);

/// Longest such pause; each failure in a row doubles it.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Works until the schedule has no more requests.
///
/// Cancellation: may be dropped at any await; a request in flight then counts as started and not finished.
///
/// # Errors
/// The timer cannot be set.
pub(crate) async fn work(crew: &Crew, mut client: Client, watch: &Watch) -> io::Result<()> {
    let mut backoff = Backoff::default();
    let mut now = Instant::now();
    while let Some(slot) = crew.schedule.take(now) {
        let begin = crew.turn(slot, now).await?;
        let request = crew.choose();
        crew.tally.start(request, begin);
        let outcome = watch.within(begin.sent, pin!(client.exchange(request))).await;
        now = Instant::now();
        let ended = if outcome.is_ok() { crew.ended(begin, now) } else { now };
        crew.tally.finish(request, outcome, begin, ended);
        if outcome.is_ok()
            && let Some(timing) = &crew.prepared.timing
        {
            timing.call(begin.due, ended);
        }
        let pause = backoff.after(outcome.err());
        if outcome.is_err() {
            // The open loop is itself the pace of the next try; the closed loop would spin.
            match pause {
                Some(pause) if crew.schedule.is_closed_loop() => sleep(pause).await,
                _ => yield_now().await,
            }
            now = Instant::now();
        }
    }
    Ok(())
}

/// Doubling pauses between failures in a row.
#[derive(Debug, Default)]
struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The pause after an outcome. A timeout has been waited for already.
    fn after(&mut self, error: Option<ErrorClass>) -> Option<Duration> {
        self.last = match error {
            None | Some(ErrorClass::Timeout) => None,
            Some(_) => Some(self.last.map_or(BACKOFF_MIN, |last| (last * 2).min(BACKOFF_MAX))),
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_start_again_after_a_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.after(Some(ErrorClass::Connect))).collect();
        assert_eq!(pauses.first(), Some(&Some(BACKOFF_MIN)));
        assert_eq!(pauses.get(1), Some(&Some(BACKOFF_MIN * 2)));
        assert_eq!(pauses.last(), Some(&Some(BACKOFF_MAX)));
        assert_eq!(backoff.after(None), None);
        assert_eq!(backoff.after(Some(ErrorClass::Io)), Some(BACKOFF_MIN));
    }

    #[test]
    fn a_timeout_needs_no_pause() {
        assert_eq!(Backoff::default().after(Some(ErrorClass::Timeout)), None);
    }
}
