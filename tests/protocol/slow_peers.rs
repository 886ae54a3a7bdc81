//! D1 to D5: clients that are silent or slow are closed when their time is up and not before, whatever their number, and
//! nobody else notices.

use std::{net::SocketAddr, thread, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::harness::{
    Ending, Glooshot, Setup, Step, Upstream,
    crowd::{Crowd, Manner, allow, crowd, room_for},
    glooshot::SERVICE,
    h2::{self, Frame, client::get, frame::flag, hpack},
    load::CountingUpstream,
    scale,
    wire::readable,
};

/// Connections are swept this often.
const SWEEP: Duration = Duration::from_millis(250);
/// The proxy's coarse clock goes in steps.
const STEP: Duration = Duration::from_millis(20);
/// What an HTTP/2 connection has for its goodbye before the next sweep ends it.
const GOODBYE: Duration = Duration::from_secs(2);

/// The limit that each of these tests sets.
fn limit() -> Duration {
    Duration::from_millis(scale::SLOW_LIMIT.get())
}

/// A proxy with this limit, whose service answers `ok`.
fn proxy_with(limit: &str, upstream: SocketAddr) -> Setup {
    allow(scale::SLOW_PEERS.get() + scale::GOOD_CLIENTS.get());
    let limit = format!("{limit}={}ms", scale::SLOW_LIMIT.get());
    Setup::proxy().to(upstream).with(["--limit", &limit])
}

/// Lets the crowd come; each connection must be closed by the proxy within the limit, and `grace` more, but not before it.
#[track_caller]
fn all_are_closed_in_time(proxy: &Glooshot, manner: &Manner, grace: Duration) -> Crowd {
    let (slow, good) = (scale::SLOW_PEERS.get(), scale::GOOD_CLIENTS.get());
    let _room = room_for(slow + good);
    let crowd = crowd(proxy.address(), slow, manner, good);
    assert_eq!(crowd.failed, Vec::<String>::new(), "good clients are served");
    assert!(crowd.answered >= good * 5, "{} answers", crowd.answered);
    // What this machine took from both processes for others is not the proxy's doing.
    let stalled = Duration::from_secs_f64(proxy.metrics().sum("glooshot_proxy_longest_stall_seconds", &[]));
    let slack = 2 * (stalled + crowd.lateness + crowd.slowest);
    let (earliest, latest) = (limit() - STEP - slack.min(limit() / 2), limit().mul_f64(1.1) + SWEEP + grace + slack);
    for stay in &crowd.stays {
        assert!(stay.ending != Ending::StillOpen, "{stay:?}");
        assert!(stay.lasted >= earliest && stay.lasted <= latest, "not within {earliest:?} to {latest:?}: {stay:?}");
    }
    proxy.wait_for_metric("glooshot_proxy_open_connections", &[], 0.0);
    crowd
}

#[track_caller]
fn all_were_counted(proxy: &Glooshot, reason: &str) {
    let count = scale::SLOW_PEERS.get() as f64;
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", reason)], count);
    assert_eq!(proxy.metrics().rejected(), count, "each is counted once");
}

#[test]
fn d1_clients_that_say_nothing_are_closed_without_a_word() {
    let upstream = CountingUpstream::start();
    let proxy = proxy_with("first_byte", upstream.address()).start();
    let crowd = all_are_closed_in_time(&proxy, &Manner::silent_after(""), Duration::ZERO);
    assert!(crowd.stays.iter().all(|stay| stay.told.is_empty()));
    assert_eq!(proxy.metrics().rejected(), 0.0, "who asked nothing was refused nothing");
}

#[test]
fn d2_clients_that_begin_a_tls_handshake_and_fall_silent_are_closed() {
    let upstream = CountingUpstream::start();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["ratings".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let tls = format!("{SERVICE}={},{}", certificate.display(), key.display());
    let plaintext = format!("{SERVICE}=plaintext");
    let proxy = proxy_with("handshake", upstream.address()).with(["--tls", &tls, "--upstream-tls", &plaintext]).start();
    // The header of a record with a ClientHello of 512 bytes, of which the first four are here.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc";
    all_are_closed_in_time(&proxy, &Manner::dripping(hello, [3], limit() / 10), Duration::ZERO);
    all_were_counted(&proxy, "tls-handshake");
}

#[test]
fn d3_a_preface_that_dribbles_in_does_not_get_more_time_with_each_byte() {
    let upstream = CountingUpstream::start();
    let proxy = proxy_with("first_byte", upstream.address()).start();
    all_are_closed_in_time(
        &proxy,
        &Manner::dripping(&h2::PREFACE[..1], &h2::PREFACE[1..], limit() / 10),
        Duration::ZERO,
    );
    all_were_counted(&proxy, "head-timeout");
}

#[test]
fn d4_a_head_that_dribbles_in_does_not_get_more_time_with_each_byte() {
    let upstream = CountingUpstream::start();
    let proxy = proxy_with("request_head", upstream.address()).start();
    let opening = "GET /slow HTTP/1.1\r\nHost: ratings\r\nX-Slow: ";
    all_are_closed_in_time(&proxy, &Manner::dripping(opening, "x", limit() / 10), Duration::ZERO);
    all_were_counted(&proxy, "head-timeout");
}

/// The beginning of a head of HTTP/2: whole fields, and the header of a frame of 1,000 bytes of which none is here yet.
fn half_a_head(stream: u32) -> Vec<u8> {
    let head = Frame::headers(stream, &hpack::block(&get("/slow")), true).without(flag::END_HEADERS);
    let more = Frame::continuation(stream, &[0; 1_000], false).bytes();
    [&head.bytes(), &more[..h2::frame::HEAD]].concat()
}

#[test]
fn d4_a_head_of_http_2_that_dribbles_in_does_not_get_more_time_with_each_byte() {
    let upstream = CountingUpstream::start();
    let proxy = proxy_with("request_head", upstream.address()).start();
    let opening = [h2::PREFACE, &Frame::settings(&[]).bytes(), &half_a_head(1)].concat();
    let manner = Manner::dripping(opening, [0], limit() / 10);
    all_are_closed_in_time(&proxy, &manner, GOODBYE + SWEEP);
    all_were_counted(&proxy, "head-timeout");
}

#[test]
fn d4_a_head_of_http_2_that_dribbles_in_beside_other_streams_does_not_get_more_time_either() {
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let arguments = ["--limit", "request_head=500ms", "--upstream-protocol", &format!("{SERVICE}=http1")];
    let proxy = Setup::proxy().to(upstream.address()).with(arguments).start();
    let mut client = h2::Client::connect(proxy.address());
    client.request(&get("/waiting"));
    upstream.wait_for_requests(1);
    let slow = client.next_stream();
    client.send(&half_a_head(slow));
    thread::scope(|scope| {
        scope.spawn(|| {
            let drips = std::iter::repeat_with(|| client.endpoint().try_send(&[0]));
            drips.take_while(Result::is_ok).take(100).for_each(|_| thread::park_timeout(limit() / 10));
        });
        client.expect_end();
    });
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "head-timeout")], 1.0);
}

#[test]
fn d5_bodies_of_which_no_more_comes_are_refused() {
    let upstream = Upstream::ok();
    let proxy = proxy_with("stalled", upstream.address()).with(["--connect-timeout", "10s"]).start();
    let opening = "POST /slow HTTP/1.1\r\nHost: ratings\r\nContent-Length: 100\r\n\r\nten bytes.";
    let crowd = all_are_closed_in_time(&proxy, &Manner::silent_after(opening), Duration::ZERO);
    for stay in &crowd.stays {
        assert!(
            stay.told.starts_with(b"HTTP/1.1 400 "),
            "{:?} after {:?}, told {}",
            stay.ending,
            stay.lasted,
            readable(&stay.told)
        );
    }
    all_were_counted(&proxy, "body");
}
