//! B11: trailers are forwarded, except those that could frame, route or authorise.

use crate::harness::{Framing, Glooshot, Message, Upstream, get};

/// RFC 9110 section 6.5.1: what frames, routes, authorises or says how to go on; and what the proxy itself writes.
const FORBIDDEN: [&str; 13] = [
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "Connection",
    "Keep-Alive",
    "TE",
    "Upgrade",
    "Host",
    "Authorization",
    "Expect",
    "Via",
    "X-Forwarded-For",
    "X-Glooshot-Fault",
];

fn chunked_with_trailers(first: &str, names: &[&str]) -> Vec<u8> {
    let lines = names.iter().map(|name| format!("{name}: 7\r\n")).collect::<String>();
    format!("{first}Transfer-Encoding: chunked\r\nTrailer: {}\r\n\r\n2\r\nhi\r\n0\r\n{lines}\r\n", names.join(", "))
        .into_bytes()
}

#[test]
fn b11_a_trailer_of_a_request_is_forwarded() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    let request = chunked_with_trailers("POST /a HTTP/1.1\r\nHost: ratings\r\n", &["X-Sum", "X-Other"]);
    assert_eq!(proxy.client().ask(&request).status(), 200);
    let request = upstream.only_request();
    assert_eq!((request.framing, request.text().as_str()), (Framing::Chunked, "hi"));
    let trailers =
        request.trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect::<Vec<_>>();
    assert_eq!(trailers, [("x-sum".to_owned(), "7"), ("x-other".to_owned(), "7")]);
}

#[test]
fn b11_a_trailer_that_frames_routes_or_authorises_is_dropped() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    let mut forwarded = Vec::new();
    for name in FORBIDDEN {
        let mark = upstream.mark();
        let mut client = proxy.client();
        client.send(&chunked_with_trailers("POST /a HTTP/1.1\r\nHost: ratings\r\n", &[name, "X-Kept"]));
        let answer = client.read_answer();
        let account = crate::harness::upstream::account(&upstream.since(&mark));
        assert_eq!(account.rests.len(), 0, "{name}: {:?}", account.rests);
        // Refusing the request is as good as dropping the trailer.
        assert!(matches!(answer.status(), 200 | 400), "{name}: {answer:?}");
        let is_there =
            |request: &Message| request.trailers.iter().any(|(trailer, _)| trailer.eq_ignore_ascii_case(name));
        forwarded.extend(account.requests.iter().any(is_there).then_some(name));
    }
    assert_eq!(forwarded, Vec::<&str>::new());
}

#[test]
fn b11_a_trailer_of_an_answer_is_forwarded_to_a_client_that_takes_trailers() {
    let upstream = Upstream::answering(chunked_with_trailers("HTTP/1.1 200 OK\r\n", &["X-Sum"]));
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(b"GET /a HTTP/1.1\r\nHost: ratings\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_eq!(answer.text(), "hi");
    let trailers =
        answer.trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect::<Vec<_>>();
    assert_eq!(trailers, [("x-sum".to_owned(), "7")]);
}

#[test]
fn b11_trailers_of_an_answer_do_no_harm_to_a_client_that_takes_none() {
    let upstream =
        Upstream::answering(chunked_with_trailers("HTTP/1.1 200 OK\r\n", &["X-Sum", "Content-Length", "Set-Cookie"]));
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.ask(&get("/a"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hi"));
        assert!(!answer.trailers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")), "{answer:?}");
    }
}

#[test]
fn more_than_16_kib_of_trailers_are_refused() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    let trailers = format!("X-A: {}\r\n", "a".repeat(1_000)).repeat(20);
    client.send(
        format!("POST /a HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n")
            .as_bytes(),
    );
    let (bytes, _ending) = client.read_to_end();
    assert!(!bytes.starts_with(b"HTTP/1.1 2"), "{}", crate::harness::wire::readable(&bytes));
    assert_eq!(upstream.account().requests.len(), 0);
}
