//! C8: what is no request is answered with an error, and nothing of it ever reaches an upstream.

use super::{before_http1, before_http2};
use crate::harness::{
    Ending, Glooshot, Upstream,
    h2::{
        self, Client, Frame, Stream,
        client::{get, request, with},
        code, fields,
        fields::Field,
        state::State,
    },
    patience::PATIENCE,
    wire::Message,
};

/// How the proxy refused a stream.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// With an answer of this status.
    Status(u16),
    /// With RST_STREAM.
    Stream(u32),
    /// With the end of the connection, and perhaps a GOAWAY.
    Connection(Option<u32>),
    /// Not at all: nothing came.
    Silence,
}

/// How the stream of a request with `head` was refused.
#[track_caller]
fn refusal(proxy: &Glooshot, head: &[Field], body: Option<&[u8]>) -> Refusal {
    let mut client = Client::connect(proxy.address());
    let stream = client.open(head, body.is_none());
    if let Some(body) = body {
        client.send_frame(&Frame::data(stream, body, true));
    }
    let over = |state: &mut State| state.stream(stream).is_over().then_some(());
    if client.endpoint().try_wait(PATIENCE, over).is_none() && client.endpoint().state().ending == Ending::StillOpen {
        return Refusal::Silence;
    }
    let outcome = client.outcome(stream);
    match outcome {
        Stream { reset: Some(code), ref head, .. } if head.is_empty() => Refusal::Stream(code),
        Stream { ended: true, .. } => Refusal::Status(outcome.status()),
        _ => Refusal::Connection(client.expect_end().map(|goaway| goaway.code)),
    }
}

/// RFC 9113 section 8.1.1: malformed is a stream error of the type PROTOCOL_ERROR; a 400 may come before it.
fn is_malformed(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Status(400) | Refusal::Stream(code::PROTOCOL_ERROR) | Refusal::Connection(Some(code::PROTOCOL_ERROR))
    )
}

fn without(name: &str) -> Vec<Field> {
    get("/a").into_iter().filter(|(field, _)| field != name).collect()
}

fn replaced(name: &str, value: &str) -> Vec<Field> {
    get("/a").into_iter().map(|(field, old)| if field == name { (field, value.into()) } else { (field, old) }).collect()
}

type Case = (String, Vec<Field>);

/// Heads that are malformed in one way each.
fn malformed() -> Vec<Case> {
    [wrong_pseudo_header_fields(), wrong_values_of_pseudo_header_fields(), wrong_fields()].concat()
}

fn wrong_pseudo_header_fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in [":method", ":scheme", ":path"] {
        cases.push((format!("no {name}"), without(name)));
    }
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/b"), (":authority", "ratings")] {
        cases.push((format!("{name} twice"), with(get("/a"), &[(name, value)])));
        cases.push((format!("an empty {name}"), replaced(name, "")));
    }
    for (name, value) in [(":status", "200"), (":protocol", "websocket"), (":unknown", "1")] {
        cases.push((format!("{name:?}: {value:?}"), with(get("/a"), &[(name, value)])));
    }
    let behind = with(without(":method"), &[("x-a", "1"), (":method", "GET")]);
    cases.push(("the method behind a field".to_owned(), behind));
    let two_hosts = with(without(":authority"), &[("host", "ratings"), ("host", "ratings")]);
    cases.push(("two hosts".to_owned(), two_hosts));
    cases.push(("neither authority nor host".to_owned(), without(":authority")));
    cases
}

