//! The engine over the real proxy: faults end whatever becomes of the engine.

use glooshot_api::{
    manifest,
    names::{KnownPort, ServiceName, ServicePort},
    plan::Endpoint,
    status::ResultState,
    validate,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::*;
use crate::{
    engine::{Run, progress_channel, stop_channel},
    proxy::{Origin, Proxy, ProxyConfig, StaticRoute, plain_route},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn ratings() -> ServicePort {
    ServicePort { service: ServiceName { namespace: "bookinfo".into(), name: "ratings".into() }, port: 9080 }
}

fn scenario(duration: &str) -> Scenario {
    let text = format!(
        "apiVersion: glooshot.solo.io/v1\nkind: Experiment\nmetadata: {{name: abort, namespace: bookinfo}}\nspec:\n  spec:\n    \
         duration: {duration}\n    routing: {{settle: 0s}}\n    faults:\n    - destinationServices: [{{name: bookinfo-ratings-9080}}]\n      \
         fault: {{abort: {{httpStatus: 503}}, percentage: 100}}\n"
    );
    let known = [KnownPort { port: ratings(), subsets: vec![] }];
    validate::validate(&manifest::read_experiment(&text).unwrap(), &known).unwrap()
}

/// A proxy in front of a server that answers 200 to everything.
async fn proxy() -> (Proxy, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint { address: listener.local_addr().unwrap(), subset: None };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    let proxy = Proxy::start(ProxyConfig {
        routes: vec![StaticRoute::plain(
            ([127, 0, 0, 1], 0).into(),
            Origin { port: ratings(), route: plain_route(ratings(), vec![endpoint]) },
        )],
        workers: Some(2),
        ..ProxyConfig::default()
    })
    .unwrap();
    let address = proxy.listening()[0].1;
    (proxy, address)
}

/// The status that one request gets.
async fn status(address: std::net::SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: ratings\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Waits until requests get this status; says how long that took.
async fn until(address: std::net::SocketAddr, wanted: u16) -> Duration {
    let started = Instant::now();
    let waiting = async { while status(address).await != wanted {} };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {wanted} within {PATIENCE:?}"));
    started.elapsed()
}

#[tokio::test]
async fn an_experiment_runs_to_its_end_over_the_real_proxy() {
    let (proxy, address) = proxy().await;
    let path = Arc::new(LocalPath::new(proxy.control(), vec![], None));
    let (_stop, signal) = stop_channel();
    let running = tokio::spawn(Run::new(scenario("1s"), path).run(signal));
    until(address, 503).await;
    let outcome = running.await.unwrap().unwrap();
    assert_eq!(outcome.result.state, ResultState::Succeeded);
    assert!(outcome.status.injection[0].aborted >= 1);
    assert_eq!(status(address).await, 200);
}

#[tokio::test]
async fn faults_end_at_once_when_the_engines_task_is_aborted() {
    let (proxy, address) = proxy().await;
    let path = Arc::new(LocalPath::new(proxy.control(), vec![], None));
    let (_stop, signal) = stop_channel();
    let running = tokio::spawn(Run::new(scenario("600s"), path).run(signal));
    until(address, 503).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(status(address).await, 200);
}

#[tokio::test]
async fn faults_end_at_once_when_the_engines_task_panics() {
    let (proxy, address) = proxy().await;
    let path = Arc::new(LocalPath::new(proxy.control(), vec![], None));
    let (_stop, signal) = stop_channel();
    let (progress, mut events) = progress_channel();
    let run = Run::new(scenario("600s"), path).progress(progress).run(signal);
    let (panic, told) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        tokio::select! {
            outcome = run => outcome,
            _ = told => panic!("as a fault in the engine would"),
        }
    });
    until(address, 503).await;
    assert!(events.recv().await.is_some());
    panic.send(()).unwrap();
    assert!(running.await.unwrap_err().is_panic());
    assert_eq!(status(address).await, 200);
}

#[tokio::test]
async fn faults_end_within_the_time_to_live_when_nobody_renews_the_plan() {
    let (proxy, address) = proxy().await;
    let path = LocalPath::new(proxy.control(), vec![], None);
    path.route(&scenario("600s")).await.unwrap();
    path.arm().await.unwrap();
    until(address, 503).await;
    let took = until(address, 200).await;
    assert!(took <= TIME_TO_LIVE + Duration::from_secs(1), "{took:?}");
    assert!(path.renew().is_err(), "what has expired stays off");
    assert_eq!(status(address).await, 200);
}
