//! Webhook conditions: polled by GET, anything but 2xx fails the run.

use std::net::SocketAddr;

use super::{outcome::Outcome, side_by_side, traffic::during, trial::Trial};
use crate::harness::{Setup, Step, Upstream, answer, load::CountingUpstream, upstream::RefusingPort};

fn trial(duration: &str, check: SocketAddr) -> Trial {
    let trigger = format!("name: check, trigger: {{webhookUrl: 'http://{check}/check?deep=1'}}");
    Trial::lasting(duration).abort("50").condition(&trigger)
}

fn setup(trial: &Trial, upstream: &CountingUpstream) -> Setup {
    trial.setup().to(upstream.address()).with(["--allow-webhook", "127.0.0.1", "--polling-interval", "100ms"])
}

#[test]
fn an_answer_that_is_not_2xx_fails_the_run() {
    let answers = [(500, ""), (404, ""), (302, "Location: /elsewhere\r\n"), (304, "")];
    side_by_side::for_each(answers, |(status, more)| {
        let bytes = format!("HTTP/1.1 {status} X\r\n{more}Content-Length: 0\r\n\r\n");
        let check = Upstream::answering(bytes);
        let upstream = CountingUpstream::start();
        let outcome = Outcome::of(&mut setup(&trial("600s", check.address()), &upstream).start_with_faults_on());
        outcome.expect(1, "Failed", "webhook_failed");
        assert_eq!(
            (outcome.failure("failure_condition"), outcome.failure("status")),
            ("check", status.to_string().as_str())
        );
        let requests = check.requests();
        assert!(requests.iter().all(|request| request.start_line == "GET /check?deep=1 HTTP/1.1"), "{requests:?}");
    });
}

#[test]
fn answers_of_2xx_let_the_run_succeed() {
    let answers = [answer("fine"), b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()];
    side_by_side::for_each(answers, |bytes| {
        let check = Upstream::answering(bytes);
        let upstream = CountingUpstream::start();
        let mut run = setup(&trial("1s", check.address()), &upstream).start();
        let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
        outcome.expect(0, "Succeeded", "");
        assert!(check.requests().len() >= 3, "polled {} times in a second", check.requests().len());
    });
}

#[test]
fn the_first_bad_answer_after_good_ones_fails_the_run() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let check = Upstream::scripted(move |_| {
        let good = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3;
        vec![Step::Send(if good { answer("") } else { b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n".to_vec() })]
    });
    let upstream = CountingUpstream::start();
    let outcome = Outcome::of(&mut setup(&trial("600s", check.address()), &upstream).start_with_faults_on());
    outcome.expect(1, "Failed", "webhook_failed");
    assert_eq!(check.requests().len(), 4);
}

#[test]
fn a_webhook_that_is_not_there_says_nothing_about_the_experiment() {
    let nobody = RefusingPort::new();
    let upstream = CountingUpstream::start();
    let outcome = Outcome::of(&mut setup(&trial("600s", nobody.address()), &upstream).start_with_faults_on());
    outcome.expect(3, "Inconclusive", "metrics_unavailable");
    assert!(outcome.failure("message").contains("webhook is unreachable"), "{}", outcome.text);
    assert!(outcome.said("faults paused"), "{:#?}", outcome.lines);
}

#[test]
fn a_webhook_that_closes_without_an_answer_or_speaks_no_http_says_nothing_about_the_experiment() {
    let garbage = vec![Step::Send(b"not HTTP\r\n\r\n".to_vec()), Step::Close];
    side_by_side::for_each([vec![Step::Close], vec![Step::Reset], garbage], |steps| {
        let check = Upstream::scripted(move |_| steps.clone());
        let upstream = CountingUpstream::start();
        let outcome = Outcome::of(&mut setup(&trial("600s", check.address()), &upstream).start_with_faults_on());
        outcome.expect(3, "Inconclusive", "metrics_unavailable");
    });
}

#[test]
fn a_host_is_allowed_with_one_port_only_where_the_operator_says_so() {
    let check = Upstream::answering(answer("fine"));
    let upstream = CountingUpstream::start();
    let allowed = check.address().to_string();
    let trial = trial("600ms", check.address());
    let setup = trial.setup().to(upstream.address()).with(["--allow-webhook", &allowed, "--polling-interval", "100ms"]);
    let mut run = setup.start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(0, "Succeeded", "");
}
