//! The checked and resolved form of a [`Config`]: where to connect, and the requests as they are sent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::header::{CONNECTION, HOST, TE, UPGRADE, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use rustls::pki_types::ServerName;
use tokio::net::lookup_host;
use tokio_rustls::TlsConnector;

use crate::client::dial::{Origin, Tls};
use crate::config::{Config, ConfigError, Inspect, Protocol, RequestSpec, Timing};
use crate::summary::ErrorClass;
use crate::trust::client_config;

const AGENT: &str = concat!("glooshot-loadgen/", env!("CARGO_PKG_VERSION"));

/// Bytes of a request that every send buffer has room for.
const SMALL: usize = 8 * 1024;

/// Everything that the workers need to make requests; the same for all cores.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Different places to connect to.
    pub(crate) origins: Vec<Origin>,
    requests: Vec<Request>,
    /// For each request the sum of its weight and of those before it.
    weights: Vec<f64>,
    pub(crate) timeout: Duration,
    pub(crate) inspect: Option<Inspect>,
    pub(crate) timing: Option<Timing>,
}

/// One request, ready to be sent over either protocol.
#[derive(Debug)]
pub(crate) struct Request {
    /// Index of its origin.
    pub(crate) origin: usize,
    /// All bytes in HTTP/1.1, the body included.
    pub(crate) wire: Bytes,
    /// The head in HTTP/2.
    pub(crate) head: http::Request<()>,
    pub(crate) body: Bytes,
    /// Its response has no body.
    pub(crate) bodiless: bool,
    /// It asks for the end of its connection.
    pub(crate) closes: bool,
}

impl Prepared {
    /// Whether every request goes out in one piece, and none through TLS.
    pub(crate) fn is_small_and_plain(&self) -> bool {
        self.origins.iter().all(|origin| origin.tls.is_none())
            && self.requests.iter().all(|one| one.wire.len() <= SMALL)
    }

    /// Checks the configuration and looks its hosts up.
    pub(crate) async fn resolve(config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        let mut places: Vec<(Scheme, String)> = Vec::new();
        let mut origins = Vec::new();
        let mut requests = Vec::new();
        let mut connector = None;
        for spec in &config.requests {
            let place = place(&spec.target);
            let known = places.iter().position(|other| *other == place);
            let origin = match known {
                Some(known) => known,
                None => {
                    origins.push(resolve(config, &spec.target, &mut connector).await?);
                    places.push(place);
                    origins.len() - 1
                }
            };
            requests.push(Request::new(spec, origin)?);
        }
        let add = |sum: &mut f64, spec: &RequestSpec| {
            *sum += spec.weight;
            Some(*sum)
        };
        let weights = config.requests.iter().scan(0.0, add).collect();
        let (inspect, timing) = (config.inspect.clone(), config.timing.clone());
        Ok(Self { origins, requests, weights, timeout: config.timeout, inspect, timing })
    }

    /// The request with an index from [`choose`](Self::choose).
    pub(crate) fn request(&self, index: usize) -> Result<&Request, ErrorClass> {
        self.requests.get(index).ok_or(ErrorClass::Protocol)
    }

    /// Draws a request by weight.
    pub(crate) fn choose(&self, rng: &mut Rng) -> usize {
        match self.weights.as_slice() {
            [.., total] if self.weights.len() > 1 => {
                let drawn = rng.f64() * total;
                self.weights.partition_point(|sum| *sum <= drawn).min(self.weights.len() - 1)
            }
            _ => 0,
        }
    }
}

/// Targets with the same place share their connections.
fn place(target: &Uri) -> (Scheme, String) {
    let scheme = target.scheme().cloned().unwrap_or(Scheme::HTTP);
    let port = target.port_u16().unwrap_or(if scheme == Scheme::HTTPS { 443 } else { 80 });
    (scheme, format!("{}:{port}", target.host().unwrap_or_default()))
}

async fn resolve(config: &Config, target: &Uri, connector: &mut Option<TlsConnector>) -> Result<Origin, ConfigError> {
    let (scheme, name) = place(target);
    let address = look_up(config, name).await?;
    let tls = if scheme == Scheme::HTTPS { Some(tls(config, target, connector)?) } else { None };
    Ok(Origin { address, local_address: config.local_address, tls })
}

fn tls(config: &Config, target: &Uri, connector: &mut Option<TlsConnector>) -> Result<Tls, ConfigError> {
    let must_be_h2 = matches!(config.protocol, Protocol::Http2 { .. });
    let connector = match connector {
        Some(connector) => connector.clone(),
        None => connector.insert(TlsConnector::from(Arc::new(client_config(&config.trust, must_be_h2)?))).clone(),
    };
    // An IPv6 address stands in brackets in an address, and without them in a certificate.
    let host = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let server_name = ServerName::try_from(host).map_err(|_| ConfigError::Target {
        target: target.to_string(),
        problem: "its host can be in no certificate",
    })?;
    Ok(Tls { connector, server_name, must_be_h2 })
}

async fn look_up(config: &Config, name: String) -> Result<SocketAddr, ConfigError> {
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

impl Request {
    fn new(spec: &RequestSpec, origin: usize) -> Result<Self, ConfigError> {
        let headers = headers(spec)?;
        let closes = headers.get_all(CONNECTION).iter().any(|value| {
            value.as_bytes().split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(b"close"))
        });
        Ok(Self {
            origin,
            wire: wire(spec, &headers),
            head: head(spec, headers)?,
            body: spec.body.clone(),
            bodiless: spec.method == Method::HEAD,
            closes,
        })
    }
}

