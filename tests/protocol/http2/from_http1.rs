//! A client that speaks HTTP/1 in front of an upstream that is spoken to in HTTP/2.

use super::SERVICE;
use crate::harness::{
    Framing, Glooshot, Message, Setup, get,
    h2::{self, Stream, fields},
    post,
};

#[track_caller]
fn before(upstream: &h2::Upstream) -> Glooshot {
    let protocol = format!("{SERVICE}=http2");
    Setup::proxy().to(upstream.address()).with(["--upstream-protocol", &protocol]).start()
}

/// What the upstream gets of `request`, and what the client gets of the upstream's answer.
#[track_caller]
fn exchange(request: &[u8], upstream: &h2::Upstream) -> (Stream, Message) {
    let proxy = before(upstream);
    let answer = proxy.client().ask(request);
    (upstream.only_request(), answer)
}

fn answering(head: &'static [(&str, &str)], body: &'static str, trailers: &'static [(&str, &str)]) -> h2::Upstream {
    h2::Upstream::scripted(move |call| {
        if call.whole().is_none() {
            return;
        }
        call.head("200", head, body.is_empty() && trailers.is_empty());
        if !body.is_empty() {
            call.data(body.as_bytes(), trailers.is_empty());
        }
        if !trailers.is_empty() {
            call.trailers(trailers);
        }
    })
}

#[test]
fn the_host_becomes_the_authority_and_the_target_the_path() {
    for (line, authority, path) in [
        ("GET /a/../b?c HTTP/1.1\r\nHost: Ratings:81", "Ratings:81", "/a/../b?c"),
        ("OPTIONS * HTTP/1.1\r\nHost: ratings", "ratings", "*"),
        ("GET http://other/x HTTP/1.1\r\nHost: ratings", "other", "/x"),
    ] {
        let (request, answer) = exchange(format!("{line}\r\n\r\n").as_bytes(), &h2::Upstream::ok());
        assert_eq!(answer.status(), 200);
        assert_eq!((request.one(":authority"), request.path()), (Some(authority), path));
        assert_eq!((request.one(":scheme"), request.has("host")), (Some("http"), false));
    }
}

#[test]
fn what_belongs_to_the_client_s_connection_does_not_pass() {
    let lines = "Connection: X-Secret, TE, close\r\nX-Secret: 1\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy-Connection: keep-alive\r\nX-Kept: yes\r\nX-Kept: twice\r\n";
    // That no such field passes at all is what the upstream's reader insists on.
    let request = format!("GET /a HTTP/1.1\r\nHost: ratings\r\n{lines}\r\n");
    let (request, answer) = exchange(request.as_bytes(), &h2::Upstream::ok());
    assert_eq!((request.has("x-secret"), request.all("x-kept")), (false, vec!["yes", "twice"]));
    assert_eq!(request.all("via"), ["1.1 ratings.bookinfo.glooshot"]);
    assert_eq!(answer.all("via"), ["2 ratings.bookinfo.glooshot"]);
    assert!(answer.says_close());
}

#[test]
fn bodies_of_both_framings_arrive() {
    let (known, _) = exchange(&post("/a", "hello"), &h2::Upstream::ok());
    assert_eq!((known.text().as_str(), known.one("content-length")), ("hello", Some("5")));
    let chunked = b"POST /a HTTP/1.1\r\nHost: ratings\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                    3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (unknown, _) = exchange(chunked, &h2::Upstream::ok());
    assert_eq!((unknown.text().as_str(), unknown.has("content-length")), ("hello", false));
    assert_eq!(unknown.trailers, fields(&[("x-sum", "7")]));
}

#[test]
fn a_client_of_http_1_0_is_served() {
    let (request, answer) = exchange(b"GET /a HTTP/1.0\r\n\r\n", &answering(&[], "ok", &[]));
    assert_eq!(request.all("via"), ["1.0 ratings.bookinfo.glooshot"]);
    assert!(request.has(":authority"));
    assert_eq!((answer.text().as_str(), answer.framing), ("ok", Framing::UntilClose));
}

