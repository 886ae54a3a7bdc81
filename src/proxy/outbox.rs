//! One core's small messages on their way out: kept until every task that is ready has had its turn, and then sent one behind the other.
//!
//! A message wakes whoever reads it, and to wake somebody is the dearest part of sending. Who gets many in one go sleeps once behind all of
//! them; who gets each as it is ready sleeps between any two (`benches/peers/README.md`).

use std::{
    cell::RefCell,
    future::poll_fn,
    io::IoSlice,
    rc::Rc,
    task::{Poll, Waker},
};

use super::socket::Sender;

/// Bytes that are kept at most: behind that, all are sent at once. It is some hundred messages, or about a millisecond's.
pub(super) const MOST: usize = 64 * 1024;

/// The messages of one core.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    kept: RefCell<Kept>,
    /// The task that sends; its turn comes behind all that are ready when it is woken.
    task: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    messages: Vec<Message>,
}

/// A message, from the end of the one before it.
#[derive(Debug)]
struct Message {
    sender: Rc<Sender>,
    end: usize,
}

impl Outbox {
    /// Keeps a message until it is its turn. Those of one socket stay in their order.
    pub(crate) fn keep(&self, sender: &Rc<Sender>, slices: &[IoSlice<'_>], length: usize) {
        if self.kept.borrow().bytes.len() + length > MOST {
            self.send();
        }
        let mut kept = self.kept.borrow_mut();
        let is_first = kept.messages.is_empty();
        slices.iter().for_each(|slice| kept.bytes.extend_from_slice(slice));
        let end = kept.bytes.len();
        kept.messages.push(Message { sender: Rc::clone(sender), end });
        if is_first && let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// Sends what is kept.
    pub(crate) fn send(&self) {
        let Kept { mut bytes, mut messages } = self.kept.take();
        let mut begin = 0;
        for Message { sender, end } in messages.drain(..) {
            Sender::send(&sender, bytes.get(begin..end).unwrap_or_default());
            begin = end;
        }
        bytes.clear();
        // The room is for the next ones: nothing was added meanwhile.
        self.kept.replace(Kept { bytes, messages });
    }

    /// Sends whenever something is kept.
    pub(crate) async fn run(self: Rc<Self>) {
        poll_fn(|cx| {
            self.task.replace(Some(cx.waker().clone()));
            self.send();
            Poll::<()>::Pending
        })
        .await;
    }
}
