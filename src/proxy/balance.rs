//! Which endpoint of a group is tried next: whose turn it is, passing over those that have just refused a connection.

use std::{
    array,
    cell::{Cell, RefCell},
    net::SocketAddr,
    time::Duration,
};

use rustc_hash::FxHashMap;

use super::{
    aperture::Aperture,
    clock::Moment,
    route::{Group, LiveEndpoint, LiveRoute},
};

/// An endpoint that refused a connection is passed over for this long, while others are left.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// After so many refusals a plan's endpoints are taken to be out of date, and its origin is asked.
const OUT_OF_DATE: usize = 2;
/// Endpoints that are remembered as failing; more are simply tried.
const MAX_FAILING: usize = 4_096;

/// Turns of groups that are kept; with more groups, some share one.
const TURNS: usize = 256;

/// One core's view of the endpoints.
#[derive(Debug)]
pub(crate) struct Balancer {
    /// Each group has its own: with one for all, a client that asks two services alternately would ask every second endpoint of
    /// each.
    turns: [Cell<Aperture>; TURNS],
    failing: RefCell<FxHashMap<SocketAddr, Moment>>,
}

impl Balancer {
    /// One that knows of nothing yet. The turns of each group begin at a place that `random` gives: otherwise all cores of all
    /// proxies would begin with the same endpoint, at every change of plan anew.
    pub(crate) fn new(mut random: impl FnMut() -> u32) -> Self {
        let turns = array::from_fn(|_| Cell::new(Aperture::beginning_at(random())));
        Self { turns, failing: RefCell::default() }
    }

    /// The endpoint of a route to try, leaving out those already `tried`: one of the group that `random` falls into, and when
    /// that has no more, any other where no rule forbids it; behind those the origin. `is_warm` tells whether a connection to an
    /// endpoint waits that was used a moment ago.
    pub(crate) fn pick<'r>(
        &self,
        route: &'r LiveRoute,
        random: u64,
        tried: &[SocketAddr],
        now: Moment,
        is_warm: impl Fn(SocketAddr) -> bool,
    ) -> Option<&'r LiveEndpoint> {
        let is_warm = &is_warm;
        let last = || self.pick_in(route.last_resort()?, tried, now, is_warm);
        if tried.len() >= OUT_OF_DATE
            && let Some(origin) = last()
        {
            return Some(origin);
        }
        let own = self.pick_in(route.group(random)?, tried, now, is_warm);
        own.or_else(|| self.pick_in(route.any()?, tried, now, is_warm)).or_else(last)
    }

    fn pick_in<'g>(
        &self,
        group: &'g Group,
        tried: &[SocketAddr],
        now: Moment,
        is_warm: impl Fn(SocketAddr) -> bool,
    ) -> Option<&'g LiveEndpoint> {
        let endpoints = group.endpoints.as_slice();
        if let [only] = endpoints {
            return (!tried.contains(&only.address)).then_some(only);
        }
        let turn = self.turns.get(group.number % TURNS)?;
        let is_warm = |place: usize| endpoints.get(place).is_some_and(|endpoint| is_warm(endpoint.address));
        let (place, behind) = turn.get().next(endpoints.len(), is_warm)?;
        turn.set(behind);
        let (before, next) = endpoints.split_at_checked(place)?;
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
    use std::{collections::BTreeSet, sync::Arc};

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
        let (balancer, mut tried) = (Balancer::new(|| 0), Vec::new());
        while let Some(endpoint) = balancer.pick(route, 0, &tried, Moment::now(), |_| false) {
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
    fn a_client_that_asks_two_services_alternately_asks_every_endpoint_of_both() {
        let (balancer, routes) = (Balancer::new(|| 0), [[1, 2], [3, 4]].map(|endpoints| route(&endpoints, vec![])));
        let pick = |route| balancer.pick(route, 0, &[], Moment::now(), |_| false).unwrap().address;
        let asked = (0..4).map(|number| pick(&routes[number % 2])).collect::<BTreeSet<_>>();
        assert_eq!(asked, [1, 2, 3, 4].map(address).into());
    }

    #[test]
    fn where_a_rule_shares_out_the_traffic_nobody_else_gets_it() {
        let origin = Arc::new(route(&[9], vec![]));
        let weights = vec![SubsetWeight { subset: "v1".into(), weight: 1 }];
        assert_eq!(tried(&route(&[1, 2], weights).before(&origin)), [1, 2]);
    }
}
