//! Wakes workers when their requests are due: one kernel timer for each core.
//!
//! The runtime's own timers tick in milliseconds. A timerfd is exact, and is awaited like any descriptor.
//!
//! At a high rate most of what a request costs is that the core is woken: for its due time, and for its answer.
//! Where it is known afterwards when an answer came, the thread therefore sleeps from one due time to the next, and
//! reads all answers then.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::thread::nanosleep;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

/// Longest time for which wake-ups are put off. Requests that are due meanwhile are sent together, at most this late.
const LONGEST_GRAIN: Duration = Duration::from_micros(700);

/// Requests per second of one core at which wake-ups are put off so long; below it is less, in proportion. There is
/// mostly one request for each wake-up then, and putting it off would save nothing.
const FULL_RATE: f64 = 20_000.0;

/// The workers of one core that wait for a due time.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    /// In the order of their due times, since requests are handed out in that order. At most one of each worker.
    /// The timer is set as long as there are any.
    waiting: RefCell<VecDeque<(Instant, Waker)>>,
    /// Everything due up to here has been woken.
    reached: Cell<Instant>,
    may_sleep: Cell<bool>,
    /// The kernel told when the last answer came.
    timed: Cell<bool>,
    /// How many have reasons to hear of what happens at once.
    awake: Cell<usize>,
}

/// As long as it lives, the thread does not sleep through events.
#[derive(Debug)]
pub(crate) struct Awake<'a>(&'a Pacer);

impl Pacer {
    /// If it `may_sleep`, it lets the whole thread sleep between wake-ups that are close together. Needs a tokio runtime
    /// with IO.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may give up their descriptor; OwnedFd never does"
    )]
    pub(crate) fn new(may_sleep: bool) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self {
            timer: AsyncFd::new(timer)?,
            waiting: RefCell::default(),
            reached: Cell::new(Instant::now()),
            may_sleep: Cell::new(may_sleep),
            timed: Cell::new(false),
            awake: Cell::new(0),
        })
    }

    pub(crate) fn may_sleep(&self) -> bool {
        self.may_sleep.get()
    }

    /// Whether it is known when answers came. The kernel begins to note it a little after it is asked, and some never do.
    pub(crate) fn answers_are_timed(&self, timed: bool) {
        self.timed.set(timed);
    }

    fn sleeps(&self) -> bool {
        self.may_sleep.get() && self.timed.get() && self.awake.get() == 0
    }

    /// From now on all events are noticed at once.
    pub(crate) fn never_sleep(&self) {
        self.may_sleep.set(false);
    }

    /// Events are noticed at once until the result is dropped.
    pub(crate) fn stay_awake(&self) -> Awake<'_> {
        self.awake.set(self.awake.get() + 1);
        Awake(self)
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

    /// Wakes those that are due, for as long as it is polled. `rate` tells how many are, each second.
    pub(crate) async fn run(&self, rate: impl Fn(Instant) -> f64) -> io::Result<Infallible> {
        loop {
            // The timer is not read: setting it again clears it.
            self.timer.readable().await?.clear_ready();
            while let Some((due, now)) = self.wake() {
                let grain = grain(rate(now));
                let next = due.max(now + grain);
                // Those that were woken send, and answers that are there are read.
                yield_now().await;
                let left = next.saturating_duration_since(Instant::now());
                if !self.sleeps() || left > grain {
                    self.set(left)?;
                    break;
                }
                sleep(left);
            }
        }
    }

    /// Wakes those that are due. Returns when the next one is, and the time now.
    fn wake(&self) -> Option<(Instant, Instant)> {
        let now = Instant::now();
        self.reached.set(now);
        let mut waiting = self.waiting.borrow_mut();
        while let Some((_, waker)) = waiting.pop_front_if(|(due, _)| *due <= now) {
            waker.wake();
        }
        waiting.front().map(|(due, _)| (*due, now))
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

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.awake.set(self.0.awake.get().saturating_sub(1));
    }
}

/// Shortest time between two wake-ups at this rate.
fn grain(requests_per_second: f64) -> Duration {
    let part = (requests_per_second / FULL_RATE).clamp(0.0, 1.0);
    Duration::try_from_secs_f64(LONGEST_GRAIN.as_secs_f64() * part).unwrap_or(LONGEST_GRAIN)
}

/// Stops the whole thread. A signal may end it early, which does no harm.
fn sleep(time: Duration) {
    let seconds = time.as_secs().try_into().unwrap_or(i64::MAX);
    let _ = nanosleep(&Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::rc::Rc;

    use tokio::task::{JoinSet, LocalSet};

    use super::*;

    /// Fifty workers at these distances, at what is said to be this rate.
    async fn fifty(pacer: Pacer, distance: Duration, rate: f64) {
        let pacer = Rc::new(pacer);
        let woken = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let mut workers = JoinSet::new();
        for number in 0..50_u32 {
            let (pacer, woken) = (Rc::clone(&pacer), Rc::clone(&woken));
            let due = start + number * distance;
            workers.spawn_local(async move {
                pacer.wait(due).await.unwrap();
                assert!(Instant::now() >= due, "{number} was woken early");
                woken.borrow_mut().push(number);
            });
        }
        tokio::select! {
            ended = pacer.run(|_| rate) => panic!("{ended:?}"),
            _ = workers.join_all() => {}
        }
        assert_eq!(*woken.borrow(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn each_waits_until_its_time_and_the_order_is_kept() {
        for may_sleep in [false, true] {
            for (micros, rate) in [(370, 2_700.0), (70, 14_000.0), (20, 50_000.0)] {
                let pacer = Pacer::new(may_sleep).unwrap();
                pacer.answers_are_timed(true);
                LocalSet::new().run_until(fifty(pacer, Duration::from_micros(micros), rate)).await;
            }
        }
    }

    #[tokio::test]
    async fn a_time_that_has_passed_is_waited_for_no_longer() {
        let pacer = Pacer::new(false).unwrap();
        let past = Instant::now();
        tokio::select! {
            ended = pacer.run(|_| 1.0) => panic!("{ended:?}"),
            waited = pacer.wait(past) => waited.unwrap(),
        }
    }

    #[tokio::test]
    async fn the_thread_sleeps_only_if_answers_are_timed_and_nobody_is_awake() {
        let pacer = Pacer::new(true).unwrap();
        assert!(!pacer.sleeps(), "no answer has come yet");
        pacer.answers_are_timed(true);
        assert!(pacer.sleeps());
        let (first, second) = (pacer.stay_awake(), pacer.stay_awake());
        drop(first);
        assert!(!pacer.sleeps());
        drop(second);
        assert!(pacer.sleeps());
        pacer.never_sleep();
        assert!(!pacer.sleeps() && !Pacer::new(false).unwrap().may_sleep());
    }

    #[test]
    fn wake_ups_are_put_off_at_high_rates_only() {
        let micros = [0.0, 2_000.0, 10_000.0, 20_000.0, 1e6].map(|rate| grain(rate).as_micros());
        assert_eq!(micros, [0, 70, 350, 700, 700]);
    }
}
