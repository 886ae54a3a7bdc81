//! Lets every other task of this core that is ready go first.

use std::{future::poll_fn, task::Poll};

/// Ready when every other task that is ready has had its turn. A core without other work comes back at once, and does not look at its
/// sockets before, as it would behind tokio's `yield_now`.
pub(crate) async fn passed() {
    let mut has_passed = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_passed, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn whoever_is_ready_goes_first() {
        let told = Rc::<RefCell<Vec<&str>>>::default();
        let one = |told: Rc<RefCell<Vec<&'static str>>>| async move {
            told.borrow_mut().push("before");
            passed().await;
            told.borrow_mut().push("behind");
        };
        let tasks = LocalSet::new();
        let both = [one(Rc::clone(&told)), one(Rc::clone(&told))].map(|one| tasks.spawn_local(one));
        tasks.await;
        assert!(both.iter().all(tokio::task::JoinHandle::is_finished));
        assert_eq!(*told.borrow(), ["before", "before", "behind", "behind"]);
    }
}
