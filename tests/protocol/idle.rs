//! Limits on time where nothing happens: between requests, within answers, in tunnels, and while the proxy stops.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::CertificateDer};

use crate::harness::{
    Client, Ending, Glooshot, Setup, Step, Upstream, answer, eventually,
    experiment::Experiment,
    get,
    glooshot::SERVICE,
    h2::{self, client},
    let_pass,
    load::{self, CountingUpstream},
    sockets::asks_for_life,
    upstream::Recorder,
};

const LIMIT: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_secs(8);

/// These limits, each with [`LIMIT`].
fn limits(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| ["--limit".to_owned(), format!("{name}={}ms", LIMIT.as_millis())]).collect()
}

fn limited(names: &[&str], upstream: &Upstream) -> Setup {
    let limits = limits(names);
    Setup::proxy().to(upstream.address()).with(limits.iter().map(String::as_str))
}

/// What began at `since` has not ended before its limit, and soon behind it.
#[track_caller]
fn was_in_time(since: Instant) {
    let took = since.elapsed();
    assert!(took >= LIMIT - Duration::from_millis(50) && took < SOON, "{took:?}");
}

#[test]
fn a_client_s_connection_is_closed_when_it_has_been_idle_for_too_long_and_not_while_it_is_used() {
    let upstream = Upstream::ok();
    let proxy = limited(&["idle_client"], &upstream).start();
    let mut client = proxy.client();
    for _ in 0..8 {
        assert_eq!(client.ask(&get("/a")).status(), 200);
        let_pass(LIMIT / 7);
    }
    let since = Instant::now();
    assert_eq!(client.ask(&get("/a")).status(), 200);
    client.expect_end();
    was_in_time(since);
}

#[test]
fn a_client_s_connection_of_http_2_is_closed_with_a_goaway_when_it_has_been_idle_for_too_long() {
    let upstream = h2::Upstream::ok();
    let limits = limits(&["idle_client"]);
    let proxy = Setup::proxy().to(upstream.address()).with(limits.iter().map(String::as_str)).start();
    let mut used = h2::Client::connect(proxy.address());
    for _ in 0..8 {
        assert_eq!(used.ask(&client::get("/a")).status(), 200);
        let_pass(LIMIT / 7);
    }
    assert_eq!(used.goaways(), []);
    let since = Instant::now();
    let silent = h2::Client::connect(proxy.address());
    assert_eq!(used.ask(&client::get("/a")).status(), 200);
    // PINGs keep nobody's place.
    used.ping();
    for client in [used, silent] {
        assert_eq!(client.expect_end().expect("a GOAWAY").code, h2::code::NO_ERROR);
    }
    was_in_time(since);
}

#[test]
fn an_upstream_s_connection_is_closed_when_it_has_been_idle_for_too_long() {
    let upstream = Upstream::ok();
    let proxy = limited(&["idle_upstream"], &upstream).start();
    let mut client = proxy.client();
    for _ in 0..8 {
        assert_eq!(client.ask(&get("/a")).status(), 200);
        let_pass(LIMIT / 7);
    }
    let since = Instant::now();
    assert_eq!(client.ask(&get("/a")).status(), 200);
    upstream.wait_within(SOON, "the end of the connection", |log| log.len() == 1 && log[0].ended);
    was_in_time(since);
    assert_eq!(client.ask(&get("/a")).status(), 200);
    assert_eq!(upstream.connections().len(), 2);
}

#[test]
fn an_upstream_s_connection_of_http_2_is_closed_when_it_has_been_idle_for_too_long() {
    let upstream = h2::Upstream::ok();
    let limits = limits(&["idle_upstream"]);
    let proxy = Setup::proxy().to(upstream.address()).with(limits.iter().map(String::as_str)).start();
    let since = Instant::now();
    assert_eq!(h2::Client::connect(proxy.address()).ask(&client::get("/a")).status(), 200);
    let connection = upstream.endpoints().remove(0);
    assert!(connection.try_wait(SOON, |_| None::<()>).is_none());
    assert_ne!(connection.state().ending, Ending::StillOpen);
    was_in_time(since);
}

