//! A client that speaks HTTP/2 in front of an upstream that speaks HTTP/1: messages keep their meaning both ways.

use super::before_http1;
use crate::harness::{
    Framing, Gate, Message, Step, Upstream, answer,
    h2::{
        Client, Frame, Stream,
        client::{get, request, with},
        fields,
        fields::Field,
    },
};

/// What the upstream gets of a request, and what the client gets of `answer`.
#[track_caller]
fn exchange(head: &[Field], body: Option<&[u8]>, answer: &[u8]) -> (Message, Stream) {
    let upstream = Upstream::answering(answer);
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let answer = match body {
        None => client.ask(head),
        Some(body) => client.ask_with_body(head, body),
    };
    assert_eq!(client.goaways(), []);
    (upstream.only_request(), answer)
}

#[track_caller]
fn request_of(head: &[Field]) -> Message {
    exchange(head, None, &answer("ok")).0
}

#[track_caller]
fn answer_to(method: &str, answer: &[u8]) -> Stream {
    exchange(&request(method, "/a"), None, answer).1
}

#[test]
fn the_authority_becomes_the_host_and_the_path_the_target_byte_for_byte() {
    for path in ["/", "/a/../b", "//a", "/%2F%00", "/a?b=c&d=/../e", "/a;v=1", "/a|b", "/?", "/a%"] {
        let request = request_of(&get(path));
        assert_eq!(request.start_line, format!("GET {path} HTTP/1.1"));
        assert_eq!(request.one("host"), Some("ratings"));
    }
    let other =
        fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "Ratings.Example:8080")]);
    assert_eq!(request_of(&other).one("host"), Some("Ratings.Example:8080"));
}

#[test]
fn methods_stay_as_they_are() {
    for method in ["DELETE", "PATCH", "PROPFIND", "get", "M-SEARCH"] {
        assert!(request_of(&request(method, "/a")).start_line.starts_with(&format!("{method} /a ")));
    }
    assert_eq!(request_of(&request("OPTIONS", "*")).start_line, "OPTIONS * HTTP/1.1");
}

#[test]
fn the_crumbs_of_a_cookie_become_one_field() {
    // RFC 9113 section 8.2.3.
    let crumbs = with(get("/a"), &[("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]);
    assert_eq!(request_of(&crumbs).all("cookie"), ["a=1; b=2; c=3; d=4"]);
    assert_eq!(request_of(&with(get("/a"), &[("cookie", "a=1")])).all("cookie"), ["a=1"]);
}

#[test]
fn via_names_the_version_in_which_each_message_came() {
    let (request, answer) = exchange(&with(get("/a"), &[("via", "1.0 first")]), None, &answer("ok"));
    assert_eq!(request.all("via").join(", "), "1.0 first, 2 ratings.bookinfo.glooshot");
    assert_eq!(answer.all("via"), ["1.1 ratings.bookinfo.glooshot"]);
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn a_request_that_has_passed_us_already_is_a_loop() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let looping = with(get("/a"), &[("via", "2 ratings.bookinfo.glooshot")]);
    assert_eq!(Client::connect(proxy.address()).ask(&looping).status(), 508);
    assert_eq!(upstream.byte_count(), 0);
}

#[test]
fn other_fields_keep_their_order_number_and_bytes() {
    let more = [("x-a", "1"), ("x-b", "\u{e9} b"), ("x-a", "2"), ("x-empty", ""), ("x-a", "1, 3")];
    let request = request_of(&with(get("/a"), &more));
    assert_eq!(
        (request.all("x-a"), request.one("x-b"), request.one("x-empty")),
        (vec!["1", "2", "1, 3"], Some("\u{e9} b"), Some(""))
    );
}

#[test]
fn forged_marks_and_fields_of_a_connection_do_not_pass() {
    let forged = [
        ("x-glooshot-fault", "abort"),
        ("x_forwarded_for", "1.1.1.1"),
        ("te", "trailers"),
        ("proxy-authorization", "secret"),
    ];
    let request = request_of(&with(get("/a"), &forged));
    for name in ["x-glooshot-fault", "x_forwarded_for", "proxy-authorization", "upgrade"] {
        assert!(!request.has(name), "{name}: {request:?}");
    }
    assert!(request.all("te").is_empty() || request.all("connection").join(",").to_ascii_lowercase().contains("te"));
}

#[test]
fn a_body_of_unknown_length_is_sent_in_chunks_and_one_of_known_length_with_it() {
    let (known, _) = exchange(&with(request("POST", "/a"), &[("content-length", "5")]), Some(b"hello"), &answer("ok"));
    assert_eq!((known.framing, known.text().as_str()), (Framing::Length(5), "hello"));
    let large = vec![b'x'; 300_000];
    for method in ["POST", "PUT", "GET", "DELETE", "OPTIONS"] {
        let (unknown, _) = exchange(&request(method, "/a"), Some(&large), &answer("ok"));
        assert_eq!(unknown.framing, Framing::Chunked, "{method}");
        assert!(unknown.body == large, "{method}: {} bytes", unknown.body.len());
    }
}

#[test]
fn a_request_without_a_body_has_none() {
    let framings = |method| request_of(&request(method, "/a")).framing;
    assert_eq!(framings("GET"), Framing::None);
    assert_eq!(framings("HEAD"), Framing::None);
    // RFC 9110 section 8.6: a length of 0 should be said where the method expects a body.
    assert!(matches!(framings("POST"), Framing::None | Framing::Length(0)));
}

#[test]
fn the_trailers_of_a_request_arrive_behind_its_chunks() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&with(request("POST", "/a"), &[("trailer", "x-sum")]), false);
    client.send_frame(&Frame::data(stream, b"hello", false));
    client.endpoint().send_fields(
        stream,
        &fields(&[("x-sum", "7"), ("content-length", "1"), ("authorization", "x")]),
        true,
    );
    assert_eq!(client.answer(stream).status(), 200);
    let request = upstream.only_request();
    assert_eq!((request.framing, request.text().as_str()), (Framing::Chunked, "hello"));
    let trailers = request.trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    assert_eq!(trailers.collect::<Vec<_>>(), fields(&[("x-sum", "7")]));
}

#[test]
fn the_trailers_of_an_answer_arrive_behind_its_body() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\n\
                    X-Sum: 7\r\nContent-Length: 1\r\nConnection: close\r\n\r\n";
    let answer = answer_to("GET", chunked);
    assert_eq!((answer.text().as_str(), answer.trailers), ("hello", fields(&[("x-sum", "7")])));
}

