//! E1, E2, E10, E11: faults do exactly what the plan says, and are counted exactly.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Client, Gate, Setup, Step, Upstream, answer,
    experiment::Experiment,
    get,
    load::{self, CountingUpstream},
    post, scale,
};

#[test]
fn e1_without_a_plan_nothing_is_injected() {
    let requests = scale::ZERO_PLAN.get();
    let upstream = CountingUpstream::start();
    let proxy = Setup::proxy().to(upstream.address()).with(["--workers", "2"]).start();
    let tally = load::send(proxy.address(), 4, requests, |number| get(&format!("/{}", number % 100)));
    assert_eq!((tally.status(200), tally.marked(), tally.unanswered), (requests, 0, 0));
    assert_eq!(upstream.requests(), requests);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("glooshot_proxy_injected_total", &[]), 0.0);
    assert_eq!(metrics.sum("glooshot_proxy_faults_overflow_total", &[]), 0.0);
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "200")], requests as f64);
}

#[test]
fn e2_ten_percent_are_aborted_and_counted_exactly() {
    let requests = scale::ABORT_RATE.get();
    let upstream = CountingUpstream::start();
    let experiment = Experiment::named("e2").abort(500, "10");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(["--workers", "2"]).start_with_faults_on();
    let tally = load::send(proxy.address(), 4, requests, |_| get("/ratings/7"));
    assert_eq!((tally.answered(), tally.unanswered), (requests, 0));
    let aborted = tally.marked();
    assert_eq!(tally.by_marker.keys().collect::<Vec<_>>(), [&experiment.marker("abort", 0)]);
    assert_eq!(tally.status(500), aborted, "each abort has the status of the plan, and nothing else has it");
    assert_eq!(upstream.requests(), requests - aborted, "an aborted request does not reach the upstream");
    let (count, expected) = (requests as f64, requests as f64 * 0.1);
    let five_sigma = 5.0 * (count * 0.1 * 0.9).sqrt();
    assert!(
        (aborted as f64 - expected).abs() <= five_sigma,
        "{aborted} of {requests}, expected {expected} ± {five_sigma}"
    );
    let labels = [("experiment", "bookinfo/e2"), ("fault", "0"), ("kind", "abort")];
    proxy.wait_for_metric("glooshot_proxy_injected_total", &labels, aborted as f64);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), aborted as f64);
}

#[test]
fn e2_a_percentage_with_decimals_is_kept() {
    let requests = scale::ABORT_RATE.get();
    let upstream = CountingUpstream::start();
    let proxy =
        Setup::run(&Experiment::named("e2").abort(503, "0.5").yaml()).to(upstream.address()).start_with_faults_on();
    let tally = load::send(proxy.address(), 4, requests, |_| get("/"));
    let (aborted, expected) = (tally.status(503) as f64, requests as f64 * 0.005);
    assert!(
        (aborted - expected).abs() <= 5.0 * (expected * 0.995).sqrt(),
        "{aborted} of {requests}, expected {expected}"
    );
}

#[test]
fn e2_a_hundred_percent_are_all() {
    let upstream = CountingUpstream::start();
    let proxy =
        Setup::run(&Experiment::named("e2").abort(418, "100").yaml()).to(upstream.address()).start_with_faults_on();
    let tally = load::send(proxy.address(), 2, 1_000, |_| get("/"));
    assert_eq!((tally.status(418), tally.marked(), upstream.requests()), (1_000, 1_000, 0));
}

#[test]
fn e2_an_abort_reads_the_body_or_ends_the_connection_so_that_none_is_taken_for_a_request() {
    let upstream = Upstream::naming_the_target();
    let proxy =
        Setup::run(&Experiment::named("e2").abort(500, "100").yaml()).to(upstream.address()).start_with_faults_on();
    let mut client = proxy.client();
    let smuggled = String::from_utf8(get("/smuggled")).unwrap();
    client.send(&post("/a", &smuggled));
    assert_eq!(client.read_answer().status(), 500);
    client.send(&get("/next"));
    match client.try_read_answer_to("GET") {
        Ok(answer) => assert_eq!(answer.status(), 500),
        Err(none) => assert!(none.bytes.is_empty(), "{none:?}"),
    }
    let (more, _) = client.read_to_end_within(Duration::from_millis(200));
    assert!(more.is_empty(), "more answers than requests: {}", crate::harness::wire::readable(&more));
    assert_eq!(upstream.byte_count(), 0);
}

#[test]
fn e2_an_aborted_head_has_no_body() {
    let upstream = Upstream::ok();
    let proxy =
        Setup::run(&Experiment::named("e2").abort(500, "100").yaml()).to(upstream.address()).start_with_faults_on();
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.ask(b"HEAD /a HTTP/1.1\r\nHost: ratings\r\n\r\n").status(), 500);
    }
}