/// An upstream that begins an answer of 100 bytes and stops in the middle of it.
fn stopping() -> Upstream {
    let beginning = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    Upstream::scripted(move |_| vec![Step::Send(beginning.clone()), Step::Hang])
}

#[test]
fn an_answer_of_which_no_more_comes_is_broken_off_on_both_sides() {
    let upstream = stopping();
    let proxy = limited(&["stalled"], &upstream).start();
    let mut client = proxy.client();
    let since = Instant::now();
    client.send(&get("/a"));
    let (bytes, ending) = client.read_to_end_within(SOON);
    was_in_time(since);
    assert!(bytes.ends_with(b"half") && ending != Ending::StillOpen, "what is cut off must not look whole");
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "200"), ("flag", "UT")], 1.0);
    upstream.wait_within(SOON, "the end of the request", |log| log.iter().all(|connection| connection.ended));
}

#[test]
fn an_answer_of_http_2_of_which_no_more_comes_is_broken_off() {
    let upstream = stopping();
    let protocol = format!("{SERVICE}=http1");
    let proxy = limited(&["stalled"], &upstream).with(["--upstream-protocol", &protocol]).start();
    let mut client = h2::Client::connect(proxy.address());
    let since = Instant::now();
    let stream = client.request(&client::get("/a"));
    let outcome = client.outcome(stream);
    was_in_time(since);
    assert!(!outcome.ended, "what is cut off must not look whole: {outcome:?}");
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "200"), ("flag", "UT")], 1.0);
    upstream.wait_within(SOON, "the end of the request", |log| log.iter().all(|connection| connection.ended));
}

#[test]
fn whoever_waits_for_the_beginning_of_an_answer_is_not_cut_off_for_silence() {
    let late = Upstream::scripted(|_| {
        let_pass(2 * LIMIT);
        vec![Step::Send(answer("late"))]
    });
    let proxy = limited(&["stalled"], &late).start();
    assert_eq!(proxy.client().ask(&get("/a")).text(), "late");
    let upstream = Upstream::ok();
    let experiment = Experiment::named("idle").delay("1500ms");
    let limits = limits(&["stalled"]);
    let proxy = Setup::run(&experiment.yaml())
        .to(upstream.address())
        .with(limits.iter().map(String::as_str))
        .start_with_faults_on();
    let answer = proxy.client().ask(&get("/a"));
    assert_eq!(answer.one("x-glooshot-fault"), Some(experiment.marker("delay", 0).as_str()));
}

/// An upstream that sends back what comes, of a protocol that is not HTTP.
fn echo() -> Upstream {
    Upstream::raw(|mut stream, recorder: &Recorder| {
        let mut from = 0;
        while recorder.read(stream) {
            let come = recorder.bytes(from);
            from += come.len();
            let _gone = std::io::Write::write_all(&mut stream, &come);
        }
    })
}

#[test]
fn a_tunnel_is_closed_when_nothing_has_moved_in_it_for_too_long_and_not_before() {
    let upstream = echo();
    let proxy = limited(&["tunnel_idle"], &upstream).start();
    let mut client = proxy.client();
    for _ in 0..8 {
        client.send(b"ping 1\r\n");
        assert_eq!(client.read_at_least(8), b"ping 1\r\n");
        let_pass(LIMIT / 7);
    }
    let since = Instant::now();
    client.send(b"ping 2\r\n");
    assert_eq!(client.read_at_least(8), b"ping 2\r\n");
    client.expect_end();
    was_in_time(since);
    upstream.wait_within(SOON, "the end on the other side", |log| log[0].ended);
}

#[test]
fn bytes_that_tell_nothing_are_passed_through_when_their_time_is_up() {
    let upstream = echo();
    let proxy = limited(&["first_byte"], &upstream).start();
    let mut client = proxy.client();
    let since = Instant::now();
    client.send(b"hel");
    assert_eq!(client.read_at_least(3), b"hel");
    was_in_time(since);
    proxy.wait_for_metric("glooshot_proxy_passed_through_total", &[("protocol", "tcp")], 1.0);
}

