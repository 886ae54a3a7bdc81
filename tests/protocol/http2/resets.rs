//! C2: streams that are opened only to be cut off, by either side, end the connection, and nothing else.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    before_http1, before_http2,
    floods::{IDLE_WITHIN, MIB, expect_end_of_a_flood},
};
use crate::harness::{
    Glooshot, Upstream,
    h2::{
        self, Client, Frame,
        client::{get, rapid_resets},
        code, hpack,
        state::Terms,
    },
    load::Stopping,
    patience::PATIENCE,
    scale,
};

/// Another client's requests are answered as long as `act` runs, and behind it; how many, and the slowest.
fn while_another_client_is_served(proxy: &Glooshot, act: impl FnOnce()) -> (u32, Duration) {
    let stop = AtomicBool::new(false);
    let mut other = Client::connect(proxy.address());
    assert_eq!(other.ask(&get("/other")).status(), 200);
    thread::scope(|scope| {
        let stopping = Stopping(&stop);
        let served = scope.spawn(|| {
            let (mut served, mut slowest) = (0, Duration::ZERO);
            let deadline = Instant::now() + 6 * PATIENCE;
            loop {
                let over = stop.load(Ordering::Relaxed) || Instant::now() > deadline;
                let asked = Instant::now();
                assert_eq!(other.ask(&get("/other")).status(), 200);
                slowest = slowest.max(asked.elapsed());
                served += 1;
                if over {
                    return (served, slowest);
                }
            }
        });
        act();
        drop(stopping);
        served.join().unwrap()
    })
}

#[test]
fn c2_streams_that_are_reset_at_once_end_the_connection_and_other_clients_go_on() {
    /// A thousand, and what was under way while the proxy said goodbye.
    const MOST: f64 = 1_500.0;
    let upstream = h2::Upstream::naming_the_path();
    let proxy = before_http2(&upstream);
    let count = u32::try_from(scale::RAPID_RESETS.get()).unwrap();
    let (served, slowest) = while_another_client_is_served(&proxy, || {
        let attacker = Client::connect(proxy.address());
        for first in (1..2 * count).step_by(200) {
            if attacker.endpoint().try_send(&rapid_resets(first, &get("/reset"), 100)).is_err() {
                break;
            }
        }
        expect_end_of_a_flood("streams that are reset", &attacker);
    });
    assert!(slowest < Duration::from_secs(2), "{served} served, the slowest in {slowest:?}");
    proxy.wait_until_idle(IDLE_WITHIN);
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "flood")], 1.0);
    let taken = proxy.metrics().sum("glooshot_proxy_requests_total", &[]) - f64::from(served);
    assert!(taken <= MOST, "{taken} streams were taken");
    let reached = upstream.streams().iter().filter(|stream| stream.path() == "/reset").count();
    assert!(reached as f64 <= MOST, "{reached} streams reached the upstream");
}

#[test]
fn c2_streams_that_are_reset_at_once_do_not_reach_an_upstream_that_speaks_http_1_without_end() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let attacker = Client::connect(proxy.address());
    attacker.send(&rapid_resets(1, &get("/reset"), 10_000));
    attacker.expect_end();
    assert!(upstream.connections().len() <= 1_500, "{} connections", upstream.connections().len());
    assert!(upstream.account().rests.is_empty(), "{:?}", upstream.account().rests);
    proxy.wait_until_idle(IDLE_WITHIN);
    assert_eq!(Client::connect(proxy.address()).ask(&get("/after")).status(), 200);
}

#[test]
fn c2_some_streams_that_are_reset_do_no_harm() {
    let upstream = h2::Upstream::naming_the_path();
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for _ in 0..100 {
        let stream = client.request(&get("/cancelled"));
        client.send_frame(&Frame::rst_stream(stream, code::CANCEL));
        assert_eq!(client.ask(&get("/kept")).text(), "/kept");
    }
    assert_eq!(client.goaways(), []);
}

#[test]
fn c2_streams_that_the_proxy_is_made_to_reset_end_the_connection() {
    // CVE-2025-8671: the client breaks a rule on each stream, so that the proxy resets it.
    let upstream = h2::Upstream::naming_the_path();
    let proxy = before_http2(&upstream);
    let block = hpack::block(&get("/reset"));
    let (served, slowest) = while_another_client_is_served(&proxy, || {
        let attacker = Client::connect(proxy.address());
        for nth in 0..u32::try_from(scale::RAPID_RESETS.get()).unwrap() {
            let stream = 1 + 2 * nth;
            let frames = [Frame::headers(stream, &block, true), Frame::window_update(stream, 0)];
            if attacker.endpoint().try_send(&h2::frame::bytes_of(&frames)).is_err() {
                break;
            }
        }
        attacker.expect_end();
    });
    assert!(slowest < Duration::from_secs(2), "{served} served, the slowest in {slowest:?}");
    let reached = upstream.streams().iter().filter(|stream| stream.path() == "/reset").count();
    assert!(reached <= 2_000, "{reached} streams reached the upstream");
    proxy.wait_until_idle(IDLE_WITHIN);
}

#[test]
fn c12_streams_beyond_the_limit_that_come_without_end_cost_no_memory() {
    const STREAMS: u32 = 250;
    let upstream = h2::Upstream::scripted(|call| {
        call.cut_off();
    });
    let proxy = before_http2(&upstream);
    let block = hpack::block(&get("/a"));
    let mut client = Client::deaf(proxy.address(), Terms::default());
    for _ in 0..STREAMS {
        client.request(&get("/a"));
    }
    upstream.wait_for_requests(STREAMS as usize);
    let ((), growth) = proxy.growth_during(|| {
        client.endpoint().set_write_timeout(Duration::from_secs(1));
        for nth in STREAMS..u32::try_from(scale::FLOOD_FRAMES.get()).unwrap() {
            if client.endpoint().try_send(&Frame::headers(1 + 2 * nth, &block, true).bytes()).is_err() {
                break;
            }
        }
    });
    assert!(growth < 2 * MIB, "{growth} bytes more");
    drop(client);
    proxy.wait_for_metric("glooshot_proxy_open_connections", &[], 0.0);
}
