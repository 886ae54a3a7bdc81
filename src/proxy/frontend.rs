//! One Service port as its clients meet it: what the gate knows, our name in `Via`, TLS, and how its upstream is spoken to.

use std::sync::Arc;

use glooshot_api::names::ServicePort;
use http::HeaderValue;

use super::{
    StaticRoute,
    admit::Gate,
    limits::Limits,
    rewrite::Via,
    tls::{Termination, TlsError, UpstreamTls},
    transport::Transport,
};

/// One Service port; the same for all cores and connections.
#[derive(Debug)]
pub(crate) struct Frontend {
    /// Its index in the configuration.
    pub(crate) index: usize,
    /// The Service port.
    pub(crate) port: ServicePort,
    /// What the gate knows of it.
    pub(crate) gate: Gate,
    /// Our entries in `Via`.
    pub(crate) via: Via,
    /// Ends TLS; without it TLS passes through.
    pub(crate) tls: Option<Arc<Termination>>,
    /// How its upstream is spoken to.
    pub(crate) transport: Transport,
}

impl Frontend {
    /// Reads what its files say.
    pub(crate) fn new(index: usize, route: &StaticRoute, limits: &Limits) -> Result<Self, TlsError> {
        let port = route.origin.port.clone();
        let tls = route.tls.clone().map(Termination::load).transpose()?.map(Arc::new);
        let upstream_tls = route.upstream_tls.clone().map(UpstreamTls::load).transpose()?.map(Arc::new);
        let id = if upstream_tls.is_some() { index + 1 } else { 0 };
        let ends_tls = tls.is_some();
        Ok(Self {
            index,
            gate: gate(&port, limits),
            via: Via::new(&pseudonym(&port)),
            tls,
            transport: Transport { protocol: route.upstream_protocol, tls: upstream_tls, ends_tls, id },
            port,
        })
    }

    /// All Service ports of a configuration.
    pub(crate) fn all(routes: &[StaticRoute], limits: &Limits) -> Result<Vec<Arc<Self>>, TlsError> {
        routes.iter().enumerate().map(|(index, route)| Self::new(index, route, limits).map(Arc::new)).collect()
    }
}

/// Our name in `Via`: one for each Service port, since a request may well pass the proxies of several Services.
fn pseudonym(port: &ServicePort) -> String {
    format!("{}.{}.glooshot", port.service.name, port.service.namespace)
}

fn gate(port: &ServicePort, limits: &Limits) -> Gate {
    let host = format!("{}.{}:{}", port.service.name, port.service.namespace, port.port);
    let default_host = HeaderValue::try_from(host).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
    Gate {
        pseudonym: pseudonym(port),
        default_host,
        target_bytes: limits.target_bytes,
        headers: limits.request_headers,
    }
}