fn headers(spec: &RequestSpec) -> Result<HeaderMap, ConfigError> {
    let mut headers = spec.headers.clone();
    if !headers.contains_key(HOST) {
        let authority = spec.target.authority().map_or("", http::uri::Authority::as_str);
        // User information is never sent in Host (RFC 9110 §7.2).
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = HeaderValue::from_str(host).map_err(|_| ConfigError::Target {
            target: spec.target.to_string(),
            problem: "its host cannot be written in a Host header",
        })?;
        headers.insert(HOST, host);
    }
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    }
    Ok(headers)
}

/// The request in HTTP/1.1, with its target in origin-form (RFC 9112 §3.2.1).
fn wire(spec: &RequestSpec, headers: &HeaderMap) -> Bytes {
    let path = spec.target.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut wire = Vec::from(format!("{} {path} HTTP/1.1\r\n", spec.method));
    let mut line = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            wire.extend_from_slice(part);
        }
    };
    // Host first (RFC 9110 §7.2).
    for (name, value) in headers.iter().filter(|(name, _)| *name == HOST) {
        line(name.as_str(), value.as_bytes());
    }
    for (name, value) in headers.iter().filter(|(name, _)| *name != HOST) {
        line(name.as_str(), value.as_bytes());
    }
    // Servers expect a length of what usually has a body, even if it is empty (RFC 9110 §8.6).
    let expected = [Method::POST, Method::PUT, Method::PATCH].contains(&spec.method);
    if expected || !spec.body.is_empty() {
        line("content-length", spec.body.len().to_string().as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(&spec.body);
    wire.into()
}

/// The head in HTTP/2: what is about the connection is left out (RFC 9113 §8.2.2), and Host is the authority.
fn head(spec: &RequestSpec, mut headers: HeaderMap) -> Result<http::Request<()>, ConfigError> {
    let host = headers.remove(HOST);
    let authority = host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let uri = Uri::builder()
        .scheme(spec.target.scheme().cloned().unwrap_or(Scheme::HTTP))
        .authority(authority)
        .path_and_query(spec.target.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()
        .map_err(|_| ConfigError::Target { target: spec.target.to_string(), problem: "its Host header is no host" })?;
    let of_connection = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    for name in [CONNECTION, UPGRADE, TE].into_iter().chain(of_connection) {
        headers.remove(name);
    }
    let mut request = http::Request::new(());
    *request.method_mut() = spec.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Pace;

    fn spec(target: &str) -> RequestSpec {
        RequestSpec::get(target.parse().unwrap())
    }

    fn wire_of(spec: &RequestSpec) -> String {
        String::from_utf8(Request::new(spec, 0).unwrap().wire.to_vec()).unwrap()
    }

    #[test]
    fn a_request_is_in_origin_form_with_host_first() {
        let mut get = spec("http://me@h:81/a?b=c");
        get.headers.insert("accept", "*/*".parse().unwrap());
        let wire = wire_of(&get);
        assert!(wire.starts_with("GET /a?b=c HTTP/1.1\r\nhost: h:81\r\n"), "{wire}");
        assert!(wire.contains("\r\naccept: */*\r\n") && wire.ends_with("\r\n\r\n"), "{wire}");
        assert!(wire.contains("\r\nuser-agent: glooshot-loadgen/") && !wire.contains("content-length"), "{wire}");
    }

    #[test]
    fn a_body_has_its_length_and_a_post_without_one_has_length_0() {
        let mut post = spec("http://h/");
        post.method = Method::POST;
        assert!(wire_of(&post).contains("\r\ncontent-length: 0\r\n"));
        post.body = "four".into();
        assert!(wire_of(&post).ends_with("\r\ncontent-length: 4\r\n\r\nfour"));
    }

    #[test]
    fn in_http_2_host_is_the_authority_and_what_is_about_the_connection_is_left_out() {
        let mut get = spec("https://h/x");
        for (name, value) in [("host", "other"), ("connection", "close"), ("te", "trailers"), ("x", "y")] {
            get.headers.insert(name, value.parse().unwrap());
        }
        let request = Request::new(&get, 0).unwrap();
        assert_eq!(request.head.uri(), "https://other/x");
        let mut names: Vec<_> = request.head.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["user-agent", "x"]);
        assert!(request.closes);
    }

    #[tokio::test]
    async fn targets_of_one_place_share_an_origin_and_are_drawn_by_weight() {
        let mut config = Config::new("http://127.0.0.1:80/a".parse().unwrap(), Pace::Closed { connections: 1 });
        config.requests.push(RequestSpec { weight: 3.0, ..spec("http://127.0.0.1/b") });
        config.requests.push(RequestSpec { weight: 6.0, ..spec("http://127.0.0.1:81/") });
        let prepared = Prepared::resolve(&config).await.unwrap();
        assert_eq!(prepared.requests.iter().map(|request| request.origin).collect::<Vec<_>>(), [0, 0, 1]);
        let mut rng = Rng::with_seed(3);
        let mut drawn = [0_u32; 3];
        for _ in 0..100_000 {
            drawn[prepared.choose(&mut rng)] += 1;
        }
        for (count, share) in drawn.into_iter().zip([0.1, 0.3, 0.6]) {
            let sigma = (1e5_f64 * share * (1.0 - share)).sqrt();
            assert!((f64::from(count) - 1e5 * share).abs() < 5.0 * sigma, "{drawn:?}");
        }
    }
}
