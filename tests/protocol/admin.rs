//! F5, F6 and the watchdog: what the port for metrics and health tells, and that it can be told nothing.

use std::{collections::BTreeSet, time::Duration};

use rustix::process::Signal;

use crate::harness::{
    Client, Gate, Glooshot, Setup, Step, Upstream, answer, eventually,
    experiment::Experiment,
    get, let_pass,
    load::{self, CountingUpstream},
    sockets::own_address,
    upstream::RefusingPort,
    within,
};

const SOON: Duration = Duration::from_secs(10);

/// The status and the text of `path` on the port for metrics.
#[track_caller]
fn page(proxy: &Glooshot, path: &str) -> (u16, String) {
    let answer = Client::connect(proxy.metrics_address()).ask(&get(path));
    (answer.status(), answer.text())
}

#[test]
fn f5_nothing_listens_but_the_routes_and_the_metrics() {
    let upstream = Upstream::ok();
    let proxy = Setup::proxy()
        .to(upstream.address())
        .route("bookinfo/reviews:9080", "127.0.0.1:0", upstream.address())
        .with(["--workers", "2"])
        .start();
    let expected = BTreeSet::from([proxy.address_of(0), proxy.address_of(1), proxy.metrics_address()]);
    assert_eq!(proxy.listens_on(), expected);
}

#[test]
fn f5_the_port_for_metrics_is_only_ever_read() {
    let upstream = Upstream::ok();
    let experiment = Experiment::named("f5").abort(503, "100");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let ask = |request: String| Client::connect(proxy.metrics_address()).ask(request.as_bytes()).status();
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(page(&proxy, path).0, 200);
        assert_eq!(ask(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n")), 200);
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUIT", "get"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}");
            assert_eq!(ask(request), 405, "{method} {path}");
        }
    }
    for path in
        ["/", "/plan", "/config", "/debug/pprof/", "/quitquitquit", "/logging?level=trace", "/metrics/", "/../metrics"]
    {
        assert_eq!(page(&proxy, path).0, 404, "{path}");
        assert_eq!(ask(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}")), 405, "{path}");
    }
    // None of it has changed anything.
    assert_eq!(proxy.client().ask(&get("/a")).status(), 503);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_faults_armed", &[]), 1.0);
}

#[test]
fn f5_without_the_option_there_is_no_port_for_metrics() {
    let upstream = Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).without_metrics().start();
    assert_eq!(proxy.listens_on(), BTreeSet::from([proxy.address()]));
}

#[test]
fn f6_who_is_ready_listens() {
    let upstream = Upstream::ok();
    for _ in 0..5 {
        // Known before the start, so that it can be asked from the first moment on.
        let (address, route) = (own_address(9901), own_address(9080));
        let process = Setup::proxy()
            .route("bookinfo/ratings:9080", &route.to_string(), upstream.address())
            .without_metrics()
            .with(["--listen-metrics", &address.to_string()])
            .spawn();
        eventually("it is ready", || {
            let mut client = Client::try_connect(address)?;
            client.send(&get("/readyz"));
            client.try_read_answer_to("GET").ok().filter(|answer| answer.status() == 200)
        });
        assert_eq!(Client::connect(route).ask(&get("/a")).status(), 200);
        drop(process);
    }
}

#[test]
fn f6_while_it_drains_it_is_not_ready_and_still_takes_what_comes() {
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = Upstream::scripted(move |exchange| {
        let answer = Step::Send(answer(exchange.request.target()));
        if exchange.request.target() == "/slow" { vec![Step::Wait(opened.clone()), answer] } else { vec![answer] }
    });
    let mut proxy = Setup::proxy().to(upstream.address()).with(["--drain-at-least", "1500ms"]).start();
    assert_eq!(page(&proxy, "/readyz"), (200, "ready\n".to_owned()));
    let mut slow = proxy.client();
    slow.send(&get("/slow"));
    upstream.wait_for_requests(1);
    proxy.signal(Signal::TERM);
    eventually("it is not ready", || (page(&proxy, "/readyz") == (503, "draining\n".to_owned())).then_some(()));
    for _ in 0..20 {
        let answer = proxy.client().ask(&get("/late"));
        assert_eq!((answer.text().as_str(), answer.says_close()), ("/late", true), "{answer:?}");
    }
    assert_eq!((page(&proxy, "/readyz").0, page(&proxy, "/healthz").0), (503, 200), "it is well while it drains");
    eventually("the listener closes", || Client::try_connect(proxy.address()).is_none().then_some(()));
    // Whoever looks after it can ask as long as it is there.
    assert_eq!((page(&proxy, "/readyz").0, page(&proxy, "/healthz").0), (503, 200));
    gate.open();
    assert_eq!(slow.read_answer().text(), "/slow");
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

#[test]
fn f6_health_and_readiness_do_not_depend_on_the_service() {
    let dead = RefusingPort::new();
    let proxy = Setup::proxy().to(dead.address()).start();
    assert_eq!(proxy.client().ask(&get("/a")).status(), 503);
    assert_eq!((page(&proxy, "/readyz").0, page(&proxy, "/healthz").0), (200, 200));
}

#[test]
fn f6_health_is_told_although_scrapers_hold_all_connections() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    let _held = (0..200).map(|_| Client::connect(proxy.metrics_address())).collect::<Vec<_>>();
    within(Duration::from_secs(5), "an answer to a probe", || {
        let mut probe = Client::try_connect(proxy.metrics_address())?;
        probe.send(&get("/healthz"));
        probe.peek_at_least(12).ok().filter(|bytes| bytes.starts_with(b"HTTP/1.1 200")).map(drop)
    });
}

/// Stalls so far, and the longest.
fn stalls(proxy: &Glooshot) -> (f64, f64) {
    let metrics = proxy.metrics();
    (metrics.sum("glooshot_proxy_stalls_total", &[]), metrics.sum("glooshot_proxy_longest_stall_seconds", &[]))
}

#[test]
fn a_core_that_does_not_come_round_is_noticed() {
    const STALL: Duration = Duration::from_millis(300);
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    // A core that has answered has come round before.
    assert_eq!(proxy.client().ask(&get("/a")).status(), 200);
    let before = stalls(&proxy);
    proxy.signal(Signal::STOP);
    let_pass(STALL);
    proxy.signal(Signal::CONT);
    within(SOON, "the stall is counted", || {
        let (count, longest) = stalls(&proxy);
        (count > before.0 && longest >= (STALL - Duration::from_millis(50)).as_secs_f64()).then_some(())
    });
}

#[test]
fn stalls_and_the_longest_of_them_never_shrink_under_load() {
    let upstream = CountingUpstream::start();
    let proxy = Setup::proxy().to(upstream.address()).with(["--workers", "2"]).start();
    let mut before = stalls(&proxy);
    for _ in 0..10 {
        assert_eq!(load::send(proxy.address(), 4, 500, |_| get("/")).status(200), 500);
        let after = stalls(&proxy);
        assert!(after.0 >= before.0 && after.1 >= before.1, "{before:?}, then {after:?}");
        before = after;
    }
}
