//! Responses whose client does not take the next part. Only over HTTP/2: there other streams keep the connection lively.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use rustc_hash::FxHashMap;

use super::clock::Moment;

/// The responses of one connection that wait for their client, and since when; at most as many as it has streams.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    waiting: RefCell<FxHashMap<u64, Moment>>,
    next: Cell<u64>,
}

impl Unread {
    /// A name for a response.
    pub(crate) fn name(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// A part of the response is there for the client to take.
    pub(crate) fn waits(&self, name: u64, now: Moment) {
        self.waiting.borrow_mut().insert(name, now);
    }

    /// The client has taken all that was there, or the response has ended.
    pub(crate) fn taken(&self, name: u64) {
        self.waiting.borrow_mut().remove(&name);
    }

    /// How long the client has left a response waiting.
    pub(crate) fn longest(&self, now: Moment) -> Duration {
        self.waiting.borrow().values().map(|since| now.since(*since)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_of_a_response_that_nobody_takes_counts() {
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let unread = Unread::default();
        let (first, second) = (unread.name(), unread.name());
        assert_eq!(unread.longest(at(9)), Duration::ZERO);
        unread.waits(first, at(1));
        unread.waits(second, at(5));
        assert_eq!(unread.longest(at(9)), Duration::from_secs(8));
        unread.taken(first);
        assert_eq!(unread.longest(at(9)), Duration::from_secs(4));
    }
}
