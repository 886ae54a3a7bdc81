//! C7: whoever reads slowly, or not at all, holds back the one who sends, and costs the proxy no memory.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{before_http1, before_http2, to_http1};
use crate::harness::{
    Glooshot, Upstream,
    h2::{
        self, Client, Frame,
        client::{get, request},
        setting,
        state::Terms,
    },
    patience::{Gate, PATIENCE},
    scale,
    upstream::Recorder,
    wire::find,
};

const MIB: u64 = 1 << 20;
/// What the proxy may hold for one stream that is not read: a window of 64 KiB, and the buffers of the upstream's
/// connection, which grow to twice the limit of a head.
const PER_STREAM: u64 = 6 * (64 << 10);

/// An upstream that answers each request with `length` bytes, and the bytes that it has got rid of.
fn sending(length: u64) -> (Upstream, Arc<AtomicU64>) {
    let sent = Arc::<AtomicU64>::default();
    let counted = sent.clone();
    let upstream = Upstream::raw(move |stream: &TcpStream, recorder: &Recorder| {
        let mut from = 0;
        while recorder.read(stream) {
            if find(&recorder.bytes(from), b"\r\n\r\n").is_some() {
                from = recorder.bytes(0).len();
                send_large(stream, length, &counted);
            }
        }
    });
    (upstream, sent)
}

fn send_large(mut stream: &TcpStream, length: u64, sent: &AtomicU64) {
    let piece = [b'x'; 16 << 10];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let mut left = length;
    let mut alive = stream.write_all(head.as_bytes()).is_ok();
    while alive && left > 0 {
        let count = left.min(piece.len() as u64);
        alive = stream.write_all(&piece[..count as usize]).is_ok();
        left -= count;
        sent.fetch_add(count, Ordering::AcqRel);
    }
}

/// A first exchange, so that what the process needs once is not taken for growth.
fn warm_up(proxy: &Glooshot, sent: &AtomicU64) {
    let answer = Client::on(proxy.address(), Terms::default().without_bodies()).ask(&get("/warm-up"));
    assert_eq!(answer.status(), 200);
    sent.store(0, Ordering::Release);
}

/// Waits until `sent` has not grown for a while: the sender is held back.
fn wait_until_held_back(sent: &AtomicU64) -> u64 {
    const QUIET: Duration = Duration::from_millis(300);
    let mut last = (std::time::Instant::now(), sent.load(Ordering::Acquire));
    crate::harness::within(3 * PATIENCE, "the sender is held back", || {
        let now = (std::time::Instant::now(), sent.load(Ordering::Acquire));
        if now.1 != last.1 {
            last = now;
        }
        (now.1 > 0 && now.0.duration_since(last.0) > QUIET).then_some(now.1)
    })
}

#[test]
fn c7_streams_that_are_not_read_cost_little_memory_and_end_when_nothing_moves() {
    const STREAMS: u64 = 100;
    let (upstream, sent) = sending(10 * MIB);
    let proxy = to_http1(&upstream).with(["--limit", "stalled=2s"]).start();
    warm_up(&proxy, &sent);
    let (client, growth) = proxy.growth_during(|| {
        let terms = Terms::default().without_grants().with(setting::INITIAL_WINDOW_SIZE, 0);
        let mut client = Client::on(proxy.address(), terms);
        for n in 0..STREAMS {
            client.request(&get(&format!("/{n}")));
        }
        wait_until_held_back(&sent);
        client
    });
    assert!(growth < STREAMS * PER_STREAM, "{growth} bytes for {STREAMS} streams");
    upstream.wait_until("the end of every connection, since nothing moves", |log| {
        log.len() as u64 == STREAMS && log.iter().all(|connection| connection.ended)
    });
    let state = client.endpoint().state();
    assert!(state.streams.values().all(|stream| stream.received == 0), "the client's window is 0");
    drop(state);
    assert_eq!(proxy.client().ask(&crate::harness::get("/after")).status(), 200);
}

#[test]
fn c7_a_client_that_reads_nothing_from_its_socket_costs_little_memory() {
    const STREAMS: u64 = 100;
    let (upstream, sent) = sending(10 * MIB);
    let proxy = before_http1(&upstream);
    warm_up(&proxy, &sent);
    let ((), growth) = proxy.growth_during(|| {
        let terms = Terms::default().with(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff);
        let mut client = Client::deaf(proxy.address(), terms);
        client.send_frame(&Frame::window_update(0, 0x7fff_0000 - 65_535));
        for n in 0..STREAMS {
            client.request(&get(&format!("/{n}")));
        }
        wait_until_held_back(&sent);
    });
    assert!(growth < STREAMS * PER_STREAM, "{growth} bytes for {STREAMS} streams");
}

