//! Every limit of the data plane in one table: its name, default and reason, what happens when it is reached, and where
//! that is counted. The README's table is this one; a test compares them, and `make readme` writes it anew.

use std::time::Duration;

use glooshot_api::quantity::GoDuration;

/// Bytes of all HTTP/2 streams of one connection that may be under way towards us.
///
/// h2 ends a connection on which small DATA frames cost more than half of this as long as nobody reads them, 256 bytes for
/// each. gRPC streams are small frames: what fits into one stream's window must not be a reason for that.
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;

/// With less, requests of usual clients with a few cookies would be refused.
const MIN_HEAD_BYTES: usize = 8_192;

/// One limit, as it is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it is called in `--limit NAME=VALUE`.
    pub name: &'static str,
    /// What it bounds.
    pub bounds: &'static str,
    /// Why there is a bound, and why this one.
    pub reason: &'static str,
    /// What happens when it is reached.
    pub reached: &'static str,
    /// The metric that tells how often that was; `-` where nothing is lost by it.
    pub metric: &'static str,
}

/// A value that a limit can have.
trait Value: Sized {
    /// Reads it; `None` when it is not one, or is zero.
    fn read(text: &str) -> Option<Self>;
    /// Writes it as it is read.
    fn written(&self) -> String;
    /// How it is written, as an example.
    const FORM: &'static str;
}

impl Value for Duration {
    fn read(text: &str) -> Option<Self> {
        text.parse::<GoDuration>().ok().map(GoDuration::get).filter(|duration| !duration.is_zero())
    }

    fn written(&self) -> String {
        GoDuration::from(*self).to_string()
    }

    const FORM: &'static str = "a duration above 0, as in 5s";
}

impl Value for usize {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }

    fn written(&self) -> String {
        self.to_string()
    }

    const FORM: &'static str = "a whole number above 0, as in 100";
}

impl Value for u32 {
    fn read(text: &str) -> Option<Self> {
        // HTTP/2 has no window above 2^31 - 1 (RFC 9113 §6.9.1).
        text.parse().ok().filter(|number| (1..=i32::MAX.unsigned_abs()).contains(number))
    }

    fn written(&self) -> String {
        self.to_string()
    }

    const FORM: &'static str = "a whole number above 0, as in 100";
}

