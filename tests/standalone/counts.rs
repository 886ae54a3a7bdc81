//! What is injected is counted exactly, and alike by the client, the metrics and the status.

use rustix::process::Signal;

use super::{
    outcome::Outcome,
    traffic::during,
    trial::{NAME, Trial, marker},
};
use crate::harness::{get, load, load::CountingUpstream};

#[test]
fn client_metric_and_status_agree_on_what_was_aborted() {
    let upstream = CountingUpstream::start();
    let mut run =
        Trial::endless().abort("30").setup().to(upstream.address()).with(["--workers", "2"]).start_with_faults_on();
    let tally = load::send(run.address(), 4, 2_000, |_| get("/"));
    let aborted = tally.by_marker[&marker("abort", 0)];
    assert_eq!((tally.answered(), tally.unanswered, tally.marked(), tally.status(500)), (2_000, 0, aborted, aborted));
    assert_eq!(upstream.requests(), 2_000 - aborted);
    let labels = [("experiment", NAME), ("fault", "0"), ("kind", "abort")];
    run.wait_for_metric("glooshot_proxy_injected_total", &labels, aborted as f64);
    let metrics = run.metrics();
    assert_eq!(metrics.sum("glooshot_proxy_injected_total", &[]), aborted as f64);
    assert_eq!(metrics.sum("glooshot_proxy_matched_total", &[("experiment", NAME)]), 2_000.0);
    run.wait_for_metric("istio_requests_total", &[("reporter", "source"), ("response_flags", "FI")], aborted as f64);
    run.wait_for_metric("istio_requests_total", &[("reporter", "destination")], (2_000 - aborted) as f64);
    run.signal(Signal::INT);
    let outcome = Outcome::of(&mut run);
    assert_eq!(outcome.injected(0), (2_000, aborted, 0), "{}", outcome.text);
}

#[test]
fn client_metric_and_status_agree_on_what_was_delayed() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::endless()
        .fault("bookinfo-ratings-9080", "", "{delay: {duration: 2ms, jitter: 1ms}, percentage: 40}")
        .setup()
        .to(upstream.address())
        .with(["--workers", "2"])
        .start_with_faults_on();
    let tally = load::send(run.address(), 4, 500, |_| get("/"));
    let delayed = tally.by_marker[&marker("delay", 0)];
    assert_eq!((tally.status(200), tally.marked(), upstream.requests()), (500, delayed, 500));
    let labels = [("experiment", NAME), ("fault", "0"), ("kind", "delay")];
    run.wait_for_metric("glooshot_proxy_injected_total", &labels, delayed as f64);
    run.wait_for_metric("istio_requests_total", &[("reporter", "source"), ("response_flags", "DI")], delayed as f64);
    run.signal(Signal::INT);
    assert_eq!(Outcome::of(&mut run).injected(0), (500, 0, delayed));
}

#[test]
fn each_fault_counts_its_own_requests() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::endless()
        .fault("bookinfo-ratings-9080", "match: {path: {exact: /a}}", "{abort: {httpStatus: 503}, percentage: 100}")
        .fault("bookinfo-ratings-9080", "match: {path: {exact: /b}}", "{delay: {duration: 1ms}, percentage: 100}")
        .setup()
        .to(upstream.address())
        .start_with_faults_on();
    let tally = load::send(run.address(), 2, 300, |number| get(["/a", "/b", "/c"][number as usize % 3]));
    assert_eq!((tally.status(503), tally.status(200)), (100, 200));
    assert_eq!((tally.by_marker[&marker("abort", 0)], tally.by_marker[&marker("delay", 1)]), (100, 100));
    run.signal(Signal::INT);
    let outcome = Outcome::of(&mut run);
    assert_eq!((outcome.injected(0), outcome.injected(1)), ((100, 100, 0), (100, 0, 100)));
}

#[test]
fn what_a_run_under_load_injected_until_it_tripped_is_what_the_clients_saw() {
    let upstream = CountingUpstream::start();
    let errors = "ErrorRate, interval: 500ms, excludeInjected: false, thresholdValue: 0.05, comparisonOperator: '>'";
    let mut run =
        Trial::endless().abort("50").traffic(errors).setup().to(upstream.address()).with(["--workers", "2"]).start();
    let ((), tally) = during(run.address(), || run.wait_for_line("faults off", |line| line.starts_with("faults off")));
    let outcome = Outcome::of(&mut run);
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(outcome.injected(0).1, tally.marked(), "{tally:?}");
    assert!(tally.marked() > 0);
}

#[test]
fn exactly_as_many_as_the_limit_are_injected() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::endless()
        .abort("100")
        .with("limits: {maxInjected: 37}")
        .setup()
        .to(upstream.address())
        .with(["--workers", "2"])
        .start_with_faults_on();
    let tally = load::send(run.address(), 8, 1_000, |_| get("/"));
    assert_eq!((tally.marked(), tally.status(500), tally.status(200)), (37, 37, 963));
    run.signal(Signal::INT);
    assert_eq!(Outcome::of(&mut run).injected(0).1, 37);
}

#[test]
fn the_limit_is_for_all_faults_together() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::endless()
        .fault("bookinfo-ratings-9080", "match: {path: {exact: /a}}", "{abort: {httpStatus: 503}, percentage: 100}")
        .fault("bookinfo-ratings-9080", "match: {path: {exact: /b}}", "{delay: {duration: 1ms}, percentage: 100}")
        .with("limits: {maxInjected: 20}")
        .setup()
        .to(upstream.address())
        .start_with_faults_on();
    let tally = load::send(run.address(), 2, 200, |number| get(["/a", "/b"][number as usize % 2]));
    assert_eq!((tally.marked(), tally.answered()), (20, 200));
    run.signal(Signal::INT);
    let outcome = Outcome::of(&mut run);
    assert_eq!(outcome.injected(0).1 + outcome.injected(1).2, 20, "{}", outcome.text);
}

#[test]
fn the_same_seed_and_the_same_requests_give_the_same_faults() {
    let pattern = |seed: &str| {
        let upstream = CountingUpstream::start();
        let run =
            Trial::endless().abort("50").setup().to(upstream.address()).with(["--seed", seed]).start_with_faults_on();
        let mut client = run.client();
        (0..64).map(|_| client.ask(&get("/")).status() == 500).collect::<Vec<_>>()
    };
    let first = pattern("7");
    assert_eq!(first, pattern("7"));
    assert_ne!(first, pattern("8"));
}