fn wrong_values_of_pseudo_header_fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/b"), (":authority", "ratings")] {
        for bad in ["\r\n", "\n", "\r", "\0", " ", "\x7f"] {
            cases.push((format!("{bad:?} in {name}"), replaced(name, &format!("{value}{bad}x"))));
            cases.push((format!("{bad:?} behind {name}"), replaced(name, &format!("{value}{bad}"))));
        }
    }
    for path in ["*", "a", "http://ratings/a", "/ HTTP/1.1\r\nX-Smuggled: 1\r\n\r\nGET /smuggled"] {
        cases.push((format!("the path {path:?}"), replaced(":path", path)));
    }
    for method in ["GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET", "G(T", "GET:"] {
        cases.push((format!("the method {method:?}"), replaced(":method", method)));
    }
    let not_hosts = ["user@ratings", "ratings/x", "ratings?x", "ratings:port", "ratings:99999", "rat\u{e9}ngs"];
    for authority in not_hosts {
        cases.push((format!("the authority {authority:?}"), replaced(":authority", authority)));
    }
    cases
}

fn wrong_fields() -> Vec<Case> {
    let fields = [
        ("X-Upper", "1"),
        ("x-Upper", "1"),
        ("", "1"),
        ("x a", "1"),
        ("x:a", "1"),
        ("x-a\r\nx-smuggled", "1"),
        ("x-a\0", "1"),
        ("x-\u{e9}", "1"),
        ("x-a", "1\r\nX-Smuggled: 1"),
        ("x-a", "1\nx"),
        ("x-a", "1\rx"),
        ("x-a", "1\0x"),
        ("x-a", "1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("connection", "close"),
        ("connection", "x-a"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("host", "reviews"),
        ("host", "ratings:81"),
        ("content-length", "+0"),
        ("content-length", "-0"),
        ("content-length", "0x0"),
        ("content-length", "0,0"),
        ("content-length", "18446744073709551616"),
    ];
    fields.iter().map(|field| (format!("{field:?}"), with(get("/a"), &[*field]))).collect()
}

/// All malformed heads are refused, with and without a body behind them.
#[track_caller]
fn refuses_all(proxy: &Glooshot) {
    let mut wrong = Vec::new();
    for (what, head) in malformed() {
        for body in [None, Some(&b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"[..])] {
            let refusal = refusal(proxy, &head, body);
            if !is_malformed(&refusal) {
                wrong.push(format!("{what}, {} body: {refusal:?}", if body.is_some() { "with a" } else { "without" }));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(Client::connect(proxy.address()).ask(&get("/sentinel")).status(), 200);
}

#[test]
fn c8_malformed_requests_never_reach_an_upstream_that_speaks_http_1() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    refuses_all(&proxy);
    assert_eq!(upstream.only_request().target(), "/sentinel");
}

#[test]
fn c8_malformed_requests_never_reach_an_upstream_that_speaks_http_2() {
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    refuses_all(&proxy);
    assert_eq!(upstream.only_request().path(), "/sentinel");
}

#[test]
fn c8_an_authority_is_held_to_what_a_host_may_be() {
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    let mut served = Vec::new();
    for authority in ["a,b", "a;b", "a=b", "(a)", "a&b", "a'b", "a!b"] {
        let refusal = refusal(&proxy, &replaced(":authority", authority), None);
        served.extend((!is_malformed(&refusal)).then_some(authority));
    }
    assert_eq!(served, Vec::<&str>::new());
}

#[test]
fn c8_a_path_that_begins_with_its_query_is_malformed() {
    // RFC 9113 section 8.3.1: an http path has at least a slash.
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    let refusal = refusal(&proxy, &replaced(":path", "?a"), None);
    assert!(is_malformed(&refusal), "{refusal:?}");
    assert!(upstream.streams().is_empty(), "{:?}", upstream.streams());
}

/// What an upstream gets of a request that is odd and not malformed.
#[track_caller]
fn forwarded(head: &[Field]) -> Message {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    assert_eq!(Client::connect(proxy.address()).ask(head).status(), 200, "{head:?}");
    upstream.only_request()
}

#[test]
fn c8_a_host_that_says_the_same_as_the_authority_is_forwarded_once() {
    let request = forwarded(&with(get("/a"), &[("host", "ratings")]));
    assert_eq!(request.one("host"), Some("ratings"));
}

#[test]
fn c8_a_host_does_in_the_place_of_the_authority() {
    let request = forwarded(&with(without(":authority"), &[("host", "ratings")]));
    assert_eq!(request.one("host"), Some("ratings"));
}

#[test]
fn c8_blanks_around_a_value_are_not_forwarded() {
    // RFC 9113 section 8.2.1 calls them malformed; HTTP/1 takes them for no part of the value.
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    for value in [" 1", "1 ", "\t1\t"] {
        let mut client = Client::connect(proxy.address());
        let stream = client.request(&with(get("/a"), &[("x-a", value)]));
        let outcome = client.outcome(stream);
        assert!(outcome.reset == Some(code::PROTOCOL_ERROR) || matches!(outcome.status(), 200 | 400), "{outcome:?}");
    }
    assert!(upstream.requests().iter().all(|request| request.one("x-a") == Some("1")), "{:?}", upstream.requests());
}

#[test]
fn c8_odd_fields_behind_a_body_are_malformed() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let mut served = Vec::new();
    for trailer in [
        (":unknown", "1"),
        ("X-Upper", "1"),
        ("x-a", "1\r\nx"),
        ("x a", "1"),
        ("connection", "x"),
        ("transfer-encoding", "chunked"),
    ] {
        let mut client = Client::connect(proxy.address());
        let stream = client.open(&request("POST", "/a"), false);
        client.send_frame(&Frame::data(stream, b"hello", false));
        client.endpoint().send_fields(stream, &fields(&[trailer]), true);
        let outcome = client.outcome(stream);
        served.extend((outcome.status() == 200).then_some(trailer));
    }
    assert_eq!(served, []);
    assert_eq!(upstream.account().requests.len(), 0);
}

#[test]
fn c8_pseudo_header_fields_behind_a_body_never_reach_an_upstream() {
    // RFC 9113 section 8.1 calls them malformed; the proxy's HTTP/2 library drops them.
    let upstream = h2::Upstream::ok();
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    for trailer in [(":status", "200"), (":path", "/b"), (":method", "GET"), (":authority", "b")] {
        let stream = client.open(&request("POST", "/a"), false);
        client.send_frame(&Frame::data(stream, b"hello", false));
        client.endpoint().send_fields(stream, &fields(&[trailer, ("x-sum", "7")]), true);
        let outcome = client.outcome(stream);
        assert!(outcome.reset == Some(code::PROTOCOL_ERROR) || outcome.status() == 200, "{outcome:?}");
    }
    // That none of them passes is what the upstream's reader insists on.
    assert!(upstream.requests().iter().all(|request| request.path() == "/a" && request.trailers.len() <= 1));
}

#[test]
fn c8_connect_and_trace_are_not_offered() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let connect = fields(&[(":method", "CONNECT"), (":authority", "ratings:80")]);
    let websocket = with(request("CONNECT", "/chat"), &[(":protocol", "websocket")]);
    let trace = request("TRACE", "/a");
    assert_eq!(refusal(&proxy, &connect, None), Refusal::Status(405));
    assert_eq!(refusal(&proxy, &trace, None), Refusal::Status(405));
    let refusal = refusal(&proxy, &websocket, None);
    assert!(is_malformed(&refusal) || refusal == Refusal::Status(405), "{refusal:?}");
    assert_eq!(upstream.byte_count(), 0);
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "method")], 2.0);
}

#[test]
fn c8_too_much_of_a_head_is_refused_and_the_connection_goes_on() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let large = "x".repeat(40_000);
    let many = (0..200).map(|n| (format!("x-{n}"), "1".to_owned())).collect::<Vec<_>>();
    let cases = [
        ("80 KB of fields", with(get("/a"), &[("x-a", &large), ("x-b", &large)]), 431),
        ("200 fields", [get("/a"), many].concat(), 431),
        ("a long path", get(&format!("/{}", "x".repeat(20_000))), 414),
    ];
    for (what, head, status) in cases {
        let stream = client.request(&head);
        assert_eq!(client.outcome(stream).status(), status, "{what}");
    }
    assert_eq!(client.ask(&get("/after")).status(), 200);
    assert_eq!(upstream.only_request().target(), "/after");
}
