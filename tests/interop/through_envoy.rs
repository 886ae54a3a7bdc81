//! Envoy before and behind the proxy, in HTTP/1 and HTTP/2: it counts what it takes for right, and what it takes for broken.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use tungstenite::Message;

use crate::{
    harness::{Client, Glooshot, Setup, experiment::Experiment, get, post, upstream::RefusingPort},
    peers::{
        Server as _,
        echo::echo,
        envoy::{self, Envoy, Protocol},
        go::GoServer,
    },
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// What Envoy would count if anything in the proxy's answers were wrong.
const COMPLAINTS: [&str; 6] = [
    "upstream_cx_protocol_error",
    "upstream_rq_rx_reset",
    "upstream_rq_tx_reset",
    "upstream_rq_pending_failure_eject",
    "upstream_cx_connect_fail",
    "upstream_rq_timeout",
];

#[track_caller]
fn assert_no_complaint(envoy: &Envoy) {
    for complaint in COMPLAINTS {
        assert_eq!(envoy.counted(complaint), 0, "{complaint}");
    }
}

/// The protocol in which the proxy spoke to the server behind it.
fn spoken(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2.0",
    }
}

#[test]
fn envoy_before_the_proxy_finds_nothing_wrong() {
    let server = GoServer::start();
    for protocol in BOTH {
        let proxy = Setup::proxy().to(server.address()).start();
        let envoy = envoy::Setup::to(proxy.address(), protocol).start();
        let mut client = Client::connect(envoy.address());
        for number in 0..50 {
            let answer = client.ask(&get(&format!("/{number}")));
            assert_eq!((answer.status(), answer.text()), (200, format!("/{number}")));
            assert_eq!(answer.one("x-protocol"), Some(spoken(protocol)));
            assert!(answer.one("via").is_some_and(|via| via.ends_with("ratings.bookinfo.glooshot")), "{answer:?}");
            let answer = client.ask(&post("/echo", "a body"));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "a body"));
        }
        envoy.wait_for("upstream_rq_200", 100);
        assert_eq!(envoy.counted("upstream_cx_total"), 1, "{protocol:?}");
        assert_no_complaint(&envoy);
    }
}

#[test]
fn envoy_behind_the_proxy_gets_every_request() {
    let server = GoServer::start();
    for protocol in BOTH {
        let envoy = envoy::Setup::to(server.address(), protocol).start();
        let proxy = Setup::proxy().to(envoy.address()).start();
        let mut client = proxy.client();
        for number in 0..50 {
            let answer = client.ask(&get(&format!("/{number}")));
            assert_eq!((answer.status(), answer.text()), (200, format!("/{number}")));
            assert!(answer.has("x-envoy-upstream-service-time"), "{answer:?}");
            let answer = client.ask(&post("/echo", "a body"));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "a body"));
        }
        envoy.wait_for("upstream_rq_200", 100);
        assert_no_complaint(&envoy);
        proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "200"), ("flag", "-")], 100.0);
    }
}

#[test]
fn an_abort_reaches_envoy_and_its_client_as_it_was_asked_for() {
    let server = GoServer::start();
    for protocol in BOTH {
        let experiment = Experiment::named("abort").abort(418, "100");
        let proxy = Setup::run(&experiment.yaml()).to(server.address()).start_with_faults_on();
        let envoy = envoy::Setup::to(proxy.address(), protocol).start();
        let answer = Client::connect(envoy.address()).ask(&get("/"));
        assert_eq!(answer.status(), 418, "{protocol:?}");
        assert_eq!(answer.one("x-glooshot-fault"), Some(experiment.marker("abort", 0).as_str()));
        envoy.wait_for("upstream_rq_418", 1);
        assert_no_complaint(&envoy);
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
}

#[test]
fn each_retry_of_envoy_is_a_request_that_is_injected_and_counted() {
    let server = GoServer::start();
    for protocol in BOTH {
        let experiment = Experiment::named("retried").abort(503, "100");
        let proxy = Setup::run(&experiment.yaml()).to(server.address()).start_with_faults_on();
        let envoy = envoy::Setup { retries: 2, ..envoy::Setup::to(proxy.address(), protocol) }.start();
        assert_eq!(Client::connect(envoy.address()).ask(&get("/")).status(), 503, "{protocol:?}");
        envoy.wait_for("upstream_rq_retry", 2);
        proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "abort")], 3.0);
    }
}

#[test]
fn a_retry_of_envoy_hides_a_limited_number_of_aborts() {
    let server = GoServer::start();
    for protocol in BOTH {
        let experiment = Experiment::named("retried").abort(503, "100").limits("{maxInjected: 2}");
        let proxy = Setup::run(&experiment.yaml()).to(server.address()).start_with_faults_on();
        let envoy = envoy::Setup { retries: 3, ..envoy::Setup::to(proxy.address(), protocol) }.start();
        let answer = Client::connect(envoy.address()).ask(&get("/"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "/"), "{protocol:?}");
        assert!(!answer.has("x-glooshot-fault"), "the one that got through was not faulted: {answer:?}");
        envoy.wait_for("upstream_rq_retry", 2);
    }
}

