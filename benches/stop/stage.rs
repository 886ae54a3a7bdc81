//! Everything that runs during all trials: the service, the proxy before it with its metrics, and the load.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use glooshot::{
    api::plan::Endpoint,
    metrics_server::{self, Health},
    proxy::{Origin, Proxy, ProxyConfig, StaticRoute, plain_route},
};
use glooshot_loadgen::Summary;
use tokio::time::sleep;

use crate::{
    experiment::{self, port},
    load::{Load, RATE},
    seen::Seen,
    service::Service,
    trial::{self, Stop},
};

/// The window of the condition that the proxy judges, and some of its steps.
const WARM: Duration = Duration::from_millis(52);
/// What a verdict takes at the most, where the proxy judges.
const SOON: Duration = Duration::from_secs(10);

/// What the trials are played on.
#[derive(Debug)]
pub struct Stage {
    /// The service.
    pub service: Service,
    /// What steers the proxy.
    pub proxy: Proxy,
    /// Where its metrics are.
    pub metrics: SocketAddr,
    /// What the client sees.
    pub seen: Arc<Seen>,
    /// The client.
    pub load: Load,
}

impl Stage {
    /// Starts everything; returns when the load has gone on for a second.
    pub async fn set() -> Self {
        let service = Service::start();
        let endpoint = Endpoint { address: service.address, subset: None };
        let origin = Origin { port: port(), route: plain_route(port(), vec![endpoint]) };
        let routes = vec![StaticRoute::plain(([127, 0, 0, 1], 0).into(), origin)];
        let proxy = Proxy::start(ProxyConfig { routes, ..ProxyConfig::default() }).unwrap();
        let health = Health::of(proxy.control());
        let metrics = metrics_server::start(([127, 0, 0, 1], 0).into(), health, |registry| proxy.register(registry));
        let metrics = metrics.await.unwrap();
        let seen = Arc::<Seen>::default();
        let load = Load::start(proxy.listening()[0].1, Arc::clone(&seen));
        load.responses(u64::from(RATE)).await;
        Self { service, proxy, metrics, seen, load }
    }

    /// A trial in which the proxy judges.
    pub async fn judged(&self) -> Stop {
        let steps = async {
            // Somewhere between two of the ticks at which the proxy looks by itself.
            sleep(WARM + Duration::from_micros(fastrand::u64(..10_000))).await;
        };
        trial::play(self, experiment::judged(), None, 500, steps, SOON).await
    }

    /// Ends the load; what it was.
    pub async fn end(self) -> Summary {
        self.load.end().await
    }
}
