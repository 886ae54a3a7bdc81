//! E5: when an experiment is stopped, its faults stop at once, and what they hold goes on.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Gate, Setup, Step, Upstream, answer, eventually,
    experiment::Experiment,
    get,
    glooshot::says,
    load::{self, CountingUpstream},
    scale,
};

/// The longest time from the signal to the start of the last injected answer.
const STOPPED_WITHIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

#[test]
fn e5_an_interrupt_under_load_ends_the_faults_before_the_process() {
    for _ in 0..scale::STOPS.get() {
        let upstream = CountingUpstream::start();
        let experiment = Experiment::named("e5").abort(500, "50");
        let mut proxy =
            Setup::run(&experiment.yaml()).to(upstream.address()).with(["--workers", "2"]).start_with_faults_on();
        let address = proxy.address();
        let stop = || {
            eventually("the load runs", || {
                (proxy.metrics().sum("glooshot_proxy_injected_total", &[]) > 100.0).then_some(())
            });
            let interrupted = Instant::now();
            proxy.signal(Signal::INT);
            let status = proxy.try_wait_for_exit(SOON);
            (status, interrupted, Instant::now())
        };
        let ((status, interrupted, ended), tally) = load::during(address, 4, |_| get("/"), stop);
        assert_eq!(status.and_then(|status| status.code()), Some(130), "the process goes on: {tally:?}");
        let last = tally.last_marked.unwrap();
        let late = last.saturating_duration_since(interrupted);
        assert!(late <= STOPPED_WITHIN && last < ended, "the last injected answer began {late:?} after the signal");
        assert!(tally.status(200) > 0 && tally.status(500) > 0, "{tally:?}");
        assert_eq!(tally.by_status.keys().copied().collect::<Vec<_>>(), [200, 500], "{tally:?}");
        assert!(proxy.all_lines().iter().any(|line| says(line, "faults off")), "{:#?}", proxy.lines());
        assert!(proxy.output().contains("Inconclusive"), "the result says how it ended");
    }
}

#[test]
fn e5_delayed_requests_are_released_at_once() {
    let upstream = Upstream::naming_the_target();
    let mut proxy =
        Setup::run(&Experiment::named("e5").delay("60s").yaml()).to(upstream.address()).start_with_faults_on();
    let mut held = (0..5).map(|_| proxy.client()).collect::<Vec<_>>();
    for client in &mut held {
        client.send(&get("/held"));
    }
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 5.0);
    assert_eq!(upstream.byte_count(), 0);
    let interrupted = Instant::now();
    proxy.signal(Signal::INT);
    for client in &mut held {
        let answer = client.read_answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "/held"), "{answer:?}");
    }
    let late = interrupted.elapsed();
    assert!(late <= STOPPED_WITHIN, "{late:?}");
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(130));
}

#[test]
fn e5_no_fault_begins_after_faults_off_although_the_process_still_drains() {
    let gate = Gate::closed();
    let later = gate.clone();
    let upstream = Upstream::scripted(move |exchange| {
        let answer = Step::Send(answer(exchange.request.target()));
        if exchange.request.target() == "/slow" { vec![Step::Wait(later.clone()), answer] } else { vec![answer] }
    });
    let experiment =
        Experiment::named("e5").fault("match: {path: {exact: /a}}", "{abort: {httpStatus: 500}, percentage: 100}");
    let mut proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let mut slow = proxy.client();
    slow.send(&get("/slow"));
    upstream.wait_for_requests(1);
    let mut kept = proxy.client();
    assert_eq!(kept.ask(&get("/a")).status(), 500);
    proxy.signal(Signal::INT);
    proxy.wait_for_line("faults off", |line| says(line, "faults off"));
    kept.send(&get("/a"));
    if let Ok(answer) = kept.try_read_answer_to("GET") {
        assert_eq!((answer.status(), answer.has("x-glooshot-fault")), (200, false), "{answer:?}");
    }
    gate.open();
    assert_eq!(slow.read_answer().text(), "/slow");
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(130));
}

#[test]
fn e5_sigterm_ends_the_faults_too() {
    let upstream = Upstream::naming_the_target();
    let mut proxy =
        Setup::run(&Experiment::named("e5").delay("60s").yaml()).to(upstream.address()).start_with_faults_on();
    let mut client = proxy.client();
    client.send(&get("/held"));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    proxy.signal(Signal::TERM);
    assert_eq!(client.read_answer().text(), "/held");
    proxy.wait_for_exit(SOON);
    assert!(proxy.all_lines().iter().any(|line| says(line, "faults off")), "{:#?}", proxy.lines());
}
