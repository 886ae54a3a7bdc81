//! C5, C6: frames that carry nothing end the connection, and nothing else.

use std::time::Duration;

use super::{before_http1, before_http2};
use crate::harness::{
    Glooshot, Step, Upstream,
    h2::{
        self, Client, Frame,
        client::{get, request},
        code,
        frame::flag,
        state::{GoAway, Terms},
    },
    post, scale,
};

pub(super) const MIB: u64 = 1 << 20;

/// How soon the proxy has nothing to do any more. The case says a second; the window of the measurement comes on top.
pub(super) const IDLE_WITHIN: Duration = Duration::from_millis(1_500);

pub(super) fn floods(proxy: &Glooshot) -> f64 {
    proxy.metrics().sum("glooshot_proxy_rejected_total", &[("reason", "flood")])
}

/// Sends `frames` again and again without reading, until so many have gone or the proxy has cut the connection.
fn flood(client: &Client, frames: &[u8], each: u64) {
    const PER_WRITE: u64 = 100;
    let piece = frames.repeat(PER_WRITE as usize);
    for _ in 0..scale::FLOOD_FRAMES.get() / (PER_WRITE * each) {
        if client.endpoint().try_send(&piece).is_err() {
            return;
        }
    }
}

/// The connection ends, at the best with a GOAWAY. The proxy's own counts end it with NO_ERROR, its library's with
/// ENHANCE_YOUR_CALM.
#[track_caller]
pub(super) fn expect_end_of_a_flood(what: &str, client: &Client) {
    let goaway = client.expect_end();
    let known = |goaway: GoAway| matches!(goaway.code, code::NO_ERROR | code::ENHANCE_YOUR_CALM);
    assert!(goaway.is_none_or(known), "{what}: {goaway:?}");
}

/// A client that sends only `frames`, behind what `prepare` has sent, is cut off; the proxy neither grows nor goes on working.
#[track_caller]
fn is_a_flood(what: &str, proxy: &Glooshot, prepare: impl FnOnce(&mut Client), frames: &[Frame]) {
    let before = floods(proxy);
    let bytes = h2::frame::bytes_of(frames);
    let mut client = Client::deaf(proxy.address(), Terms::default());
    prepare(&mut client);
    let ((), growth) = proxy.growth_during(|| {
        flood(&client, &bytes, frames.len() as u64);
        client.endpoint().listen();
        expect_end_of_a_flood(what, &client);
    });
    assert!(growth < 2 * MIB, "{what}: {growth} bytes more");
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "flood")], before + 1.0);
    proxy.wait_until_idle(IDLE_WITHIN);
}

/// Opens a request whose body is to come.
fn open_post(client: &mut Client) {
    client.open(&request("POST", "/a"), false);
}

#[test]
fn c5_empty_data_is_a_flood() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    is_a_flood("empty DATA", &proxy, open_post, &[Frame::data(1, &[], false)]);
}

#[test]
fn c5_padding_without_data_is_a_flood() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    is_a_flood("padding", &proxy, open_post, &[Frame::data(1, &[], false).padded(255)]);
}

#[test]
fn c6_frames_that_carry_nothing_are_a_flood_also_while_the_client_reads_nothing() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let kinds = [
        ("PING", Frame::ping([7; 8])),
        ("answers to PING", Frame::ping([7; 8]).with(flag::ACK)),
        ("SETTINGS", Frame::settings(&[(h2::setting::INITIAL_WINDOW_SIZE, 65_535)])),
        ("empty SETTINGS", Frame::settings(&[])),
        ("PRIORITY", Frame::priority(1)),
        ("WINDOW_UPDATE", Frame::window_update(0, 1)),
        ("an unknown kind", Frame::new(0x77, 0, 0, [])),
    ];
    for (what, frame) in kinds {
        is_a_flood(what, &proxy, |_| (), &[frame]);
    }
    is_a_flood("WINDOW_UPDATE of a stream", &proxy, open_post, &[Frame::window_update(1, 1)]);
    assert_eq!(proxy.client().ask(&post("/after", "x")).status(), 200);
}

#[test]
fn c6_changes_of_the_window_of_many_streams_are_a_flood() {
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let proxy = before_http1(&upstream);
    let open_many = |client: &mut Client| {
        for _ in 0..100 {
            client.request(&get("/a"));
        }
        upstream.wait_for_requests(100);
    };
    let change = |size| Frame::settings(&[(h2::setting::INITIAL_WINDOW_SIZE, size)]);
    is_a_flood("SETTINGS that change every window", &proxy, open_many, &[change(0), change(65_535)]);
}

#[test]
fn c6_a_client_that_falls_silent_behind_its_flood_is_cut_off_as_well() {
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    client.request(&get("/a"));
    upstream.wait_for_requests(1);
    client.send(&Frame::ping([7; 8]).bytes().repeat(1_100));
    expect_end_of_a_flood("1,100 PINGs", &client);
    upstream.wait_until("the end of the connection", |log| log[0].ended);
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "flood")], 1.0);
}

#[test]
fn c6_some_hundred_frames_that_carry_nothing_are_no_flood() {
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for frame in [Frame::ping([7; 8]), Frame::priority(1), Frame::new(0x77, 0, 0, [])] {
        client.send(&frame.bytes().repeat(200));
    }
    client.wait("the answers to 200 PINGs", |state| (state.pings_answered == 200).then_some(()));
    assert_eq!(client.ask(&get("/a")).status(), 200);
    assert_eq!(floods(&proxy), 0.0);
}

#[test]
fn c6_what_a_client_sends_writes_no_line_into_the_log() {
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    let before = proxy.lines().len();
    let mut client = Client::connect(proxy.address());
    // Answers to PINGs that nobody sent, and streams that are cut off twice.
    client.send(&Frame::ping([7; 8]).with(flag::ACK).bytes().repeat(20));
    assert_eq!(client.ask(&get("/a")).status(), 200);
    client.send(&Frame::rst_stream(1, code::CANCEL).bytes().repeat(100));
    client.ping();
    client.send_frame(&Frame::new(0x0, 0, 0, *b"DATA on the connection"));
    client.expect_end();
    assert_eq!(proxy.lines()[before..], Vec::<String>::new());
}

#[test]
fn c6_a_large_answer_may_be_taken_in_small_steps() {
    let body = "x".repeat(4 << 20);
    let expected = body.len() as u64;
    let upstream = h2::Upstream::scripted(move |call| {
        if call.whole().is_some() {
            call.answer(&body);
        }
    });
    let proxy = before_http2(&upstream);
    // Each piece is granted again in two WINDOW_UPDATEs, at once.
    let mut client = Client::on(proxy.address(), Terms::default().without_bodies());
    for _ in 0..4 {
        assert_eq!(client.ask(&get("/large")).received, expected);
    }
    assert_eq!((floods(&proxy), client.goaways().len()), (0.0, 0));
}
