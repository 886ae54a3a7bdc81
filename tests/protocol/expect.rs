//! A20: `Expect: 100-continue`, kept and broken, never leaves a body behind that could be read as a request.

use std::io::Write;

use crate::harness::{
    Client, Ending, Glooshot, Message, Upstream, get,
    wire::{self, Parsed, find, readable},
};

fn head(expectation: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: ratings\r\nExpect: {expectation}\r\nContent-Length: 5\r\n\r\n").into_bytes()
}

/// An upstream that answers 413 as soon as it has a head with a body announced, and reads on.
fn hasty() -> Upstream {
    Upstream::raw(|mut stream, recorder| {
        let mut from = 0;
        while recorder.read(stream) {
            while let Some(end) = find(&recorder.bytes(from), b"\r\n\r\n") {
                let head = recorder.bytes(from)[..end + 4].to_vec();
                from += end + 4;
                let answer = match wire::request(&head) {
                    Parsed::Whole(request) => crate::harness::answer(request.target()),
                    _ => b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n".to_vec(),
                };
                stream.write_all(&answer).unwrap();
            }
        }
    })
}

#[test]
fn a20_the_client_is_told_to_continue_and_its_late_body_is_forwarded() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&head("100-continue"));
    assert_eq!(client.read_answer().status(), 100);
    client.send_segments([&b"he"[..], b"llo"]);
    assert_eq!(client.read_answer().text(), "/a");
    assert_eq!(client.ask(&get("/b")).text(), "/b");
    let requests = upstream.requests();
    assert_eq!(requests.iter().map(Message::text).collect::<Vec<_>>(), ["hello", ""]);
}

#[test]
fn a20_a_body_that_did_not_wait_is_forwarded_too() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&[head("100-Continue"), b"hello".to_vec()].concat());
    let mut answer = client.read_answer();
    if answer.status() == 100 {
        answer = client.read_answer();
    }
    assert_eq!(answer.text(), "/a");
    assert_eq!(client.ask(&get("/b")).text(), "/b");
    assert_eq!(upstream.requests()[0].text(), "hello");
}

#[test]
fn a20_a_refusal_before_the_body_leaves_no_body_to_be_read_as_a_request() {
    let upstream = hasty();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&head("100-continue"));
    let mut answer = client.read_answer();
    let told_to_continue = answer.status() == 100;
    if told_to_continue {
        client.send(b"hello");
        answer = client.read_answer();
    }
    assert_eq!(answer.status(), 413, "{answer:?}");
    client.send(&get("/next"));
    let (more, ending) = read_answer_or_end(&mut client);
    if told_to_continue && !more.is_empty() {
        assert!(more.ends_with(b"/next"), "the next answer is the next request's: {}", readable(&more));
    } else {
        // The five bytes that were announced never came: the next ones cannot be told from them.
        assert_eq!((more, ending != Ending::StillOpen), (Vec::new(), true));
    }
    assert_eq!(proxy.client().ask(&get("/other")).text(), "/other");
}

/// What comes next: a whole answer's bytes, or nothing and the end.
fn read_answer_or_end(client: &mut Client) -> (Vec<u8>, Ending) {
    match client.try_read_answer_to("GET") {
        Ok(answer) => (answer.body, Ending::StillOpen),
        Err(none) => (none.bytes, none.ending),
    }
}

#[test]
fn a20_an_upstream_connection_whose_request_was_cut_short_is_not_used_again() {
    let upstream = hasty();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(b"POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: 50\r\n\r\nsome");
    assert_eq!(client.read_answer().status(), 413);
    assert_eq!(proxy.client().ask(&get("/other")).text(), "/other");
    let connections = upstream.connections();
    assert_eq!(connections.len(), 2, "the answer to /other must not come from the connection that waits for a body");
}

#[test]
fn a20_an_unknown_expectation_fails() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    for expectation in ["x", "100-continue, x", "200-ok"] {
        let mut client = proxy.client();
        client.send(&head(expectation));
        assert_eq!(client.read_answer().status(), 417, "{expectation}");
    }
    assert_eq!(upstream.byte_count(), 0);
}
