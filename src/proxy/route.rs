//! Where a Service port's requests go: endpoints in groups with weights, and the choice of a group.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use glooshot_api::plan::PlannedRoute;

use super::identity::{Identities, IdentityId};

/// The endpoints of a Service port, in weighted groups.
#[derive(Debug)]
pub(crate) struct LiveRoute {
    groups: Vec<Group>,
    /// The sum of all weights.
    total_weight: u64,
    /// Every endpoint, where no rule shares out the traffic: then one that refuses can be replaced by any other.
    any: Option<Group>,
    /// Where requests go when endpoints of a plan refuse: somebody else keeps it true.
    last_resort: Option<Arc<LiveRoute>>,
}

/// Endpoints of one subset, which share a weight.
#[derive(Debug)]
pub(crate) struct Group {
    /// Tells it from other groups, also from those of another plan.
    pub(crate) number: usize,
    /// The sum of the weights of this group and those before it.
    cumulative: u64,
    /// Its endpoints.
    pub(crate) endpoints: Vec<LiveEndpoint>,
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct LiveEndpoint {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Its subset.
    pub(crate) subset: Option<Arc<str>>,
    /// Its labels in metrics.
    pub(crate) identity: IdentityId,
}

impl Group {
    fn new(cumulative: u64, endpoints: Vec<LiveEndpoint>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), cumulative, endpoints }
    }
}

impl LiveRoute {
    /// Groups the endpoints of a planned route by its weights.
    pub(crate) fn new(route: &PlannedRoute, identities: &Identities) -> Self {
        let service = &route.port.service;
        let live = |endpoint: &glooshot_api::plan::Endpoint| LiveEndpoint {
            address: endpoint.address,
            subset: endpoint.subset.as_deref().map(Arc::from),
            identity: identities.id(service, endpoint.subset.as_deref()),
        };
        let mut total = 0;
        let groups = shares(route).into_iter().map(|(subset, weight)| {
            total += weight;
            let members = route.endpoints.iter().filter(|endpoint| endpoint.subset.as_deref() == subset);
            Group::new(total, members.map(live).collect())
        });
        let groups = groups.collect();
        let any = route.weights.is_empty().then(|| Group::new(0, route.endpoints.iter().map(live).collect()));
        Self { groups, total_weight: total, any, last_resort: None }
    }

    /// The same, with `origin` to go to when endpoints refuse, unless a rule says which ones get the traffic.
    pub(crate) fn before(mut self, origin: &Arc<Self>) -> Self {
        self.last_resort = self.any.is_some().then(|| Arc::clone(origin));
        self
    }

    /// Where requests go when endpoints refuse.
    pub(crate) fn last_resort(&self) -> Option<&Group> {
        self.last_resort.as_ref()?.any()
    }

    /// Every endpoint, where no rule shares out the traffic.
    pub(crate) fn any(&self) -> Option<&Group> {
        self.any.as_ref()
    }

    /// The group that a uniform random number falls into.
    pub(crate) fn group(&self, random: u64) -> Option<&Group> {
        if let [only] = self.groups.as_slice() {
            return Some(only);
        }
        // The high half of the product is uniform over the weights, without a division.
        let point = u64::try_from((u128::from(random) * u128::from(self.total_weight)) >> 64).unwrap_or(0);
        self.groups.iter().find(|group| point < group.cumulative)
    }
}

/// The weight of each subset: as a rule says, or else the number of its endpoints, so that all endpoints are alike.
fn shares(route: &PlannedRoute) -> BTreeMap<Option<&str>, u64> {
    let mut shares = BTreeMap::new();
    if route.weights.is_empty() {
        for endpoint in &route.endpoints {
            *shares.entry(endpoint.subset.as_deref()).or_default() += 1;
        }
    }
    for share in route.weights.iter().filter(|share| share.weight > 0) {
        *shares.entry(Some(share.subset.as_str())).or_default() += u64::from(share.weight);
    }
    shares
}

#[cfg(test)]
mod tests {
    use glooshot_api::{
        names::{ServiceName, ServicePort},
        plan::{Endpoint, SubsetWeight},
    };

    use super::*;

    fn route(weights: &[(&str, u32)]) -> LiveRoute {
        let endpoints = [("v1", 1), ("v3", 3), ("v4", 4)];
        let port = ServicePort { service: ServiceName { namespace: "b".into(), name: "reviews".into() }, port: 9080 };
        let planned = PlannedRoute {
            port,
            endpoints: endpoints
                .map(|(v, n)| Endpoint { address: ([127, 0, 0, n], 9080).into(), subset: Some(v.into()) })
                .to_vec(),
            weights: weights.iter().map(|(s, w)| SubsetWeight { subset: (*s).into(), weight: *w }).collect(),
        };
        LiveRoute::new(&planned, &Identities::default())
    }

    #[test]
    fn without_weights_every_endpoint_gets_the_same_share_and_a_group_is_one_subset() {
        let route = route(&[]);
        let third = u64::MAX / 3;
        for (random, subset) in [(0, "v1"), (third + third / 2, "v3"), (u64::MAX, "v4")] {
            let group = route.group(random).unwrap();
            assert_eq!(group.endpoints.len(), 1);
            assert_eq!(group.endpoints[0].subset.as_deref(), Some(subset));
        }
        assert_eq!(route.any().unwrap().endpoints.len(), 3);
    }

    #[test]
    fn one_weight_takes_all_traffic() {
        for random in [0, 1 << 63, u64::MAX] {
            let route = route(&[("v3", 0), ("v4", 1)]);
            let group = route.group(random).unwrap();
            assert_eq!(group.endpoints[0].subset.as_deref(), Some("v4"));
        }
    }

    #[test]
    fn weights_share_the_traffic_in_proportion() {
        let route = route(&[("v1", 1), ("v3", 3)]);
        let mut rng = fastrand::Rng::with_seed(7);
        let v3 = (0..40_000).filter(|_| route.group(rng.u64(..)).unwrap().endpoints[0].subset.as_deref() == Some("v3"));
        let v3 = v3.count() as f64;
        assert!((v3 - 30_000.0).abs() < 5.0 * (40_000.0f64 * 0.75 * 0.25).sqrt(), "{v3}");
    }
}
