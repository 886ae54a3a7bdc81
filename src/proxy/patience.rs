//! How long one connection's requests wait for their answers: one timer for all of them, since a timer for each would cost more
//! than most other things that are done for a request.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// The timer of a connection that carries one request at a time, all in one task. It is left as it is when an answer comes, and goes
/// off in the time of a later request, or of none, which sets it anew.
#[derive(Debug, Default)]
pub(crate) struct Patience(RefCell<Option<Pin<Box<Sleep>>>>);

impl Patience {
    /// What comes of `answer`, if it comes within this time.
    pub(crate) async fn wait<T>(&self, most: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let end = Instant::now() + most;
        let mut answer = pin!(answer);
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => self.poll_end(end, cx).map(|()| None),
        })
        .await
    }

    /// Ready at the end.
    fn poll_end(&self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.0.borrow_mut();
        let is_set = timer.is_some();
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        } else if is_set && !timer.is_elapsed() {
            // It wakes this very task, as it would have woken it for an earlier request.
            return Poll::Pending;
        }
        loop {
            // Whatever the task has spent of its budget: one that gave way to others here would have no timer that is set.
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::{
        task::coop::consume_budget,
        time::{advance, sleep, timeout},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_in_time_counts_and_one_that_does_not_is_given_up_at_the_end() {
        let patience = Patience::default();
        let begun = Instant::now();
        assert_eq!(patience.wait(15 * SECOND, ready(1)).await, Some(1));
        assert_eq!(patience.wait(15 * SECOND, sleep(14 * SECOND)).await, Some(()));
        assert_eq!(patience.wait(15 * SECOND, pending::<()>()).await, None);
        assert!((29 * SECOND..30 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_of_an_earlier_request_ends_no_later_one_before_its_time() {
        let patience = Patience::default();
        for pause in [9, 10, 11, 40] {
            assert_eq!(patience.wait(10 * SECOND, sleep(SECOND)).await, Some(()));
            advance(pause * SECOND).await;
            let begun = Instant::now();
            assert_eq!(patience.wait(10 * SECOND, pending::<()>()).await, None);
            assert!((10 * SECOND..11 * SECOND).contains(&begun.elapsed()), "{pause}: {:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_spent_its_budget_waits_no_longer_for_it() {
        let patience = Patience::default();
        let mut is_first = true;
        let mut waiting = pin!(patience.wait(SECOND, pending::<()>()));
        let spent = poll_fn(|cx| {
            // Only once: who gives way is ready again, and time stands still for whoever is ready.
            while is_first && pin!(consume_budget()).poll(cx).is_ready() {}
            is_first = false;
            waiting.as_mut().poll(cx)
        });
        assert_eq!(timeout(10 * SECOND, spent).await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_time_behind_a_longer_one_is_kept() {
        let patience = Patience::default();
        assert_eq!(patience.wait(60 * SECOND, sleep(SECOND)).await, Some(()));
        let begun = Instant::now();
        assert_eq!(patience.wait(SECOND, pending::<()>()).await, None);
        assert!(begun.elapsed() < 2 * SECOND);
    }
}
