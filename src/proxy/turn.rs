//! Gathering: before something is written, everything else that is ready on this core gets its turn.
//!
//! Then a core reads from all sockets that have something before it answers on any, and writes what it has in one go. To write
//! to a process that sleeps means to wake it, which costs the kernel more than most of what we do for a request; whoever gets
//! several messages in one go is awake already when the others come.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

/// Whether a task has let the others go first.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    has_passed: bool,
}

impl Turn {
    /// Lets every task go first that is ready already, and is ready then. A core without other work comes back at once.
    pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.has_passed, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Ready when every other task that is ready has had its turn.
pub(crate) async fn passed() {
    let mut turn = Turn::default();
    poll_fn(|cx| turn.poll_passed(cx)).await;
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn what_is_ready_is_done_before_anything_is_written() {
        let told = Rc::<RefCell<Vec<&str>>>::default();
        let one = |told: Rc<RefCell<Vec<&'static str>>>| async move {
            told.borrow_mut().push("read");
            passed().await;
            told.borrow_mut().push("written");
        };
        let tasks = LocalSet::new();
        let both = [one(Rc::clone(&told)), one(Rc::clone(&told))].map(|one| tasks.spawn_local(one));
        tasks.await;
        assert!(both.iter().all(tokio::task::JoinHandle::is_finished));
        assert_eq!(*told.borrow(), ["read", "read", "written", "written"]);
    }
}
