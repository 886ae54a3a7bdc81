//! What `proxy` and `run` have in common: routes, callers, metrics, limits; parsed once into what the proxy is started with.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use clap::ValueEnum;
use glooshot_api::{
    names::{KnownPort, ServiceName, ServicePort},
    plan::{Endpoint, PlannedRoute, PlannedSource, SubsetWeight},
    quantity::GoDuration,
};

use super::transport_options::{
    self, TLS_HELP, TLS_LONG_HELP, TlsOption, UPSTREAM_PROTOCOL_HELP, UPSTREAM_PROTOCOL_LONG_HELP, UPSTREAM_TLS_HELP,
    UPSTREAM_TLS_LONG_HELP, UpstreamProtocolOption, UpstreamTlsOption,
};
use crate::proxy::{DrainRule, ForwardedFor, Limits, Origin, ProxyConfig, StaticRoute};

const ROUTE_HELP: &str = "A Service port: NS/SVC:PORT=LISTEN->UPSTREAM[@SUBSET][,UPSTREAM[@SUBSET]...]";
const ROUTE_LONG_HELP: &str = "\
A Service port: NS/SVC:PORT=LISTEN->UPSTREAM[@SUBSET][,UPSTREAM[@SUBSET]...]

Requests that arrive at LISTEN go to the UPSTREAMs. NS, SVC and PORT are what an Experiment calls it:
bookinfo/ratings:9080=127.0.0.1:19080->127.0.0.1:9080 is the upstream bookinfo-ratings-9080.
Subsets (->127.0.1.13:9080@v3,127.0.1.14:9080@v4) are what routing rules and metrics call versions.";
const SOURCE_HELP: &str = "A caller: IP=[NS/]APP[:VERSION], for originServices and for the source_app of metrics";

/// Routes and callers of a proxy on this machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProxyOptions {
    #[arg(long = "route", value_name = "ROUTE", required = true, help = ROUTE_HELP, long_help = ROUTE_LONG_HELP)]
    pub(crate) routes: Vec<RouteOption>,

    #[arg(long = "source", value_name = "SOURCE", help = SOURCE_HELP)]
    sources: Vec<SourceOption>,

    /// Serve /metrics (Prometheus), /healthz and /readyz at this address
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen_metrics: Option<SocketAddr>,

    /// Threads of the proxy [default: the cores this process may use, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,

    /// What happens to the X-Forwarded-For that a client sends
    #[arg(long, value_name = "MODE", default_value = "append")]
    forwarded_for: ForwardedForOption,

    /// Time to connect to an upstream
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = positive)]
    connect_timeout: GoDuration,

    /// Time to the head of an upstream's answer, from the end of the request
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = positive)]
    response_timeout: GoDuration,

    #[arg(long = "tls", value_name = "TLS", help = TLS_HELP, long_help = TLS_LONG_HELP)]
    tls: Vec<TlsOption>,

    #[arg(long, value_name = "TLS", help = UPSTREAM_TLS_HELP, long_help = UPSTREAM_TLS_LONG_HELP)]
    upstream_tls: Vec<UpstreamTlsOption>,

    #[arg(long, value_name = "PROTOCOL", help = UPSTREAM_PROTOCOL_HELP, long_help = UPSTREAM_PROTOCOL_LONG_HELP)]
    upstream_protocol: Vec<UpstreamProtocolOption>,

    /// A caller whose requests and connections are never faulted, such as a load balancer that checks health through the proxy
    #[arg(long = "exempt", value_name = "IP")]
    exempt: Vec<IpAddr>,

    /// When stopping: accept connections for at least this long, since those who route here hear of it late
    #[arg(long, value_name = "DURATION", default_value = "200ms")]
    drain_at_least: GoDuration,

    /// When stopping: and until no connection has come for this long; on one machine clients reconnect at once, so by default
    /// nobody waits for that
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    drain_quiet: GoDuration,

    /// Change a limit of the proxy, as in idle_client=5m; the README lists them all
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    limits: Vec<(String, String)>,

    /// The share of requests, from 0 to 1, that the access log writes (RUST_LOG=glooshot::access=debug); those that were
    /// faulted or failed are always written
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    access_log_share: f64,
}