/// A large answer that a client takes in small steps arrives whole; the proxy never holds much of it.
#[track_caller]
fn is_read_slowly(proxy: &Glooshot, sent: &AtomicU64) {
    /// What the kernel's buffers on the way may hold beside the proxy's.
    const ON_THE_WAY: u64 = 10 * MIB;
    let length = scale::LARGE_ANSWER.get();
    warm_up(proxy, sent);
    let ((), growth) = proxy.growth_during(|| {
        let mut client = Client::on(proxy.address(), Terms::default().without_grants().without_bodies());
        let stream = client.request(&get("/large"));
        client.wait("the first window", |state| (state.stream(stream).received == 65_535).then_some(()));
        let held_back = wait_until_held_back(sent);
        assert!(held_back < ON_THE_WAY.min(length), "{held_back} bytes were taken from the upstream");
        for received in (65_535..length).step_by(65_535) {
            client.wait("the next window", |state| (state.stream(stream).received == received).then_some(()));
            client.endpoint().grant(0, 65_535);
            client.endpoint().grant(stream, 65_535);
        }
        assert_eq!(client.answer(stream).received, length);
    });
    assert!(growth < MIB, "{growth} bytes more");
}

#[test]
fn a_slow_reader_holds_an_upstream_that_speaks_http_1_back() {
    let (upstream, sent) = sending(scale::LARGE_ANSWER.get());
    is_read_slowly(&before_http1(&upstream), &sent);
}

#[test]
fn a_slow_reader_holds_an_upstream_that_speaks_http_2_back() {
    let sent = Arc::<AtomicU64>::default();
    let counted = sent.clone();
    let length = scale::LARGE_ANSWER.get();
    let upstream = h2::Upstream::scripted(move |call| {
        if call.whole().is_none() {
            return;
        }
        call.head("200", &[("content-length", &length.to_string())], false);
        let piece = [b'x'; 16 << 10];
        let mut left = length;
        while left > 0 {
            let count = left.min(piece.len() as u64);
            left -= count;
            if !call.data(&piece[..count as usize], left == 0) {
                return;
            }
            counted.fetch_add(count, Ordering::AcqRel);
        }
    });
    is_read_slowly(&before_http2(&upstream), &sent);
}

#[test]
fn a_stream_that_is_not_read_does_not_hold_the_others_of_its_connection_back() {
    let upstream = h2::Upstream::scripted(|call| {
        if let Some(request) = call.whole() {
            call.answer(&"x".repeat(if request.path() == "/large" { 4 << 20 } else { 1_000 }));
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::on(proxy.address(), Terms::default().without_grants());
    client.endpoint().grant(0, 8 << 20);
    let unread = client.request(&get("/large"));
    client.wait("a full window", |state| (state.stream(unread).received == 65_535).then_some(()));
    for _ in 0..50 {
        assert_eq!(client.ask(&get("/small")).received, 1_000);
    }
    assert_eq!(client.stream(unread).received, 65_535);
    client.endpoint().grant(unread, 4 << 20);
    assert_eq!(client.answer(unread).received, 4 << 20);
}

#[test]
fn an_upstream_that_does_not_read_holds_the_client_back() {
    let gate = Gate::closed();
    let opened = gate.clone();
    let length = scale::LARGE_ANSWER.get();
    let upstream = Upstream::raw(move |mut stream: &TcpStream, _: &Recorder| {
        let (mut buffer, mut come) = (vec![0; 64 << 10], 0);
        while come < length {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => come += count as u64,
                _ => return,
            }
            if find(&buffer, b"/first").is_none() {
                opened.wait();
            } else if buffer.starts_with(b"POST") {
                let _gone = stream.write_all(&crate::harness::answer("ok"));
            }
        }
        let _gone = stream.write_all(&crate::harness::answer("ok"));
    });
    let proxy = before_http1(&upstream);
    let mut client = Client::connect(proxy.address());
    // So that what the process needs once is not taken for growth.
    let first = client.open(&request("POST", "/first"), false);
    client.endpoint().send_body(first, b"x", false);
    client.wait("an answer before the end of the request", |state| (state.stream(first).status() == 200).then_some(()));
    client.send_frame(&Frame::rst_stream(first, h2::code::CANCEL));
    let stream = client.open(&request("POST", "/a"), false);
    let sent = Arc::<AtomicU64>::default();
    let (endpoint, counted) = (client.endpoint().clone(), sent.clone());
    let ((), growth) = proxy.growth_during(|| {
        let sender = thread::spawn(move || {
            let piece = [b'x'; 16 << 10];
            for nth in 1..=length / piece.len() as u64 {
                let last = nth == length / piece.len() as u64;
                if !endpoint.send_body(stream, &piece, last) {
                    return;
                }
                counted.fetch_add(piece.len() as u64, Ordering::AcqRel);
            }
        });
        let held_back = wait_until_held_back(&sent);
        assert!(held_back < (10 * MIB).min(length), "{held_back} bytes were taken from the client");
        gate.open();
        sender.join().unwrap();
    });
    assert_eq!(client.answer(stream).status(), 200);
    assert!(growth < 2 * MIB, "{growth} bytes more");
}

#[test]
fn an_upload_that_is_held_back_does_not_hold_the_others_of_its_connection_back() {
    let upstream = h2::Upstream::on(Terms::default().without_grants(), |call| {
        if call.request().path() == "/held" {
            call.cut_off();
        } else if call.whole().is_some() {
            call.answer("ok");
        }
    });
    let proxy = before_http2(&upstream);
    let mut client = Client::connect(proxy.address());
    let held = client.open(&request("POST", "/held"), false);
    client.send_frame(&Frame::data(held, &[b'x'; 16_000], false));
    for _ in 0..50 {
        assert_eq!(client.ask(&get("/a")).text(), "ok");
    }
}
