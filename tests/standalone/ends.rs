//! A run that is stopped by a person: faults off first, requests under way finished, exit code 130.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{outcome::Outcome, side_by_side, traffic::during, trial::Trial};
use crate::harness::{Ending, Gate, Step, Upstream, answer, eventually, get, load::CountingUpstream};

const SIGNALS: [Signal; 2] = [Signal::INT, Signal::TERM];
/// A request that was held back goes on in this time; far less than its delay.
const RELEASED_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn a_signal_during_a_fault_ends_the_run_as_inconclusive_with_exit_code_130() {
    side_by_side::for_each(SIGNALS, |signal| {
        let upstream = CountingUpstream::start();
        let mut run = Trial::endless().abort("50").setup().to(upstream.address()).start_with_faults_on();
        let address = run.address();
        let (outcome, tally) = during(address, || {
            eventually("something is injected", || {
                (run.metrics().sum("glooshot_proxy_injected_total", &[]) > 0.0).then_some(())
            });
            run.signal(signal);
            Outcome::of(&mut run)
        });
        outcome.expect(130, "Inconclusive", "stopped");
        assert!(outcome.failure("message").contains("signal"), "{}", outcome.text);
        assert_eq!(outcome.injected(0).1, tally.marked(), "{tally:?}");
        assert_eq!(
            outcome.order(&["faults on", "faults off", "Inconclusive"]),
            ["faults on", "faults off", "Inconclusive"]
        );
        assert_eq!((outcome.condition("FaultsActive").0, outcome.condition("Restored").0), ("False", "True"));
        assert!(TcpStream::connect(address).is_err(), "{signal:?}: something still listens");
    });
}

#[test]
fn a_stopped_run_writes_its_report_too() {
    let upstream = CountingUpstream::start();
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--report-dir", directory.path().to_str().unwrap()];
    let mut run = Trial::endless().abort("50").setup().to(upstream.address()).with(arguments).start_with_faults_on();
    run.signal(Signal::INT);
    let outcome = Outcome::of(&mut run);
    outcome.expect(130, "Inconclusive", "stopped");
    assert_eq!(std::fs::read_to_string(directory.path().join("trial.result.yaml")).unwrap(), outcome.text);
    assert!(directory.path().join("trial.report.yaml").exists());
}

#[test]
fn a_signal_while_the_run_settles_ends_it_without_any_fault() {
    side_by_side::for_each(SIGNALS, |signal| {
        let upstream = CountingUpstream::start();
        let trial = Trial::endless().settling("60s").abort("100");
        let mut run = trial.setup().to(upstream.address()).start();
        run.wait_for_line("settling", |line| line.starts_with("settling for 60s"));
        let asked = Instant::now();
        run.signal(signal);
        let outcome = Outcome::of(&mut run);
        assert!(asked.elapsed() < Duration::from_secs(20), "it waited for the time to settle");
        outcome.expect(130, "Inconclusive", "stopped");
        assert!(!outcome.said("faults on") && outcome.result("timeStarted").is_empty(), "{}", outcome.text);
    });
}

#[test]
fn delayed_requests_are_released_at_the_stop_and_answered_by_the_service() {
    side_by_side::for_each(SIGNALS, |signal| {
        let upstream = Upstream::naming_the_target();
        let mut run = Trial::endless().delay("60s").setup().to(upstream.address()).start_with_faults_on();
        let mut held = (0..3).map(|_| run.client()).collect::<Vec<_>>();
        for client in &mut held {
            client.send(&get("/held"));
        }
        run.wait_for_metric("glooshot_proxy_active_faults", &[], 3.0);
        assert_eq!(upstream.byte_count(), 0);
        let stopped = Instant::now();
        run.signal(signal);
        for client in &mut held {
            assert_eq!(client.read_answer().text(), "/held");
        }
        assert!(stopped.elapsed() < RELEASED_WITHIN, "{signal:?}: {:?}", stopped.elapsed());
        let outcome = Outcome::of(&mut run);
        outcome.expect(130, "Inconclusive", "stopped");
        assert_eq!(outcome.injected(0), (3, 0, 3));
    });
}