macro_rules! limits {
    ($($name:ident: $kind:ty = $default:expr, $bounds:literal, $reason:literal, $reached:literal, $metric:literal;)*) => {
        /// The limits of one proxy. Nothing is unbounded.
        #[derive(Clone, Debug)]
        pub struct Limits {
            $(#[doc = $bounds] pub $name: $kind,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// All limits, in the order in which a request meets them.
        pub const LIMITS: &[Limit] = &[$(
            Limit { name: stringify!($name), bounds: $bounds, reason: $reason, reached: $reached, metric: $metric },
        )*];

        impl Limits {
            /// Changes the limit with this name.
            ///
            /// # Errors
            /// When there is none of this name, or the value is not of its kind.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
                match name {
                    $(stringify!($name) => {
                        let read = <$kind as Value>::read(value);
                        let $name = read.ok_or_else(|| format!("{value:?} is not {}", <$kind as Value>::FORM))?;
                        let changed = Self { $name, ..self.clone() };
                        changed.check()?;
                        *self = changed;
                        Ok(())
                    })*
                    _ => Err(format!("there is no limit {name:?}; the limits are: {}", names().join(", "))),
                }
            }

            /// The values in the order of [`LIMITS`], as they are written.
            pub fn values(&self) -> Vec<String> {
                vec![$(Value::written(&self.$name),)*]
            }
        }
    };
}

impl Limits {
    /// Whether each value is one that works.
    fn check(&self) -> Result<(), String> {
        if self.head_bytes < MIN_HEAD_BYTES {
            return Err(format!("head_bytes must be at least {MIN_HEAD_BYTES}"));
        }
        Ok(())
    }
}

limits! {
    connections: usize = 10_000,
        "connections of one listener and core",
        "each holds a file descriptor and memory",
        "no more are accepted until one ends; they wait in the kernel's queue",
        "glooshot_proxy_open_connections";
    handshake: Duration = Duration::from_secs(5),
        "a TLS handshake, with a client or an upstream",
        "a client that says nothing would hold its place for ever",
        "closed; an upstream's is a 503",
        "glooshot_proxy_rejected_total{reason=\"tls-handshake\"}";
    first_byte: Duration = Duration::from_secs(5),
        "the first bytes, which tell the protocol",
        "a silent client would hold its place for ever",
        "what could still become HTTP is closed, the rest is passed through",
        "glooshot_proxy_rejected_total{reason=\"head-timeout\"}";
    request_head: Duration = Duration::from_secs(10),
        "a complete head, from its first byte",
        "slow heads are the cheapest way to exhaust a server",
        "closed",
        "glooshot_proxy_rejected_total{reason=\"head-timeout\"}";
    head_bytes: usize = 64 * 1024,
        "bytes of a head, or of an HTTP/2 header list",
        "large cookies fit; memory for one head stays small",
        "request: 431; response: 502",
        "glooshot_proxy_rejected_total{reason=\"too-many-headers\"}";
    request_headers: usize = 100,
        "header fields of a request",
        "each costs a look-up in everything that reads them",
        "431",
        "glooshot_proxy_rejected_total{reason=\"too-many-headers\"}";
    response_headers: usize = 256,
        "header fields of a response",
        "services set more than clients do",
        "502",
        "glooshot_proxy_requests_total{flag=\"UPE\"}";
    target_bytes: usize = 16 * 1024,
        "bytes of a request target",
        "twice what RFC 9110 §4.1 asks every server to take",
        "414",
        "glooshot_proxy_rejected_total{reason=\"target-too-long\"}";
    streams: u32 = 250,
        "HTTP/2 streams of one connection at a time",
        "each can hold a window in both directions; what servers of Go allow, so that a caller of one is not refused by us",
        "refused (REFUSED_STREAM); towards an upstream another connection is made",
        "glooshot_proxy_streams_refused_total";
    stream_window: u32 = 64 * 1024,
        "bytes of one HTTP/2 stream under way, in each direction",
        "what one slow reader can make us hold",
        "no more is read from the other side until there is room",
        "-";
    control_frames: u32 = 1_000,
        "HTTP/2 frames without content in a second (SETTINGS, PING, PRIORITY, empty DATA ...)",
        "they cost more to answer than to send",
        "GOAWAY, then the end",
        "glooshot_proxy_rejected_total{reason=\"flood\"}";
    stream_resets: u32 = 500,
        "HTTP/2 streams that the client resets in a second, where they are most of its streams",
        "rapid reset (CVE-2023-44487)",
        "GOAWAY, then the end",
        "glooshot_proxy_rejected_total{reason=\"flood\"}";
    requests: usize = 10_000,
        "requests under way on one core",
        "beyond what a core can serve, waiting only makes all of them late",
        "503 at once (`x-glooshot-error: proxy; overloaded`)",
        "glooshot_proxy_requests_total{flag=\"OM\"}";
    connect: Duration = Duration::from_secs(1),
        "a connection to an endpoint (`--connect-timeout`)",
        "inside a cluster it takes a millisecond",
        "the next endpoint is tried",
        "glooshot_proxy_requests_total{flag=\"UF\"}";
    connect_attempts: usize = 5,
        "endpoints that are tried for one request",
        "a roll-out can take two away at once; more tries would only take longer to fail",
        "503",
        "glooshot_proxy_requests_total{flag=\"UF\"}";
    response_head: Duration = Duration::from_secs(15),
        "the head of an answer, from the end of the request (`--response-timeout`)",
        "callers rarely wait longer",
        "504",
        "glooshot_proxy_requests_total{flag=\"UT\"}";
    stalled: Duration = Duration::from_secs(300),
        "no byte of a request or response that is under way, or a response that its client does not take",
        "whoever is still interested shows it",
        "closed",
        "glooshot_proxy_requests_total{flag=~\"DC|UT\"}";
    idle_client: Duration = Duration::from_secs(60),
        "a client's connection between requests",
        "unused places are for others",
        "closed, over HTTP/2 with a GOAWAY",
        "-";
    idle_upstream: Duration = Duration::from_secs(30),
        "an upstream's connection between requests",
        "shorter than what servers wait, so that we close first",
        "closed",
        "-";
    idle_per_endpoint: usize = 1_024,
        "idle connections to one endpoint and core",
        "a burst must not be kept for ever",
        "more are closed",
        "-";
    keep_alive: Duration = Duration::from_secs(20),
        "no sign of life of an upstream's host",
        "a host that has gone would be waited for until the response's limit, again and again",
        "the kernel asks (TCP keep-alive), four times within the same time, and ends the connection",
        "glooshot_proxy_requests_total{flag=\"UC\"}";
    tunnel_idle: Duration = Duration::from_secs(3_600),
        "no byte in a connection that is passed through or upgraded",
        "protocols that we do not know may be silent for long",
        "closed",
        "-";
    drain_accept: Duration = Duration::from_secs(60),
        "new connections while the proxy stops, behind `--drain-at-least`",
        "callers that never stop coming must not keep it",
        "the listeners close",
        "-";
    drain: Duration = Duration::from_secs(30),
        "requests under way when the listeners have closed",
        "what Kubernetes grants a pod by default",
        "they are cut off",
        "-";
    series: usize = 2_000,
        "label combinations of the request metrics",
        "a hostile peer must not choose how much memory a metrics store needs",
        "more are counted with unknown peers and the class of their status (`500` for 5xx)",
        "-";
}

/// Limits that cannot be changed, with their values: the proxy's own, and those of an Experiment.
pub const FIXED: &[(Limit, &str)] = &[
    (
        Limit {
            name: "chunk extensions",
            bounds: "bytes of chunk extensions in one body",
            reason: "nobody uses them, and they never end",
            reached: "400, and the connection is closed",
            metric: "glooshot_proxy_rejected_total{reason=\"body\"}",
        },
        "16384",
    ),
    (
        Limit {
            name: "trailers",
            bounds: "bytes of trailers behind one body",
            reason: "they are held in memory until they are complete",
            reached: "400, and the connection is closed",
            metric: "glooshot_proxy_rejected_total{reason=\"body\"}",
        },
        "16384",
    ),
    (
        Limit {
            name: "connection window",
            bounds: "bytes of all HTTP/2 streams of one connection under way towards us",
            reason: "what one fast sender can make us hold",
            reached: "no more is read until there is room",
            metric: "-",
        },
        "4194304",
    ),
    (
        Limit {
            name: "active delays",
            bounds: "requests that are being delayed at one time (`limits.maxConcurrentDelays` of the Experiment)",
            reason: "each holds a connection and memory for as long as its delay",
            reached: "more pass without a fault",
            metric: "glooshot_proxy_faults_overflow_total",
        },
        "5000",
    ),
];

/// The names of all limits.
fn names() -> Vec<&'static str> {
    LIMITS.iter().map(|limit| limit.name).collect()
}

