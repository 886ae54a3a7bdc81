//! C10: a signal ends the process when, and only when, the streams under way have their answers.

use std::time::Duration;

use rustix::process::Signal;

use super::before_http2;
use crate::harness::{
    Gate, Setup,
    h2::{self, Client, client::get, code, state::GoAway},
};

const SOON: Duration = Duration::from_secs(10);
/// The last stream of a GOAWAY that only announces the end (RFC 9113 section 6.8).
const ANNOUNCEMENT: u32 = 0x7fff_ffff;

/// Waits until the peer has said which stream is its last.
fn final_goaway(client: &Client) -> GoAway {
    client.wait("the final GOAWAY", |state| {
        state.goaways.last().copied().filter(|goaway| goaway.last_stream < ANNOUNCEMENT)
    })
}

#[test]
fn c10_all_streams_finish_and_no_new_one_is_taken() {
    const STREAMS: usize = 100;
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = h2::Upstream::scripted(move |call| {
        if let Some(request) = call.whole() {
            call.wait_at(&opened);
            call.answer(request.path());
        }
    });
    let mut proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let streams = (0..STREAMS).map(|n| client.request(&get(&format!("/{n}")))).collect::<Vec<_>>();
    upstream.wait_for_requests(STREAMS);
    proxy.signal(Signal::TERM);
    let goaway = final_goaway(&client);
    assert_eq!((goaway.code, goaway.last_stream), (code::NO_ERROR, *streams.last().unwrap()));
    let late = client.request(&get("/late"));
    assert!(proxy.is_running(), "streams are under way");
    gate.open();
    for (n, stream) in streams.into_iter().enumerate() {
        assert_eq!(client.answer(stream).text(), format!("/{n}"));
    }
    client.expect_end();
    let late = client.stream(late);
    assert!(late.head.is_empty() && !late.ended, "{late:?}");
    assert_eq!(upstream.requests().len(), STREAMS);
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

#[test]
fn c10_a_body_under_way_is_sent_to_its_end() {
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = h2::Upstream::scripted(move |call| {
        if call.whole().is_some() {
            call.head("200", &[], false);
            call.data(b"begin", false);
            call.wait_at(&opened);
            call.data(&vec![b'x'; 300_000], false);
            call.trailers(&[("x-sum", "7")]);
        }
    });
    let mut proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/a"));
    client.wait("the beginning", |state| (state.stream(stream).received == 5).then_some(()));
    proxy.signal(Signal::TERM);
    final_goaway(&client);
    gate.open();
    let answer = client.answer(stream);
    assert_eq!((answer.received, answer.trailers.len()), (300_005, 1));
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

#[test]
fn c10_connections_without_streams_do_not_hold_the_end_up() {
    let upstream = h2::Upstream::ok();
    let mut proxy = before_http2(&upstream);
    let silent = Client::connect(proxy.address());
    let mut idle = Client::connect(proxy.address());
    assert_eq!(idle.ask(&get("/a")).status(), 200);
    silent.ping();
    proxy.signal(Signal::TERM);
    for client in [silent, idle] {
        assert_eq!(client.expect_end().expect("a GOAWAY").code, code::NO_ERROR);
    }
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
}

#[test]
fn c10_a_stream_that_never_ends_holds_the_end_up_for_as_long_as_a_drain_may_take() {
    let upstream = h2::Upstream::scripted(|call| {
        call.head("200", &[], false);
        call.cut_off();
    });
    let mut proxy = Setup::proxy().to(upstream.address()).with(["--limit", "drain=1s"]).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/a"));
    client.wait("the head", |state| (state.stream(stream).status() == 200).then_some(()));
    proxy.signal(Signal::TERM);
    proxy.wait_for_exit(SOON);
    let outcome = client.outcome(stream);
    assert!(!outcome.ended, "what is cut off must not look whole: {outcome:?}");
}
