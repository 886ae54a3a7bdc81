//! Who is where: the application's services, and the proxy between them.

use std::net::{Ipv4Addr, SocketAddr};

use glooshot_api::{
    names::{KnownPort, ServiceName, ServicePort},
    plan::{Endpoint, Plan, PlannedRoute, PlannedSource, TIME_TO_LIVE},
};

use super::{
    bookinfo::Service,
    error::DemoError,
    services::{Directory, Seat, Services, take_seats},
};
use crate::proxy::{Origin, Proxy, ProxyConfig, StaticRoute, plain_route};

/// The namespace and the port that the tutorial's manifests know the services by.
const NAMESPACE: &str = "bookinfo";
const PORT: u16 = 9080;
/// Where the proxy stands for ratings.
const RATINGS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
/// Where the proxy stands for reviews.
const REVIEWS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);

/// The application and the proxy while they run, and what experiments and routing rules are resolved against.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) proxy: Proxy,
    pub(super) services: Services,
    pub(super) productpage: SocketAddr,
    pub(super) known: Vec<KnownPort>,
    pub(super) sources: Vec<PlannedSource>,
    pub(super) reviews: PlannedRoute,
}

impl Network {
    /// Starts the proxy, then the services behind and in front of it.
    pub(super) fn start() -> Result<Self, DemoError> {
        let seats = take_seats()?;
        let known = [Service::Ratings, Service::Reviews].map(|service| known(&seats, service));
        let reviews = route(&seats, Service::Reviews);
        let at = |listen: Ipv4Addr, route: PlannedRoute| {
            StaticRoute::plain((listen, 0).into(), Origin { port: route.port.clone(), route })
        };
        let proxy = Proxy::start(ProxyConfig {
            routes: vec![at(RATINGS, route(&seats, Service::Ratings)), at(REVIEWS, reviews.clone())],
            ..ProxyConfig::default()
        })?;
        let sources: Vec<PlannedSource> = seats.iter().map(source).collect();
        // Names of callers outlive the plan's time to live: only faults and endpoints end with it.
        proxy.control().accept(Plan { generation: 1, sources: sources.clone(), ..Plan::default() }, TIME_TO_LIVE)?;
        let directory = Directory {
            details: address(&seats, Service::Details)?,
            ratings: listening(&proxy, Service::Ratings)?,
            reviews: listening(&proxy, Service::Reviews)?,
        };
        let productpage = address(&seats, Service::Productpage)?;
        let services = Services::start(seats, directory)?;
        Ok(Self { proxy, services, productpage, known: known.into(), sources, reviews })
    }
}

fn service_port(service: Service) -> ServicePort {
    ServicePort { service: service_name(service), port: PORT }
}

fn service_name(service: Service) -> ServiceName {
    ServiceName { namespace: NAMESPACE.to_owned(), name: service.name().to_owned() }
}

fn versions(seats: &[Seat], service: Service) -> impl Iterator<Item = &Seat> {
    seats.iter().filter(move |seat| seat.service == service)
}

fn known(seats: &[Seat], service: Service) -> KnownPort {
    let subsets = versions(seats, service).map(|seat| seat.version.name().to_owned());
    KnownPort { port: service_port(service), subsets: subsets.collect() }
}

/// All versions of a service, each as a subset.
fn route(seats: &[Seat], service: Service) -> PlannedRoute {
    let endpoints = versions(seats, service)
        .map(|seat| Endpoint { address: seat.address, subset: Some(seat.version.name().to_owned()) });
    plain_route(service_port(service), endpoints.collect())
}

fn source(seat: &Seat) -> PlannedSource {
    PlannedSource {
        address: seat.address.ip(),
        service: service_name(seat.service),
        version: Some(seat.version.name().to_owned()),
    }
}

/// Where a service itself is.
fn address(seats: &[Seat], service: Service) -> Result<SocketAddr, DemoError> {
    versions(seats, service).map(|seat| seat.address).next().ok_or_else(|| nowhere(service))
}

/// Where the proxy stands for a service.
fn listening(proxy: &Proxy, service: Service) -> Result<SocketAddr, DemoError> {
    let port = service_port(service);
    let found = proxy.listening().iter().find(|(listening, _)| *listening == port);
    found.map(|(_, address)| *address).ok_or_else(|| nowhere(service))
}

fn nowhere(service: Service) -> DemoError {
    DemoError::Start { what: service.name(), source: std::io::Error::other("it has no address") }
}
