//! The data plane: an HTTP proxy that injects the faults of a plan into a share of the requests, and of the connections.
//!
//! # The life of a request, in the order in which it meets the files
//!
//! 1. `listen`: one listener for each Service port and core; a permit, then the connection.
//! 2. `at_connect`: a fault may reset the new connection or hold it back. `sniff`, `connection`: the first bytes tell the
//!    protocol. `tls` ends where there is a certificate; anything unknown goes through `tunnel`.
//! 3. `handle`: one screen, the five steps of a request:
//!    `admit` (the strict gate) -> `select` (subset, and which fault hits) -> `disrupt` (abort or delay) ->
//!    `forward` (with `rewrite`, `balance` and `connect`) -> `respond` (and `body`, which ends the exchange).
//! 4. `exchange`: however it ended, the request is counted once (`metrics`) and shown to the conditions (`guard`).
//!
//! Beside the request: `head` and `fields` are what a message says before its body; `live_plan` is the plan in force and `run_state` what outlives its changes; `worker` is one
//! core; a `socket` gives its small messages to the core's `outbox`; `limits` bounds everything; `reject` lists what can be wrong with a
//! request, `error` says whose fault something is.
//!
//! Inside this module everything is one thread per core with `Rc`. Towards the outside there are only the atomic plan
//! pointer, a watch channel and counters.

mod access_log;
mod activity;
mod admit;
mod aperture;
mod at_connect;
mod balance;
mod body;
mod chunks;
mod client_tap;
mod clock;
mod connect;
mod connection;
mod dice;
mod disrupt;
mod drain;
mod error;
mod exchange;
mod exec;
mod exposition;
mod fault;
mod field_name;
mod fields;
mod forward;
mod frames;
mod frontend;
mod greeting;
mod grpc;
mod guard;
mod handle;
mod head;
mod hop_by_hop;
mod http1;
mod http2_tap;
mod identity;
mod lease;
mod limits;
mod link;
mod listen;
mod live_plan;
mod metrics;
mod multiplex;
mod name;
mod outbox;
mod patience;
mod pool;
mod reject;
mod respond;
mod rewrite;
mod rota;
mod route;
mod run_state;
mod select;
mod sniff;
mod socket;
mod tapped_io;
mod tls;
mod trailers;
mod transport;
mod tunnel;
mod turn;
mod unread;
mod upload;
mod whole;
mod window;
mod worker;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use glooshot_api::{
    names::{ServiceName, ServicePort},
    plan::{FencingToken, Plan, PlannedRoute},
    status::InjectionStatus,
};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub use self::{
    clock::Moment,
    drain::DrainRule,
    limits::{FIXED, LIMITS, Limit, Limits, table as limits_table},
    live_plan::{Origin, Refusal, plain_route},
    rewrite::ForwardedFor,
    run_state::{RunCounts, Signals, Trip},
    tls::{CertificateFiles, TlsError, UpstreamTrust},
    transport::UpstreamProtocol,
    window::Tally,
};
use self::{
    drain::Quiet,
    exposition::ProxyCollector,
    frontend::Frontend,
    guard::Others,
    listen::Listener,
    live_plan::PlanSlot,
    metrics::Published,
    tls::Reloader,
    worker::{Phase, Shared},
};
pub(crate) use self::{
    guard::with_latency,
    tls::{ALPN_HTTP2, Offer, UpstreamTls},
    window::{BUCKETS, Histogram},
};

/// Cores that a proxy uses by default at the most: it shares a node with what it serves.
pub const DEFAULT_MAX_WORKERS: usize = 4;

/// Between two looks at the cores' heartbeats.
const HEARTBEAT_POLL: Duration = Duration::from_millis(2);

/// A core that has not come round for this long is dead: whoever watches the proxy should start it anew.
const DEAD: Duration = Duration::from_secs(10);

