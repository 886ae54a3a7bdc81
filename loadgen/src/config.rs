//! What a run is asked to do, and the checks that it can be done.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::profile::Profile;

/// Most connections of one run. Each holds a socket and its buffers.
pub const MAX_CONNECTIONS: usize = 10_000;

/// Most streams of one HTTP/2 connection that are in flight at a time.
pub const MAX_STREAMS: usize = 1_000;

/// Most different requests of one run.
pub const MAX_REQUESTS: usize = 100;

/// Most threads of one run.
pub const MAX_THREADS: usize = 1_024;

/// Highest rate of the open loop, in requests per second.
pub const MAX_RATE_PER_SECOND: f64 = 1_000_000.0;

/// Largest part of a response body that an [`Inspect`] hook is shown, in bytes.
pub const MAX_INSPECTED_BODY: usize = 1 << 20;

/// Time given to one request, from the connect to the last byte of the body, unless asked otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything about one run.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is requested; of several, each time one is drawn by weight. At most [`MAX_REQUESTS`].
    pub requests: Vec<RequestSpec>,
    /// When requests are sent, and over how many connections.
    pub pace: Pace,
    /// When the run ends.
    pub limit: Limit,
    /// Time given to one request, from the connect to the last byte of the body.
    pub timeout: Duration,
    /// Version of HTTP.
    pub protocol: Protocol,
    /// Whom to believe behind `https://`.
    pub trust: Trust,
    /// Source address of the connections, for servers that tell their callers apart by address.
    pub local_address: Option<IpAddr>,
    /// Threads that make requests, 1 to [`MAX_THREADS`]; `None` for as many as there are cores to use. Never
    /// more than connections.
    pub threads: Option<usize>,
    /// Called with each complete response.
    pub inspect: Option<Inspect>,
    /// Told the time of each complete response.
    pub timing: Option<Timing>,
}

/// One of the requests that a run makes.
#[derive(Clone, Debug)]
pub struct RequestSpec {
    /// How often it is made, relative to the other requests; above 0.
    pub weight: f64,
    /// Absolute `http://` or `https://` address. The host is looked up once, when the run starts.
    pub target: Uri,
    /// Request method.
    pub method: Method,
    /// Request headers. `host` and `user-agent` are added unless they are given here.
    pub headers: HeaderMap,
    /// Request body; empty for none.
    pub body: Bytes,
}

impl RequestSpec {
    /// A `GET` of `target`.
    #[must_use]
    pub fn get(target: Uri) -> Self {
        Self { weight: 1.0, target, method: Method::GET, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// When requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Pace {
    /// Each of `connections` connections sends as fast as it is answered.
    Closed {
        /// Number of connections, 1 to [`MAX_CONNECTIONS`].
        connections: usize,
    },
    /// Requests are due at fixed intervals and shared among `connections` connections. Too few connections
    /// for the rate show as latency, or as [`Summary::unsent`](crate::Summary::unsent).
    Constant {
        /// Requests per second over all connections, above 0 and up to [`MAX_RATE_PER_SECOND`].
        rate_per_second: f64,
        /// Number of connections, 1 to [`MAX_CONNECTIONS`].
        connections: usize,
    },
    /// Requests are due as the profile says, which also ends the run.
    Open {
        /// The rate over time, over all connections.
        profile: Profile,
        /// How the requests lie within it.
        arrivals: Arrivals,
        /// Number of connections, 1 to [`MAX_CONNECTIONS`].
        connections: usize,
    },
}

/// How requests lie in time, given their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Regular,
    /// As a Poisson process: independently of each other, like the requests of many users.
    Poisson,
}

impl Pace {
    /// Number of connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        match self {
            Self::Closed { connections } | Self::Constant { connections, .. } | Self::Open { connections, .. } => {
                *connections
            }
        }
    }

    /// The rate over time; `None` for the closed loop.
    #[must_use]
    pub fn open_loop(&self) -> Option<(Profile, Arrivals)> {
        match self {
            Self::Closed { .. } => None,
            Self::Constant { rate_per_second, .. } => Some((Profile::constant(*rate_per_second), Arrivals::Regular)),
            Self::Open { profile, arrivals, .. } => Some((profile.clone(), *arrivals)),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.open_loop() {
            None => f.write_str("as fast as answered (closed loop)"),
            Some((profile, Arrivals::Regular)) => write!(f, "{profile}, at regular distances (open loop)"),
            Some((profile, Arrivals::Poisson)) => write!(f, "{profile}, as a Poisson process (open loop)"),
        }
    }
}

/// When a run ends: at whichever limit comes first, or only when it is cancelled if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// No request starts later than this after the start of the run. Requests in flight are finished.
    pub duration: Option<Duration>,
    /// Exactly this many requests are started.
    pub count: Option<u64>,
}