/// `NAME=VALUE` of a limit that there is.
fn limit(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, as in idle_client=5m")?;
    Limits::default().set(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be from 0 to 1, as in 0.01".to_owned())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ForwardedForOption {
    /// The client's address is added behind it
    Append,
    /// It is replaced
    Overwrite,
}

/// One `--route`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteOption {
    port: ServicePort,
    listen: SocketAddr,
    endpoints: Vec<Endpoint>,
    weights: Vec<SubsetWeight>,
}

/// One `--source`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SourceOption {
    address: IpAddr,
    namespace: Option<String>,
    app: String,
    version: Option<String>,
}

const ROUTE_FORM: &str = "write NS/SVC:PORT=LISTEN->UPSTREAM[@SUBSET][,UPSTREAM...], \
                          as in bookinfo/ratings:9080=127.0.0.1:19080->127.0.0.1:9080";
const SOURCE_FORM: &str = "write IP=[NS/]APP[:VERSION], as in 127.0.1.10=productpage:v1";

impl FromStr for RouteOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("no '=' in {text:?}; {ROUTE_FORM}"))?;
        let (listen, upstreams) = rest.split_once("->").ok_or_else(|| format!("no '->' in {text:?}; {ROUTE_FORM}"))?;
        let endpoints = upstreams.split(',').map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = endpoints.iter().find(|e| !seen.insert((e.address, e.subset.clone()))) {
            return Err(format!("upstream {} is named twice in {text:?}", twice.address));
        }
        Ok(Self {
            port: service_port(name, ROUTE_FORM)?,
            listen: address("LISTEN", listen)?,
            endpoints,
            weights: Vec::new(),
        })
    }
}

/// A duration that is not zero.
pub(crate) fn positive(text: &str) -> Result<GoDuration, String> {
    match text.parse::<GoDuration>() {
        Ok(duration) if duration.get().is_zero() => Err("must be longer than 0, as in 1s".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

/// `NS/SVC:PORT`; `help` says in which form it is expected.
pub(super) fn service_port(text: &str, help: &str) -> Result<ServicePort, String> {
    let form = || format!("{text:?} is not NS/SVC:PORT; {help}");
    let (service, port) = text.trim().rsplit_once(':').ok_or_else(form)?;
    let (namespace, name) = service.split_once('/').ok_or_else(form)?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(form)?;
    for part in [namespace, name] {
        if !is_dns_label(part) {
            return Err(format!("{part:?} is not a Kubernetes name (lower-case letters, digits and '-'); {help}"));
        }
    }
    let service = ServiceName { namespace: namespace.to_owned(), name: name.to_owned() };
    Ok(ServicePort { service, port })
}

/// A DNS-1123 label, which Service and namespace names are.
pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (upstream, subset) = match text.split_once('@') {
        Some((upstream, subset)) if !is_dns_label(subset) => {
            return Err(format!(
                "{subset:?} is not a subset name (lower-case letters, digits and '-') in {upstream:?}"
            ));
        }
        Some((upstream, subset)) => (upstream, Some(subset.to_owned())),
        None => (text, None),
    };
    let address = address("UPSTREAM", upstream)?;
    if address.port() == 0 {
        return Err(format!("UPSTREAM {upstream:?} has port 0; {ROUTE_FORM}"));
    }
    Ok(Endpoint { address, subset })
}

fn address(what: &str, text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| format!("{what} {text:?} is not IP:PORT; {ROUTE_FORM}"))
}

impl FromStr for SourceOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, name) = text.split_once('=').ok_or_else(|| format!("no '=' in {text:?}; {SOURCE_FORM}"))?;
        let address = address.trim().parse().map_err(|_| format!("{address:?} is not an IP address; {SOURCE_FORM}"))?;
        let (service, version) = match name.split_once(':') {
            Some((service, version)) => (service, Some(version.to_owned())),
            None => (name, None),
        };
        let (namespace, app) = match service.split_once('/') {
            Some((namespace, app)) => (Some(namespace.to_owned()), app.to_owned()),
            None => (None, service.to_owned()),
        };
        let parts = [Some(app.as_str()), namespace.as_deref(), version.as_deref()];
        if let Some(bad) = parts.into_iter().flatten().find(|part| !is_dns_label(part)) {
            return Err(format!("{bad:?} is not a Kubernetes name in {text:?}; {SOURCE_FORM}"));
        }
        Ok(Self { address, namespace, app, version })
    }
}

