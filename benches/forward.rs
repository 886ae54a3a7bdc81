//! What a request costs through the proxy on this machine: answers per second and CPU time, beside no proxy at all.
//!
//! Everything runs in this process on threads of its own; the proxy's CPU time is read from /proc by thread name. A full
//! comparison with other proxies needs them pinned to cores in turn; this bench shows whether a change made us slower.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may stop on a broken machine"
)]

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use glooshot::{
    api::{
        names::{Destination, ServiceName, ServicePort},
        plan::{Disruption, Endpoint, MatchRule, Plan, PlannedExperiment, PlannedFault, PlannedRoute},
        quantity::Percent,
    },
    proxy::{Origin, Proxy, ProxyConfig, StaticRoute},
};
use glooshot_loadgen::{Config, Limit, LiveStats, Pace};
use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime::Builder, task::LocalSet};
use tokio_util::sync::CancellationToken;

const CONNECTIONS: usize = 64;
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let origin = backend();
    let (proxy, address) = proxy(origin);
    println!("{CONNECTIONS} connections, 64-byte answers, {ROUNDS} rounds of {ROUND:?}, one core for the proxy");
    println!("{:<22} {:>12} {:>16}", "case", "answers/s", "proxy us/answer");
    for _ in 0..ROUNDS {
        show("direct", origin);
        show("forwarded", address);
        proxy.control().accept(plan(10.0, 1), HOUR).unwrap();
        show("10 % aborted", address);
        proxy.control().accept(plan(100.0, 2), HOUR).unwrap();
        show("all aborted", address);
        proxy.control().disarm();
        proxy.control().accept(Plan { generation: next(), ..Plan::default() }, HOUR).unwrap();
    }
}

/// Generations rise over all rounds.
fn next() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static GENERATION: AtomicU64 = AtomicU64::new(1);
    GENERATION.fetch_add(1, Ordering::Relaxed)
}

fn service() -> ServicePort {
    ServicePort { service: ServiceName { namespace: "bench".into(), name: "origin".into() }, port: 80 }
}

fn plan(percentage: f64, run: u32) -> Plan {
    let destination = Destination { service: service().service, port: None, subset: None };
    let fault = PlannedFault {
        origins: vec![],
        destinations: vec![destination],
        matches: MatchRule::default(),
        percentage: Percent::try_from(percentage).unwrap(),
        disruption: Disruption::AbortHttp(503),
    };
    let experiment = PlannedExperiment {
        name: service().service,
        uid: run.to_string(),
        armed: true,
        faults: vec![fault],
        conditions: vec![],
        max_injected: None,
        max_concurrent_delays: 5_000,
        seed: None,
    };
    Plan { generation: next(), experiment: Some(experiment), ..Plan::default() }
}

fn proxy(origin: SocketAddr) -> (Proxy, SocketAddr) {
    let endpoint = Endpoint { address: origin, subset: None };
    let route = PlannedRoute { port: service(), endpoints: vec![endpoint], weights: vec![] };
    let proxy = Proxy::start(ProxyConfig {
        routes: vec![StaticRoute::plain(([127, 0, 0, 1], 0).into(), Origin { port: service(), route })],
        workers: Some(1),
        ..ProxyConfig::default()
    })
    .unwrap();
    let address = proxy.listening()[0].1;
    (proxy, address)
}

/// A server with a small answer on a thread of its own.
fn backend() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let answer = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&[b'x'; 64]))))
                });
                tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
    };
    thread::Builder::new().name("backend".into()).spawn(serve).unwrap();
    address
}

/// One round of one case.
fn show(case: &str, address: SocketAddr) {
    let before = proxy_cpu();
    let started = Instant::now();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut config =
        Config::new(format!("http://{address}/").parse().unwrap(), Pace::Closed { connections: CONNECTIONS });
    config.limit = Limit { duration: Some(ROUND), count: None };
    config.threads = Some(1);
    let run = glooshot_loadgen::run(config, Arc::new(LiveStats::default()), CancellationToken::new());
    let summary = runtime.block_on(run).unwrap();
    let rate = summary.responses as f64 / started.elapsed().as_secs_f64();
    let cpu = (proxy_cpu() - before).as_secs_f64() * 1e6 / summary.responses.max(1) as f64;
    println!("{case:<22} {rate:>12.0} {cpu:>16.2}");
}

/// CPU time of this process's proxy threads.
fn proxy_cpu() -> Duration {
    let ticks: u64 = fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter(|stat| stat.contains("(proxy-"))
        .filter_map(|stat| {
            let fields: Vec<u64> =
                stat.rsplit_once(") ")?.1.split(' ').skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
            Some(fields.iter().sum::<u64>())
        })
        .sum();
    // Linux counts in hundredths of a second on every architecture that we build for.
    Duration::from_millis(ticks * 10)
}
