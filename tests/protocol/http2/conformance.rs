//! C1, C11: the conformance suite passes, and prior knowledge is enough.

use super::{before_http1, before_http2};
use crate::harness::{
    Glooshot, Upstream, answer,
    h2::{self, Client, client::get, h2spec},
    wire::find,
};

/// What h2spec, written for RFC 7540, expects and RFC 9113 does not ask for.
const EXCEPTIONS: &[(&str, &str)] = &[(
    "http2/3.5: Sends invalid connection preface",
    "What does not begin with the preface is not HTTP/2 (section 3.4): it passes through, and the service ends it.",
)];

/// What the suite sends in the place of the preface.
const NOT_HTTP: &str = "INVALID CONNECTION PREFACE";

#[track_caller]
fn conforms(proxy: &Glooshot) {
    let mut report = h2spec::run(proxy.address());
    report.failed.retain(|(name, _)| !EXCEPTIONS.iter().any(|(exception, _)| name == exception));
    assert!(report.failed.is_empty() && report.skipped.is_empty(), "{:#?} {:?}", report.failed, report.skipped);
    assert!(report.passed.len() + EXCEPTIONS.len() >= h2spec::CASES, "{} passed", report.passed.len());
    assert_eq!(Client::connect(proxy.address()).ask(&get("/after")).status(), 200);
}

#[test]
fn c1_h2spec_passes_in_front_of_an_upstream_that_speaks_http_1() {
    let upstream = Upstream::answering(answer(&"x".repeat(1_000)));
    conforms(&before_http1(&upstream));
    let account = upstream.account();
    // Requests that the suite cuts off may end in the middle, but none becomes something else.
    let is_known = |rest: &String| rest.starts_with("unfinished") || rest.contains(NOT_HTTP);
    assert!(account.rests.iter().all(is_known), "{:?}", account.rests);
}

#[test]
fn c1_h2spec_passes_in_front_of_an_upstream_that_speaks_http_2() {
    let upstream =
        h2::Upstream::scripted(|call| match call.whole().as_ref().and_then(|request| request.one(":method")) {
            Some("HEAD") => call.head("200", &[("content-length", "1000")], true),
            Some(_) => call.answer(&"x".repeat(1_000)),
            None => {}
        });
    conforms(&before_http2(&upstream));
    let broken = upstream.take_broken();
    assert!(broken.iter().all(|what| what.contains(NOT_HTTP)), "{broken:?}");
}

#[test]
fn c11_prior_knowledge_is_enough() {
    let upstream = h2::Upstream::naming_the_path();
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for path in ["/a", "/b?c=d"] {
        let answer = client.ask(&get(path));
        assert_eq!((answer.status(), answer.text().as_str()), (200, path));
    }
    assert_eq!(upstream.endpoints().len(), 1, "an upstream connection is used again");
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "200")], 2.0);
}

#[test]
fn c11_prior_knowledge_is_recognised_in_segments_of_one_byte() {
    let upstream = h2::Upstream::naming_the_path();
    let proxy = before_http2(&upstream);
    let mut raw = proxy.client();
    let block = h2::hpack::block(&get("/a"));
    let bytes = [h2::PREFACE, &h2::Frame::settings(&[]).bytes(), &h2::Frame::headers(1, &block, true).bytes()].concat();
    raw.send_segments(bytes.chunks(1));
    let mut come = Vec::new();
    while find(&come, b"/a").is_none() {
        come.extend(raw.read_at_least(1));
    }
    assert_eq!(upstream.only_request().path(), "/a");
}

#[test]
fn c11_a_preface_that_breaks_off_is_answered_with_nothing_and_forwarded_nowhere() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    for start in ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rGET / HTTP/1.1\r\n\r\n"] {
        let mut client = proxy.client();
        client.send(start.as_bytes());
        client.finish_sending();
        let (bytes, _) = client.read_to_end();
        assert!(find(&bytes, b"HTTP/1.1 2").is_none(), "{start:?} got {bytes:?}");
    }
    assert_eq!(upstream.byte_count(), 0);
}
