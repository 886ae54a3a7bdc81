//! D over HTTP/2: who says nothing, or stands still, is ended within the limits; who only takes its time is not.

use std::time::{Duration, Instant};

use super::{before_http2, streams::gated, to_http1};
use crate::harness::{
    Gate, Glooshot, Setup, Upstream, eventually,
    h2::{
        self, Client, Frame,
        client::{get, request},
        code,
        frame::flag,
        state::Terms,
    },
    patience::PATIENCE,
};

#[test]
fn a_connection_without_streams_is_told_goodbye_when_it_is_idle() {
    let upstream = h2::Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "idle_client=1s"]).start();
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.ask(&get("/a")).status(), 200);
    assert_eq!(client.expect_end().expect("a GOAWAY").code, code::NO_ERROR);
}

#[test]
fn a_connection_with_a_stream_is_not_idle() {
    let gate = Gate::closed();
    let upstream = gated(&gate);
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "idle_client=500ms"]).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/a"));
    upstream.wait_for_requests(1);
    let mut idle = Client::connect(proxy.address());
    assert_eq!(Client::connect(proxy.address()).goaways(), []);
    let other = idle.request(&get("/b"));
    upstream.wait_for_requests(2);
    idle.send_frame(&Frame::rst_stream(other, code::CANCEL));
    // Both began at the same time; the one without a stream goes first.
    idle.expect_end();
    assert_eq!(client.goaways(), []);
    gate.open();
    assert_eq!(client.answer(stream).text(), "/a");
}

#[test]
fn a_connection_that_says_nothing_behind_the_preface_is_closed() {
    let upstream = Upstream::ok();
    let proxy = to_http1(&upstream).with(["--limit", "first_byte=500ms", "--limit", "idle_client=500ms"]).start();
    let mut dribbling = proxy.client();
    dribbling.send(&h2::PREFACE[..10]);
    dribbling.expect_end();
    let silent = Client::silent(proxy.address(), Terms::default());
    silent.send(h2::PREFACE);
    silent.endpoint().listen();
    silent.expect_end();
    eventually("both are gone", || (proxy.metrics().sum("glooshot_proxy_open_connections", &[]) == 0.0).then_some(()));
}

#[test]
fn a_field_block_that_does_not_go_on_is_cut_off() {
    let upstream = Upstream::ok();
    let proxy = to_http1(&upstream).with(["--limit", "request_head=500ms"]).start();
    for unfinished in [
        Frame::headers(1, &h2::hpack::block(&get("/a")), true).without(flag::END_HEADERS).bytes(),
        Frame::headers(1, &h2::hpack::block(&get("/a")), true).bytes()[..20].to_vec(),
    ] {
        let client = Client::connect(proxy.address());
        client.send(&unfinished);
        client.expect_end();
    }
    assert_eq!(upstream.byte_count(), 0);
}

fn still_or_moving() -> (h2::Upstream, Glooshot) {
    let upstream = h2::Upstream::scripted(|call| match call.request().path() {
        "/moving" => call.answer("ok"),
        "/large" => call.answer(&"x".repeat(1 << 20)),
        _ => {
            call.cut_off();
        }
    });
    let limits = ["--limit", "stalled=1s", "--response-timeout", "1s"];
    let proxy = Setup::proxy().to(upstream.address()).with(limits).start();
    (upstream, proxy)
}

#[test]
fn an_upload_that_stands_still_is_ended_while_other_streams_move() {
    let (upstream, proxy) = still_or_moving();
    let mut client = Client::connect(proxy.address());
    let still = client.open(&request("POST", "/still"), false);
    client.send_frame(&Frame::data(still, b"the beginning", false));
    let deadline = Instant::now() + PATIENCE;
    while !client.stream(still).is_over() && Instant::now() < deadline {
        assert_eq!(client.ask(&get("/moving")).text(), "ok");
    }
    let outcome = client.stream(still);
    assert!(outcome.reset.is_some() || matches!(outcome.status(), 400 | 408), "{outcome:?}");
    assert_eq!(client.goaways(), []);
    upstream.wait_until("the cut", |streams| {
        streams.iter().any(|stream| stream.path() == "/still" && stream.reset.is_some())
    });
}

#[test]
fn an_answer_that_the_client_does_not_take_ends_the_connection_although_other_streams_move() {
    let (upstream, proxy) = still_or_moving();
    let mut client = Client::on(proxy.address(), Terms::default().without_grants());
    client.endpoint().grant(0, 64 << 20);
    let still = client.request(&get("/large"));
    let deadline = Instant::now() + PATIENCE;
    while client.goaways().is_empty() {
        assert!(Instant::now() < deadline, "the connection goes on: {} bytes came", client.stream(still).received);
        let moving = client.request(&get("/moving"));
        let outcome = client.outcome(moving);
        assert!(outcome.is_whole() || !client.goaways().is_empty(), "{outcome:?}");
    }
    assert_eq!(client.expect_end().expect("a GOAWAY").code, code::NO_ERROR);
    assert!(!client.stream(still).ended);
    upstream.wait_until("the cut", |streams| {
        streams.iter().any(|stream| stream.path() == "/large" && stream.reset.is_some())
    });
}

#[test]
fn an_upstream_has_its_time_from_the_end_of_the_request_also_behind_a_slow_upload() {
    let upstream = h2::Upstream::scripted(|call| {
        call.cut_off();
    });
    let limits = ["--limit", "stalled=60s", "--response-timeout", "1s"];
    let proxy = Setup::proxy().to(upstream.address()).with(limits).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/a"), false);
    client.send_frame(&Frame::data(stream, b"the beginning", false));
    let early =
        client.endpoint().try_wait(Duration::from_secs(2), |state| state.stream(stream).is_over().then_some(()));
    assert_eq!(early, None, "the upload may take its time");
    client.send_frame(&Frame::data(stream, b"the end", true));
    assert_eq!(client.answer(stream).status(), 504);
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let gate = Gate::closed();
    let upstream = gated(&gate);
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/a"));
    upstream.wait_for_requests(1);
    client.endpoint().finish_sending();
    gate.open();
    // Answered, or given up together with the connection; but nothing is left hanging.
    let outcome = client.outcome(stream);
    assert!(outcome.is_whole() || !outcome.is_over(), "{outcome:?}");
    client.expect_end();
    proxy.wait_for_metric("glooshot_proxy_open_connections", &[], 0.0);
}

#[test]
fn a_body_may_follow_its_head_much_later() {
    let upstream = h2::Upstream::scripted(|call| {
        call.head("200", &[], false);
        let mut sent = 0;
        // Sends back what comes, as it comes.
        loop {
            let news = call.endpoint.try_wait(PATIENCE, |state| {
                let stream = state.stream(call.stream);
                (stream.body.len() > sent || stream.is_over()).then(|| (stream.body[sent..].to_vec(), stream.is_over()))
            });
            let Some((bytes, over)) = news else { return };
            sent += bytes.len();
            call.data(&bytes, over);
            if over {
                return;
            }
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/echo"), false);
    client.wait("the head before any of the body", |state| (state.stream(stream).status() == 200).then_some(()));
    for word in ["one", "two", "three"] {
        let before = client.stream(stream).received;
        client.endpoint().send_body(stream, word.as_bytes(), false);
        client.wait("the echo", |state| (state.stream(stream).received == before + word.len() as u64).then_some(()));
    }
    client.endpoint().send_body(stream, &[], true);
    assert_eq!(client.answer(stream).text(), "onetwothree");
}
