//! The proxy as a process: started from the library, with a plan that changes all the time.

use std::{net::SocketAddr, thread};

use glooshot::{
    api::{
        names::{ServiceName, ServicePort},
        plan::Endpoint,
    },
    metrics_server::{self, Health},
    proxy::{Limits, Origin, Proxy, ProxyConfig, StaticRoute, plain_route},
};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::Builder;

use crate::churn::{Addresses, Churn, Counts};

/// The argument that makes this binary the proxy; behind it come the addresses of the service, of a port that refuses
/// connections, and of the service behind the tunnel.
pub const ARGUMENT: &str = "proxied";

/// The Service port of this name.
pub fn port(name: &str, port: u16) -> ServicePort {
    ServicePort { service: ServiceName { namespace: "soak".into(), name: name.into() }, port }
}

/// Serves until it is killed.
pub fn run(addresses: &[String]) {
    // Whoever started us may be killed, too.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let address = |at: usize| -> SocketAddr { addresses[at].parse().unwrap() };
    let (origin, refusing, echo) = (address(0), address(1), address(2));
    let route = |name: &str, number: u16, to: SocketAddr| {
        let port = port(name, number);
        let route = plain_route(port.clone(), vec![Endpoint { address: to, subset: None }]);
        StaticRoute::plain(([127, 0, 0, 1], 0).into(), Origin { port, route })
    };
    let mut limits = Limits::default();
    // So that what is only kept for later is closed soon behind the load.
    limits.set("idle_upstream", "5s").unwrap();
    let proxy = Proxy::start(ProxyConfig {
        routes: vec![route("good", 80, origin), route("passers", 81, origin), route("tunnel", 82, echo)],
        workers: Some(2),
        limits,
        ..ProxyConfig::default()
    })
    .unwrap();
    let counts = Counts::default();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let health = Health::of(proxy.control());
        let metrics = metrics_server::start(([127, 0, 0, 1], 0).into(), health, |registry| {
            proxy.register(registry);
            counts.register(registry);
        });
        let metrics = metrics.await.unwrap();
        for (port, address) in proxy.listening() {
            eprintln!("listening {port} on {address}");
        }
        eprintln!("metrics on {metrics}");
        eprintln!("ready");
        let churn = Churn::new(proxy.control(), Addresses { origin, refusing }, counts.clone());
        churn.go_on().await;
    });
    drop(proxy);
    thread::park();
}
