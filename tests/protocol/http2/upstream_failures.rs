//! D8, D9, A22 over HTTP/2: whatever an upstream does wrong is said to the client on the one stream that it concerns.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{SERVICE, before_http1, before_http2, to_http1};
use crate::harness::{
    Gate, Setup, Step, Upstream,
    h2::{
        self, Client, Frame,
        client::{get, request},
        code, setting,
        state::Terms,
    },
    upstream::{BlackHole, RefusingPort},
};

/// The status and what is said of the failure; the connection of the client goes on.
#[track_caller]
pub(super) fn failure(proxy: &crate::harness::Glooshot, path: &str) -> (u16, String) {
    let mut client = Client::connect(proxy.address());
    let answer = client.ask(&get(path));
    client.ping();
    assert_eq!(client.goaways(), []);
    (answer.status(), answer.one("x-glooshot-error").unwrap_or("").to_owned())
}

fn said(status: u16, what: &str) -> (u16, String) {
    (status, format!("upstream; {what}"))
}

#[test]
fn d8_an_upstream_that_cannot_be_reached_is_a_503() {
    let (refusing, hole) = (RefusingPort::new(), BlackHole::new());
    for address in [refusing.address(), hole.address()] {
        for protocol in ["http1", "http2", "same"] {
            let protocol = format!("{SERVICE}={protocol}");
            let arguments = ["--upstream-protocol", &protocol, "--connect-timeout", "300ms"];
            let proxy = Setup::proxy().to(address).with(arguments).start();
            assert_eq!(failure(&proxy, "/a"), said(503, "connect"));
        }
    }
}

#[test]
fn d8_the_answer_to_head_has_no_body_although_it_is_an_error() {
    let refusing = RefusingPort::new();
    let proxy = Setup::proxy().to(refusing.address()).start();
    let mut client = Client::connect(proxy.address());
    for _ in 0..2 {
        let answer = client.ask(&request("HEAD", "/a"));
        assert_eq!((answer.status(), answer.received), (503, 0));
    }
}

#[test]
fn d8_an_upstream_that_hangs_is_a_504_and_its_stream_is_cut_off() {
    let upstream = h2::Upstream::scripted(|call| {
        call.cut_off();
    });
    let proxy = Setup::proxy().to(upstream.address()).with(["--response-timeout", "300ms"]).start();
    assert_eq!(failure(&proxy, "/a"), said(504, "timeout"));
    upstream.wait_until("the cut", |streams| streams[0].reset == Some(code::CANCEL));
    let silent = Upstream::raw(|stream, recorder| while recorder.read(stream) {});
    let proxy = Setup::proxy().to(silent.address()).with(["--limit", "handshake=300ms"]).start();
    assert_eq!(failure(&proxy, "/a"), said(503, "connect"), "not even SETTINGS come");
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let proxy = to_http1(&upstream).with(["--response-timeout", "300ms"]).start();
    assert_eq!(failure(&proxy, "/a"), said(504, "timeout"));
    upstream.wait_until("the end of the connection", |log| log[0].ended);
}

#[test]
fn d8_an_upstream_that_breaks_off_before_its_answer_is_a_502() {
    let upstream = h2::Upstream::scripted(|call| match call.request().path() {
        "/internal" => call.reset(0x2),
        "/close" => call.endpoint.close(),
        _ => call.endpoint.send_frame(&Frame::goaway(0, 0x2)),
    });
    let proxy = before_http2(&upstream);
    for path in ["/internal", "/close", "/goaway"] {
        assert_eq!(failure(&proxy, path), said(502, "reset"), "{path}");
    }
    let upstream = Upstream::scripted(|_| vec![Step::Close]);
    assert_eq!(failure(&before_http1(&upstream), "/a"), said(502, "reset"));
}

/// What an upstream does about one request.
type Misbehaviour = fn(&h2::Call);

/// An upstream that answers its first request normally, and the second one by `script`.
fn misbehaving_once(script: Misbehaviour) -> (h2::Upstream, Arc<AtomicUsize>) {
    let calls = Arc::<AtomicUsize>::default();
    let counted = calls.clone();
    let upstream = h2::Upstream::scripted(move |call| {
        if counted.fetch_add(1, Ordering::AcqRel) == 1 {
            script(call);
        } else if call.whole().is_some() {
            call.answer("ok");
        }
    });
    (upstream, calls)
}