/// What a proxy is started with.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The Service ports, where each listens, and where its requests go without a plan.
    pub routes: Vec<StaticRoute>,
    /// Cores to use; by default as many as the process may use, at most [`DEFAULT_MAX_WORKERS`].
    pub workers: Option<usize>,
    /// Bounds on everything.
    pub limits: Limits,
    /// What is done with an `X-Forwarded-For` that a client sends.
    pub forwarded_for: ForwardedFor,
    /// The share of requests, from 0 to 1, that the access log writes where somebody listens to it.
    pub access_log_share: f64,
    /// Callers whose requests and connections are never faulted: those that check our health for somebody else.
    pub exempt: Vec<IpAddr>,
}

impl Default for ProxyConfig {
    /// Without routes, and with every line in the access log.
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            workers: None,
            limits: Limits::default(),
            forwarded_for: ForwardedFor::default(),
            access_log_share: 1.0,
            exempt: Vec::new(),
        }
    }
}

/// One Service port.
#[derive(Clone, Debug)]
pub struct StaticRoute {
    /// Where it listens; port 0 is any free port.
    pub listen: SocketAddr,
    /// The Service port, and where its requests go without a plan.
    pub origin: Origin,
    /// Ends the clients' TLS; without it TLS passes through.
    pub tls: Option<CertificateFiles>,
    /// The version of HTTP that the upstream is spoken to in.
    pub upstream_protocol: UpstreamProtocol,
    /// TLS towards the upstream.
    pub upstream_tls: Option<UpstreamTrust>,
}

impl StaticRoute {
    /// A port without TLS on either side, whose upstream is spoken to as the client speaks.
    pub fn plain(listen: SocketAddr, origin: Origin) -> Self {
        Self { listen, origin, tls: None, upstream_protocol: UpstreamProtocol::Same, upstream_tls: None }
    }
}

/// Why a proxy could not be started: always the environment's fault.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {port}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The Service port that it is for.
        port: ServicePort,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread cannot be started.
    #[error("cannot start a worker: {0}")]
    Thread(#[from] io::Error),
}

/// A running proxy. Dropped, it closes without a drain.
pub struct Proxy {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    listening: Vec<(ServicePort, SocketAddr)>,
    _reloader: Option<Reloader>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Opens the listeners and starts one thread for each core. No fault is injected until a plan says so.
    ///
    /// # Errors
    /// When an address is taken or a thread cannot be started; nothing is left behind then.
    pub fn start(config: ProxyConfig) -> Result<Self, StartError> {
        let cores = config.workers.unwrap_or_else(default_workers).max(1);
        let mut listening = Vec::new();
        let mut listeners: Vec<Vec<Listener>> = (0..cores).map(|_| Vec::new()).collect();
        let fronts = Frontend::all(&config.routes, &config.limits)?;
        for (front, route) in fronts.iter().zip(&config.routes) {
            let port = route.origin.port.clone();
            let sockets = listen::bind(route.listen, cores).map_err(|source| StartError::Listen {
                address: route.listen,
                port: port.clone(),
                source,
            })?;
            let bound = sockets.first().map(std::net::TcpListener::local_addr).transpose()?;
            listening.push((port.clone(), bound.unwrap_or(route.listen)));
            for (own, socket) in listeners.iter_mut().zip(sockets) {
                own.push(Listener { front: Arc::clone(front), socket });
            }
        }
        let shared = Arc::new(Shared {
            slot: PlanSlot::new(config.routes.into_iter().map(|route| route.origin).collect(), cores),
            limits: config.limits,
            forwarded_for: config.forwarded_for,
            access_log_share: config.access_log_share,
            exempt: config.exempt,
            draining: AtomicBool::new(false),
            reloads: Arc::default(),
            published: (0..cores).map(|_| Arc::default()).collect(),
            series_made: Arc::new(AtomicUsize::new(0)),
        });
        let terminations = fronts.iter().filter_map(|front| front.tls.clone()).collect();
        let upstreams = fronts.iter().filter_map(|front| front.transport.tls.clone()).collect();
        let reloader = Reloader::start(terminations, upstreams, Arc::clone(&shared.reloads))?;
        let (phase, watched) = watch::channel(Phase::Running);
        let mut workers = Vec::with_capacity(cores);
        for (core, listeners) in listeners.into_iter().enumerate() {
            let (shared, phase) = (Arc::clone(&shared), watched.clone());
            let thread = std::thread::Builder::new().name(format!("proxy-{core}"));
            workers.push(thread.spawn(move || worker::run(core, shared, listeners, phase))?);
        }
        Ok(Self { shared, phase, workers, listening, _reloader: reloader })
    }

