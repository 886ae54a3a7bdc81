//! What a run is asked to do, and the checks that it can be done.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};
use hyper::body::Bytes;

/// Most connections of one run. Each holds a socket and its buffers.
pub const MAX_CONNECTIONS: usize = 10_000;

/// Highest rate of [`Pace::Constant`], in requests per second.
pub const MAX_RATE_PER_SECOND: f64 = 1_000_000.0;

/// Largest part of a response body that an [`Inspect`] hook is shown, in bytes.
pub const MAX_INSPECTED_BODY: usize = 1 << 20;

/// Time given to one request, from the connect to the last byte of the body, unless asked otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything about one run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Absolute `http://` address to request. The host is looked up once, when the run starts.
    pub target: Uri,
    /// Request method.
    pub method: Method,
    /// Request headers. `host` and `user-agent` are added unless they are given here.
    pub headers: HeaderMap,
    /// Request body; empty for none.
    pub body: Bytes,
    /// When requests are sent, and over how many connections.
    pub pace: Pace,
    /// When the run ends.
    pub limit: Limit,
    /// Time given to one request, from the connect to the last byte of the body.
    pub timeout: Duration,
    /// Source address of the connections, for servers that tell their callers apart by address.
    pub local_address: Option<IpAddr>,
    /// Called with each complete response.
    pub inspect: Option<Inspect>,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
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
}

impl Pace {
    /// Number of connections.
    #[must_use]
    pub fn connections(self) -> usize {
        match self {
            Self::Closed { connections } | Self::Constant { connections, .. } => connections,
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

/// A hook that sees each complete response, so that a caller can count what it finds in the bodies.
///
/// It runs on the worker's task, between two requests: it must be quick and must not block.
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

/// The run cannot start: the request for it is wrong. All of these are the caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The target is not an absolute `http://` address.
    #[error("target {target:?}: {problem}; write it like http://127.0.0.1:8080/path")]
    Target {
        /// The target as given.
        target: String,
        /// What is wrong with it.
        problem: &'static str,
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
    /// The latency histogram could not be made. It depends on constants only.
    #[error("the latency histogram cannot be made: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}

impl Config {
    /// A `GET` of `target` without limits, with the [default timeout](DEFAULT_TIMEOUT).
    #[must_use]
    pub fn new(target: Uri, pace: Pace) -> Self {
        Self {
            target,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            pace,
            limit: Limit::default(),
            timeout: DEFAULT_TIMEOUT,
            local_address: None,
            inspect: None,
        }
    }

    /// Checks everything that can be checked without a look-up.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_target()?;
        let connections = self.pace.connections();
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            return Err(range("connections", connections, "from 1 to 10000", "50"));
        }
        if let Pace::Constant { rate_per_second, .. } = self.pace
            && !(rate_per_second > 0.0 && rate_per_second <= MAX_RATE_PER_SECOND)
        {
            return Err(range("rate", rate_per_second, "above 0 and at most 1000000 per second", "100"));
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

    fn check_target(&self) -> Result<(), ConfigError> {
        let problem = match (self.target.scheme_str(), self.target.host()) {
            (Some("http"), Some(host)) if !host.is_empty() => return Ok(()),
            (Some("http"), _) => "it has no host",
            (Some(_), _) => "only http is supported",
            (None, _) => "it has no scheme",
        };
        Err(ConfigError::Target { target: self.target.to_string(), problem })
    }
}

fn range(field: &'static str, value: impl fmt::Display, range: &'static str, example: &'static str) -> ConfigError {
    ConfigError::Range { field, value: value.to_string(), range, example }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(target: &str, pace: Pace) -> Config {
        Config::new(target.parse().unwrap(), pace)
    }

    fn complaint(config: &Config) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn a_plain_http_address_is_accepted() {
        assert!(config("http://127.0.0.1:1/x?y", Pace::Closed { connections: 1 }).check().is_ok());
    }

    #[test]
    fn a_target_that_is_not_absolute_http_is_refused_with_an_example() {
        for (target, problem) in [("/path", "no scheme"), ("https://h/", "only http"), ("localhost:80", "no scheme")] {
            let said = complaint(&config(target, Pace::Closed { connections: 1 }));
            assert!(said.contains(problem) && said.contains("http://127.0.0.1:8080/path"), "{said}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let target = "http://h/";
        for rate_per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 1_000_001.0] {
            assert!(
                complaint(&config(target, Pace::Constant { rate_per_second, connections: 1 })).starts_with("rate is")
            );
        }
        assert!(complaint(&config(target, Pace::Closed { connections: 0 })).starts_with("connections is 0"));
        assert!(complaint(&config(target, Pace::Closed { connections: 10_001 })).starts_with("connections is 10001"));
        let mut limited = config(target, Pace::Closed { connections: 1 });
        limited.limit.count = Some(0);
        assert!(complaint(&limited).starts_with("count is 0"));
        limited.limit = Limit { duration: Some(Duration::ZERO), count: None };
        assert!(complaint(&limited).starts_with("duration is 0s"));
        limited.limit = Limit::default();
        limited.timeout = Duration::ZERO;
        assert!(complaint(&limited).starts_with("timeout is 0s"));
    }
}
