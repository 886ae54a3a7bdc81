//! B4-B9, B12: what the proxy takes away, what it adds, and what it leaves alone, in both directions.

use std::process;

use crate::harness::{Framing, Glooshot, Setup, Upstream, get, wire::values};

const PSEUDONYM: &str = "1.1 ratings.bookinfo.glooshot";

/// A GET with further header lines.
fn get_with(lines: &[&str]) -> Vec<u8> {
    let lines = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    format!("GET /a HTTP/1.1\r\nHost: ratings\r\n{lines}\r\n").into_bytes()
}

/// An answer with further header lines and the body `ok`.
fn answer_with(lines: &[&str]) -> Vec<u8> {
    let lines = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok").into_bytes()
}

#[test]
fn b4_hop_by_hop_headers_of_an_answer_are_not_forwarded() {
    let upstream = Upstream::answering(answer_with(&[
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Upgrade: h2c",
        "TE: trailers",
        "X-Kept: yes",
    ]));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get("/a"));
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "upgrade", "te"] {
        assert!(!answer.has(name), "{name}: {answer:?}");
    }
    assert_eq!(answer.one("x-kept"), Some("yes"));
}

#[test]
fn b5_headers_that_connection_names_in_an_answer_are_not_forwarded() {
    let upstream =
        Upstream::answering(answer_with(&["Connection: X-Secret, content-length", "X-Secret: 1", "X-Kept: yes"]));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get("/a"));
    assert_eq!((answer.has("x-secret"), answer.one("x-kept"), answer.text().as_str()), (false, Some("yes"), "ok"));
}

#[test]
fn b5_close_from_a_client_does_not_close_the_upstream_connection() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    for _ in 0..3 {
        let mut client = proxy.client();
        let answer = client.ask(&get_with(&["Connection: close"]));
        assert!(answer.says_close(), "{answer:?}");
        client.expect_end();
    }
    assert_eq!(upstream.requests().len(), 3);
    assert_eq!(upstream.connections().len(), 1);
    assert!(upstream.requests().iter().all(|request| !request.says_close()));
}

#[test]
fn b5_close_from_the_upstream_does_not_close_the_connection_of_the_client() {
    let upstream = Upstream::answering(answer_with(&["Connection: close"]));
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.ask(&get("/a"));
        assert!(answer.status() == 200 && !answer.says_close(), "{answer:?}");
    }
    assert_eq!(upstream.connections().len(), 3, "the upstream is obeyed");
}

#[test]
fn b6_via_names_the_proxy_in_both_directions() {
    let upstream = Upstream::answering(answer_with(&["Via: 1.0 origin"]));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get_with(&["Via: 1.0 first", "Via: 1.1 second, 1.1 third"]));
    let request = upstream.only_request();
    assert_eq!(request.all("via").join(", "), format!("1.0 first, 1.1 second, 1.1 third, {PSEUDONYM}"));
    assert_eq!(answer.all("via").join(", "), format!("1.0 origin, {PSEUDONYM}"));
}

#[test]
fn b6_a_request_that_has_passed_this_proxy_is_a_loop() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    for via in [
        format!("Via: {PSEUDONYM}"),
        format!("Via: 1.1 a, {PSEUDONYM}"),
        format!("Via: 1.1 a\r\nVia: {PSEUDONYM}, 1.1 b"),
    ] {
        let answer = proxy.client().ask(&get_with(&[&via]));
        assert_eq!(answer.status(), 508, "{via}: {answer:?}");
        assert!(answer.one("x-glooshot-error").is_some_and(|value| value.starts_with("client; ")), "{answer:?}");
    }
    assert_eq!(upstream.byte_count(), 0);
}

#[test]
fn b6_a_proxy_that_is_its_own_upstream_ends_the_loop_after_one_hop() {
    // An address of loopback that belongs to this process alone, so that the port is free.
    let [.., high, low] = process::id().to_be_bytes();
    let itself = format!("127.66.{high}.{low}:18080");
    let proxy = Setup::proxy().route("bookinfo/ratings:9080", &itself, itself.parse().unwrap()).start();
    let answer = proxy.client().ask(&get("/a"));
    assert_eq!(answer.status(), 508, "{answer:?}");
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[], 1.0);
}

#[test]
fn b7_the_address_of_the_client_is_appended_to_what_the_client_says() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    proxy.client().ask(&get_with(&["X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8, 9.9.9.9"]));
    assert_eq!(upstream.only_request().all("x-forwarded-for").join(", "), "1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1");
}