#[test]
fn e3_a_delay_is_spent_before_the_upstream_is_contacted() {
    let upstream = Upstream::ok();
    let experiment = Experiment::named("e3").delay("1s");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let mut client = proxy.client();
    let asked = Instant::now();
    client.send(&get("/a"));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    assert_eq!(upstream.connections().iter().map(|connection| connection.bytes.len()).sum::<usize>(), 0);
    let answer = client.read_answer();
    let took = asked.elapsed();
    assert_eq!(
        (answer.text().as_str(), answer.one("x-glooshot-fault")),
        ("ok", Some(experiment.marker("delay", 0).as_str()))
    );
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(upstream.requests().len(), 1);
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "delay"), ("fault", "0")], 1.0);
}

#[test]
fn e10_more_delays_than_the_cap_pass_at_once_and_are_counted() {
    const CAP: usize = 5;
    const CLIENTS: usize = 20;
    let upstream = Upstream::ok();
    let experiment = Experiment::named("e10").delay("60s").limits("{maxConcurrentDelays: 5}");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let mut held = Vec::new();
    for number in 1..=CAP {
        let mut client = proxy.client();
        client.send(&get("/held"));
        proxy.wait_for_metric("glooshot_proxy_active_faults", &[], number as f64);
        held.push(client);
    }
    for _ in CAP..CLIENTS {
        let answer = proxy.client().ask(&get("/over"));
        assert_eq!((answer.status(), answer.has("x-glooshot-fault")), (200, false), "{answer:?}");
    }
    let over = (CLIENTS - CAP) as f64;
    proxy.wait_for_metric("glooshot_proxy_faults_overflow_total", &[], over);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_active_faults", &[]), CAP as f64);
    assert!(upstream.requests().iter().all(|request| request.target() == "/over"));
    // A client that goes away gives its place back.
    held.pop().unwrap().reset();
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], (CAP - 1) as f64);
    let mut next = proxy.client();
    next.send(&get("/held"));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], CAP as f64);
}

#[test]
fn e10_no_more_requests_than_the_limit_are_injected() {
    let upstream = CountingUpstream::start();
    let experiment = Experiment::named("e10").abort(500, "100").limits("{maxInjected: 37}");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(["--workers", "2"]).start_with_faults_on();
    let tally = load::send(proxy.address(), 8, 2_000, |_| get("/"));
    assert_eq!(tally.unanswered, 0);
    assert!(tally.marked() <= 37, "{} were injected", tally.marked());
    assert!(tally.marked() > 0);
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[], tally.marked() as f64);
}

#[test]
fn e11_a_delayed_request_counts_as_active_until_its_delay_is_over_and_not_until_its_answer_ends() {
    let gate = Gate::closed();
    let later = gate.clone();
    let upstream = Upstream::scripted(move |_| {
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n".to_vec()),
            Step::Wait(later.clone()),
            Step::Send(b"3\r\nend\r\n0\r\n\r\n".to_vec()),
        ]
    });
    let proxy = Setup::run(&Experiment::named("e11").delay("1s").yaml()).to(upstream.address()).start_with_faults_on();
    let mut client = proxy.client();
    client.send(&get("/stream"));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    let mut come = Vec::new();
    while !come.windows(5).any(|bytes| bytes == b"begin") {
        come.extend(client.read_at_least(1));
    }
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 0.0);
    gate.open();
    while !come.ends_with(b"0\r\n\r\n") {
        come.extend(client.read_at_least(1));
    }
}

#[test]
fn other_services_of_the_same_process_are_not_touched() {
    let (ratings, reviews) = (Upstream::ok(), Upstream::answering(answer("reviews")));
    let proxy = Setup::run(&Experiment::named("e4").abort(500, "100").yaml())
        .to(ratings.address())
        .route("bookinfo/reviews:9080", "127.0.0.1:0", reviews.address())
        .start_with_faults_on();
    assert_eq!(Client::connect(proxy.address_of(1)).ask(&get("/a")).text(), "reviews");
    assert_eq!(Client::connect(proxy.address_of(0)).ask(&get("/a")).status(), 500);
    assert_eq!(ratings.byte_count(), 0);
}

#[test]
fn a_process_that_is_killed_leaves_no_fault_behind() {
    let upstream = Upstream::ok();
    let mut proxy =
        Setup::run(&Experiment::named("killed").abort(500, "100").yaml()).to(upstream.address()).start_with_faults_on();
    let address = proxy.address().to_string();
    assert_eq!(proxy.client().ask(&get("/a")).status(), 500);
    proxy.signal(Signal::KILL);
    proxy.wait_for_exit(Duration::from_secs(5));
    let next = Setup::proxy().route("bookinfo/ratings:9080", &address, upstream.address()).start();
    assert_eq!(next.client().ask(&get("/a")).status(), 200);
}