/// The table of all limits with their defaults, in Markdown; those that cannot be changed come last.
pub fn table() -> String {
    let defaults = Limits::default().values();
    let settable =
        LIMITS.iter().zip(&defaults).map(|(limit, default)| row(limit, &format!("`{}`", limit.name), default));
    let fixed = FIXED.iter().map(|(limit, value)| row(limit, limit.name, value));
    let head = "| limit | default | bounds | why | at the limit | told by |\n|---|---|---|---|---|---|\n".to_owned();
    settable.chain(fixed).fold(head, |table, row| table + &row)
}

fn row(limit: &Limit, name: &str, value: &str) -> String {
    let Limit { bounds, reason, reached, metric, .. } = limit;
    let metric = if *metric == "-" { (*metric).to_owned() } else { format!("`{metric}`") };
    format!("| {name} | {value} | {bounds} | {reason} | {reached} | {metric} |\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_to_what_it_says_it_is() {
        let mut limits = Limits::default();
        for (limit, value) in LIMITS.iter().zip(Limits::default().values()) {
            limits.set(limit.name, &value).unwrap();
        }
        assert_eq!(limits.values(), Limits::default().values());
        limits.set("idle_client", "250ms").unwrap();
        limits.set("streams", "7").unwrap();
        assert_eq!((limits.idle_client, limits.streams), (Duration::from_millis(250), 7));
    }

    #[test]
    fn the_readme_has_this_very_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let (before, rest) = readme.split_once("<!-- limits -->\n").expect("a marker before the table");
        let (kept, after) = rest.split_once("<!-- /limits -->").expect("a marker behind the table");
        if std::env::var("GLOOSHOT_WRITE").is_ok_and(|value| value == "1") {
            let readme = format!("{before}<!-- limits -->\n{}<!-- /limits -->{after}", table());
            std::fs::write(path, readme).unwrap();
            return;
        }
        assert_eq!(kept, table(), "`make readme` writes it anew");
    }

    #[test]
    fn what_is_no_limit_or_no_value_of_it_is_told() {
        let mut limits = Limits::default();
        assert!(limits.set("idle", "5s").unwrap_err().contains("idle_client"));
        for (name, value) in [("idle_client", "5"), ("idle_client", "0s"), ("streams", "0"), ("requests", "-1")] {
            assert!(limits.set(name, value).unwrap_err().contains("as in"), "{name}={value}");
        }
    }
}
