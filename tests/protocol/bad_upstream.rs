//! A21, A22: an upstream is trusted no more than a client.

use crate::harness::{Ending, Glooshot, Step, Upstream, answer, get, wire::readable};

/// What stands behind an answer that should have ended: it looks like the answer to the next request.
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";

/// An upstream that answers `/bad` with `bytes` (and closes if asked to), and any other target with its own name.
fn upstream(bytes: impl Into<Vec<u8>>, then_close: bool) -> Upstream {
    let bytes = bytes.into();
    Upstream::scripted(move |exchange| match exchange.request.target() {
        "/bad" if then_close => vec![Step::Send(bytes.clone()), Step::Close],
        "/bad" => vec![Step::Send(bytes.clone())],
        target => vec![Step::Send(answer(target))],
    })
}

fn ask_for(method: &str) -> Vec<u8> {
    format!("{method} /bad HTTP/1.1\r\nHost: ratings\r\n\r\n").into_bytes()
}

/// The next request is answered by its own answer, over a new connection to the upstream.
#[track_caller]
fn the_connection_was_dropped(proxy: &Glooshot, upstream: &Upstream) {
    assert_eq!(proxy.client().ask(&get("/next")).text(), "/next");
    upstream.wait_until("the end of the bad connection", |log| log[0].ended);
    assert_eq!(upstream.connections().len(), 2);
}

/// The answer to the request for `bytes` is a 502 that names the upstream, and the connection is dropped.
#[track_caller]
fn is_a_bad_gateway(what: &str, bytes: impl Into<Vec<u8>>) {
    let upstream = upstream(bytes, false);
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&ask_for("GET"));
    assert_eq!(answer.status(), 502, "{what}: {answer:?}");
    let error = answer.one("x-glooshot-error").unwrap_or_default();
    assert!(error.starts_with("upstream; "), "{what}: x-glooshot-error is {error:?}");
    the_connection_was_dropped(&proxy, &upstream);
}