    /// The Service ports and the addresses that they listen on.
    pub fn listening(&self) -> &[(ServicePort, SocketAddr)] {
        &self.listening
    }

    /// A handle to steer the proxy and to look at it from anywhere.
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// Adds the proxy's metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let ports = self.listening.iter().map(|(port, _)| port.clone()).collect();
        registry.register_collector(Box::new(ProxyCollector::new(Arc::clone(&self.shared), ports)));
    }

    /// Stops in order: faults off, not ready; connections are accepted as `rule` says while clients are asked to close; then
    /// the listeners close, requests under way are finished (bounded by [`Limits::drain`]), and the threads end.
    ///
    /// # Errors
    /// When a thread had failed.
    pub async fn drain(mut self, rule: DrainRule) -> io::Result<()> {
        self.shared.slot.disarm();
        self.shared.draining.store(true, Ordering::Release);
        self.phase.send_replace(Phase::Draining);
        let control = self.control();
        let come = || control.accepted();
        let mut quiet = Quiet::begin(rule, self.shared.limits.drain_accept, Moment::now(), come());
        while !quiet.is_reached(Moment::now(), come()) {
            tokio::time::sleep(drain::LOOK).await;
        }
        self.phase.send_replace(Phase::Closing);
        let workers = std::mem::take(&mut self.workers);
        tokio::task::spawn_blocking(move || join(workers)).await.map_err(io::Error::other)?
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.slot.disarm();
        self.phase.send_replace(Phase::Closing);
    }
}

/// Waits for all threads; the first failure is returned.
fn join(workers: Vec<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    let ended =
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))));
    // Every thread is waited for, also behind one that failed.
    ended.collect::<Vec<_>>().into_iter().collect()
}

/// As many cores as the process may use (its cgroup's quota counts), at most [`DEFAULT_MAX_WORKERS`].
fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(DEFAULT_MAX_WORKERS)
}