#[test]
fn each_framing_of_an_answer_ends_the_stream() {
    let large = "x".repeat(300_000);
    let in_chunks =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let answers = [
        answer(&large),
        in_chunks.into_bytes(),
        answer(""),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
    ];
    for (bytes, body) in answers.iter().zip([large.as_str(), &large, "", ""]) {
        let answer = answer_to("GET", bytes);
        assert!(answer.status() == 200 && answer.text() == body, "{} bytes", answer.received);
        assert!(!answer.has("transfer-encoding"));
    }
    let upstream =
        Upstream::scripted(|_| vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()), Step::Close]);
    let proxy = before_http1(&upstream);
    assert_eq!(Client::connect(proxy.address()).ask(&get("/a")).text(), "until the end");
}

#[test]
fn answers_that_have_no_body_have_none() {
    let head = answer_to("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
    assert_eq!((head.received, head.one("content-length")), (0, Some("500")));
    let chunked_head = answer_to("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!((chunked_head.status(), chunked_head.received), (200, 0));
    let none = answer_to("GET", b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n");
    assert_eq!((none.status(), none.received, none.one("x-a")), (204, 0, Some("1")));
    let same = answer_to("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"a\"\r\n\r\n");
    assert_eq!((same.status(), same.received, same.one("etag")), (304, 0, Some("\"a\"")));
}

#[test]
fn fields_of_an_answer_keep_their_order_number_and_bytes_without_those_of_the_connection() {
    let bytes =
        b"HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1\r\nX-B: \xe9\r\nSet-Cookie: b=2\r\nConnection: X-Secret\r\n\
                  X-Secret: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\n\
                  X-Glooshot-Fault: forged\r\nContent-Length: 2\r\n\r\nok";
    let answer = answer_to("GET", bytes);
    assert_eq!((answer.status(), answer.all("set-cookie")), (418, vec!["a=1", "b=2"]));
    assert_eq!((answer.one("x-b"), answer.one("content-length")), (Some("\u{e9}"), Some("2")));
    for name in ["x-secret", "proxy-authenticate", "x-glooshot-fault", "x-glooshot-error"] {
        assert!(!answer.has(name), "{name}: {answer:?}");
    }
}

#[test]
fn interim_answers_do_not_take_the_place_of_the_final_one() {
    let bytes = [
        &b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"[..],
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        &answer("ok"),
    ];
    let answer = answer_to("GET", &bytes.concat());
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
}

#[test]
fn a_request_that_expects_100_is_forwarded_before_its_body_comes() {
    // RFC 9110 section 10.1.1 asks a proxy to answer at once or to begin forwarding.
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let head = with(request("POST", "/a"), &[("expect", "100-continue"), ("content-length", "5")]);
    let stream = client.open(&head, false);
    upstream.wait_until("the head", |log| log.iter().any(|connection| connection.bytes.ends_with(b"\r\n\r\n")));
    client.endpoint().send_body(stream, b"hello", true);
    assert_eq!(client.answer(stream).status(), 200);
    assert_eq!(upstream.only_request().text(), "hello");
    assert_eq!(client.ask(&with(get("/b"), &[("expect", "a-miracle")])).status(), 417);
}

#[test]
fn an_answer_before_the_end_of_the_request_is_passed_on_and_the_rest_is_not_awaited() {
    let upstream = Upstream::raw(|mut stream, recorder| {
        use std::io::Write;
        recorder.read(stream);
        stream
            .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            .unwrap();
        while recorder.read(stream) {}
    });
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/a"), false);
    client.send_frame(&Frame::data(stream, b"the beginning", false));
    let early = client.outcome(stream);
    assert_eq!((early.status(), early.text().as_str()), (413, "no"));
    assert_eq!(client.goaways(), []);
}

#[test]
fn a_body_is_passed_on_as_it_comes() {
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = Upstream::scripted(move |_| {
        let begin = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n".to_vec();
        vec![Step::Send(begin), Step::Wait(opened.clone()), Step::Send(b"3\r\nend\r\n0\r\n\r\n".to_vec())]
    });
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/a"));
    client.wait("the beginning", |state| (state.stream(stream).body == b"begin").then_some(()));
    gate.open();
    assert_eq!(client.answer(stream).text(), "beginend");
}
