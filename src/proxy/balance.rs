//! Which endpoint of a group is tried next: in turn, passing over those that have just refused a connection.

use std::{cell::RefCell, net::SocketAddr, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    clock::Moment,
    route::{Group, LiveEndpoint, LiveRoute},
};

/// An endpoint that refused a connection is passed over for this long, while others are left.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// After so many refusals a plan's endpoints are taken to be out of date, and its origin is asked.
const OUT_OF_DATE: usize = 2;
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
    /// that has no more, any other where no rule forbids it; behind those the origin.
    pub(crate) fn pick<'r>(
        &self,
        route: &'r LiveRoute,
        random: u64,
        tried: &[SocketAddr],
        now: Moment,
    ) -> Option<&'r LiveEndpoint> {
        let last = || self.pick_in(route.last_resort()?, tried, now);
        if tried.len() >= OUT_OF_DATE
            && let Some(origin) = last()
        {
            return Some(origin);
        }
        let own = self.pick_in(route.group(random)?, tried, now);
        own.or_else(|| self.pick_in(route.any()?, tried, now)).or_else(last)
    }

    fn pick_in<'g>(&self, group: &'g Group, tried: &[SocketAddr], now: Moment) -> Option<&'g LiveEndpoint> {
        let count = group.endpoints.len();
        if let [only] = group.endpoints.as_slice() {
            return (!tried.contains(&only.address)).then_some(only);
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let (before, next) = group.endpoints.split_at_checked(turn.checked_rem(count)?)?;
        let in_turn = || next.iter().chain(before);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glooshot_api::{
        names::{ServiceName, ServicePort},
        plan::{Endpoint, PlannedRoute, SubsetWeight},
    };

    use super::{super::identity::Identities, *};

    fn address(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 9080).into()
    }

    fn route(endpoints: &[u8], weights: Vec<SubsetWeight>) -> LiveRoute {
        let port = ServicePort { service: ServiceName { namespace: "b".into(), name: "reviews".into() }, port: 9080 };
        let endpoints = endpoints.iter().map(|last| Endpoint { address: address(*last), subset: Some("v1".into()) });
        LiveRoute::new(&PlannedRoute { port, endpoints: endpoints.collect(), weights }, &Identities::default())
    }

    /// The last bytes of the addresses that are tried while all of them refuse.
    fn tried(route: &LiveRoute) -> Vec<u8> {
        let (balancer, mut tried) = (Balancer::default(), Vec::new());
        while let Some(endpoint) = balancer.pick(route, 0, &tried, Moment::now()) {
            tried.push(endpoint.address);
        }
        let last = |address: &SocketAddr| match address {
            SocketAddr::V4(address) => address.ip().octets()[3],
            SocketAddr::V6(_) => 0,
        };
        tried.iter().map(last).collect()
    }

    #[test]
    fn when_endpoints_of_a_plan_refuse_the_origin_is_asked_before_a_request_is_given_up() {
        let origin = Arc::new(route(&[9], vec![]));
        assert_eq!(tried(&route(&[1], vec![]).before(&origin)), [1, 9]);
        assert_eq!(tried(&route(&[1, 2, 3, 4], vec![]).before(&origin)), [1, 2, 9, 3, 4]);
    }

    #[test]
    fn where_a_rule_shares_out_the_traffic_nobody_else_gets_it() {
        let origin = Arc::new(route(&[9], vec![]));
        let weights = vec![SubsetWeight { subset: "v1".into(), weight: 1 }];
        assert_eq!(tried(&route(&[1, 2], weights).before(&origin)), [1, 2]);
    }
}