impl ProxyOptions {
    /// What the proxy is started with.
    ///
    /// # Errors
    /// When a Service port or an address is routed twice, or one address is two callers.
    pub(crate) fn config(&self) -> Result<ProxyConfig, String> {
        let mut ports = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for route in &self.routes {
            if !ports.insert(route.port.clone()) {
                return Err(format!(
                    "--route names {} twice; give all its upstreams in one, separated by commas",
                    route.port
                ));
            }
            if route.listen.port() != 0 && !addresses.insert(route.listen) {
                return Err(format!("two routes listen on {}; each needs an address of its own", route.listen));
            }
        }
        let mut callers = BTreeSet::new();
        if let Some(twice) = self.sources.iter().find(|source| !callers.insert(source.address)) {
            return Err(format!("--source names {} twice; an address is one caller", twice.address));
        }
        let mut limits = Limits {
            connect: self.connect_timeout.get(),
            response_head: self.response_timeout.get(),
            ..Limits::default()
        };
        for (name, value) in &self.limits {
            limits.set(name, value)?;
        }
        let route = |route: &RouteOption| {
            let planned = PlannedRoute {
                port: route.port.clone(),
                endpoints: route.endpoints.clone(),
                weights: route.weights.clone(),
            };
            StaticRoute::plain(route.listen, Origin { port: route.port.clone(), route: planned })
        };
        let mut routes: Vec<StaticRoute> = self.routes.iter().map(route).collect();
        transport_options::apply(&mut routes, &self.tls, &self.upstream_tls, &self.upstream_protocol)?;
        Ok(ProxyConfig {
            routes,
            workers: self.workers.map(usize::from),
            limits,
            forwarded_for: match self.forwarded_for {
                ForwardedForOption::Append => ForwardedFor::Append,
                ForwardedForOption::Overwrite => ForwardedFor::Overwrite,
            },
            access_log_share: self.access_log_share,
            exempt: self.exempt.clone(),
        })
    }

    /// How the proxy stops.
    pub(crate) fn drain_rule(&self) -> DrainRule {
        DrainRule { at_least: self.drain_at_least.get(), quiet: self.drain_quiet.get() }
    }

    /// Shifts the traffic of a port between its subsets.
    pub(crate) fn shift(&mut self, port: &ServicePort, weights: &[SubsetWeight]) {
        for route in self.routes.iter_mut().filter(|route| route.port == *port) {
            route.weights = weights.to_vec();
        }
    }

    /// The routed ports and their subsets, against which the names in files are resolved.
    pub(crate) fn known_ports(&self) -> Vec<KnownPort> {
        let known = |route: &RouteOption| {
            let subsets: BTreeSet<String> = route.endpoints.iter().filter_map(|e| e.subset.clone()).collect();
            KnownPort { port: route.port.clone(), subsets: subsets.into_iter().collect() }
        };
        self.routes.iter().map(known).collect()
    }

    /// The callers, in the namespace of the first route where none is given.
    pub(crate) fn planned_sources(&self) -> Vec<PlannedSource> {
        let default = self.routes.first().map_or("default", |route| route.port.service.namespace.as_str());
        let planned = |source: &SourceOption| {
            let namespace = source.namespace.clone().unwrap_or_else(|| default.to_owned());
            let service = ServiceName { namespace, name: source.app.clone() };
            PlannedSource { address: source.address, service, version: source.version.clone() }
        };
        self.sources.iter().map(planned).collect()
    }
}
