//! The controller's side: takes the proxies' calls, tells them what holds, and knows what they say.
//!
//! | file | job |
//! |---|---|
//! | `accept` | takes connections, each with a place at the gate |
//! | `gate` | who may wait for authentication; pure but for its lock |
//! | `meter` | the bytes that a peer may send before it is authenticated |
//! | `auth` | who a peer is: the controller's own affair, behind a trait |
//! | `call` | the one request of a connection: authenticated, answered, talked over |
//! | `room` | the proxies of one Service and what they are told; pure |
//! | `deal` | how much of what a run may inject each proxy is given; pure |
//! | `hub` | all rooms, for the controller to steer and to look at |

mod accept;
mod auth;
mod call;
mod deal;
mod gate;
mod hub;
mod meter;
mod room;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ServerConfig, server::ResolvesServerCert, version::TLS13};
use tokio::{net::TcpListener, task::JoinHandle};

pub use self::{
    auth::{Authenticator, Identity, Unauthenticated},
    hub::{Hub, Untellable},
    room::{ProxyView, TripView},
};
use crate::{pki::CurrentCertificate, proxy::ALPN_HTTP2};

/// Bounds on what peers may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections that wait for authentication, from all addresses; for one more the oldest ends.
    pub waiting: usize,
    /// Connections that wait for authentication, from one address; one more is refused.
    pub waiting_per_address: usize,
    /// Authenticated proxies.
    pub proxies: usize,
    /// Bytes that a peer may send before it is authenticated, TLS included.
    pub bytes: u64,
    /// Time from the connection to the authenticated request's first message.
    pub time: Duration,
    /// Time for the authenticator to say who somebody is.
    pub authentication: Duration,
    /// Between two authentications of a proxy that is connected.
    pub again: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiting: 256,
            waiting_per_address: 4,
            proxies: 4_096,
            bytes: 64 << 10,
            time: Duration::from_secs(10),
            authentication: Duration::from_secs(5),
            again: Duration::from_secs(300),
        }
    }
}

/// A running server. Dropped, it closes every connection.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
    hub: Hub,
    address: SocketAddr,
}

impl Server {
    /// Takes calls at `listener` in the background of this runtime, shows `certificate`, and lets in whom `authenticator` knows.
    ///
    /// # Errors
    /// When the listener or the TLS library cannot be used.
    pub fn start<A: Authenticator>(
        listener: TcpListener,
        certificate: Arc<CurrentCertificate>,
        authenticator: A,
        bounds: Bounds,
    ) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(certificate as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        let hub = Hub::default();
        let address = listener.local_addr()?;
        let shared = accept::Shared::new(tls, authenticator, hub.clone(), bounds);
        Ok(Self { task: tokio::spawn(accept::run(listener, Arc::new(shared))), hub, address })
    }

    /// What steers the proxies, and shows how they are.
    pub fn hub(&self) -> Hub {
        self.hub.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
