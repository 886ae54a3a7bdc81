//! Who may wait for authentication: few from one address, a bounded number from all; the longest wait gives way.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The gate.
#[derive(Debug)]
pub(super) struct Gate {
    total: usize,
    per_address: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Oldest first.
    queue: VecDeque<Place>,
    next: u64,
}

#[derive(Debug)]
struct Place {
    number: u64,
    address: IpAddr,
    cut: CancellationToken,
}

/// A place among those who wait, given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
}

impl Gate {
    /// Lets `total` wait, and `per_address` from each address.
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        Self { total, per_address, waiting: Mutex::default() }
    }

    /// Lets a connection wait that ends when `cut` is cancelled; `None` if its address has too many.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, cut: CancellationToken) -> Option<Ticket> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.queue.iter().filter(|place| place.address == address).count() >= self.per_address {
            return None;
        }
        if waiting.queue.len() >= self.total
            && let Some(oldest) = waiting.queue.pop_front()
        {
            oldest.cut.cancel();
        }
        waiting.next += 1;
        let number = waiting.next;
        waiting.queue.push_back(Place { number, address, cut });
        Some(Ticket { gate: Arc::clone(self), number })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.gate.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.queue.retain(|place| place.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(gate: &Arc<Gate>, last: u8) -> Option<(Ticket, CancellationToken)> {
        let cut = CancellationToken::new();
        gate.enter([10, 0, 0, last].into(), cut.clone()).map(|ticket| (ticket, cut))
    }

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let gate = Arc::new(Gate::new(10, 2));
        let first = enter(&gate, 1).unwrap();
        let _second = enter(&gate, 1).unwrap();
        assert!(enter(&gate, 1).is_none());
        assert!(enter(&gate, 2).is_some());
        drop(first);
        assert!(enter(&gate, 1).is_some());
    }

    #[test]
    fn when_all_places_are_taken_the_longest_wait_gives_way() {
        let gate = Arc::new(Gate::new(2, 2));
        let (_one, one) = enter(&gate, 1).unwrap();
        let (_two, two) = enter(&gate, 2).unwrap();
        let _three = enter(&gate, 3).unwrap();
        assert!(one.is_cancelled() && !two.is_cancelled());
    }
}