/// Version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on each connection.
    Http1,
    /// HTTP/2: with prior knowledge to `http://` targets, by ALPN to `https://` ones.
    Http2 {
        /// Streams in flight on each connection, 1 to [`MAX_STREAMS`].
        streams: usize,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1 => f.write_str("HTTP/1.1"),
            Self::Http2 { streams } => write!(f, "HTTP/2, {streams} streams on each connection"),
        }
    }
}

/// Whom to believe behind `https://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Mozilla's certificate authorities.
    Web,
    /// The certificate authorities in this PEM text, and no others.
    Pem(Bytes),
    /// Anyone. For test servers.
    Anyone,
}

/// A hook that sees each complete response, so that a caller can count what it finds in the bodies.
///
/// It runs on a worker's thread, between two requests: it must be quick and must not block.
#[derive(Clone)]
pub struct Inspect(Arc<dyn Fn(&Inspected<'_>) + Send + Sync>);

impl Inspect {
    /// Wraps a function.
    pub fn new(hook: impl Fn(&Inspected<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn call(&self, inspected: &Inspected<'_>) {
        (self.0)(inspected);
    }
}

impl fmt::Debug for Inspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inspect")
    }
}

/// A hook that is told of each complete response from when to when its latency counts: for who wants to know when the slow
/// ones were.
///
/// It runs on a worker's thread, between two requests: it must be quick and must not block.
#[derive(Clone)]
pub struct Timing(Arc<dyn Fn(Instant, Instant) + Send + Sync>);

impl Timing {
    /// Wraps a function of a begin and an end.
    pub fn new(hook: impl Fn(Instant, Instant) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn call(&self, begin: Instant, end: Instant) {
        (self.0)(begin, end);
    }
}

impl fmt::Debug for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timing")
    }
}

/// What an [`Inspect`] hook is shown of a response.
#[derive(Debug)]
pub struct Inspected<'a> {
    /// Status of the response.
    pub status: StatusCode,
    /// Headers of the response.
    pub headers: &'a HeaderMap,
    /// The first [`MAX_INSPECTED_BODY`] bytes of the body.
    pub body: &'a [u8],
    /// Whether the body was longer than `body`.
    pub truncated: bool,
}

/// The run cannot start. All but [`Machine`](Self::Machine) are the caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The target is not an absolute address.
    #[error("target {target:?}: {problem}; write it like http://127.0.0.1:8080/path")]
    Target {
        /// The target as given.
        target: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The request cannot be written as asked.
    #[error("{method} cannot be used: a tunnel or a protocol other than HTTP would follow")]
    Method {
        /// The method as given.
        method: Method,
    },
    /// A header that would contradict what is sent.
    #[error("header {name} cannot be given: it is written from the length of the body")]
    Header {
        /// Its name.
        name: HeaderName,
    },
    /// The target's host has no address that can be used.
    #[error("target host {host:?} cannot be looked up: {source}")]
    Lookup {
        /// `host:port` as looked up.
        host: String,
        /// The resolver's answer.
        source: std::io::Error,
    },
    /// The target's host has no address of the local address's family.
    #[error(
        "target host {host:?} has no address that can be reached from {local_address}; both must be IPv4 or both IPv6"
    )]
    Family {
        /// `host:port` as looked up.
        host: String,
        /// The source address that was asked for.
        local_address: IpAddr,
    },
    /// A number is out of range.
    #[error("{field} is {value}; it must be {range}, for example {example}")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// The value as given.
        value: String,
        /// What is allowed.
        range: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// The certificate authorities cannot be used.
    #[error("the certificate authorities cannot be used: {0}")]
    Trust(String),
    /// A latency histogram could not be made. It depends on constants only.
    #[error("the latency histogram cannot be made: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// The machine denies a thread, a timer or a descriptor.
    #[error("the machine denies a thread or a timer: {0}")]
    Machine(#[from] std::io::Error),
}

impl Config {
    /// A `GET` of `target` without limits, over HTTP/1.1, with the [default timeout](DEFAULT_TIMEOUT).
    #[must_use]
    pub fn new(target: Uri, pace: Pace) -> Self {
        Self {
            requests: vec![RequestSpec::get(target)],
            pace,
            limit: Limit::default(),
            timeout: DEFAULT_TIMEOUT,
            protocol: Protocol::Http1,
            trust: Trust::Web,
            local_address: None,
            threads: None,
            inspect: None,
            timing: None,
        }
    }

