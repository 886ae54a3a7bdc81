//! D6: a client that reads slowly, or not at all, holds back the service that sends, and costs the proxy no memory.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::harness::{
    Client, Ending, Glooshot, Setup, Upstream, get, let_pass, scale, upstream::Recorder, wire::find, within,
};

/// What the proxy may grow by for one client that does not read.
const MEMORY: u64 = 1 << 20;
/// What is sent no further for so long is held back.
const STILL: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(10);

/// An upstream that answers each request with `length` bytes; how many of them it has got rid of, over all answers.
fn sending(length: u64) -> (Upstream, Arc<AtomicU64>) {
    let sent = Arc::<AtomicU64>::default();
    let counted = sent.clone();
    let upstream = Upstream::raw(move |mut stream: &TcpStream, recorder: &Recorder| {
        let mut from = 0;
        while recorder.read(stream) {
            if find(&recorder.bytes(from), b"\r\n\r\n").is_none() {
                continue;
            }
            from = recorder.bytes(0).len();
            let mut left = usize::try_from(length).unwrap();
            let mut written =
                stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            while written.is_ok() && left > 0 {
                let piece = left.min(64 << 10);
                written = stream.write_all(&vec![b'x'; piece]);
                left -= piece;
                counted.fetch_add(piece as u64, Ordering::Relaxed);
            }
        }
    });
    (upstream, sent)
}

/// A client for whom the kernel takes in little, that has asked for the answer and reads nothing of it.
fn asking(proxy: &Glooshot) -> Client {
    let mut client = proxy.client();
    SockRef::from(&client.stream()).set_recv_buffer_size(16 << 10).unwrap();
    client.send(&get("/large"));
    client
}

/// Waits until `sent` rises no more; what it is then.
#[track_caller]
fn when_still(sent: &AtomicU64) -> u64 {
    let mut last = (sent.load(Ordering::Relaxed), Instant::now());
    within(SOON, "the service is held back", || {
        let now = sent.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (now > 0 && last.1.elapsed() > STILL).then_some(now)
    })
}

/// Reads `length` bytes in pieces of `piece`.
#[track_caller]
fn read(client: &Client, length: u64, piece: usize) {
    let (mut stream, mut left) = (client.stream(), length);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = vec![0; piece];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(piece).min(piece);
        let count = stream.read(&mut buffer[..most]).unwrap();
        assert!(count > 0, "the end, {left} bytes too early");
        left -= count as u64;
    }
}

/// Reads the head of an answer, byte for byte.
fn read_head(client: &Client) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.stream().read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
}

#[test]
fn d6_a_client_that_reads_byte_for_byte_holds_the_service_back_and_costs_no_memory() {
    let length = scale::SLOW_READER.get();
    let (upstream, sent) = sending(length);
    let proxy = Glooshot::before(&upstream);
    // The memory that any large answer takes is taken now.
    let first = asking(&proxy);
    read_head(&first);
    read(&first, length, 64 << 10);
    let before = sent.load(Ordering::Relaxed);
    let (client, growth) = proxy.growth_during(|| {
        let client = asking(&proxy);
        let held = when_still(&sent) - before;
        assert!(held < length, "all {length} bytes were sent although nobody read them");
        read_head(&client);
        read(&client, 2_000, 1);
        let held = when_still(&sent) - before;
        assert!(held < length, "all {length} bytes were sent although 2,000 were read");
        client
    });
    assert!(growth < MEMORY, "the proxy grew by {growth} bytes");
    // Nothing was lost or doubled meanwhile.
    read(&client, length - 2_000, 64 << 10);
    assert_eq!(sent.load(Ordering::Relaxed) - before, length);
}

#[test]
fn d6_a_client_that_takes_nothing_for_too_long_is_cut_off_and_so_is_the_service() {
    let (upstream, sent) = sending(scale::SLOW_READER.get());
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "stalled=1s"]).start();
    let sockets = proxy.open_sockets();
    let mut client = asking(&proxy);
    when_still(&sent);
    within(SOON, "both connections are closed", || (proxy.open_sockets() <= sockets).then_some(()));
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("flag", "DC")], 1.0);
    let (bytes, ending) = client.read_to_end_within(SOON);
    assert_ne!(ending, Ending::StillOpen);
    assert!((bytes.len() as u64) < scale::SLOW_READER.get(), "what is cut off must not look whole");
}

#[test]
fn d6_a_client_that_reads_slowly_but_reads_is_not_cut_off() {
    const PIECE: u64 = 256 << 10;
    let (upstream, _) = sending(12 * PIECE);
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "stalled=1s"]).start();
    let client = asking(&proxy);
    read_head(&client);
    let began = Instant::now();
    for _ in 0..12 {
        let_pass(Duration::from_millis(200));
        read(&client, PIECE, 4 << 10);
    }
    assert!(began.elapsed() > Duration::from_secs(2));
}
