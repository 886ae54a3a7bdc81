//! A22 over HTTP/2: garbage of an upstream ends the one stream that it concerns, and a flood costs little.

use super::{SERVICE, before_http1, before_http2, upstream_failures::failure};
use crate::harness::{
    Setup, Step, Upstream, answer,
    h2::{self, Client, Frame, client::get, code, setting},
    scale,
};

#[test]
fn a22_an_upstream_that_does_not_speak_http_2_is_a_502_or_a_503() {
    let upstream = Upstream::raw(|mut stream, recorder| {
        use std::io::Write;
        recorder.read(stream);
        let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let proxy = Setup::proxy().to(upstream.address()).start();
    for _ in 0..2 {
        let (status, error) = failure(&proxy, "/a");
        assert!(matches!(status, 502 | 503) && error.starts_with("upstream; "), "{status} {error}");
    }
}

#[test]
fn a22_garbage_on_one_stream_of_an_upstream_ends_that_stream_alone() {
    let upstream = h2::Upstream::scripted(|call| match call.request().path() {
        "/uppercase" => call.head("200", &[("X-Upper", "1")], true),
        "/connection" => call.head("200", &[("connection", "close")], true),
        "/status" => call.head("20", &[], true),
        "/too-short" => {
            call.head("200", &[("content-length", "500")], false);
            call.data(b"short", true);
        }
        "/too-long" => {
            call.head("200", &[("content-length", "1")], false);
            call.data(b"long", true);
        }
        _ => call.answer("ok"),
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for path in ["/uppercase", "/connection", "/status", "/too-short", "/too-long"] {
        let stream = client.request(&get(path));
        let outcome = client.outcome(stream);
        let refused = outcome.reset.is_some() || outcome.status() == 502;
        assert!(refused, "{path}: {outcome:?}");
        assert_eq!(client.ask(&get("/good")).text(), "ok");
    }
    assert_eq!(client.goaways(), []);
}

#[test]
fn a22_a_field_name_that_no_parser_of_http_1_reads_reaches_no_client() {
    let upstream = h2::Upstream::scripted(|call| match call.request().path() {
        "/quoted" => call.head("200", &[("x\"a", "1"), ("x-b", "2")], true),
        _ => call.answer("ok"),
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.ask(&get("/quoted")).status(), 502);
    assert_eq!(client.ask(&get("/good")).text(), "ok");
    let protocol = format!("{SERVICE}=http2");
    let proxy = Setup::proxy().to(upstream.address()).with(["--upstream-protocol", &protocol]).start();
    let mut client = proxy.client();
    let answer = client.ask(&crate::harness::get("/quoted"));
    assert_eq!((answer.status(), answer.one("x-glooshot-error")), (502, Some("upstream; garbage")));
    assert_eq!((answer.has("x\"a"), answer.has("x-b")), (false, false));
    assert_eq!(client.ask(&crate::harness::get("/good")).text(), "ok");
}

#[test]
fn a22_an_answer_that_breaks_off_is_cut_off_and_never_whole() {
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nshort",
    ];
    for bytes in answers {
        let upstream = Upstream::scripted(move |exchange| match exchange.request.target() {
            "/broken" => vec![Step::Send(bytes.to_vec()), Step::Close],
            _ => vec![Step::Send(answer("ok"))],
        });
        let proxy = before_http1(&upstream);
        let mut client = Client::connect(proxy.address());
        let stream = client.request(&get("/broken"));
        let outcome = client.outcome(stream);
        assert!(!outcome.ended && outcome.reset.is_some_and(|code| code != code::NO_ERROR), "{outcome:?}");
        assert_eq!(client.ask(&get("/good")).text(), "ok");
    }
}

#[test]
fn a22_a_stream_that_the_upstream_cuts_off_in_its_answer_is_cut_off() {
    let upstream = h2::Upstream::scripted(|call| {
        call.head("200", &[], false);
        call.data(b"begin", false);
        match call.request().path() {
            "/reset" => call.reset(0x2),
            _ => call.endpoint.close(),
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for path in ["/reset", "/close"] {
        let stream = client.request(&get(path));
        let outcome = client.outcome(stream);
        assert!(!outcome.ended && outcome.reset.is_some_and(|code| code != code::NO_ERROR), "{path}: {outcome:?}");
    }
    assert_eq!(client.goaways(), []);
}

/// A frame, given the stream of the request.
type FrameOf = fn(u32) -> Vec<u8>;

#[test]
fn a22_too_much_of_a_head_of_an_answer_is_a_502() {
    let upstream = h2::Upstream::scripted(|call| {
        let large = "x".repeat(40_000);
        let many = (0..300).map(|n| format!("x-{n}")).collect::<Vec<_>>();
        let many = many.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>();
        match call.request().path() {
            "/large" => call.head("200", &[("x-a", &large), ("x-b", &large)], true),
            "/many" => call.head("200", &many, true),
            _ => call.answer("ok"),
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for path in ["/large", "/many"] {
        let answer = client.ask(&get(path));
        assert_eq!(answer.status(), 502, "{path}: {} fields", answer.head.len());
        assert_eq!(client.ask(&get("/good")).text(), "ok");
    }
}

#[test]
fn an_upstream_that_floods_the_proxy_costs_little_memory_and_no_other_client_its_answer() {
    let frames: [(&str, FrameOf); 5] = [
        ("PING", |_| Frame::ping([7; 8]).bytes()),
        ("SETTINGS", |_| Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)]).bytes()),
        ("empty DATA", |stream| Frame::data(stream, &[], false).bytes()),
        ("PRIORITY", |_| Frame::priority(1).bytes()),
        ("an unknown kind", |_| Frame::new(0x77, 0, 0, []).bytes()),
    ];
    for (what, frame) in frames {
        let upstream = h2::Upstream::scripted(move |call| {
            if call.request().path() == "/good" {
                return call.answer("ok");
            }
            call.head("200", &[], false);
            let piece = frame(call.stream).repeat(100);
            for _ in 0..scale::FLOOD_FRAMES.get() / 100 {
                if call.endpoint.try_send(&piece).is_err() {
                    return;
                }
            }
            call.endpoint.close();
        });
        let proxy = before_http2(&upstream);
        let mut other = Client::connect(proxy.address());
        assert_eq!(other.ask(&get("/good")).text(), "ok");
        let ((), growth) = proxy.growth_during(|| {
            let mut client = Client::connect(proxy.address());
            let stream = client.request(&get("/flood"));
            let outcome = client.outcome(stream);
            assert!(!outcome.ended, "{what}: {outcome:?}");
        });
        assert!(growth < 2 << 20, "{what}: {growth} bytes more");
        assert_eq!(other.ask(&get("/good")).text(), "ok", "{what}");
    }
}
