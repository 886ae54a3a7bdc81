//! D10: a client that closes its side early costs no processor time, and everything about it ends soon.

use std::time::Duration;

use crate::harness::{
    Ending, Gate, Glooshot, Step, Upstream, answer, get,
    sockets::connections_of,
    wire::{self, Parsed, readable},
    within,
};

/// Everything about a half-closed connection ends within this time.
const SOON: Duration = Duration::from_secs(5);
/// More processor time than this, while nothing happens, is a loop.
const NEXT_TO_NOTHING: Duration = Duration::from_millis(500);

/// Runs `scenario`, then checks that the proxy has no connection left and was idle meanwhile.
fn ends_soon_and_quietly(upstream: &Upstream, scenario: impl FnOnce(&Glooshot)) {
    let proxy = Glooshot::before(upstream);
    let before = proxy.processor_time();
    scenario(&proxy);
    within(SOON, "the proxy has no connection of a client left", || {
        (connections_of(proxy.address()) == 0).then_some(())
    });
    let used = proxy.processor_time() - before;
    assert!(used < NEXT_TO_NOTHING, "{used:?} of processor time");
}

#[test]
fn d10_after_a_request_that_is_answered() {
    let upstream = Upstream::naming_the_target();
    ends_soon_and_quietly(&upstream, |proxy| {
        let mut client = proxy.client();
        client.send(&get("/a"));
        client.finish_sending();
        let (bytes, ending) = client.read_to_end_within(SOON);
        assert_ne!(ending, Ending::StillOpen);
        // Answered whole or not at all.
        let whole = matches!(wire::response(&bytes, "GET", true), Parsed::Whole(answer) if answer.text() == "/a");
        assert!(bytes.is_empty() || whole, "{}", readable(&bytes));
    });
}

#[test]
fn d10_after_a_request_that_the_upstream_does_not_answer() {
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    ends_soon_and_quietly(&upstream, |proxy| {
        let mut client = proxy.client();
        client.send(&get("/a"));
        upstream.wait_for_requests(1);
        client.finish_sending();
        // A client that closes its side may still read: the proxy may wait for the upstream, but only while it is there.
        drop(client);
        upstream.wait_within(SOON, "the end of the request", |log| log[0].ended);
    });
}

#[test]
fn d10_in_the_middle_of_a_body() {
    for framing in ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let upstream = Upstream::naming_the_target();
        ends_soon_and_quietly(&upstream, |proxy| {
            let mut client = proxy.client();
            client.send(format!("POST /a HTTP/1.1\r\nHost: ratings\r\n{framing}").as_bytes());
            client.finish_sending();
            let (bytes, ending) = client.read_to_end_within(SOON);
            assert_ne!(ending, Ending::StillOpen, "{framing:?}");
            assert!(!bytes.starts_with(b"HTTP/1.1 2"), "{}", readable(&bytes));
            assert_eq!(upstream.account().requests.len(), 0, "a body cut short is never completed");
            upstream.wait_within(SOON, "the end of the request", |log| log.iter().all(|connection| connection.ended));
        });
    }
}

#[test]
fn d10_in_the_middle_of_a_head() {
    let upstream = Upstream::naming_the_target();
    ends_soon_and_quietly(&upstream, |proxy| {
        for part in ["GE", "GET /a HTTP/1.1\r\nHost: rat"] {
            let mut client = proxy.client();
            client.send(part.as_bytes());
            client.finish_sending();
            assert_ne!(client.read_to_end_within(SOON).1, Ending::StillOpen, "{part:?}");
        }
    });
    assert_eq!(upstream.byte_count(), 0);
}

#[test]
fn d10_in_the_middle_of_an_answer() {
    let gate = Gate::closed();
    let later = gate.clone();
    let upstream = Upstream::scripted(move |_| {
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec()),
            Step::Wait(later.clone()),
            Step::Send(b"again".to_vec()),
        ]
    });
    ends_soon_and_quietly(&upstream, |proxy| {
        let mut client = proxy.client();
        client.send(&get("/a"));
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"first") {
            bytes.extend(client.read_at_least(1));
        }
        client.finish_sending();
        gate.open();
        let (rest, ending) = client.read_to_end_within(SOON);
        assert_ne!(ending, Ending::StillOpen);
        assert!(b"again".starts_with(&rest), "{}", readable(&rest));
    });
}

#[test]
fn d10_an_upstream_that_closes_its_side_after_its_answer() {
    let upstream =
        Upstream::scripted(|exchange| vec![Step::Send(answer(exchange.request.target())), Step::HalfClose, Step::Hang]);
    ends_soon_and_quietly(&upstream, |proxy| {
        let mut client = proxy.client();
        assert_eq!(client.ask(&get("/a")).text(), "/a");
        upstream.wait_within(SOON, "the other side closes too", |log| log[0].ended);
        assert_eq!(client.ask(&get("/b")).text(), "/b");
        upstream.wait_within(SOON, "the other side closes too", |log| log[1].ended);
    });
}