#[test]
fn a_delay_beyond_the_timeout_of_envoy_never_reaches_the_service() {
    let server = GoServer::start();
    for protocol in BOTH {
        let experiment = Experiment::named("delayed").delay("30s");
        let proxy = Setup::run(&experiment.yaml()).to(server.address()).start_with_faults_on();
        let envoy = envoy::Setup { timeout: "0.5s", ..envoy::Setup::to(proxy.address(), protocol) }.start();
        let begun = Instant::now();
        let answer = Client::connect(envoy.address()).ask(&get("/"));
        assert_eq!(answer.status(), 504, "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        envoy.wait_for("upstream_rq_timeout", 1);
        // The proxy has learnt that nobody waits any more, and lets the request go.
        proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 0.0);
        proxy.wait_for_metric("glooshot_proxy_requests_total", &[("flag", "DC,DI")], 1.0);
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
}

#[test]
fn an_envoy_that_has_lost_its_upstream_is_not_taken_for_a_failure_of_the_connection() {
    for protocol in BOTH {
        let gone = RefusingPort::new();
        let envoy = envoy::Setup::to(gone.address(), protocol).start();
        let proxy = Setup::proxy().to(envoy.address()).start();
        let answer = proxy.client().ask(&get("/"));
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert!(!answer.has("x-glooshot-error"), "{answer:?}");
        proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "503"), ("flag", "-")], 1.0);
    }
}

#[test]
fn two_envoys_and_the_proxy_between_them_carry_a_large_body_both_ways() {
    let server = GoServer::start();
    let body = "0123456789abcdef".repeat(1 << 16);
    for protocol in BOTH {
        let behind = envoy::Setup::to(server.address(), protocol).start();
        let proxy = Setup::proxy().to(behind.address()).start();
        let before = envoy::Setup::to(proxy.address(), protocol).start();
        let answer = Client::connect(before.address()).ask(&post("/echo", &body));
        assert_eq!(answer.status(), 200, "{protocol:?}");
        assert!(answer.text() == body, "{} bytes of {} came back", answer.body.len(), body.len());
        assert_no_complaint(&before);
        assert_no_complaint(&behind);
    }
}

#[test]
fn more_requests_at_a_time_than_a_connection_takes_are_all_answered() {
    const REQUESTS: usize = 250;
    let server = GoServer::start();
    for protocol in BOTH {
        let behind = envoy::Setup::to(server.address(), protocol).start();
        // Held back, they are under way all at once.
        let experiment = Experiment::named("crowd").delay("1s");
        let proxy = Setup::run(&experiment.yaml()).to(behind.address()).start_with_faults_on();
        let before = envoy::Setup::to(proxy.address(), protocol).start();
        let mut clients = (0..REQUESTS).map(|_| Client::connect(before.address())).collect::<Vec<_>>();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&get(&format!("/{number}")));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let answer = client.read_answer();
            assert_eq!((answer.status(), answer.text()), (200, format!("/{number}")), "{protocol:?}");
        }
        assert_no_complaint(&before);
        assert_no_complaint(&behind);
        proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "delay")], REQUESTS as f64);
        assert_eq!(proxy.metrics().sum("glooshot_proxy_streams_refused_total", &[]), 0.0);
    }
}

#[test]
fn a_websocket_passes_two_envoys_and_the_proxy_between_them() {
    let server = echo();
    let behind = envoy::Setup::to(server.address(), Protocol::Http1).start();
    let proxy = Setup::proxy().to(behind.address()).start();
    let before = envoy::Setup::to(proxy.address(), Protocol::Http1).start();
    let stream = TcpStream::connect(before.address()).unwrap();
    let (mut socket, _) = tungstenite::client("ws://ratings/chat", stream).unwrap();
    for text in ["a", "b", "c"] {
        socket.send(Message::text(text)).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(text));
    }
    socket.close(None).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(None));
    assert_no_complaint(&before);
    assert_no_complaint(&behind);
}

#[test]
fn a_proxy_that_goes_away_politely_costs_envoy_nothing() {
    let server = GoServer::start();
    for protocol in BOTH {
        let mut proxy: Glooshot = Setup::proxy().to(server.address()).start();
        let envoy = envoy::Setup::to(proxy.address(), protocol).start();
        let mut client = Client::connect(envoy.address());
        assert_eq!(client.ask(&get("/a")).status(), 200);
        proxy.signal(rustix::process::Signal::TERM);
        proxy.wait_for_exit(Duration::from_secs(20));
        assert_eq!(envoy.counted("upstream_rq_200"), 1, "{protocol:?}");
        assert_no_complaint(&envoy);
    }
}