#[test]
fn an_answer_of_unknown_length_is_sent_in_chunks_and_one_of_known_length_with_it() {
    let (_, unknown) = exchange(&get("/a"), &answering(&[("x-a", "1")], "hello", &[]));
    assert_eq!((unknown.framing, unknown.text().as_str(), unknown.one("x-a")), (Framing::Chunked, "hello", Some("1")));
    let (_, known) = exchange(&get("/a"), &answering(&[("content-length", "5")], "hello", &[]));
    assert_eq!((known.framing, known.text().as_str()), (Framing::Length(5), "hello"));
    let (_, none) = exchange(&get("/a"), &answering(&[], "", &[]));
    assert_eq!(none.text(), "");
}

#[test]
fn the_trailers_of_an_answer_arrive_at_a_client_that_takes_them() {
    let upstream = answering(&[("trailer", "grpc-status")], "hello", &[("grpc-status", "0")]);
    let request = b"GET /a HTTP/1.1\r\nHost: ratings\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
    let (_, answer) = exchange(request, &upstream);
    let trailers = answer.trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    assert_eq!((answer.text().as_str(), trailers.collect::<Vec<_>>()), ("hello", fields(&[("grpc-status", "0")])));
}

#[test]
fn answers_that_have_no_body_have_none_and_the_connection_is_used_again() {
    let upstream = h2::Upstream::scripted(|call| match call.whole().as_ref().map(Stream::path) {
        Some("/204") => call.head("204", &[], true),
        Some("/304") => call.head("304", &[("content-length", "500")], true),
        Some("/head") => call.head("200", &[("content-length", "500")], true),
        Some("/103") => {
            call.head("103", &[("link", "</a>")], false);
            call.answer("ok");
        }
        _ => {}
    });
    let proxy = before(&upstream);
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.ask(&get("/204")).status(), 204);
        assert_eq!(client.ask(&get("/304")).status(), 304);
        let head = client.ask(b"HEAD /head HTTP/1.1\r\nHost: ratings\r\n\r\n");
        assert_eq!(head.one("content-length"), Some("500"));
        let mut hinted = client.ask(&get("/103"));
        if hinted.status() == 103 {
            hinted = client.read_answer();
        }
        assert_eq!(hinted.text(), "ok");
    }
    assert_eq!(upstream.endpoints().len(), 1);
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let upstream = h2::Upstream::ok();
    let proxy = before(&upstream);
    let mut client = proxy.client();
    client.send(b"POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read_answer().status(), 100);
    client.send(b"hello");
    assert_eq!(client.read_answer().status(), 200);
    assert_eq!(upstream.only_request().text(), "hello");
}

#[test]
fn a_body_that_breaks_off_is_cut_off_at_the_upstream() {
    let upstream = h2::Upstream::ok();
    let proxy = before(&upstream);
    for (request, ends) in [
        (&b"POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: 50\r\n\r\nhello"[..], true),
        (b"POST /a HTTP/1.1\r\nHost: ratings\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZ\r\n", false),
    ] {
        let mut client = proxy.client();
        client.send(request);
        if ends {
            client.finish_sending();
        }
        client.read_to_end();
    }
    upstream.wait_until("both cuts", |streams| streams.iter().all(|stream| stream.reset.is_some()));
    assert_eq!(proxy.client().ask(&get("/after")).status(), 200);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn an_upgrade_is_left_out_and_the_request_answered() {
    // RFC 9110 section 7.8: a server may ignore Upgrade; HTTP/2 has none (RFC 9113 section 8.6).
    let request = b"GET /chat HTTP/1.1\r\nHost: ratings\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (request, answer) = exchange(request, &h2::Upstream::ok());
    assert_eq!((request.path(), answer.status()), ("/chat", 200));
}
