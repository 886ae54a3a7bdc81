//! `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet, on an address of their own, bounded in connections and time.

use std::{collections::VecDeque, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use crate::proxy::Control;

/// Connections at one time; for one more the oldest ends, since a probe of the kubelet must not wait for who holds them.
const CONNECTIONS: usize = 64;
/// Time for a request's head, and for a connection between scrapes.
const HEAD: Duration = Duration::from_secs(30);
/// The content type of the OpenMetrics text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the kubelet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// It works; else it should be started anew.
    pub alive: bool,
    /// It should get traffic.
    pub ready: bool,
}

impl Health {
    /// Tells how a proxy is, whenever it is asked.
    pub fn of(proxy: Control) -> impl Fn() -> Self + Send + Sync + 'static {
        move || Self { alive: proxy.is_alive(), ready: proxy.is_ready() }
    }
}

/// Tells how the process is.
type Doctor = dyn Fn() -> Health + Send + Sync;

/// What is served.
struct Served {
    registry: Registry,
    health: Box<Doctor>,
}

/// Serves what `register` adds to a new registry, and what `health` says; returns the address, and serves in the background from then on.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn start(
    address: SocketAddr,
    health: impl Fn() -> Health + Send + Sync + 'static,
    register: impl FnOnce(&mut Registry),
) -> io::Result<SocketAddr> {
    let mut registry = Registry::default();
    register(&mut registry);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address} for metrics: {error}")))?;
    let bound = listener.local_addr()?;
    tokio::spawn(accept(listener, Arc::new(Served { registry, health: Box::new(health) })));
    Ok(bound)
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                open.push_back(tokio::spawn(serve(stream, Arc::clone(&served))).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a scrape");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, served: Arc<Served>) {
    let service = service_fn(move |request| {
        let response = respond(&request, &served);
        async move { Ok::<_, Infallible>(response) }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a scrape's connection ended");
    }
}

fn respond(request: &Request<Incoming>, served: &Served) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => said((served.health)().alive, "ok", "a core is stuck"),
        (&Method::GET | &Method::HEAD, "/readyz") => said((served.health)().ready, "ready", "draining"),
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let mut text = String::new();
            match encode(&mut text, &served.registry) {
                Ok(()) => (StatusCode::OK, OPEN_METRICS, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
            }
        }
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "text/plain", "there are /metrics, /healthz and /readyz\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

fn said(well: bool, yes: &str, no: &str) -> (StatusCode, &'static str, String) {
    let (status, text) = if well { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) };
    (status, "text/plain", format!("{text}\n"))
}