#[test]
fn delayed_requests_are_released_at_the_end_of_the_duration() {
    let upstream = Upstream::naming_the_target();
    let mut run = Trial::lasting("1500ms").delay("60s").setup().to(upstream.address()).start_with_faults_on();
    let mut client = run.client();
    client.send(&get("/held"));
    assert_eq!(client.read_answer().text(), "/held");
    Outcome::of(&mut run).expect(0, "Succeeded", "");
}

#[test]
fn delayed_requests_are_released_when_a_condition_trips() {
    let upstream = Upstream::naming_the_target();
    let nobody = "RequestRate, interval: 1s, thresholdValue: 100, comparisonOperator: '<'";
    let mut run = Trial::endless().delay("60s").traffic(nobody).setup().to(upstream.address()).start_with_faults_on();
    let mut client = run.client();
    client.send(&get("/held"));
    assert_eq!(client.read_answer().text(), "/held");
    Outcome::of(&mut run).expect(1, "Failed", "value_exceeded_threshold");
}

#[test]
fn requests_under_way_are_finished_before_the_process_ends() {
    side_by_side::for_each(SIGNALS, |signal| {
        let gate = Gate::closed();
        let later = gate.clone();
        let upstream = Upstream::scripted(move |_| {
            vec![
                Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf".to_vec()),
                Step::Wait(later.clone()),
                Step::Send(b"half".to_vec()),
            ]
        });
        let mut run = Trial::endless().delay("1ms").setup().to(upstream.address()).start_with_faults_on();
        let mut client = run.client();
        client.send(&get("/slow"));
        client.peek_at_least(20).unwrap();
        run.signal(signal);
        run.wait_for_line("everything is as it was before", |line| line == "everything is as it was before");
        assert!(run.is_running(), "{signal:?}: the process ended with a request under way");
        gate.open();
        assert_eq!(client.read_answer().text(), "halfhalf");
        Outcome::of(&mut run).expect(130, "Inconclusive", "stopped");
    });
}

#[test]
fn no_fault_is_injected_after_the_line_that_says_so_although_the_process_still_drains() {
    let gate = Gate::closed();
    let later = gate.clone();
    let upstream = Upstream::scripted(move |exchange| {
        let answer = Step::Send(answer("ok"));
        if exchange.request.target() == "/slow" { vec![Step::Wait(later.clone()), answer] } else { vec![answer] }
    });
    let trial = Trial::endless().fault(
        "bookinfo-ratings-9080",
        "match: {path: {exact: /a}}",
        "{abort: {httpStatus: 500}, percentage: 100}",
    );
    let mut run = trial.setup().to(upstream.address()).start_with_faults_on();
    let mut slow = run.client();
    slow.send(&get("/slow"));
    upstream.wait_for_requests(1);
    let mut kept = run.client();
    assert_eq!(kept.ask(&get("/a")).status(), 500);
    run.signal(Signal::TERM);
    run.wait_for_line("faults off", |line| line.starts_with("faults off"));
    kept.send(&get("/a"));
    match kept.try_read_answer_to("GET") {
        Ok(answer) => assert_eq!((answer.status(), answer.has("x-glooshot-fault")), (200, false), "{answer:?}"),
        // The connection was idle and has been closed.
        Err(none) => assert!(none.bytes.is_empty() && none.ending != Ending::StillOpen, "{none:?}"),
    }
    gate.open();
    assert_eq!(slow.read_answer().text(), "ok");
    Outcome::of(&mut run).expect(130, "Inconclusive", "stopped");
}

#[test]
fn signals_that_come_again_and_again_change_nothing() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::endless().abort("50").setup().to(upstream.address()).start_with_faults_on();
    for signal in [Signal::INT, Signal::TERM, Signal::INT] {
        run.signal(signal);
    }
    Outcome::of(&mut run).expect(130, "Inconclusive", "stopped");
}
