//! E12: whoever checks health, and the proxy's own pages, are never faulted.

use std::{net::IpAddr, time::Instant};

use crate::harness::{
    Client, Setup, Upstream,
    experiment::Experiment,
    get,
    h2::{self, client},
    load,
};
use std::time::Duration;

/// The address of the one who checks health.
const PROBE: &str = "127.0.0.9";

fn probe() -> IpAddr {
    PROBE.parse().unwrap()
}

#[test]
fn e12_callers_that_are_exempt_are_never_faulted_and_everybody_else_is() {
    let upstream = Upstream::ok();
    let experiment = Experiment::named("e12").abort(503, "100");
    let arguments = ["--exempt", PROBE, "--exempt", "127.0.0.10"];
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(arguments).start_with_faults_on();
    for from in [PROBE, "127.0.0.10"] {
        let mut probe = Client::connect_from(from.parse().unwrap(), proxy.address());
        for _ in 0..10 {
            let answer = probe.ask(&get("/health"));
            assert_eq!((answer.status(), answer.has("x-glooshot-fault")), (200, false), "{answer:?}");
        }
    }
    for from in ["127.0.0.1", "127.0.0.8", "127.0.0.90"] {
        // Headers that name somebody else change nothing.
        let request = format!(
            "GET /health HTTP/1.1\r\nHost: ratings\r\nX-Forwarded-For: {PROBE}\r\nX-Real-IP: {PROBE}\r\n\
             Forwarded: for={PROBE}\r\nUser-Agent: kube-probe/1.33\r\n\r\n"
        );
        assert_eq!(Client::connect_from(from.parse().unwrap(), proxy.address()).ask(request.as_bytes()).status(), 503);
    }
    proxy.wait_for_metric("glooshot_proxy_exempt_total", &[], 20.0);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), 3.0);
    assert_eq!(
        proxy.metrics().sum("glooshot_proxy_matched_total", &[]),
        3.0,
        "a fault applies to nobody who is exempt"
    );
}

#[test]
fn e12_streams_of_callers_that_are_exempt_are_not_faulted_either() {
    let upstream = h2::Upstream::ok();
    let experiment = Experiment::named("e12").abort(503, "100");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(["--exempt", PROBE]).start_with_faults_on();
    let mut probe = h2::Client::connect_from(probe(), proxy.address());
    let streams = [(); 10].map(|()| probe.request(&client::get("/health")));
    for stream in streams {
        let answer = probe.answer(stream);
        assert_eq!((answer.status(), answer.has("x-glooshot-fault")), (200, false));
    }
    assert_eq!(h2::Client::connect(proxy.address()).ask(&client::get("/health")).status(), 503);
    proxy.wait_for_metric("glooshot_proxy_exempt_total", &[], 10.0);
}

#[test]
fn e12_callers_that_are_exempt_are_not_delayed() {
    let upstream = Upstream::ok();
    let experiment = Experiment::named("e12").delay("60s");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(["--exempt", PROBE]).start_with_faults_on();
    let mut delayed = proxy.client();
    delayed.send(&get("/health"));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    let asked = Instant::now();
    assert_eq!(Client::connect_from(probe(), proxy.address()).ask(&get("/health")).status(), 200);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[test]
fn e12_nothing_is_counted_as_exempt_while_no_fault_is_on() {
    let upstream = Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).with(["--exempt", "127.0.0.1"]).start();
    assert_eq!(proxy.client().ask(&get("/health")).status(), 200);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_exempt_total", &[]), 0.0);
}

#[test]
fn e12_the_proxy_s_own_pages_are_never_faulted() {
    let upstream = Upstream::ok();
    let experiment = Experiment::named("e12").abort(503, "100");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let tally = load::send(proxy.metrics_address(), 2, 100, |_| get(path));
        assert_eq!((tally.status(200), tally.marked(), tally.unanswered), (100, 0, 0), "{path}: {tally:?}");
    }
    assert_eq!(
        proxy.client().ask(&get("/healthz")).status(),
        503,
        "the same path on the Service port is the service's"
    );
}