#[test]
fn a21_a_body_in_the_answer_to_head_never_reaches_the_client() {
    let upstream = upstream(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{EVIL}", EVIL.len()), false);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    let head = client.ask(&ask_for("HEAD"));
    assert_eq!((head.status(), head.one("content-length")), (200, Some(EVIL.len().to_string().as_str())));
    assert_eq!(client.ask(&get("/next")).text(), "/next");
    the_connection_was_dropped(&proxy, &upstream);
}

#[track_caller]
fn a_body_is_cut_off(status: &str) {
    let upstream = upstream(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{EVIL}", EVIL.len()), false);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    let head = client.ask(&ask_for("GET"));
    assert!(status.starts_with(&head.status().to_string()), "{head:?}");
    assert_eq!(client.ask(&get("/next")).text(), "/next");
    the_connection_was_dropped(&proxy, &upstream);
}

#[test]
fn a21_a_body_in_a_204_never_reaches_the_client() {
    a_body_is_cut_off("204 No Content");
}

#[test]
fn a21_a_body_in_a_304_never_reaches_the_client() {
    a_body_is_cut_off("304 Not Modified");
}

#[test]
fn a21_bytes_behind_the_content_length_never_reach_a_client() {
    let upstream = upstream(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{EVIL}"), false);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    assert_eq!(client.ask(&ask_for("GET")).text(), "ok");
    assert_eq!(client.ask(&get("/next")).text(), "/next");
    the_connection_was_dropped(&proxy, &upstream);
}

#[test]
fn a21_bytes_behind_the_last_chunk_never_reach_a_client() {
    let upstream =
        upstream(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{EVIL}"), false);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    assert_eq!(client.ask(&ask_for("GET")).text(), "ok");
    assert_eq!(client.ask(&get("/next")).text(), "/next");
    the_connection_was_dropped(&proxy, &upstream);
}

#[test]
fn a22_an_answer_without_a_status_line_is_a_bad_gateway() {
    is_a_bad_gateway("text", "hello world\r\n\r\n");
    is_a_bad_gateway("headers only", "Content-Length: 2\r\n\r\nok");
    is_a_bad_gateway("a request", get("/a"));
    is_a_bad_gateway("binary", &b"\x16\x03\x01\x00\x05hello\r\n\r\n"[..]);
}

#[test]
fn a22_a_bad_status_line_is_a_bad_gateway() {
    for line in
        ["HTTP/1.1 abc OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 Low", "HTTP/3.0 200 OK", "HTTP/1.1"]
    {
        is_a_bad_gateway(line, format!("{line}\r\nContent-Length: 2\r\n\r\nok"));
    }
}

#[test]
fn a22_a_bad_header_is_a_bad_gateway() {
    for header in ["X-A\0: 1", "X-A: \0", "X-A: a\rb", "X-A", ": 1"] {
        is_a_bad_gateway(header, format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 2\r\n\r\nok"));
    }
}

#[test]
fn a22_more_headers_than_the_limit_are_a_bad_gateway() {
    is_a_bad_gateway(
        "300 headers",
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", "X-A: 1\r\n".repeat(300)),
    );
}

#[test]
fn a22_a_head_without_an_end_is_a_bad_gateway() {
    is_a_bad_gateway("1 MiB in one header", format!("HTTP/1.1 200 OK\r\nX-A: {}", "a".repeat(1 << 20)));
}

#[test]
fn a22_a_bad_content_length_is_a_bad_gateway() {
    for lengths in [
        "Content-Length: +2",
        "Content-Length: 0x2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 3",
        "Content-Length:",
    ] {
        is_a_bad_gateway(lengths, format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nok"));
    }
}

/// The client gets a 502, or a transfer that is visibly broken: never a whole message.
#[track_caller]
fn is_broken_or_a_bad_gateway(bytes: &str, then_close: bool) {
    let upstream = upstream(bytes, then_close);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&ask_for("GET"));
    match client.try_read_answer_to("GET") {
        Ok(answer) => assert_eq!(answer.status(), 502, "a whole answer was made of {bytes:?}: {answer:?}"),
        Err(none) => {
            assert_ne!(none.ending, Ending::StillOpen, "{bytes:?}: {}", readable(&none.bytes));
            assert_eq!(none.broken, None, "{bytes:?}: {}", readable(&none.bytes));
        }
    }
    the_connection_was_dropped(&proxy, &upstream);
}

#[test]
fn a22_a_bad_chunk_breaks_the_transfer() {
    for chunks in [
        "zz\r\nok\r\n0\r\n\r\n",
        "2\r\nokX\r\n0\r\n\r\n",
        "2\r\nok\r\n0x0\r\n\r\n",
        "2\nok\n0\n\n",
        "10000000000000000\r\nok",
    ] {
        is_broken_or_a_bad_gateway(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"), false);
    }
}

#[test]
fn a22_a_body_shorter_than_its_length_breaks_the_transfer() {
    is_broken_or_a_bad_gateway("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", true);
}

#[test]
fn a22_chunks_without_an_end_break_the_transfer() {
    is_broken_or_a_bad_gateway("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", true);
    is_broken_or_a_bad_gateway("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsho", true);
}

#[test]
fn a22_lf_for_line_ends_becomes_crlf_or_a_bad_gateway() {
    let upstream = upstream("HTTP/1.1 200 OK\nContent-Length: 2\nX-A: 1\n\nok", false);
    let proxy = Glooshot::before(&upstream);
    // The client's reader takes nothing but CRLF.
    let answer = proxy.client().ask(&ask_for("GET"));
    assert!(answer.status() == 502 || answer.text() == "ok" && answer.one("x-a") == Some("1"), "{answer:?}");
}

#[test]
fn a22_both_framings_in_an_answer_become_one() {
    for headers in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let upstream = upstream(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n2\r\nok\r\n0\r\n\r\n"), false);
        let proxy = Glooshot::before(&upstream);
        // The client's reader takes no answer with both.
        let answer = proxy.client().ask(&ask_for("GET"));
        assert!(answer.status() == 502 || answer.text() == "ok", "{answer:?}");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_framed_for_the_client() {
    let upstream = upstream("HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nuntil the end", true);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    assert_eq!(client.ask(&ask_for("GET")).text(), "until the end");
    assert_eq!(client.ask(&get("/next")).text(), "/next", "the client's connection goes on");
}

#[test]
fn an_answer_of_unknown_length_ends_with_the_connection_of_an_http_1_0_client() {
    let upstream = upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(b"GET /bad HTTP/1.0\r\nHost: ratings\r\n\r\n");
    let answer = client.read_answer();
    assert_eq!(answer.text(), "ok");
    assert!(!answer.has("transfer-encoding"), "HTTP/1.0 has no transfer codings: {answer:?}");
}

#[test]
fn an_interim_100_is_swallowed_and_a_103_does_no_harm() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let upstream = upstream(interim, false);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&ask_for("GET"));
    let mut statuses = Vec::new();
    while statuses.last().is_none_or(|status| *status < 200) {
        statuses.push(client.read_answer().status());
    }
    assert!(statuses == [200] || statuses == [103, 200], "{statuses:?}");
    assert_eq!(client.ask(&get("/next")).text(), "/next");
}
