//! HTTP/2 on both sides: messages keep their meaning, gRPC's among them.

use super::before_http2;
use crate::harness::{
    Setup,
    h2::{
        self, Client, Frame, Stream,
        client::{get, request, with},
        code, fields,
        fields::Field,
    },
};

#[track_caller]
fn request_of(head: &[Field]) -> Stream {
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    assert_eq!(Client::connect(proxy.address()).ask(head).status(), 200, "{head:?}");
    upstream.only_request()
}

#[test]
fn a_request_keeps_its_pseudo_header_fields() {
    for (method, path) in [("GET", "/a/../b?c=d"), ("DELETE", "//%2f"), ("OPTIONS", "*"), ("PURGE", "/")] {
        let request = request_of(&request(method, path));
        assert_eq!((request.one(":method"), request.path()), (Some(method), path));
        assert_eq!((request.one(":authority"), request.one(":scheme")), (Some("ratings"), Some("http")));
        assert!(!request.has("host"), "{request:?}");
    }
}

#[test]
fn a_request_carries_our_marks_and_keeps_its_fields() {
    let more = [
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-b", "\u{e9}"),
        ("te", "trailers"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-glooshot-fault", "forged"),
    ];
    let request = request_of(&with(get("/a"), &more));
    assert_eq!((request.all("x-a"), request.one("x-b")), (vec!["1", "2"], Some("\u{e9}")));
    assert_eq!(request.one("te"), Some("trailers"), "servers of gRPC insist on it");
    assert_eq!(request.all("cookie").join("; "), "a=1; b=2");
    assert_eq!(request.all("via"), ["2 ratings.bookinfo.glooshot"]);
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert!(!request.has("x-glooshot-fault"));
}

#[test]
fn an_answer_keeps_its_fields_and_its_via_names_http_2() {
    let upstream = h2::Upstream::scripted(|call| {
        let more = [("set-cookie", "a=1"), ("x-b", "\u{e9}"), ("set-cookie", "b=2"), ("x-glooshot-fault", "forged")];
        call.head("418", &more, false);
        call.data(b"ok", true);
    });
    let proxy = before_http2(&upstream);
    let answer = Client::connect(proxy.address()).ask(&get("/a"));
    assert_eq!(
        (answer.status(), answer.all("set-cookie"), answer.one("x-b")),
        (418, vec!["a=1", "b=2"], Some("\u{e9}"))
    );
    assert_eq!(answer.all("via"), ["2 ratings.bookinfo.glooshot"]);
    assert!(!answer.has("x-glooshot-fault"));
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let upstream = h2::Upstream::scripted(|call| {
        if let Some(request) = call.whole() {
            call.head("200", &[("content-type", "application/grpc")], false);
            call.data(&request.body, false);
            call.trailers(&[("grpc-status", "0"), ("x-sum", "7")]);
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let body = (0..=255).cycle().take(500_000).collect::<Vec<u8>>();
    let stream = client.open(&with(request("POST", "/grpc"), &[("te", "trailers")]), false);
    client.endpoint().send_body(stream, &body, false);
    client.endpoint().send_fields(stream, &fields(&[("x-request-sum", "8"), ("authorization", "x")]), true);
    let answer = client.answer(stream);
    assert!(answer.body == body, "{} bytes", answer.received);
    assert_eq!(answer.trailers, fields(&[("grpc-status", "0"), ("x-sum", "7")]));
    let request = upstream.only_request();
    assert!(request.body == body && request.trailers == fields(&[("x-request-sum", "8")]), "{:?}", request.trailers);
}

#[test]
fn calls_of_grpc_are_counted_by_the_status_in_which_they_end() {
    let upstream = h2::Upstream::scripted(|call| match call.whole().as_ref().map(Stream::path) {
        Some("/trailers") => {
            call.head("200", &[("content-type", "application/grpc")], false);
            call.data(b"\0\0\0\0\0", false);
            call.trailers(&[("grpc-status", "5")]);
        }
        Some("/head") => call.head("200", &[("content-type", "application/grpc"), ("grpc-status", "12")], true),
        _ => call.answer("plain"),
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    for path in ["/trailers", "/head", "/head"] {
        assert_eq!(client.ask(&with(request("POST", path), &grpc)).status(), 200);
    }
    assert_eq!(client.ask(&get("/plain")).status(), 200);
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("grpc_status", "5")], 1.0);
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("grpc_status", "12")], 2.0);
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "200")], 4.0);
}

#[test]
fn an_answer_of_trailers_only_stays_one() {
    let upstream = h2::Upstream::scripted(|call| {
        call.head("200", &[("content-type", "application/grpc"), ("grpc-status", "12")], true);
    });
    let proxy = before_http2(&upstream);
    let answer = Client::connect(proxy.address()).ask(&get("/a"));
    assert_eq!((answer.status(), answer.one("grpc-status"), answer.received), (200, Some("12"), 0));
    assert_eq!(answer.trailers, []);
}

#[test]
fn an_answer_to_head_keeps_the_length_of_what_it_stands_for() {
    let upstream = h2::Upstream::scripted(|call| call.head("200", &[("content-length", "500")], true));
    let proxy = before_http2(&upstream);
    let answer = Client::connect(proxy.address()).ask(&request("HEAD", "/a"));
    assert_eq!((answer.one("content-length"), answer.received), (Some("500"), 0));
}

#[test]
fn interim_answers_do_not_take_the_place_of_the_final_one() {
    let upstream = h2::Upstream::scripted(|call| {
        call.head("103", &[("link", "</a>")], false);
        call.head("200", &[], false);
        call.data(b"ok", true);
    });
    let proxy = before_http2(&upstream);
    assert_eq!(Client::connect(proxy.address()).ask(&get("/a")).text(), "ok");
}

#[test]
fn an_answer_before_the_end_of_the_request_is_passed_on() {
    let upstream = h2::Upstream::scripted(|call| {
        call.head("413", &[], false);
        call.data(b"no", true);
        call.reset(code::NO_ERROR);
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/a"), false);
    client.send_frame(&Frame::data(stream, b"the beginning", false));
    let early = client.outcome(stream);
    assert_eq!((early.status(), early.text().as_str(), early.ended), (413, "no", true));
    assert_eq!(client.goaways(), []);
}

#[test]
fn the_upstream_can_be_spoken_to_in_http_2_by_name_alone() {
    let upstream = h2::Upstream::ok();
    let arguments = ["--upstream-protocol", "bookinfo/ratings:9080=http2"];
    let proxy = Setup::proxy().to(upstream.address()).with(arguments).start();
    assert_eq!(Client::connect(proxy.address()).ask(&get("/a")).status(), 200);
}

#[test]
fn large_fields_pass_both_ways() {
    let large = "x".repeat(40_000);
    let sent = large.clone();
    let upstream = h2::Upstream::scripted(move |call| {
        if call.whole().is_some() {
            call.head("200", &[("x-large", &sent)], true);
        }
    });
    let proxy = before_http2(&upstream);
    let answer = Client::connect(proxy.address()).ask(&with(get("/a"), &[("x-large", &large)]));
    assert!(answer.one("x-large") == Some(&large), "{} fields", answer.head.len());
    assert!(upstream.only_request().one("x-large") == Some(&large));
}
