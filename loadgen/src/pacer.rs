//! Wakes workers when their requests are due: one kernel timer for each core.
//!
//! The runtime's own timers tick in milliseconds. A timerfd is exact, and is awaited like any descriptor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Shortest time between two wake-ups. Requests that are due meanwhile are sent together, at most this late. A
/// wake-up of an idle core costs as much as a request: this bounds what 20,000 requests per second spend on it.
const GRAIN: Duration = Duration::from_micros(200);

/// The workers of one core that wait for a due time.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    /// In the order of their due times, since requests are handed out in that order. At most one of each worker.
    /// The timer is set as long as there are any.
    waiting: RefCell<VecDeque<(Instant, Waker)>>,
    /// Everything due up to here has been woken.
    reached: Cell<Instant>,
}

impl Pacer {
    /// Needs a tokio runtime with IO.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may give up their descriptor; OwnedFd never does"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: AsyncFd::new(timer)?, waiting: RefCell::default(), reached: Cell::new(Instant::now()) })
    }

    /// Completes when `due` has come. Workers must come in the order of their due times.
    pub(crate) async fn wait(&self, due: Instant) -> io::Result<()> {
        let mut queued = false;
        poll_fn(|context| {
            if std::mem::replace(&mut queued, true) {
                return if self.reached.get() >= due { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            self.enqueue(due, context)
        })
        .await
    }

    fn enqueue(&self, due: Instant, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back((due, context.waker().clone()));
        if waiting.len() == 1
            && let Err(error) = self.set(due.saturating_duration_since(Instant::now()))
        {
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    /// Wakes those that are due, for as long as it is polled.
    pub(crate) async fn run(&self) -> io::Result<Infallible> {
        loop {
            // The timer is not read: setting it again clears it.
            self.timer.readable().await?.clear_ready();
            let now = Instant::now();
            self.reached.set(now);
            let mut waiting = self.waiting.borrow_mut();
            while let Some((_, waker)) = waiting.pop_front_if(|(due, _)| *due <= now) {
                waker.wake();
            }
            if let Some((due, _)) = waiting.front() {
                self.set(due.saturating_duration_since(now).max(GRAIN))?;
            }
        }
    }

    fn set(&self, after: Duration) -> io::Result<()> {
        // Zero would stop the timer.
        let after = after.max(Duration::from_nanos(1));
        let it_value =
            Timespec { tv_sec: after.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: after.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::rc::Rc;

    use tokio::task::{JoinSet, LocalSet};

    use super::*;

    #[tokio::test]
    async fn each_waits_until_its_time_and_the_order_is_kept() {
        LocalSet::new()
            .run_until(async {
                let pacer = Rc::new(Pacer::new().unwrap());
                let woken = Rc::new(RefCell::new(Vec::new()));
                let start = Instant::now();
                let mut workers = JoinSet::new();
                for number in 0..50_u32 {
                    let (pacer, woken) = (Rc::clone(&pacer), Rc::clone(&woken));
                    let due = start + number * Duration::from_micros(370);
                    workers.spawn_local(async move {
                        pacer.wait(due).await.unwrap();
                        assert!(Instant::now() >= due, "{number} was woken early");
                        woken.borrow_mut().push(number);
                    });
                }
                tokio::select! {
                    ended = pacer.run() => panic!("{ended:?}"),
                    _ = workers.join_all() => {}
                }
                assert_eq!(*woken.borrow(), (0..50).collect::<Vec<_>>());
            })
            .await;
    }

    #[tokio::test]
    async fn a_time_that_has_passed_is_waited_for_no_longer() {
        let pacer = Pacer::new().unwrap();
        let past = Instant::now();
        tokio::select! {
            ended = pacer.run() => panic!("{ended:?}"),
            waited = pacer.wait(past) => waited.unwrap(),
        }
    }
}