/// Steers a proxy, and looks at it. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    /// Takes a plan in the place of the one in force, for `time_to_live`.
    ///
    /// # Errors
    /// When it is malformed, older than the one in force, or of a leader that has been replaced; nothing changes then.
    pub fn accept(&self, plan: Plan, time_to_live: Duration) -> Result<(), Refusal> {
        self.shared.slot.accept(plan, time_to_live)
    }

    /// Says that the plan in force still holds.
    ///
    /// # Errors
    /// When another plan is in force, or it had expired.
    pub fn renew(&self, fencing: FencingToken, generation: u64, time_to_live: Duration) -> Result<(), Refusal> {
        self.shared.slot.renew(fencing, generation, time_to_live)
    }

    /// The generation of the plan in force; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.shared.slot.pointer().load().generation()
    }

    /// Whose plan is in force, and its generation.
    pub fn in_force(&self) -> (FencingToken, u64) {
        let plan = self.shared.slot.pointer().load();
        (plan.fencing(), plan.generation())
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.published.iter().map(|core| core.connections.load(Ordering::Relaxed)).sum()
    }

    /// Switches the faults off at once. A decision that a core has already made is carried out within microseconds;
    /// [`Control::settled`] waits for that.
    pub fn disarm(&self) {
        self.shared.slot.disarm();
    }

    /// Returns when every core has begun something new since the call, so that no decision from before is under way.
    pub async fn settled(&self) {
        let beats = || self.shared.published.iter().map(|core| core.heartbeat.load(Ordering::Acquire));
        let before: Vec<u64> = beats().collect();
        while beats().zip(&before).any(|(now, before)| now == *before) {
            tokio::time::sleep(HEARTBEAT_POLL).await;
        }
    }

    /// Whether the proxy should get traffic: it listens, and does not stop.
    pub fn is_ready(&self) -> bool {
        !self.shared.draining.load(Ordering::Acquire)
    }

    /// Whether every core comes round; independent of any upstream.
    pub fn is_alive(&self) -> bool {
        let now = Moment::now();
        let came_round = |core: &Arc<Published>| {
            // 0 is a core that is still starting.
            let last = core.last_tick.load(Ordering::Relaxed);
            last == 0 || now.since(Moment::from_nanos(last)) < DEAD
        };
        self.shared.published.iter().all(came_round)
    }

    /// Changes where a Service port's requests go without a plan.
    ///
    /// # Errors
    /// When the plan in force cannot be compiled again; nothing changes then.
    pub fn set_origin(&self, route: &PlannedRoute) -> Result<(), Refusal> {
        self.shared.slot.set_origin(route)
    }

    /// What happens to the run by itself: trips and pauses.
    pub fn signals(&self) -> watch::Receiver<Signals> {
        self.shared.slot.signals()
    }

    /// What each fault of the run, or of the last one, has done, in the order of the spec.
    pub fn injection(&self) -> Vec<InjectionStatus> {
        self.shared.slot.last_run().map_or_else(Vec::new, |run| run.injection())
    }

    /// What this proxy alone counts of the run, or of the last one.
    pub fn counts(&self) -> Option<RunCounts> {
        self.shared.slot.last_run().map(|run| run.counts(Moment::now()))
    }

    /// The index and the value of each condition that is evaluated here; NaN while its window holds too few requests, or is
    /// not full yet since the faults went on: such a value is not judged.
    pub fn readings(&self) -> Vec<(u16, f64)> {
        let plan = self.shared.slot.pointer().load();
        let now = Moment::now();
        plan.experiment().map_or_else(Vec::new, |experiment| {
            let guards = experiment.run.guards().iter();
            guards.map(|guard| (guard.condition().index, experiment.run.reading(guard, now))).collect()
        })
    }

    /// Tells what the other proxies of the Service count of the condition with this index of the run `uid`, and when the oldest
    /// part of it was counted. Where a condition is shared, no verdict is given and no fault injected without a fresh sum.
    pub fn set_others(&self, uid: &str, condition: u16, tally: Tally, counted_at: Moment) {
        let plan = self.shared.slot.pointer().load();
        let Some(run) = plan.experiment().map(|experiment| &experiment.run).filter(|run| run.uid() == uid) else {
            return;
        };
        for guard in run.guards().iter().filter(|guard| guard.condition().index == condition) {
            guard.set_others(Others { tally, counted_at });
        }
    }

    /// Whether the plan in force has an experiment, whether it injects or not.
    pub fn has_experiment(&self) -> bool {
        self.shared.slot.pointer().load().experiment().is_some()
    }

    /// Origins that are named by a fault and have sent nothing through here.
    pub fn unseen_callers(&self) -> Vec<ServiceName> {
        let plan = self.shared.slot.pointer().load();
        plan.experiment().map_or_else(Vec::new, |experiment| experiment.run.unseen())
    }

    /// When the last injected response of the run started.
    pub fn last_injected(&self) -> Option<Moment> {
        self.shared.slot.pointer().load().experiment().and_then(|experiment| experiment.run.last_injected())
    }

    /// Whether faults are injected now.
    pub fn is_injecting(&self) -> bool {
        let plan = self.shared.slot.pointer().load();
        plan.experiment().is_some_and(|experiment| self.shared.slot.injects(experiment, Moment::now()))
    }
}
