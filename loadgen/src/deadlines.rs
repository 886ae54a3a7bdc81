//! Gives up requests that take too long: one sweep over all workers of a core instead of a timer for each request.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::summary::ErrorClass;

/// Shortest and longest time between two sweeps: timeouts are this late at most.
const SWEEPS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Sweeps in the time of one timeout, within those bounds.
const SWEEPS_PER_TIMEOUT: u32 = 50;

/// The workers of one core whose requests are timed.
#[derive(Debug)]
pub(crate) struct Deadlines {
    timeout: Duration,
    watches: RefCell<Vec<Rc<Watch>>>,
}

/// One worker's request in flight.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// When it began, while it is in flight.
    since: Cell<Option<Instant>>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Deadlines {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, watches: RefCell::default() }
    }

    /// A place for one more worker.
    pub(crate) fn watch(&self) -> Rc<Watch> {
        let watch = Rc::new(Watch::default());
        self.watches.borrow_mut().push(Rc::clone(&watch));
        watch
    }

    /// Ends what takes too long, for as long as it is polled.
    pub(crate) async fn run(&self) -> Infallible {
        let (shortest, longest) = SWEEPS;
        let mut sweeps = tokio::time::interval((self.timeout / SWEEPS_PER_TIMEOUT).clamp(shortest, longest));
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            sweeps.tick().await;
            let now = Instant::now();
            for watch in self.watches.borrow().iter() {
                let since = watch.since.get();
                if since.is_some_and(|since| now.saturating_duration_since(since) >= self.timeout) {
                    watch.expire();
                }
            }
        }
    }
}

impl Watch {
    /// Completes `exchange`, or gives it up when its time is over. It stays where it is: to move it here would cost
    /// more than to poll it.
    ///
    /// Cancellation: as `exchange`.
    pub(crate) async fn within<T>(
        &self,
        since: Instant,
        mut exchange: Pin<&mut impl Future<Output = Result<T, ErrorClass>>>,
    ) -> Result<T, ErrorClass> {
        self.since.set(Some(since));
        self.expired.set(false);
        let result = poll_fn(|context| {
            if self.expired.get() {
                return Poll::Ready(Err(ErrorClass::Timeout));
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            drop(waker);
            exchange.as_mut().poll(context)
        })
        .await;
        self.since.set(None);
        result
    }

    fn expire(&self) {
        self.expired.set(true);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_given_up_and_the_rest_is_not() {
        let timeout = Duration::from_millis(20);
        let deadlines = Deadlines::new(timeout);
        let (slow, quick) = (deadlines.watch(), deadlines.watch());
        let began = Instant::now();
        let never_ends = pin!(std::future::pending::<Result<(), _>>());
        tokio::select! {
            never = deadlines.run() => match never {},
            result = slow.within(began, never_ends) => {
                assert_eq!(result, Err(ErrorClass::Timeout));
                assert!(began.elapsed() >= timeout);
            }
        }
        assert_eq!(quick.within(Instant::now(), pin!(async { Ok(5) })).await, Ok(5));
        assert_eq!(slow.within(Instant::now(), pin!(async { Ok(6) })).await, Ok(6), "a place is used again");
    }
}
