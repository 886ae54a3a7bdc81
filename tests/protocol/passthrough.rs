//! What is no HTTP passes through as bytes, untouched, both ways, on one upstream connection.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    time::Duration,
};

use crate::harness::{
    Client, Ending, Glooshot, Upstream, get,
    upstream::Recorder,
    wire::{self, find, readable},
};

/// The beginning of a TLS 1.2 ClientHello record: type, version, length, and a body that holds every byte value.
pub fn client_hello() -> Vec<u8> {
    let body = (0..=255_u8).collect::<Vec<_>>();
    [&[0x16, 0x03, 0x01, 0x01, 0x00][..], &body].concat()
}

/// The HTTP/2 preface with prior knowledge, and an empty SETTINGS frame.
pub const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A command of Redis.
pub const REDIS: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\0\r\n\xff\r\n";

/// An upstream that sends back every byte with all bits turned over, and closes after the client did.
pub fn inverting() -> Upstream {
    Upstream::raw(|mut stream: &TcpStream, recorder: &Recorder| {
        let mut from = 0;
        while recorder.read(stream) {
            let come = recorder.bytes(from);
            from += come.len();
            stream.write_all(&inverted(&come)).unwrap();
        }
        let _gone = stream.shutdown(Shutdown::Write);
    })
}

/// The bytes with all bits turned over.
pub fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

/// `first`, sent in `segments`, and more afterwards, arrive as they are; so does what comes back.
#[track_caller]
fn passes_through(first: &[u8], segments: &[&[u8]]) {
    let upstream = inverting();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send_segments(segments.iter().copied());
    assert_eq!(client.read_at_least(first.len()), inverted(first));
    let more = [get("/not-http-any-more"), (0..=255).collect(), vec![b'\n'; 100]].concat();
    client.send(&more);
    client.finish_sending();
    let (rest, ending) = client.read_to_end();
    assert_eq!(rest, inverted(&more), "{}", readable(&inverted(&rest)));
    assert_eq!(ending, Ending::Closed);
    let connections = upstream.connections();
    assert_eq!(connections.len(), 1);
    assert_eq!(connections[0].bytes, [first, &more].concat(), "{}", readable(&connections[0].bytes));
}

fn one_by_one(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

#[test]
fn tls_passes_through() {
    let hello = client_hello();
    passes_through(&hello, &[&hello]);
}

#[test]
fn tls_passes_through_in_segments_of_one_byte() {
    let hello = client_hello();
    passes_through(&hello, &one_by_one(&hello));
}

#[test]
fn http_2_is_spoken_and_does_not_pass_through_however_its_preface_is_split() {
    /// The header of a SETTINGS frame behind its length (RFC 9113 §6.5): type, flags, stream.
    const SETTINGS: [u8; 6] = [4, 0, 0, 0, 0, 0];
    let upstream = inverting();
    let proxy = Glooshot::before(&upstream);
    for segments in [vec![HTTP_2], one_by_one(HTTP_2)] {
        let mut client = proxy.client();
        client.send_segments(segments);
        let bytes = client.read_at_least(9);
        assert_eq!(bytes[3..9], SETTINGS, "{bytes:?}");
    }
    assert_eq!(upstream.byte_count(), 0);
}

#[test]
fn redis_passes_through() {
    passes_through(REDIS, &[REDIS]);
}

#[test]
fn redis_passes_through_in_segments_of_one_byte() {
    passes_through(REDIS, &one_by_one(REDIS));
}

#[test]
fn other_protocols_pass_through() {
    for first in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"EHLO client.example\r\n",
        b"PING\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"CONNECTED {\"verbose\":false}\r\n",
        b"GETSOME x\r\n",
        b"\x80\x2e\x01\x00\x02",
        b"\x1f\x8b\x08\0",
    ] {
        passes_through(first, &[first]);
    }
}

#[test]
fn bytes_without_a_line_end_pass_through_when_they_cannot_become_http() {
    let upstream = inverting();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(b"\x01");
    assert_eq!(client.read_at_least(1), inverted(b"\x01"));
}

#[test]
fn a_long_first_line_that_is_no_http_passes_through() {
    let line = [vec![b'x'; 100_000], b"\r\n".to_vec()].concat();
    passes_through(&line, &[&line]);
}

#[test]
fn a_megabyte_passes_through_both_ways() {
    let upstream = inverting();
    let proxy = Glooshot::before(&upstream);
    let sent = client_hello().repeat(4_000);
    let mut client = proxy.client();
    let mut writer = client.stream();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let (come, ending) = client.read_to_end_within(Duration::from_secs(30));
        assert!(come == inverted(&sent), "{} bytes of {} came back, {ending:?}", come.len(), sent.len());
        assert_eq!(ending, Ending::Closed);
    });
}

#[test]
fn what_begins_like_http_is_not_passed_through() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    for (first_line, status) in [("GET / nonsense", 400), ("nonsense / HTTP/9.9", 400), ("brew /a HTTP/1.1", 200)] {
        let mut client = proxy.client();
        client.send(format!("{first_line}\r\nHost: ratings\r\n\r\n").as_bytes());
        assert_eq!(client.read_answer().status(), status, "{first_line}");
    }
    assert!(upstream.only_request().has("via"));
}

#[test]
fn an_upstream_that_resets_a_passed_connection_ends_that_of_the_client() {
    let upstream = Upstream::raw(|stream, recorder| {
        recorder.read(stream);
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(REDIS);
    client.expect_end();
    assert_eq!(proxy.client().stream().peer_addr().unwrap(), proxy.address(), "the proxy still accepts");
}

#[test]
fn nothing_passes_through_to_an_upstream_that_refuses() {
    let refusing = crate::harness::upstream::RefusingPort::new();
    let proxy = crate::harness::Setup::proxy().to(refusing.address()).start();
    let mut client = proxy.client();
    client.send(REDIS);
    client.expect_end();
}

#[test]
fn a_connection_that_says_nothing_opens_none_upstream() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let silent = proxy.client();
    assert_eq!(proxy.client().ask(&get("/a")).text(), "/a");
    assert_eq!(upstream.connections().len(), 1);
    drop(silent);
    assert!(find(&wire::latin1(&upstream.connections()[0].bytes).into_bytes(), b"GET /a").is_some());
    let _still_fine = Client::connect(proxy.address()).ask(&get("/b"));
}
