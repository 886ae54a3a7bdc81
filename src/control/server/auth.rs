//! Who a peer is: the controller's own affair, asked once for each connection and again every few minutes.

use std::{future::Future, net::IpAddr};

use glooshot_api::names::ServiceName;

/// A proxy that has been recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The one Service that it serves; it is told and believed about nothing else.
    pub service: ServiceName,
    /// The name of its pod.
    pub pod: String,
    /// The uid of its pod.
    pub uid: String,
}

/// Why nobody was recognised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// The peer is not one of our proxies: its own fault. The reason is told to it.
    #[error("{0}")]
    Refused(String),
    /// Nobody can tell now: whoever is connected stays, nobody new is let in.
    #[error("nobody can be authenticated now: {0}")]
    Unavailable(String),
}

/// Recognises proxies by their bearer token and the address that they call from.
pub trait Authenticator: Send + Sync + 'static {
    /// Who has sent this token from this address.
    fn authenticate(&self, token: &str, peer: IpAddr)
    -> impl Future<Output = Result<Identity, Unauthenticated>> + Send;
}
