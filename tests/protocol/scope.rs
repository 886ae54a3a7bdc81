//! E4: a fault touches the requests that it describes, and no others.

use std::net::IpAddr;

use crate::harness::{
    Client, Glooshot, Setup, Upstream,
    experiment::Experiment,
    get,
    load::{self, CountingUpstream},
    scale,
};

const ABORT: &str = "{abort: {httpStatus: 500}, percentage: 100}";

fn proxy_with(matching: &str, upstream: std::net::SocketAddr) -> Glooshot {
    let experiment = Experiment::named("e4").fault(matching, ABORT);
    Setup::run(&experiment.yaml()).to(upstream).with(["--source", "127.0.0.9=productpage:v1"]).start_with_faults_on()
}

/// A request line, and further header lines.
fn request(line: &str, headers: &[&str]) -> Vec<u8> {
    let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
    format!("{line} HTTP/1.1\r\nHost: ratings\r\n{headers}\r\n").into_bytes()
}

const JASON: &str = "X-User: jason";

/// All but one part of the match holds; the part that fails fails narrowly.
fn near_misses() -> Vec<Vec<u8>> {
    [
        ("GET /Ratings/7", vec![JASON]),
        ("GET /ratings/7/", vec![JASON]),
        ("GET /ratings/70", vec![JASON]),
        ("GET /ratings/", vec![JASON]),
        ("GET /ratings/%37", vec![JASON]),
        ("GET //ratings/7", vec![JASON]),
        ("GET /x/../ratings/7", vec![JASON]),
        ("GET /ratings/7;v=1", vec![JASON]),
        ("GET /other?/ratings/7", vec![JASON]),
        ("HEAD /ratings/7", vec![JASON]),
        ("DELETE /ratings/7", vec![JASON]),
        ("get /ratings/7", vec![JASON]),
        ("OPTIONS *", vec![JASON]),
        ("GET /ratings/7", vec![]),
        ("GET /ratings/7", vec!["X-User: Jason"]),
        ("GET /ratings/7", vec!["X-User: jason2"]),
        ("GET /ratings/7", vec!["X-User:"]),
        ("GET /ratings/7", vec!["X-Users: jason"]),
        ("GET /ratings/7", vec!["X-User: x, jason"]),
    ]
    .into_iter()
    .map(|(line, headers)| request(line, &headers))
    .collect()
}

#[test]
fn e4_requests_that_just_fail_to_match_are_never_touched() {
    let upstream = CountingUpstream::start();
    let proxy = proxy_with(
        "match: {path: {exact: /ratings/7}, methods: [GET], headers: [{name: x-user, exact: jason}]}",
        upstream.address(),
    );
    let near_misses = near_misses();
    let requests = scale::SCOPE.get();
    let tally =
        load::send(proxy.address(), 4, requests, |number| near_misses[number as usize % near_misses.len()].clone());
    assert_eq!((tally.status(200), tally.marked(), tally.unanswered), (requests, 0, 0), "{tally:?}");
    assert_eq!(upstream.requests(), requests);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), 0.0);
    let matching = request("GET /ratings/7", &[JASON]);
    assert_eq!(load::send(proxy.address(), 1, 100, |_| matching.clone()).status(500), 100);
}

/// Which of `requests` are aborted by a fault with `matching`.
fn aborted(matching: &str, requests: &[Vec<u8>]) -> Vec<bool> {
    let upstream = Upstream::ok();
    let proxy = proxy_with(matching, upstream.address());
    let mut client = proxy.client();
    requests.iter().map(|request| client.ask(request).status() == 500).collect()
}

#[test]
fn e4_an_exact_path_matches_whatever_the_query_is() {
    let lines = ["GET /ratings/7", "GET /ratings/7?", "GET /ratings/7?x=/y", "GET /ratings?/7"];
    let requests = lines.map(|line| request(line, &[]));
    assert_eq!(aborted("match: {path: {exact: /ratings/7}}", &requests), [true, true, true, false]);
}

#[test]
fn e4_a_prefix_matches_the_beginning_of_the_bytes_that_were_sent() {
    let lines = [
        "GET /ratings",
        "GET /ratings/7",
        "GET /ratingsX",
        "GET /rating",
        "GET /RATINGS",
        "GET /x/ratings",
        "GET /%72atings",
    ];
    let requests = lines.map(|line| request(line, &[]));
    assert_eq!(aborted("match: {path: {prefix: /ratings}}", &requests), [true, true, true, false, false, false, false]);
}

#[test]
fn e4_a_regular_expression_matches_the_whole_path() {
    let lines = [
        "GET /ratings/7",
        "GET /ratings/77",
        "GET /ratings/x",
        "GET /a/ratings/7",
        "GET /ratings/7/b",
        "GET /ratings/7?x",
    ];
    let requests = lines.map(|line| request(line, &[]));
    assert_eq!(
        aborted("match: {path: {regex: '/ratings/[0-9]+'}}", &requests),
        [true, true, false, false, false, true]
    );
}

#[test]
fn e4_any_of_the_methods_matches() {
    let requests = ["GET /a", "HEAD /a", "PUT /a", "put /a"].map(|line| request(line, &[]));
    assert_eq!(aborted("match: {methods: [GET, PUT]}", &requests), [true, false, true, false]);
}

#[test]
fn e4_all_of_the_headers_must_match() {
    let requests = [
        request("GET /a", &["X-A: 1", "X-B: xyz"]),
        request("GET /a", &["x-a: 1", "x-b: x"]),
        request("GET /a", &["X-A: 1"]),
        request("GET /a", &["X-A: 2", "X-B: xyz"]),
        request("GET /a", &["X-A: 1", "X-B: yx"]),
        request("GET /a", &["X-A: 1", "X-B: xyz", "X-C: "]),
    ];
    let matching = "match: {headers: [{name: X-A, exact: '1'}, {name: x-b, prefix: x}, {name: x-c, present: false}]}";
    assert_eq!(aborted(matching, &requests), [true, true, false, false, false, false]);
}

#[test]
fn e4_an_absolute_target_is_matched_by_its_path() {
    let requests = ["GET http://other/ratings/7", "GET http://other/ratings/8"].map(|line| request(line, &[]));
    assert_eq!(aborted("match: {path: {exact: /ratings/7}}", &requests), [true, false]);
}

#[test]
fn e4_only_the_named_callers_are_touched() {
    let upstream = Upstream::ok();
    let proxy = proxy_with("originServices: [{name: productpage, namespace: bookinfo}]", upstream.address());
    let from = |ip: &str| Client::connect_from(ip.parse::<IpAddr>().unwrap(), proxy.address()).ask(&get("/a")).status();
    assert_eq!([from("127.0.0.9"), from("127.0.0.8"), from("127.0.0.1")], [500, 200, 200]);
    // Who a caller is follows from its connection, never from what it says.
    let claims = request("GET /a", &["X-Forwarded-For: 127.0.0.9"]);
    assert_eq!(proxy.client().ask(&claims).status(), 200);
}

#[test]
fn e4_requests_that_are_refused_at_the_gate_are_never_counted_as_injected() {
    let upstream = Upstream::ok();
    let proxy = proxy_with("", upstream.address());
    assert_eq!(proxy.client().ask(b"GET /a HTTP/1.1\r\n\r\n").status(), 400);
    assert_eq!(proxy.client().ask(&get("/a")).status(), 500);
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[], 1.0);
    assert_eq!(proxy.metrics().rejected(), 1.0);
}
