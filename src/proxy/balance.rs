//! Which endpoint of a group is tried next: in turn, passing over those that have just refused a connection.

use std::{cell::RefCell, net::SocketAddr, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    clock::Moment,
    route::{Group, LiveEndpoint, LiveRoute},
};

/// An endpoint that refused a connection is passed over for this long, while others are left.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// Endpoints that are remembered as failing; more are simply tried.
const MAX_FAILING: usize = 4_096;

/// One core's view of the endpoints.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    turn: std::cell::Cell<usize>,
    failing: RefCell<FxHashMap<SocketAddr, Moment>>,
}

impl Balancer {
    /// The endpoint of a route to try, leaving out those already `tried`: one of the group that `random` falls into, and when
    /// that has no more, any other where no rule forbids it.
    pub(crate) fn pick<'r>(
        &self,
        route: &'r LiveRoute,
        random: u64,
        tried: &[SocketAddr],
        now: Moment,
    ) -> Option<&'r LiveEndpoint> {
        let own = self.pick_in(route.group(random)?, tried, now);
        own.or_else(|| self.pick_in(route.any()?, tried, now))
    }

    fn pick_in<'g>(&self, group: &'g Group, tried: &[SocketAddr], now: Moment) -> Option<&'g LiveEndpoint> {
        let count = group.endpoints.len();
        if let [only] = group.endpoints.as_slice() {
            return (!tried.contains(&only.address)).then_some(only);
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let start = turn.checked_rem(count)?;
        let in_turn = || group.endpoints.iter().cycle().skip(start).take(count);
        let untried = |endpoint: &&LiveEndpoint| !tried.contains(&endpoint.address);
        in_turn()
            .filter(untried)
            .find(|endpoint| !self.is_failing(endpoint.address, now))
            .or_else(|| in_turn().find(untried))
    }

    /// Remembers that an endpoint did not accept a connection.
    pub(crate) fn failed(&self, address: SocketAddr, now: Moment) {
        let mut failing = self.failing.borrow_mut();
        if failing.len() >= MAX_FAILING {
            failing.retain(|_, since| now.since(*since) < COOL_DOWN);
        }
        if failing.len() < MAX_FAILING {
            failing.insert(address, now);
        }
    }

    /// Remembers that it did.
    pub(crate) fn succeeded(&self, address: SocketAddr) {
        let mut failing = self.failing.borrow_mut();
        if !failing.is_empty() {
            failing.remove(&address);
        }
    }

    fn is_failing(&self, address: SocketAddr, now: Moment) -> bool {
        self.failing.borrow().get(&address).is_some_and(|since| now.since(*since) < COOL_DOWN)
    }
}