    /// Checks everything that can be checked without a look-up.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_REQUESTS).contains(&self.requests.len()) {
            return Err(range("number of targets", self.requests.len(), "from 1 to 100", "1"));
        }
        self.requests.iter().try_for_each(RequestSpec::check)?;
        self.check_pace()?;
        if let Protocol::Http2 { streams } = self.protocol
            && !(1..=MAX_STREAMS).contains(&streams)
        {
            return Err(range("streams", streams, "from 1 to 1000", "10"));
        }
        if let Some(threads) = self.threads
            && !(1..=MAX_THREADS).contains(&threads)
        {
            return Err(range("threads", threads, "from 1 to 1024", "2"));
        }
        if self.limit.count == Some(0) {
            return Err(range("count", 0, "at least 1", "1000"));
        }
        if self.limit.duration == Some(Duration::ZERO) {
            return Err(range("duration", "0s", "longer than 0", "30s"));
        }
        if self.timeout.is_zero() {
            return Err(range("timeout", "0s", "longer than 0", "10s"));
        }
        Ok(())
    }

    fn check_pace(&self) -> Result<(), ConfigError> {
        let connections = self.pace.connections();
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            return Err(range("connections", connections, "from 1 to 10000", "50"));
        }
        match self.pace.open_loop() {
            Some((profile, _)) if !profile.is_possible() => {
                Err(range("rate", profile, "above 0 and at most 1000000 per second", "100"))
            }
            _ => Ok(()),
        }
    }
}

impl RequestSpec {
    fn check(&self) -> Result<(), ConfigError> {
        let problem = match (self.target.scheme_str(), self.target.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => None,
            (Some("http" | "https"), _) => Some("it has no host"),
            (Some(_), _) => Some("only http and https are spoken"),
            (None, _) => Some("it has no scheme"),
        };
        if let Some(problem) = problem {
            return Err(ConfigError::Target { target: self.target.to_string(), problem });
        }
        if !(self.weight > 0.0 && self.weight <= 1e9) {
            return Err(range("weight", self.weight, "above 0 and at most 1000000000", "3"));
        }
        if self.method == Method::CONNECT {
            return Err(ConfigError::Method { method: self.method.clone() });
        }
        match [CONTENT_LENGTH, TRANSFER_ENCODING].into_iter().find(|name| self.headers.contains_key(name)) {
            Some(name) => Err(ConfigError::Header { name }),
            None => Ok(()),
        }
    }
}

fn range(field: &'static str, value: impl fmt::Display, range: &'static str, example: &'static str) -> ConfigError {
    ConfigError::Range { field, value: value.to_string(), range, example }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ONE: Pace = Pace::Closed { connections: 1 };

    fn config(target: &str, pace: Pace) -> Config {
        Config::new(target.parse().unwrap(), pace)
    }

    fn complaint(config: &Config) -> String {
        config.check().unwrap_err().to_string()
    }

    fn complaint_when(change: impl FnOnce(&mut Config)) -> String {
        let mut config = config("http://h/", ONE);
        change(&mut config);
        complaint(&config)
    }

    #[test]
    fn absolute_http_and_https_addresses_are_accepted() {
        for target in ["http://127.0.0.1:1/x?y", "https://h/"] {
            assert!(config(target, ONE).check().is_ok(), "{target}");
        }
    }

    #[test]
    fn a_target_that_is_not_absolute_http_is_refused_with_an_example() {
        for (target, problem) in [("/path", "no scheme"), ("ftp://h/", "only http"), ("localhost:80", "no scheme")] {
            let said = complaint(&config(target, ONE));
            assert!(said.contains(problem) && said.contains("http://127.0.0.1:8080/path"), "{said}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        for rate_per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 1_000_001.0] {
            let pace = Pace::Constant { rate_per_second, connections: 1 };
            assert!(complaint(&config("http://h/", pace)).starts_with("rate is"), "{rate_per_second}");
        }
        for connections in [0, 10_001] {
            let said = complaint(&config("http://h/", Pace::Closed { connections }));
            assert!(said.starts_with(&format!("connections is {connections}")), "{said}");
        }
        for (said, start) in [
            (complaint_when(|config| config.limit.count = Some(0)), "count is 0"),
            (complaint_when(|config| config.limit.duration = Some(Duration::ZERO)), "duration is 0s"),
            (complaint_when(|config| config.timeout = Duration::ZERO), "timeout is 0s"),
            (complaint_when(|config| config.threads = Some(0)), "threads is 0"),
            (complaint_when(|config| config.protocol = Protocol::Http2 { streams: 0 }), "streams is 0"),
            (complaint_when(|config| config.requests.clear()), "number of targets is 0"),
            (complaint_when(|config| config.requests[0].weight = f64::NAN), "weight is NaN"),
        ] {
            assert!(said.starts_with(start), "{said}");
        }
    }

    #[test]
    fn what_would_break_the_framing_of_a_request_is_refused() {
        assert!(complaint_when(|config| config.requests[0].method = Method::CONNECT).contains("tunnel"));
        for name in ["content-length", "transfer-encoding"] {
            let said = complaint_when(|config| {
                config.requests[0].headers.insert(name, "5".parse().unwrap());
            });
            assert!(said.contains(name), "{said}");
        }
    }
}