#[test]
fn d9_what_the_upstream_says_it_has_not_looked_at_is_sent_again() {
    let scripts: [(&str, Misbehaviour); 2] = [
        ("REFUSED_STREAM", |call| call.reset(code::REFUSED_STREAM)),
        ("GOAWAY", |call| {
            call.endpoint.send_frame(&Frame::goaway(call.stream - 2, code::NO_ERROR));
            call.endpoint.finish_sending();
        }),
    ];
    for (what, script) in scripts {
        for method in ["GET", "POST"] {
            let (upstream, calls) = misbehaving_once(script);
            let proxy = before_http2(&upstream);
            let mut client = Client::connect(proxy.address());
            for _ in 0..3 {
                assert_eq!(client.ask(&request(method, "/a")).status(), 200, "{what} {method}");
            }
            assert_eq!(calls.load(Ordering::Acquire), 4, "{what} {method}");
        }
    }
}

#[test]
fn d9_a_post_that_may_have_been_looked_at_is_not_sent_again() {
    let (upstream, calls) = misbehaving_once(|call| call.endpoint.close());
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.ask(&request("POST", "/a")).status(), 200);
    assert_eq!(client.ask(&request("POST", "/a")).status(), 502);
    assert_eq!(calls.load(Ordering::Acquire), 2);
    assert_eq!(client.ask(&request("POST", "/a")).status(), 200);
}

#[test]
fn a_stream_that_is_always_refused_is_an_error_and_no_endless_loop() {
    let upstream = h2::Upstream::scripted(|call| call.reset(code::REFUSED_STREAM));
    let proxy = before_http2(&upstream);
    let (status, _) = failure(&proxy, "/a");
    assert!(matches!(status, 502 | 503), "{status}");
    assert!(upstream.streams().len() <= 3, "{} times", upstream.streams().len());
}

#[test]
fn an_upstream_that_takes_few_streams_gets_no_more_than_those_on_a_connection() {
    const REQUESTS: usize = 20;
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = h2::Upstream::on(Terms::default().with(setting::MAX_CONCURRENT_STREAMS, 2), move |call| {
        if call.whole().is_some_and(|request| request.path() != "/first") {
            call.wait_at(&opened);
        }
        call.answer("ok");
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.ask(&get("/first")).status(), 200);
    let streams = (0..REQUESTS).map(|_| client.request(&get("/a"))).collect::<Vec<_>>();
    upstream.wait_for_requests(1 + REQUESTS);
    // Its limit is known there since the first answer.
    assert!(upstream.endpoints()[0].state().streams.len() <= 3);
    gate.open();
    streams.iter().for_each(|stream| assert_eq!(client.answer(*stream).status(), 200));
}

#[test]
fn an_upstream_that_says_goodbye_gets_no_further_streams_there() {
    let upstream = h2::Upstream::scripted(|call| {
        if call.whole().is_some() {
            call.endpoint.send_frame(&Frame::goaway(call.stream, code::NO_ERROR));
            call.answer("ok");
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for _ in 0..5 {
        assert_eq!(client.ask(&get("/a")).status(), 200);
    }
    for endpoint in upstream.endpoints() {
        let state = endpoint.state();
        assert!(state.streams.len() <= 1, "{:?}", state.streams);
    }
}

#[test]
fn an_upstream_connection_without_streams_is_closed_when_it_is_idle() {
    let upstream = h2::Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "idle_upstream=500ms"]).start();
    assert_eq!(Client::connect(proxy.address()).ask(&get("/a")).status(), 200);
    let endpoint = upstream.endpoints().remove(0);
    endpoint.try_wait(crate::harness::patience::PATIENCE, |_| None::<()>);
    assert_ne!(endpoint.state().ending, crate::harness::Ending::StillOpen);
}

#[test]
fn an_upstream_that_takes_no_streams_at_all_is_an_error_and_no_endless_wait() {
    let terms = Terms::default().with(setting::MAX_CONCURRENT_STREAMS, 0);
    let upstream = h2::Upstream::on(terms, |call| call.reset(code::REFUSED_STREAM));
    let proxy = Setup::proxy().to(upstream.address()).with(["--response-timeout", "1s"]).start();
    for _ in 0..3 {
        let (status, error) = failure(&proxy, "/a");
        assert!(matches!(status, 502..=504) && error.starts_with("upstream; "), "{status} {error}");
    }
}
