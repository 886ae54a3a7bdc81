//! A17, A18: a connection becomes a tunnel when, and only when, client and upstream both agreed to it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use crate::harness::{
    Client, Ending, Gate, Glooshot, Message, Step, Upstream, answer, get, scale,
    upstream::Recorder,
    wire::{Parsed, find, readable, request},
};

const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nHost: ratings\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Bytes that never repeat for long, so that lost, doubled or swapped ones show.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
}

/// Writes `count` bytes of noise and closes the writing side.
fn write_noise(mut stream: &TcpStream, seed: u64, count: u64) {
    let mut noise = noise(seed);
    let mut left = usize::try_from(count).unwrap();
    while left > 0 {
        let piece = noise.by_ref().take(left.min(60_000)).collect::<Vec<_>>();
        stream.write_all(&piece).unwrap();
        left -= piece.len();
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads to the end, behind the bytes that have come `already`; how many were the right noise, and whether all were.
fn read_noise(mut stream: &TcpStream, already: &[u8], seed: u64) -> (u64, bool) {
    let mut noise = noise(seed);
    let mut buffer = vec![0; 60_000];
    let mut count = already.len() as u64;
    if already.iter().any(|byte| Some(*byte) != noise.next()) {
        return (0, false);
    }
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (count, true),
            Ok(read) => {
                if buffer[..read].iter().any(|byte| Some(*byte) != noise.next()) {
                    return (count, false);
                }
                count += read as u64;
            }
            Err(_) => return (count, false),
        }
    }
}

/// Reads one whole request; how many bytes it took.
fn read_request(stream: &TcpStream, recorder: &Recorder) -> usize {
    loop {
        match request(&recorder.bytes(0)) {
            Parsed::Whole(request) => return request.length,
            _ => assert!(recorder.read(stream), "the connection ended before the request"),
        }
    }
}

/// Asks for the upgrade and checks that it was granted.
#[track_caller]
fn upgraded(proxy: &Glooshot) -> Client {
    let mut client = proxy.client();
    let granted = client.ask(ASK);
    assert_eq!(granted.status(), 101, "{granted:?}");
    assert_eq!(granted.one("upgrade"), Some("websocket"), "{granted:?}");
    assert_eq!(granted.one("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(granted.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{granted:?}");
    client
}

#[test]
fn a17_an_upgrade_that_the_upstream_answers_with_200_tunnels_nothing() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&[ASK, &get("/second")].concat());
    assert_eq!(client.read_answer().text(), "/chat");
    assert_eq!(client.read_answer().text(), "/second");
    let requests = upstream.requests();
    assert_eq!(requests.iter().map(Message::target).collect::<Vec<_>>(), ["/chat", "/second"]);
    assert!(requests.iter().all(|request| request.has("via")), "each passed the gate: {requests:#?}");
}

#[test]
fn a17_a_bad_request_behind_an_upgrade_that_was_not_granted_is_refused() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&[ASK, b"GET /second HTTP/1.1\r\n\r\n"].concat());
    assert_eq!(client.read_answer().text(), "/chat");
    assert_eq!(client.read_answer().status(), 400);
    client.expect_end();
    assert_eq!(upstream.only_request().target(), "/chat");
}

#[test]
fn a17_bytes_behind_an_upgrade_do_not_reach_the_upstream_before_its_101() {
    let gate = Gate::closed();
    let opened_later = gate.clone();
    let upstream =
        Upstream::scripted(move |_| vec![Step::Wait(opened_later.clone()), Step::Send(AGREE.to_vec()), Step::Echo]);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&[ASK, b"EARLY"].concat());
    upstream.wait_for_requests(1);
    client.send(b"MORE");
    assert_eq!(upstream.only_request().target(), "/chat");
    gate.open();
    assert_eq!(client.read_answer().status(), 101);
    client.finish_sending();
    assert_eq!(client.read_to_end(), (b"EARLYMORE".to_vec(), Ending::Closed));
}

#[test]
fn a17_a_101_that_nobody_asked_for_is_a_bad_answer() {
    let upstream = Upstream::scripted(|_| vec![Step::Send(AGREE.to_vec()), Step::Echo]);
    let proxy = Glooshot::before(&upstream);
    let answer = proxy.client().ask(&get("/a"));
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert!(answer.one("x-glooshot-error").is_some_and(|value| value.starts_with("upstream; ")), "{answer:?}");
}

#[test]
fn a17_an_upgrade_asks_the_upstream_in_its_own_words() {
    let upstream = Upstream::ok();
    let proxy = Glooshot::before(&upstream);
    assert_eq!(proxy.client().ask(ASK).status(), 200);
    let request = upstream.only_request();
    assert_eq!(request.one("upgrade"), Some("websocket"));
    assert_eq!(request.one("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert!(request.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{request:?}");
}

#[test]
fn a18_a_tunnel_carries_every_byte_both_ways_at_once() {
    let count = scale::TUNNEL_BYTES.get();
    let upstream = Upstream::raw(move |mut stream, recorder| {
        read_request(stream, recorder);
        stream.write_all(AGREE).unwrap();
        thread::scope(|scope| {
            let reading = scope.spawn(|| read_noise(stream, b"", 1));
            write_noise(stream, 2, count);
            assert_eq!(reading.join().unwrap(), (count, true), "client to upstream");
        });
    });
    let proxy = Glooshot::before(&upstream);
    let mut client = upgraded(&proxy);
    let (stream, already) = (client.stream(), client.take_unread());
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| read_noise(&stream, &already, 2));
        write_noise(&stream, 1, count);
        assert_eq!(reading.join().unwrap(), (count, true), "upstream to client");
    });
}

#[test]
fn a18_the_client_may_close_its_side_first_and_still_read() {
    let upstream = Upstream::raw(|mut stream, recorder| {
        let head = read_request(stream, recorder);
        stream.write_all(AGREE).unwrap();
        while recorder.read(stream) {}
        assert_eq!(recorder.bytes(head), b"ping", "{}", readable(&recorder.bytes(0)));
        stream.write_all(b"pong after the end").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    let proxy = Glooshot::before(&upstream);
    let mut client = upgraded(&proxy);
    client.send(b"ping");
    client.finish_sending();
    assert_eq!(client.read_to_end(), (b"pong after the end".to_vec(), Ending::Closed));
}

#[test]
fn a18_the_upstream_may_close_its_side_first_and_still_read() {
    let upstream = Upstream::scripted(|_| vec![Step::Send([AGREE, b"bye"].concat()), Step::HalfClose, Step::Hang]);
    let proxy = Glooshot::before(&upstream);
    let mut client = upgraded(&proxy);
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), Ending::Closed));
    client.send(b"still here");
    client.finish_sending();
    upstream
        .wait_until("the last bytes and the end", |log| log[0].ended && find(&log[0].bytes, b"still here").is_some());
}

#[test]
fn a18_a_reset_of_one_side_ends_the_other() {
    let upstream = Upstream::scripted(|_| vec![Step::Send(AGREE.to_vec()), Step::Hang]);
    let proxy = Glooshot::before(&upstream);
    upgraded(&proxy).reset();
    upstream.wait_until("the end of the tunnel", |log| log[0].ended);
}

#[test]
fn an_answered_upgrade_leaves_the_upstream_connection_in_the_pool() {
    let upstream = Upstream::answering(answer("no"));
    let proxy = Glooshot::before(&upstream);
    assert_eq!(proxy.client().ask(ASK).status(), 200);
    assert_eq!(proxy.client().ask(&get("/a")).status(), 200);
    assert_eq!(upstream.connections().len(), 1);
}