#[test]
fn b7_the_address_of_the_client_replaces_what_the_client_says_where_clients_are_not_trusted() {
    let upstream = Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).with(["--forwarded-for", "overwrite"]).start();
    proxy.client().ask(&get_with(&["X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8"]));
    assert_eq!(upstream.only_request().all("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn b7_there_are_never_two_conflicting_forms_of_the_address() {
    const OLD: &str = "X-Forwarded-For: 1.2.3.4";
    const NEW: &str = "Forwarded: for=6.6.6.6";
    // What the client sends, and what the upstream sees as X-Forwarded-For and as Forwarded (RFC 7239).
    let cases: [(&str, &[&str], &str, &str); 6] = [
        ("append", &[], "127.0.0.1", ""),
        ("append", &[NEW], "", "for=6.6.6.6, for=127.0.0.1"),
        ("append", &[OLD, NEW], "1.2.3.4, 127.0.0.1", ""),
        ("overwrite", &[], "127.0.0.1", ""),
        ("overwrite", &[NEW], "127.0.0.1", ""),
        ("overwrite", &[OLD, NEW], "127.0.0.1", ""),
    ];
    for (mode, sent, x_forwarded_for, forwarded) in cases {
        let upstream = Upstream::ok();
        let proxy = Setup::proxy().to(upstream.address()).with(["--forwarded-for", mode]).start();
        proxy.client().ask(&get_with(sent));
        let request = upstream.only_request();
        let seen = (request.all("x-forwarded-for").join(", "), request.all("forwarded").join(", "));
        assert_eq!(seen, (x_forwarded_for.to_owned(), forwarded.to_owned()), "{mode} {sent:?}");
    }
}

#[test]
fn b9_our_markers_from_the_upstream_are_dropped() {
    let upstream = Upstream::answering(answer_with(&[
        "X-Glooshot-Fault: abort; experiment=a/b; fault=0",
        "x-glooshot-error: client; x",
    ]));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get("/a"));
    assert_eq!(
        (answer.has("x-glooshot-fault"), answer.has("x-glooshot-error"), answer.text().as_str()),
        (false, false, "ok")
    );
}

#[test]
fn b12_equal_names_are_neither_merged_nor_reordered() {
    let cookies = ["a=1; Path=/", "b=2, 3", "a=1; Path=/", "c=\"4\""];
    let lines = cookies.map(|cookie| format!("Set-Cookie: {cookie}"));
    let upstream = Upstream::answering(answer_with(&lines.each_ref().map(String::as_str)));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get_with(&["X-A: 1", "X-B: 2", "x-a: 3", "X-A: 1"]));
    assert_eq!(answer.all("set-cookie"), cookies);
    assert_eq!(upstream.only_request().all("x-a"), ["1", "3", "1"]);
}

#[test]
fn b12_an_answer_with_200_headers_arrives_whole() {
    let lines = (0..200).map(|number| format!("X-{}: {number}", number % 7)).collect::<Vec<_>>();
    let upstream = Upstream::answering(answer_with(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get("/a"));
    for name in 0..7 {
        let sent = (0..200).filter(|number| number % 7 == name).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(values(&answer.headers, &format!("x-{name}")), sent);
    }
}

#[test]
fn b12_the_date_and_the_length_of_the_upstream_are_kept() {
    let upstream =
        Upstream::answering(answer_with(&["Date: Mon, 10 Jun 2019 16:08:39 GMT", "Server: origin/1", "ETag: \"x\""]));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get("/a"));
    assert_eq!(answer.one("date"), Some("Mon, 10 Jun 2019 16:08:39 GMT"));
    assert_eq!(
        (answer.one("content-length"), answer.one("server"), answer.one("etag")),
        (Some("2"), Some("origin/1"), Some("\"x\""))
    );
}

#[test]
fn b12_the_reason_phrase_and_status_of_the_upstream_are_kept() {
    for (status, line) in
        [(201, "201 Created"), (299, "299 Odd"), (404, "404 Not Found"), (503, "503 Service Unavailable")]
    {
        let upstream = Upstream::answering(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"));
        let proxy = Glooshot::before(&upstream);
        let answer = proxy.client().ask(&get("/a"));
        assert_eq!(
            (answer.status(), answer.has("x-glooshot-error")),
            (status, false),
            "an upstream's own error is not the proxy's"
        );
    }
}

#[test]
fn requests_are_counted_by_service_and_code() {
    let upstream = Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).with(["--source", "127.0.0.1=productpage:v1"]).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        client.ask(&get("/a"));
    }
    let labels = [
        ("service", "ratings"),
        ("namespace", "bookinfo"),
        ("port", "9080"),
        ("code", "200"),
        ("source", "productpage"),
    ];
    proxy.wait_for_metric("glooshot_proxy_requests_total", &labels, 3.0);
}

#[test]
fn a_body_in_chunks_is_forwarded_whatever_the_method_is() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        let request =
            format!("{method} /a HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let mark = upstream.mark();
        // The answer to HEAD has bytes behind its head here, so each method gets a connection of its own.
        assert_eq!(proxy.client().ask(request.as_bytes()).status(), 200, "{method}");
        let account = crate::harness::upstream::account(&upstream.since(&mark));
        let bodies = account.requests.iter().map(|request| (request.framing, request.text())).collect::<Vec<_>>();
        assert_eq!(bodies, [(Framing::Chunked, "hello".to_owned())], "{method}");
    }
}
