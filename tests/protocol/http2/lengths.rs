//! C9: a body that is not as long as its head says is an error of the stream, and no upstream takes it for whole.

use super::{before_http1, before_http2};
use crate::harness::{
    Glooshot, Upstream,
    h2::{
        self, Client, Frame, Stream,
        client::{get, request, with},
        code,
    },
};

/// What is said, and the DATA frames that come; an empty list is a head that ends the stream.
const MISMATCHES: [(&str, &[&[u8]]); 7] = [
    ("5", &[]),
    ("5", &[b"four"]),
    ("5", &[b"fo", b"ur", b""]),
    ("5", &[b""]),
    ("3", &[b"four"]),
    ("0", &[b"four"]),
    ("5", &[b"hello, world", b"and more"]),
];

/// Sends a body of `pieces` behind a head that says `length`.
#[track_caller]
fn outcome(client: &mut Client, length: &str, pieces: &[&[u8]]) -> Stream {
    let head = with(request("POST", "/mismatch"), &[("content-length", length)]);
    let stream = client.open(&head, pieces.is_empty());
    for (nth, piece) in pieces.iter().enumerate() {
        client.send_frame(&Frame::data(stream, piece, nth + 1 == pieces.len()));
    }
    client.outcome(stream)
}

#[track_caller]
fn is_an_error_of_the_stream(proxy: &Glooshot, length: &str, pieces: &[&[u8]]) {
    let mut client = Client::connect(proxy.address());
    let outcome = outcome(&mut client, length, pieces);
    let refused = outcome.reset == Some(code::PROTOCOL_ERROR) || outcome.status() == 400;
    assert!(refused, "content-length {length}, {pieces:?}: {outcome:?}");
    assert_eq!(client.ask(&get("/after")).status(), 200, "the connection goes on");
    assert_eq!(client.goaways(), []);
}

#[test]
fn c9_an_upstream_that_speaks_http_1_never_gets_the_end_of_such_a_body() {
    for (length, pieces) in MISMATCHES {
        let upstream = Upstream::ok();
        let proxy = before_http1(&upstream);
        is_an_error_of_the_stream(&proxy, length, pieces);
        upstream.wait_until("the end of an unfinished request's connection", |log| {
            log.iter().all(|connection| {
                let account = h1_account(connection);
                account.rests.is_empty() || connection.ended
            })
        });
        let requests = upstream.account().requests;
        let targets = requests.iter().map(|request| request.target().to_owned()).collect::<Vec<_>>();
        assert_eq!(targets, ["/after"], "content-length {length}, {pieces:?}");
    }
}

fn h1_account(connection: &crate::harness::upstream::Connection) -> crate::harness::upstream::Account {
    crate::harness::upstream::account(std::slice::from_ref(connection))
}

#[test]
fn c9_an_upstream_that_speaks_http_2_never_gets_the_end_of_such_a_body() {
    for (length, pieces) in MISMATCHES {
        let upstream = h2::Upstream::naming_the_path();
        let proxy = before_http2(&upstream);
        is_an_error_of_the_stream(&proxy, length, pieces);
        upstream.wait_until("the cut", |streams| streams.iter().all(Stream::is_over));
        let whole = upstream.requests().iter().map(|request| request.path().to_owned()).collect::<Vec<_>>();
        assert_eq!(whole, ["/after"], "content-length {length}, {pieces:?}");
    }
}

#[test]
fn c9_what_comes_behind_a_body_of_the_right_length_is_an_error_of_the_stream() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: ratings\r\n\r\n";
    let outcome = outcome(&mut client, "5", &[b"hello", smuggled]);
    assert!(outcome.reset.is_some() || outcome.is_whole(), "{outcome:?}");
    assert_eq!(client.ask(&get("/after")).status(), 200);
    // The first five bytes are whole as soon as they have come; but never is the rest a request.
    assert!(upstream.requests().iter().all(|request| request.target() != "/smuggled"), "{:?}", upstream.requests());
}

#[test]
fn c9_a_body_that_is_as_long_as_its_head_says_is_forwarded() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    for (length, pieces) in [("4", &[&b"four"[..]][..]), ("4", &[b"fo", b"", b"ur", b""]), ("0", &[]), ("0", &[b""])] {
        let outcome = outcome(&mut client, length, pieces);
        assert_eq!(outcome.status(), 200, "content-length {length}, {pieces:?}");
        let requests = upstream.requests();
        let request = requests.last().unwrap();
        assert_eq!((request.body.clone(), request.one("content-length")), (pieces.concat(), Some(length)));
    }
}

#[test]
fn c9_two_lengths_that_differ_are_refused_and_equal_ones_are_one_at_most() {
    // An upstream that takes nothing but exact requests would leave a proxy that forwards both waiting.
    let upstream = Upstream::raw(|mut stream, recorder| {
        use std::io::Write;
        while recorder.read(stream) {
            if recorder.bytes(0).ends_with(b"hello") {
                stream.write_all(&crate::harness::answer("ok")).unwrap();
            }
        }
    });
    let proxy = before_http1(&upstream);
    for (lengths, may_pass) in [(["5", "6"], false), (["6", "5"], false), (["5", "5"], true)] {
        let head = with(request("POST", "/a"), &[("content-length", lengths[0]), ("content-length", lengths[1])]);
        let mut client = Client::connect(proxy.address());
        let stream = client.open(&head, false);
        client.send_frame(&Frame::data(stream, b"hello", true));
        let outcome = client.outcome(stream);
        assert!(outcome.status() != 200 || may_pass, "{lengths:?}: {outcome:?}");
    }
    assert!(upstream.requests().iter().all(|request| request.all("content-length") == ["5"]));
}
