//! A service that refuses, hangs, resets or speaks garbage while an experiment runs: the verdict says so, and the process ends
//! as always.

use std::{net::SocketAddr, ops::RangeInclusive};

use super::{outcome::Outcome, side_by_side, traffic::during, trial::Trial};
use crate::harness::{
    Setup, Step, Upstream,
    upstream::{BlackHole, RefusingPort},
};

const ERRORS: &str = "ErrorRate, interval: 500ms, minRequests: 3, thresholdValue: 0.5, comparisonOperator: '>'";

/// Half of the requests are held back for a moment; all of them go to the service.
fn trial(duration: &str) -> Trial {
    Trial::lasting(duration).fault("bookinfo-ratings-9080", "", "{delay: {duration: 1ms}, percentage: 50}")
}

fn setup(trial: &Trial, service: SocketAddr) -> Setup {
    trial.setup().to(service).with(["--connect-timeout", "200ms", "--response-timeout", "200ms"])
}

/// With a condition the run fails, since the service does; without one it succeeds, since nothing was asked for.
#[track_caller]
fn is_judged(service: SocketAddr, expected: RangeInclusive<u16>) {
    side_by_side::for_each([true, false], |with_condition| {
        if with_condition {
            fails(service);
        } else {
            succeeds(service, &expected);
        }
    });
}

fn fails(service: SocketAddr) {
    let mut run = setup(&trial("600s").traffic(ERRORS), service).start_with_faults_on();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(outcome.failure("value"), "1", "{}", outcome.text);
    assert_eq!(outcome.condition("Restored").0, "True");
}

fn succeeds(service: SocketAddr, expected: &RangeInclusive<u16>) {
    let mut run = setup(&trial("1s"), service).start_with_faults_on();
    let ((), tally) = during(run.address(), || run.wait_for_line("faults off", |line| line.starts_with("faults off")));
    let outcome = Outcome::of(&mut run);
    outcome.expect(0, "Succeeded", "");
    assert_eq!(outcome.condition("Restored").0, "True");
    assert!(outcome.injected(0).2 > 0, "{}", outcome.text);
    assert!(tally.answered() > 0 && tally.by_status.keys().all(|status| expected.contains(status)), "{tally:?}");
}

#[test]
fn a_service_that_refuses_connections_is_judged() {
    is_judged(RefusingPort::new().address(), 503..=503);
}

#[test]
fn a_service_that_never_accepts_is_judged() {
    is_judged(BlackHole::new().address(), 503..=504);
}

#[test]
fn a_service_that_never_answers_is_judged() {
    is_judged(Upstream::scripted(|_| vec![Step::Hang]).address(), 504..=504);
}

#[test]
fn a_service_that_closes_or_resets_without_an_answer_is_judged() {
    side_by_side::for_each([Step::Close, Step::Reset], |step| {
        is_judged(Upstream::scripted(move |_| vec![step.clone()]).address(), 502..=502);
    });
}

#[test]
fn a_service_that_speaks_garbage_is_judged() {
    let garbage =
        ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"];
    side_by_side::for_each(garbage, |bytes| is_judged(Upstream::answering(bytes).address(), 502..=502));
}

#[test]
fn a_service_that_breaks_off_in_the_middle_of_its_answer_counts_as_failed() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let service = Upstream::scripted(move |_| vec![Step::Send(half.clone()), Step::Close]);
    let mut run = setup(&trial("600s").traffic(ERRORS), service.address()).start_with_faults_on();
    let (outcome, tally) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(tally.answered(), 0, "{tally:?}");
}

#[test]
fn a_run_that_is_stopped_while_the_service_hangs_ends_all_the_same() {
    let service = Upstream::scripted(|_| vec![Step::Hang]);
    let mut run = setup(&trial("600s"), service.address()).start_with_faults_on();
    let mut client = run.client();
    client.send(&crate::harness::get("/hangs"));
    service.wait_for_requests(1);
    run.signal(rustix::process::Signal::INT);
    Outcome::of(&mut run).expect(130, "Inconclusive", "stopped");
    assert_eq!(client.read_answer().status(), 504, "a request under way is finished, by its own timeout");
}
