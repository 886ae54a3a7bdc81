//! A proxy in the test's own process, steered through the library as a controller would, and plans for it.

use std::net::SocketAddr;

use glooshot::{
    api::{
        names::{Destination, ServiceName, ServicePort},
        plan::{Disruption, Endpoint, MatchRule, Plan, PlannedExperiment, PlannedFault},
        quantity::Percent,
    },
    proxy::{Control, Origin, Proxy, ProxyConfig, StaticRoute, plain_route},
};
use prometheus_client::{encoding::text::encode, registry::Registry};

use super::metrics::Metrics;

/// A running proxy with one route.
#[derive(Debug)]
pub struct InProcess {
    proxy: Proxy,
    registry: Registry,
}

/// The service that the route is for.
pub fn service() -> ServiceName {
    ServiceName { namespace: "bookinfo".to_owned(), name: "ratings".to_owned() }
}

/// The port that the route is for.
pub fn port() -> ServicePort {
    ServicePort { service: service(), port: 9080 }
}

/// An address of the service.
pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { address, subset: None }
}

impl InProcess {
    /// On two cores in front of `upstream`.
    pub fn before(upstream: SocketAddr) -> Self {
        let origin = Origin { port: port(), route: plain_route(port(), vec![endpoint(upstream)]) };
        let routes = vec![StaticRoute::plain(([127, 0, 0, 1], 0).into(), origin)];
        let proxy = Proxy::start(ProxyConfig { routes, workers: Some(2), ..ProxyConfig::default() }).unwrap();
        let mut registry = Registry::default();
        proxy.register(&mut registry);
        Self { proxy, registry }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.proxy.listening()[0].1
    }

    /// What steers it.
    pub fn control(&self) -> Control {
        self.proxy.control()
    }

    /// Its figures as they are now.
    pub fn metrics(&self) -> Metrics {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        Metrics::parse(&text)
    }
}

/// A fault for a share of all requests.
pub fn fault(disruption: Disruption, percentage: f64) -> PlannedFault {
    PlannedFault {
        origins: Vec::new(),
        destinations: vec![Destination { service: service(), port: None, subset: None }],
        matches: MatchRule::default(),
        percentage: Percent::try_from(percentage).unwrap(),
        disruption,
    }
}

/// An experiment whose faults are on.
pub fn experiment(name: &str, faults: Vec<PlannedFault>) -> PlannedExperiment {
    PlannedExperiment {
        name: ServiceName { namespace: "bookinfo".to_owned(), name: name.to_owned() },
        uid: name.to_owned(),
        armed: true,
        faults,
        conditions: Vec::new(),
        max_injected: None,
        max_concurrent_delays: 1_000,
        seed: None,
    }
}

/// A plan with this experiment.
pub fn plan(generation: u64, experiment: PlannedExperiment) -> Plan {
    Plan { generation, experiment: Some(experiment), ..Plan::default() }
}

/// What the marker of an exchange says.
pub fn marker(kind: &str, experiment: &str, fault: usize) -> String {
    format!("{kind}; experiment=bookinfo/{experiment}; fault={fault}")
}
