//! The checked and resolved form of a [`Config`]: where to connect, and the request to send there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::config::{Config, ConfigError, Inspect};

const AGENT: &str = concat!("glooshot-loadgen/", env!("CARGO_PKG_VERSION"));

/// Everything a worker needs to make requests.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    local_address: Option<IpAddr>,
    method: Method,
    /// Path and query only (RFC 9112 §3.2.1, origin-form).
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
    pub(crate) timeout: Duration,
    pub(crate) inspect: Option<Inspect>,
}

impl Target {
    /// Checks the configuration and looks its host up.
    pub(crate) async fn resolve(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let address = look_up(&config).await?;
        let headers = headers(&config)?;
        let path = config.target.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
        Ok(Self {
            address,
            local_address: config.local_address,
            method: config.method,
            path,
            headers,
            body: config.body,
            timeout: config.timeout,
            inspect: config.inspect,
        })
    }

    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(local) = self.local_address {
            // A port in TIME_WAIT may be taken again: a bound socket picks its port before it knows its peer.
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(local, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn look_up(config: &Config) -> Result<SocketAddr, ConfigError> {
    let host = config.target.host().unwrap_or_default();
    let port = config.target.port_u16().unwrap_or(80);
    let name = format!("{host}:{port}");
    let mut found =
        lookup_host(name.clone()).await.map_err(|source| ConfigError::Lookup { host: name.clone(), source })?;
    match config.local_address {
        Some(local_address) => found
            .find(|address| address.is_ipv4() == local_address.is_ipv4())
            .ok_or(ConfigError::Family { host: name, local_address }),
        None => found.next().ok_or_else(|| ConfigError::Lookup {
            host: name,
            source: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        }),
    }
}

fn headers(config: &Config) -> Result<HeaderMap, ConfigError> {
    let mut headers = config.headers.clone();
    if !headers.contains_key(HOST) {
        let authority = config.target.authority().map_or("", http::uri::Authority::as_str);
        // User information is never sent in Host (RFC 9110 §7.2).
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = HeaderValue::from_str(host).map_err(|_| ConfigError::Target {
            target: config.target.to_string(),
            problem: "its host cannot be written in a Host header",
        })?;
        headers.insert(HOST, host);
    }
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    }
    Ok(headers)
}
