//! C5: many small DATA frames: what is read is passed on, what is not read is held back, and neither grows.

use std::{thread, time::Duration};

use super::{
    before_http1, before_http2,
    floods::{IDLE_WITHIN, MIB},
};
use crate::harness::{
    Gate, Glooshot, Upstream,
    h2::{
        self, Client, Frame,
        client::{get, request},
        code,
        state::Terms,
    },
};

/// Sends a body in DATA frames of one byte each, on `streams` streams at a time.
fn single_bytes(proxy: &Glooshot, streams: u32) -> Client {
    let mut client = Client::connect(proxy.address());
    client.wait("SETTINGS", |state| state.settings.is_some().then_some(()));
    let opened = (0..streams).map(|_| client.open(&request("POST", "/a"), false)).collect::<Vec<_>>();
    let window = client.endpoint().state().setting(h2::setting::INITIAL_WINDOW_SIZE).unwrap_or(65_535);
    for stream in opened {
        let bytes = Frame::data(stream, b"x", false).bytes().repeat(100);
        for _ in 0..window / 100 {
            if client.endpoint().try_send(&bytes).is_err() {
                return client;
            }
        }
    }
    client
}

#[test]
fn c5_data_of_single_bytes_that_nobody_reads_costs_little_memory() {
    let upstream = Upstream::raw(|_, _| thread::park_timeout(Duration::from_mins(1)));
    let proxy = before_http1(&upstream);
    let (client, growth) = proxy.growth_during(|| {
        let client = single_bytes(&proxy, 16);
        client.end_within(Duration::from_secs(1));
        client
    });
    assert!(growth < 16 * MIB, "{growth} bytes more");
    let goaways = client.goaways();
    assert!(goaways.iter().all(|goaway| goaway.code == code::ENHANCE_YOUR_CALM), "{goaways:?}");
    drop(client);
    proxy.wait_until_idle(IDLE_WITHIN);
}

#[test]
fn c5_small_messages_are_passed_on_however_many_they_are() {
    // What a client-side stream of gRPC looks like: a DATA frame for each message.
    const MESSAGES: u32 = 20_000;
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/a"), false);
    let mut sent = 0;
    while sent < MESSAGES && client.endpoint().send_body(stream, &[b'x'; 20], false) {
        sent += 1;
    }
    client.endpoint().send_body(stream, &[], true);
    assert_eq!(client.answer(stream).status(), 200);
    assert_eq!(upstream.only_request().received, u64::from(MESSAGES) * 20);
}

#[test]
fn c5_small_messages_that_nobody_reads_are_held_back_and_not_punished() {
    let gate = Gate::closed();
    let opened = gate.clone();
    // Nothing may be sent until the gate is open: this upstream's windows are 0 once its SETTINGS have come.
    let terms = Terms::default().without_grants().with(h2::setting::INITIAL_WINDOW_SIZE, 0);
    let upstream = h2::Upstream::on(terms, move |call| {
        if call.request().path() == "/first" {
            return call.head("200", &[], true);
        }
        call.wait_at(&opened);
        call.endpoint.grant(0, 1 << 20);
        call.endpoint.grant(call.stream, 1 << 20);
        if call.whole().is_some() {
            call.answer("ok");
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.ask(&get("/first")).status(), 200);
    let stream = client.open(&request("POST", "/a"), false);
    let window = client.endpoint().state().setting(h2::setting::INITIAL_WINDOW_SIZE).unwrap_or(65_535);
    for _ in 0..window / 20 {
        client.endpoint().send_body(stream, &[b'x'; 20], false);
    }
    client.ping();
    assert_eq!(client.goaways(), []);
    gate.open();
    client.endpoint().send_body(stream, &[], true);
    assert_eq!(client.answer(stream).status(), 200);
}
