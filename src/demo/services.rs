//! The application on loopback: one address for each service, any free port, all in a thread of its own.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    thread::JoinHandle,
};

use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    bookinfo::{Config, Service, Upstream, Version, serve},
    error::DemoError,
};

/// Where productpage is.
pub const PRODUCTPAGE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 10);

/// Everybody, and the address by which the proxy recognises them as callers.
const EVERYBODY: [(Service, Version, Ipv4Addr); 7] = [
    (Service::Productpage, Version::V1, PRODUCTPAGE),
    (Service::Details, Version::V1, Ipv4Addr::new(127, 0, 1, 11)),
    (Service::Ratings, Version::V1, Ipv4Addr::new(127, 0, 1, 12)),
    (Service::Reviews, Version::V1, Ipv4Addr::new(127, 0, 1, 21)),
    (Service::Reviews, Version::V2, Ipv4Addr::new(127, 0, 1, 22)),
    (Service::Reviews, Version::V3, Ipv4Addr::new(127, 0, 1, 23)),
    (Service::Reviews, Version::V4, Ipv4Addr::new(127, 0, 1, 24)),
];

/// A service that has its address and does not answer yet.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) service: Service,
    pub(super) version: Version,
    pub(super) address: SocketAddr,
    listener: TcpListener,
}

/// Gives everybody an address. The services can be named to the proxy before they start.
pub(super) fn take_seats() -> Result<Vec<Seat>, DemoError> {
    let seat = |(service, version, address): (Service, Version, Ipv4Addr)| {
        let listening = || {
            let listener = TcpListener::bind((address, 0))?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        match listening() {
            Ok((address, listener)) => Ok(Seat { service, version, address, listener }),
            Err(source) => Err(DemoError::Listen { address: IpAddr::V4(address), source }),
        }
    };
    EVERYBODY.into_iter().map(seat).collect()
}

/// Where the services find each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directory {
    /// Directly.
    pub(super) details: SocketAddr,
    /// Through the proxy.
    pub(super) reviews: SocketAddr,
    /// Through the proxy.
    pub(super) ratings: SocketAddr,
}

/// The services while they run.
#[derive(Debug)]
pub(super) struct Services {
    /// Asks them to end when it is dropped.
    shutdown: DropGuard,
    thread: JoinHandle<io::Result<()>>,
}

impl Services {
    /// Starts everybody.
    pub(super) fn start(seats: Vec<Seat>, directory: Directory) -> Result<Self, DemoError> {
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| DemoError::Start { what: "the services", source })?;
        let thread = std::thread::Builder::new()
            .name("bookinfo".to_owned())
            .spawn(move || runtime.block_on(serve_all(seats, directory, stop)))
            .map_err(|source| DemoError::Start { what: "the services", source })?;
        Ok(Self { shutdown: shutdown.drop_guard(), thread })
    }

    /// Lets them answer what is in flight, and waits for their end. Blocks.
    pub(super) fn stop(self) -> Result<(), DemoError> {
        drop(self.shutdown);
        let ended = self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
        ended.map_err(|error| DemoError::End { what: "the application", problem: error.to_string() })
    }
}

async fn serve_all(seats: Vec<Seat>, directory: Directory, shutdown: CancellationToken) -> io::Result<()> {
    let upstream = |address: SocketAddr| Upstream::try_from(address).map_err(io::Error::other);
    let mut running = JoinSet::new();
    for Seat { service, version, address, listener } in seats {
        let mut config = Config::new(service, version, address);
        config.details = Some(upstream(directory.details)?);
        config.reviews = Some(upstream(directory.reviews)?);
        config.ratings = Some(upstream(directory.ratings)?);
        running.spawn(serve(tokio::net::TcpListener::from_std(listener)?, config, shutdown.clone()));
    }
    let mut ended = Ok(());
    while let Some(one) = running.join_next().await {
        ended = ended.and(one.map_err(io::Error::other).flatten());
    }
    ended
}
