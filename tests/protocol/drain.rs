//! A signal ends the process when, and only when, the requests in flight have their answers.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{
    Client, Gate, Glooshot, Setup, Step, Upstream, answer, get,
    load::{self, CountingUpstream},
    within,
};

const SOON: Duration = Duration::from_secs(10);
/// Longer than a client may take for a head (10 s).
const SLOW_HEAD: Duration = Duration::from_secs(15);

/// An upstream that answers `/slow` when the gate is open.
fn upstream(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::scripted(move |exchange| {
        let answer = Step::Send(answer(exchange.request.target()));
        if exchange.request.target() == "/slow" { vec![Step::Wait(gate.clone()), answer] } else { vec![answer] }
    })
}

fn drains(signal: Signal) {
    let gate = Gate::closed();
    let upstream = upstream(&gate);
    let mut proxy = Glooshot::before(&upstream);
    let mut idle = proxy.client();
    assert_eq!(idle.ask(&get("/idle")).text(), "/idle");
    let mut busy = proxy.client();
    busy.send(&get("/slow"));
    upstream.wait_for_requests(2);
    proxy.signal(signal);
    // The idle connection is told first: then the drain has begun.
    idle.expect_end();
    assert!(proxy.is_running(), "a request is in flight");
    gate.open();
    let answer = busy.read_answer();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "/slow"));
    busy.expect_end();
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

#[test]
fn sigterm_lets_the_requests_in_flight_finish() {
    drains(Signal::TERM);
}

#[test]
fn sigint_lets_the_requests_in_flight_finish() {
    drains(Signal::INT);
}

#[test]
fn an_idle_proxy_ends_at_once() {
    let upstream = Upstream::ok();
    let mut proxy = Glooshot::before(&upstream);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

/// A connection on which `bytes` were sent and nothing is awaited does not hold the drain up.
fn does_not_hold_the_drain_up(bytes: &[u8], answers: usize, beyond: Duration) {
    let upstream = Upstream::ok();
    let mut proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send_segments([bytes]);
    for _ in 0..answers {
        assert_eq!(client.read_answer().status(), 200);
    }
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait_for_exit(beyond).code(), Some(0));
    client.expect_end();
}

#[test]
fn a_connection_between_two_requests_does_not_hold_the_drain_up() {
    does_not_hold_the_drain_up(&get("/a"), 1, SOON);
}

#[test]
fn a_connection_that_has_said_nothing_does_not_hold_the_drain_up() {
    does_not_hold_the_drain_up(b"", 0, SOON);
}

#[test]
fn a_connection_with_half_a_request_does_not_hold_the_drain_up_beyond_the_limit_of_a_head() {
    does_not_hold_the_drain_up(b"GET /a HT", 0, SLOW_HEAD);
}

#[test]
fn a_connection_with_half_a_second_request_does_not_hold_the_drain_up_beyond_the_limit_of_a_head() {
    does_not_hold_the_drain_up(&[get("/a").as_slice(), b"GET /b HT"].concat(), 1, SLOW_HEAD);
}

#[test]
fn clients_that_reconnect_at_once_do_not_hold_the_drain_up() {
    let upstream = CountingUpstream::start();
    for _ in 0..3 {
        let mut proxy = Setup::proxy().to(upstream.address()).with(["--workers", "2"]).start();
        let served = upstream.requests();
        let close = |_| b"GET /a HTTP/1.1\r\nHost: ratings\r\nConnection: close\r\n\r\n".to_vec();
        let (status, tally) = load::during(proxy.address(), 8, close, || {
            within(SOON, "the load runs", || (upstream.requests() > served + 200).then_some(()));
            proxy.signal(Signal::TERM);
            proxy.try_wait_for_exit(SOON)
        });
        assert_eq!(status.and_then(|status| status.code()), Some(0), "the drain goes on: {tally:?}");
        assert_eq!(tally.answered(), tally.status(200), "{tally:?}");
        // Each client may meet the listener as it closes, and then finds it closed.
        assert!(tally.unanswered <= 2 * 8, "{tally:?}");
    }
}

#[test]
fn an_upstream_that_never_answers_does_not_hold_the_drain_up_beyond_its_timeout() {
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let mut proxy = Setup::proxy().to(upstream.address()).with(["--response-timeout", "1s"]).start();
    let mut client = proxy.client();
    client.send(&get("/a"));
    upstream.wait_for_requests(1);
    proxy.signal(Signal::TERM);
    assert_eq!(client.read_answer().status(), 504);
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

#[test]
fn a_request_that_comes_while_the_proxy_drains_is_answered_or_its_connection_refused() {
    let gate = Gate::closed();
    let upstream = upstream(&gate);
    let mut proxy = Glooshot::before(&upstream);
    let mut idle = proxy.client();
    assert_eq!(idle.ask(&get("/idle")).text(), "/idle");
    let mut busy = proxy.client();
    busy.send(&get("/slow"));
    upstream.wait_for_requests(2);
    proxy.signal(Signal::TERM);
    idle.expect_end();
    if let Ok(stream) = std::net::TcpStream::connect(proxy.address()) {
        drop(stream);
        let mut late = Client::connect(proxy.address());
        late.send(&get("/late"));
        if let Ok(answer) = late.try_read_answer_to("GET") {
            assert_eq!((answer.text().as_str(), answer.says_close()), ("/late", true), "{answer:?}");
        }
    }
    gate.open();
    assert_eq!(busy.read_answer().text(), "/slow");
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

#[test]
fn a_listener_takes_its_port_again_at_once_after_the_end() {
    let upstream = Upstream::ok();
    let mut first = Glooshot::before(&upstream);
    let address = first.address();
    assert_eq!(first.client().ask(&get("/a")).status(), 200);
    first.signal(Signal::TERM);
    assert_eq!(first.wait_for_exit(SOON).code(), Some(0));
    let second = Setup::proxy().route("bookinfo/ratings:9080", &address.to_string(), upstream.address()).start();
    within(SOON, "an answer", || (second.client().ask(&get("/b")).status() == 200).then_some(()));
}