#[test]
fn an_upstream_that_is_silent_in_its_tls_handshake_is_a_503() {
    let upstream = Upstream::raw(|stream, recorder: &Recorder| while recorder.read(stream) {});
    let tls = format!("{SERVICE}=name=ratings");
    let proxy = limited(&["handshake"], &upstream).with(["--upstream-tls", &tls]).start();
    let since = Instant::now();
    let answer = proxy.client().ask(&get("/a"));
    was_in_time(since);
    assert_eq!((answer.status(), answer.one("x-glooshot-error")), (503, Some("upstream; tls")));
    upstream.wait_within(SOON, "the end of the connection", |log| log.iter().all(|connection| connection.ended));
}

/// A TLS session with the proxy, which offers `protocols`.
fn session(
    proxy: &Glooshot,
    certificate: CertificateDer<'static>,
    protocols: &[&[u8]],
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connection = ClientConnection::new(Arc::new(config), "ratings".try_into().unwrap()).unwrap();
    let stream = proxy.client().stream();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut session = StreamOwned::new(connection, stream);
    while session.conn.is_handshaking() {
        session.conn.complete_io(&mut session.sock).unwrap();
    }
    session
}

#[test]
fn a_client_that_says_nothing_behind_its_tls_handshake_is_closed() {
    let upstream = Upstream::ok();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["ratings".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let tls = format!("{SERVICE}={},{}", certificate.display(), key.display());
    let plaintext = format!("{SERVICE}=plaintext");
    let proxy =
        limited(&["first_byte", "idle_client"], &upstream).with(["--tls", &tls, "--upstream-tls", &plaintext]).start();
    for protocols in [&[][..], &[&b"http/1.1"[..]], &[&b"h2"[..]]] {
        let since = Instant::now();
        let mut session = session(&proxy, cert.der().clone(), protocols);
        let mut told = Vec::new();
        let _unclean_end = std::io::Read::read_to_end(&mut session, &mut told);
        was_in_time(since);
        assert_eq!(
            told.is_empty(),
            protocols != [&b"h2"[..]],
            "only HTTP/2 begins with a word of the server: {told:?}"
        );
    }
}

#[test]
fn the_kernel_looks_after_upstreams_whose_host_goes() {
    let upstream = Upstream::ok();
    let proxy = limited(&[], &upstream).start();
    assert_eq!(proxy.client().ask(&get("/a")).status(), 200);
    // The timer of what was sent last runs first, until it is acknowledged.
    eventually("TCP keep-alive is on", || asks_for_life(upstream.address()).then_some(()));
}

#[test]
fn callers_that_never_stop_coming_do_not_keep_a_proxy_that_stops() {
    let upstream = CountingUpstream::start();
    let limits = limits(&["drain_accept"]);
    let mut proxy = Setup::proxy()
        .to(upstream.address())
        .with(["--drain-at-least", "100ms", "--drain-quiet", "1m"])
        .with(limits.iter().map(String::as_str))
        .start();
    let close = |_| b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec();
    load::during(proxy.address(), 2, close, || {
        let since = Instant::now();
        proxy.signal(Signal::TERM);
        let status = proxy.try_wait_for_exit(SOON);
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        was_in_time(since);
    });
}

#[test]
fn a_proxy_that_stops_waits_until_it_is_quiet() {
    let upstream = Upstream::ok();
    let mut proxy =
        Setup::proxy().to(upstream.address()).with(["--drain-at-least", "0s", "--drain-quiet", "1s"]).start();
    proxy.signal(Signal::TERM);
    let mut last = Instant::now();
    for _ in 0..8 {
        let_pass(LIMIT / 7);
        last = Instant::now();
        assert_eq!(Client::connect(proxy.address()).ask(&get("/late")).status(), 200);
    }
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(0));
    was_in_time(last);
}

#[test]
fn requests_that_do_not_end_are_cut_off_when_the_drain_is_over() {
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let mut proxy = limited(&["drain"], &upstream).with(["--response-timeout", "5m", "--drain-at-least", "0s"]).start();
    let mut client = proxy.client();
    client.send(&get("/a"));
    upstream.wait_for_requests(1);
    let since = Instant::now();
    proxy.signal(Signal::TERM);
    proxy.wait_for_exit(SOON);
    was_in_time(since);
    client.expect_end();
}
