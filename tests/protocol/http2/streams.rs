//! C12, and what each side may know of the other's streams: limits, cuts, order.

use super::{before_http1, before_http2};
use crate::harness::{
    Gate, Setup, Step, Upstream, answer,
    h2::{
        self, Client, Frame,
        client::{get, request},
        code, setting,
        state::Terms,
    },
};

/// An upstream that answers when the gate is open.
pub(super) fn gated(gate: &Gate) -> h2::Upstream {
    let gate = gate.clone();
    h2::Upstream::scripted(move |call| {
        if let Some(request) = call.whole() {
            call.wait_at(&gate);
            call.answer(request.path());
        }
    })
}

#[test]
fn the_proxy_says_what_it_takes() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let client = Client::connect(proxy.address());
    client.wait("SETTINGS and the connection's window", |state| {
        (state.send_window == 4 << 20 && state.settings_acked == 1).then_some(())
    });
    let state = client.endpoint().state();
    assert_eq!(state.setting(setting::MAX_CONCURRENT_STREAMS), Some(250));
    assert_eq!(state.setting(setting::MAX_HEADER_LIST_SIZE), Some(64 << 10));
    assert_eq!(state.setting(setting::INITIAL_WINDOW_SIZE).unwrap_or(65_535).div_ceil(2), 32 << 10);
    assert_eq!(state.setting(setting::ENABLE_PUSH).unwrap_or(0), 0);
}

/// Of `limit` + 1 streams at a time the last is refused, and counted; the others are answered, and then there is room again.
#[track_caller]
fn refuses_the_one_beyond(limit: usize, arguments: &[&str]) {
    let gate = Gate::closed();
    let upstream = gated(&gate);
    let proxy = Setup::proxy().to(upstream.address()).with(arguments.iter().copied()).start();
    let mut client = Client::connect(proxy.address());
    client.wait("the limit", |state| {
        (state.setting(setting::MAX_CONCURRENT_STREAMS) == Some(limit as u32)).then_some(())
    });
    let streams = (0..limit).map(|_| client.request(&get("/a"))).collect::<Vec<_>>();
    upstream.wait_for_requests(limit);
    for refused in 1..=3 {
        let stream = client.request(&get("/beyond"));
        assert_eq!(client.outcome(stream).reset, Some(code::REFUSED_STREAM));
        proxy.wait_for_metric("glooshot_proxy_streams_refused_total", &[], f64::from(refused));
    }
    gate.open();
    for stream in streams {
        assert_eq!(client.answer(stream).text(), "/a");
    }
    assert_eq!(client.ask(&get("/again")).text(), "/again");
    assert!(upstream.requests().iter().all(|request| request.path() != "/beyond"));
    assert_eq!(client.goaways(), []);
}

#[test]
fn c12_the_stream_beyond_250_at_a_time_is_refused_and_counted() {
    refuses_the_one_beyond(250, &[]);
}

#[test]
fn c12_the_limit_of_streams_can_be_set() {
    refuses_the_one_beyond(5, &["--limit", "streams=5"]);
}

#[test]
fn streams_are_answered_in_the_order_in_which_the_upstream_answers() {
    let gate = Gate::closed();
    let upstream = {
        let gate = gate.clone();
        h2::Upstream::scripted(move |call| {
            let Some(request) = call.whole() else { return };
            if request.path() == "/slow" {
                call.wait_at(&gate);
            }
            call.answer(request.path());
        })
    };
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let slow = client.request(&get("/slow"));
    upstream.wait_for_requests(1);
    assert_eq!(client.ask(&get("/fast")).text(), "/fast");
    assert!(!client.stream(slow).is_over());
    gate.open();
    assert_eq!(client.answer(slow).text(), "/slow");
}

#[test]
fn streams_go_over_one_connection_to_an_upstream_that_speaks_http_2_and_over_one_each_otherwise() {
    const STREAMS: usize = 20;
    let gate = Gate::closed();
    let upstream = gated(&gate);
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let streams = (0..STREAMS).map(|_| client.request(&get("/a"))).collect::<Vec<_>>();
    upstream.wait_for_requests(STREAMS);
    gate.open();
    streams.iter().for_each(|stream| assert_eq!(client.answer(*stream).status(), 200));
    assert_eq!(upstream.endpoints().len(), 1);

    let gate = Gate::closed();
    let upstream = {
        let gate = gate.clone();
        Upstream::scripted(move |_| vec![Step::Wait(gate.clone()), Step::Send(answer("ok"))])
    };
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let streams = (0..STREAMS).map(|_| client.request(&get("/a"))).collect::<Vec<_>>();
    upstream.wait_for_requests(STREAMS);
    assert_eq!(upstream.connections().len(), STREAMS);
    gate.open();
    streams.iter().for_each(|stream| assert_eq!(client.answer(*stream).text(), "ok"));
}

