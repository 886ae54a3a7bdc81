//! What became of every request, by the kind of client that sent it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// The account of all clients.
#[derive(Debug, Default)]
pub struct Account(Mutex<BTreeMap<&'static str, Tally>>);

/// The account of one kind of client.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: u64,
    /// Answered as it should be, by the service or by a fault.
    pub answered: u64,
    /// Failed as it had to.
    pub failed: u64,
    /// Given up by its client, on purpose.
    pub left: u64,
    /// Markers of faults: aborted, delayed.
    pub aborted: u64,
    pub delayed: u64,
    /// Anything else, and the first of it in words.
    pub wrong: u64,
    pub first_wrong: Option<String>,
}

/// How a request ended.
#[derive(Debug)]
pub enum Ended {
    Answered,
    Aborted,
    Delayed,
    Failed,
    Left,
    Wrong(String),
}

impl Account {
    /// A request is about to be sent.
    pub fn sent(&self, kind: &'static str) {
        self.change(kind, |tally| tally.sent += 1);
    }

    /// It ended.
    pub fn ended(&self, kind: &'static str, ended: Ended) {
        self.change(kind, |tally| match ended {
            Ended::Answered => tally.answered += 1,
            Ended::Aborted => {
                tally.answered += 1;
                tally.aborted += 1;
            }
            Ended::Delayed => {
                tally.answered += 1;
                tally.delayed += 1;
            }
            Ended::Failed => tally.failed += 1,
            Ended::Left => tally.left += 1,
            Ended::Wrong(what) => {
                tally.wrong += 1;
                tally.first_wrong.get_or_insert(what);
            }
        });
    }

    /// All of it.
    pub fn tallies(&self) -> BTreeMap<&'static str, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The sum of something over some kinds.
    pub fn sum(&self, of_kind: impl Fn(&str) -> bool, what: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies().iter().filter(|(kind, _)| of_kind(kind)).map(|(_, tally)| what(tally)).sum()
    }

    fn change(&self, kind: &'static str, change: impl FnOnce(&mut Tally)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default());
    }
}