#[test]
fn a_stream_that_the_client_cuts_off_is_cut_off_at_an_upstream_that_speaks_http_2() {
    let upstream = h2::Upstream::scripted(|call| {
        if call.request().path() == "/cancelled" {
            call.cut_off();
        } else if call.whole().is_some() {
            call.answer("ok");
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/cancelled"));
    upstream.wait_for_requests(1);
    client.send_frame(&Frame::rst_stream(stream, code::CANCEL));
    upstream.wait_until("the cut", |streams| streams[0].reset == Some(code::CANCEL));
    assert_eq!(client.ask(&get("/a")).text(), "ok");
    assert_eq!(upstream.endpoints().len(), 1, "the connection goes on");
}

#[test]
fn a_stream_that_the_client_cuts_off_ends_the_connection_to_an_upstream_that_speaks_http_1() {
    let upstream = Upstream::scripted(|exchange| match exchange.request.target() {
        "/cancelled" => vec![Step::Hang],
        _ => vec![Step::Send(answer("ok"))],
    });
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/cancelled"));
    upstream.wait_for_requests(1);
    client.send_frame(&Frame::rst_stream(stream, code::CANCEL));
    upstream.wait_until("the end of the connection", |log| log[0].ended);
    assert_eq!(client.ask(&get("/a")).text(), "ok");
}

/// Only a server may reset with NO_ERROR and mean that all is well (RFC 9113 §8.1). A client that resets before its END_STREAM has not
/// sent the whole request, whatever the code says.
#[test]
fn a_body_that_the_client_cuts_off_without_an_error_is_not_made_a_whole_one_for_an_upstream_that_speaks_http_1() {
    for code in [code::NO_ERROR, code::CANCEL] {
        let upstream = Upstream::ok();
        let proxy = before_http1(&upstream);
        let mut client = Client::connect(proxy.address());
        let stream = client.open(&request("POST", "/cut"), false);
        client.send_frame(&Frame::data(stream, b"half", false));
        upstream.wait_until("the half", |log| log.iter().any(|it| it.bytes.ends_with(b"half\r\n")));
        client.send_frame(&Frame::rst_stream(stream, code));
        upstream.wait_until("the end of the connection", |log| log[0].ended);
        assert_eq!(upstream.account().requests, [], "reset with {code}");
        assert_eq!(client.ask(&get("/a")).status(), 200);
    }
}

#[test]
fn a_body_that_the_client_cuts_off_without_an_error_is_cut_off_at_an_upstream_that_speaks_http_2() {
    for code in [code::NO_ERROR, code::CANCEL] {
        let upstream = h2::Upstream::ok();
        let proxy = before_http2(&upstream);
        let mut client = Client::connect(proxy.address());
        let stream = client.open(&request("POST", "/cut"), false);
        client.send_frame(&Frame::data(stream, b"half", false));
        upstream.wait_until("the half", |streams| streams.iter().any(|it| it.body == b"half"));
        client.send_frame(&Frame::rst_stream(stream, code));
        upstream.wait_until("the cut", |streams| streams[0].reset.is_some());
        assert!(!upstream.streams()[0].ended, "reset with {code}");
        assert_eq!(client.ask(&get("/a")).status(), 200);
    }
}

#[test]
fn a_client_that_goes_away_cuts_all_its_streams_off() {
    let upstream = h2::Upstream::scripted(|call| {
        call.cut_off();
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for _ in 0..10 {
        client.request(&get("/a"));
    }
    upstream.wait_for_requests(10);
    drop(client);
    upstream.wait_until("all cuts", |streams| streams.iter().all(|stream| stream.reset == Some(code::CANCEL)));
    proxy.wait_for_metric("glooshot_proxy_open_connections", &[], 0.0);
}

#[test]
fn a_client_that_says_goodbye_gets_its_answers_and_the_end() {
    let gate = Gate::closed();
    let upstream = gated(&gate);
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/a"));
    upstream.wait_for_requests(1);
    client.send_frame(&Frame::goaway(0, code::NO_ERROR));
    gate.open();
    assert_eq!(client.answer(stream).text(), "/a");
    client.expect_end();
}

#[test]
fn a_client_that_keeps_no_table_of_fields_is_obeyed() {
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    let mut client = Client::on(proxy.address(), Terms::default().with(setting::HEADER_TABLE_SIZE, 0));
    for _ in 0..3 {
        assert_eq!(client.ask(&get("/a")).all("via"), ["2 ratings.bookinfo.glooshot"]);
    }
}

#[test]
fn uploads_that_are_cut_off_give_their_windows_back() {
    let upstream = h2::Upstream::on(Terms::default().without_grants(), |call| {
        if call.request().path() == "/held" {
            call.cut_off();
        } else if call.whole().is_some() {
            call.answer("ok");
        }
    });
    let proxy = Setup::proxy().to(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    client.wait("the connection's window", |state| (state.send_window == 4 << 20).then_some(()));
    for _ in 0..5 {
        // Eight windows of a stream are half of the connection's.
        let held = (0..8).map(|_| client.open(&request("POST", "/held"), false)).collect::<Vec<_>>();
        for stream in &held {
            client.endpoint().send_body(*stream, &[b'x'; 64 << 10], false);
        }
        for stream in held {
            client.send_frame(&Frame::rst_stream(stream, code::CANCEL));
        }
        // What is left of it is told when it is worth a frame: a third may be missing.
        client.wait("the connection's window again", |state| (state.send_window > 600 << 10).then_some(()));
    }
    assert_eq!(client.goaways(), []);
}
