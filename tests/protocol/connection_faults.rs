//! E14: faults on connections hit new ones whatever they speak, before a byte is read, and are counted exactly.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::{
    experiment_files::{is_refused, is_refused_before},
    harness::{
        Client, Glooshot, Setup, Upstream, answer, eventually, experiment::Experiment, get, patience::PATIENCE, scale,
        wire::find,
    },
    passthrough::{HTTP_2, REDIS, client_hello, inverted, inverting},
};

const RESET: &str = "{connection: {reset: true}, percentage: 100}";
const STOPPED_WITHIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

fn resetting(percentage: &str) -> Experiment {
    Experiment::named("e14").fault("", &format!("{{connection: {{reset: true}}, percentage: {percentage}}}"))
}

fn holding(duration: &str) -> Experiment {
    Experiment::named("e14").fault("", &format!("{{connection: {{delay: {{duration: {duration}}}}}, percentage: 100}}"))
}

/// What a client saw of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A RST before any byte.
    Reset,
    /// A whole answer.
    Answer,
}

/// Connects from `from`, says `first`, and sees what comes. A connection that is closed in order fails the test.
#[track_caller]
fn open_from(from: &str, to: SocketAddr, first: &[u8]) -> Seen {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // No port stays behind: this many connections would use them all up.
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.bind(&SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0).into()).unwrap();
    let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    match socket.connect(&to.into()) {
        Err(error) if is_reset(&error) => return Seen::Reset,
        connected => connected.unwrap(),
    }
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The error of a RST is told once, by whichever call comes next.
    match stream.write_all(first) {
        Err(error) if is_reset(&error) => return Seen::Reset,
        written => written.unwrap(),
    }
    let mut come = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("closed without a reset behind {come:?}"),
            Ok(count) => come.extend_from_slice(&buffer[..count]),
            Err(error) if is_reset(&error) && come.is_empty() => return Seen::Reset,
            Err(error) => panic!("{error} behind {come:?}"),
        }
        let is_whole = if first.starts_with(b"GET ") {
            come.starts_with(b"HTTP/1.1 200 ") && come.ends_with(b"\r\n\r\nok")
        } else {
            come == inverted(first)
        };
        if is_whole {
            return Seen::Answer;
        }
    }
}

#[track_caller]
fn open(to: SocketAddr, first: &[u8]) -> Seen {
    open_from("127.0.0.1", to, first)
}

/// An upstream that answers requests, and sends everything else back with all bits turned over.
fn speaking_all() -> Upstream {
    Upstream::raw(|mut stream, recorder| {
        let mut from = 0;
        while recorder.read(stream) {
            let come = recorder.bytes(from);
            if come.starts_with(b"GET ") && !come.ends_with(b"\r\n\r\n") {
                continue;
            }
            from += come.len();
            let reply = if come.starts_with(b"GET ") { answer("ok") } else { inverted(&come) };
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    })
}

/// How many clients the upstream has heard: each of the connections that pass through, and each request.
fn heard(upstream: &Upstream) -> u64 {
    let hello = client_hello();
    let of = |bytes: &[u8]| {
        if bytes.starts_with(b"GET ") {
            return bytes.windows(4).filter(|window| window == b"GET ").count() as u64;
        }
        assert!(bytes == hello || bytes == REDIS, "{bytes:?}");
        1
    };
    upstream.connections().iter().map(|connection| of(&connection.bytes)).sum()
}

/// Opens `count` connections over a few threads, and says how many were reset.
fn resets(to: SocketAddr, count: u64) -> u64 {
    let firsts = [client_hello(), REDIS.to_vec(), get("/a")];
    let (next, reset) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    if open(to, &firsts[number as usize % firsts.len()]) == Seen::Reset {
                        reset.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    reset.into_inner()
}

#[test]
fn e14_a_share_of_the_connections_is_reset_whatever_they_speak_and_counted_exactly() {
    let count = scale::CONNECTIONS.get();
    let upstream = speaking_all();
    let experiment = resetting("30");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(["--workers", "2"]).start_with_faults_on();
    let reset = resets(proxy.address(), count);
    let (n, expected) = (count as f64, count as f64 * 0.3);
    let five_sigma = 5.0 * (n * 0.3 * 0.7).sqrt();
    assert!(
        (reset as f64 - expected).abs() <= five_sigma,
        "{reset} of {count} were reset, expected {expected} ± {five_sigma}"
    );
    assert_eq!(heard(&upstream), count - reset, "a connection that is reset does not reach the upstream");
    let labels = [("experiment", "bookinfo/e14"), ("fault", "0"), ("kind", "reset")];
    proxy.wait_for_metric("glooshot_proxy_injected_total", &labels, reset as f64);
    proxy.wait_for_metric("glooshot_proxy_matched_total", &labels[..2], n);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("glooshot_proxy_injected_total", &[]), reset as f64);
    assert_eq!(metrics.sum("glooshot_proxy_faults_overflow_total", &[]), 0.0);
}

#[test]
fn e14_a_reset_is_a_rst_and_nothing_reaches_the_upstream() {
    let upstream = speaking_all();
    let proxy = Setup::run(&resetting("100").yaml()).to(upstream.address()).start_with_faults_on();
    // A close with unread bytes would be a RST anyhow; one of a silent connection is only when it was asked for.
    for first in [b"", &client_hello()[..], HTTP_2, REDIS, &get("/a"), b"\x01"] {
        for _ in 0..20 {
            assert_eq!(open(proxy.address(), first), Seen::Reset, "{first:?}");
        }
    }
    assert_eq!(upstream.connections().len(), 0);
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "reset")], 120.0);
    proxy.wait_for_metric("glooshot_proxy_passed_through_total", &[], 0.0);
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[], 0.0);
}

#[test]
fn connections_that_are_open_when_the_faults_go_on_are_not_touched() {
    let upstream = speaking_all();
    let yaml = resetting("100").yaml().replace("settle: 0s", "settle: 1s");
    let proxy = Setup::run(&yaml).to(upstream.address()).start();
    let (mut passed, mut kept) = (proxy.client(), proxy.client());
    passed.send(REDIS);
    assert_eq!(passed.read_at_least(REDIS.len()), inverted(REDIS));
    assert_eq!(kept.ask(&get("/before")).text(), "ok");
    proxy.wait_for_metric("glooshot_proxy_faults_armed", &[], 1.0);
    assert_eq!(open(proxy.address(), REDIS), Seen::Reset);
    passed.send(REDIS);
    assert_eq!(passed.read_at_least(REDIS.len()), inverted(REDIS));
    assert_eq!(kept.ask(&get("/after")).text(), "ok");
    proxy.wait_for_metric("glooshot_proxy_matched_total", &[], 1.0);
}

#[test]
fn a_delay_at_connect_is_spent_before_the_upstream_sees_anything() {
    let upstream = speaking_all();
    let proxy = Setup::run(&holding("1s").yaml()).to(upstream.address()).start_with_faults_on();
    for (number, first) in [client_hello(), REDIS.to_vec()].into_iter().enumerate() {
        let connected = Instant::now();
        let mut client = proxy.client();
        client.send(&first);
        proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
        assert_eq!(upstream.connections().len(), number);
        assert_eq!(client.read_at_least(first.len()), inverted(&first));
        let took = connected.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
        assert_eq!(proxy.metrics().sum("glooshot_proxy_active_faults", &[]), 0.0);
    }
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "connection-delay"), ("fault", "0")], 2.0);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), 2.0);
}

#[test]
fn a_stop_lets_held_connections_go_at_once() {
    let upstream = speaking_all();
    let mut proxy = Setup::run(&holding("60s").yaml()).to(upstream.address()).start_with_faults_on();
    let firsts = [client_hello(), REDIS.to_vec(), get("/held")];
    let mut held: Vec<(Client, &[u8])> =
        firsts.iter().cycle().take(6).map(|first| (proxy.client(), first.as_slice())).collect();
    for (client, first) in &mut held {
        client.send(first);
    }
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 6.0);
    assert_eq!(upstream.connections().len(), 0);
    let interrupted = Instant::now();
    proxy.signal(Signal::INT);
    for (client, first) in &mut held {
        if first.starts_with(b"GET ") {
            assert_eq!(client.read_answer().text(), "ok");
        } else {
            assert_eq!(client.read_at_least(first.len()), inverted(first));
        }
    }
    let late = interrupted.elapsed();
    assert!(late <= STOPPED_WITHIN, "{late:?}");
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(130));
}

/// The preface of HTTP/2, an empty SETTINGS frame, and the HEADERS of a whole GET on stream 1 (RFC 9113 §6.2, RFC 7541 §C).
fn http_2_get() -> Vec<u8> {
    let fields = b"\x82\x86\x04\x05/held\x01\x07ratings";
    let end_of_stream_and_headers = 0x5;
    [HTTP_2, &[0, 0, fields.len() as u8, 1, end_of_stream_and_headers, 0, 0, 0, 1], fields].concat()
}

#[test]
fn a_stop_lets_a_held_http_2_connection_go_and_its_request_is_answered() {
    let upstream = speaking_all();
    let mut proxy = Setup::run(&holding("60s").yaml())
        .to(upstream.address())
        .with(["--upstream-protocol", "bookinfo/ratings:9080=http1"])
        .start_with_faults_on();
    let mut client = proxy.client();
    client.send(&http_2_get());
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    assert_eq!(upstream.connections().len(), 0);
    let interrupted = Instant::now();
    proxy.signal(Signal::INT);
    let mut come = Vec::new();
    // A DATA frame on stream 1.
    while find(&come, b"\0\0\0\x01ok").is_none() {
        come.extend(client.read_at_least(1));
    }
    let late = interrupted.elapsed();
    assert!(late <= STOPPED_WITHIN, "{late:?}");
    drop(client);
    assert_eq!(proxy.wait_for_exit(SOON).code(), Some(130));
}

#[test]
fn more_held_connections_than_the_cap_pass_at_once_and_a_client_that_goes_gives_its_place_back() {
    const CAP: usize = 3;
    let upstream = speaking_all();
    let experiment = holding("60s").limits("{maxConcurrentDelays: 3}");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let active = |count: usize| proxy.wait_for_metric("glooshot_proxy_active_faults", &[], count as f64);
    let hold = |first: &[u8], number: usize| {
        let mut client = proxy.client();
        client.send(first);
        active(number);
        client
    };
    let [talking, silent, closed] = [hold(REDIS, 1), hold(b"", 2), hold(b"", 3)];
    for first in [client_hello(), get("/over"), REDIS.to_vec()] {
        assert_eq!(open(proxy.address(), &first), Seen::Answer);
    }
    proxy.wait_for_metric("glooshot_proxy_faults_overflow_total", &[], 3.0);
    assert_eq!(heard(&upstream), 3);
    talking.reset();
    active(CAP - 1);
    silent.reset();
    active(CAP - 2);
    drop(closed);
    active(0);
    // What has been said, and then closed on the sending side only, may still be answered.
    let half_closed = hold(REDIS, 1);
    half_closed.finish_sending();
    let _next = hold(REDIS, 2);
    assert_eq!(heard(&upstream), 3, "nothing of a client that went away reaches the upstream");
}

#[test]
fn no_more_connections_than_the_limit_are_reset() {
    let upstream = speaking_all();
    let experiment = resetting("100").limits("{maxInjected: 7}");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(["--workers", "2"]).start_with_faults_on();
    assert_eq!(resets(proxy.address(), 60), 7);
    assert_eq!(heard(&upstream), 53);
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[], 7.0);
}

#[test]
fn only_connections_of_the_named_callers_are_touched() {
    let upstream = speaking_all();
    let experiment =
        Experiment::named("e14").fault("originServices: [{name: productpage, namespace: bookinfo}]", RESET);
    let proxy = Setup::run(&experiment.yaml())
        .to(upstream.address())
        .with(["--source", "127.0.0.9=productpage:v1", "--source", "127.0.0.8=reviews:v1"])
        .start_with_faults_on();
    for first in [client_hello(), REDIS.to_vec(), get("/a")] {
        let from = |ip: &str| open_from(ip, proxy.address(), &first);
        let (reset, answer) = (Seen::Reset, Seen::Answer);
        assert_eq!([from("127.0.0.9"), from("127.0.0.8"), from("127.0.0.1")], [reset, answer, answer]);
    }
    proxy.wait_for_metric("glooshot_proxy_matched_total", &[], 3.0);
}

#[test]
fn connections_of_exempt_callers_are_never_touched_and_counted() {
    let upstream = speaking_all();
    let proxy = Setup::run(&resetting("100").yaml())
        .to(upstream.address())
        .with(["--exempt", "127.0.0.9"])
        .start_with_faults_on();
    let from = |ip: &str| open_from(ip, proxy.address(), REDIS);
    assert_eq!([from("127.0.0.9"), from("127.0.0.8"), from("127.0.0.9")], [Seen::Answer, Seen::Reset, Seen::Answer]);
    proxy.wait_for_metric("glooshot_proxy_exempt_total", &[], 2.0);
    proxy.wait_for_metric("glooshot_proxy_matched_total", &[], 1.0);
}

#[test]
fn other_services_of_the_same_process_keep_their_connections() {
    let (ratings, reviews) = (speaking_all(), speaking_all());
    let proxy = Setup::run(&resetting("100").yaml())
        .to(ratings.address())
        .route("bookinfo/reviews:9080", "127.0.0.1:0", reviews.address())
        .start_with_faults_on();
    assert_eq!(open(proxy.address_of(0), REDIS), Seen::Reset);
    assert_eq!(open(proxy.address_of(1), REDIS), Seen::Answer);
    assert_eq!((heard(&ratings), heard(&reviews)), (0, 1));
}

/// How a run of two seconds ends whose fault is for productpage alone, when a client at `from` opens connections that pass through.
fn result_with_a_client_at(from: &str) -> (Option<i32>, String) {
    let upstream = inverting();
    let experiment = Experiment::named("e14")
        .fault(
            "originServices: [{name: productpage, namespace: bookinfo}]",
            "{abort: {httpStatus: 500}, percentage: 1}",
        )
        .fault("", RESET);
    let mut proxy = Setup::run(&experiment.yaml().replace("duration: 600s", "duration: 2s"))
        .to(upstream.address())
        .with(["--source", "127.0.0.9=productpage:v1"])
        .start_with_faults_on();
    assert_eq!(open_from(from, proxy.address(), &client_hello()), Seen::Reset);
    (proxy.wait_for_exit(SOON).code(), proxy.output())
}

#[test]
fn a_caller_whose_connections_are_not_http_is_seen_as_well() {
    let (code, output) = result_with_a_client_at("127.0.0.9");
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("Succeeded") && output.contains("aborted: 1"), "{output}");
    let (code, output) = result_with_a_client_at("127.0.0.8");
    assert_eq!(code, Some(3), "{output}");
    assert!(output.contains("traffic_bypassed"), "{output}");
}

#[test]
fn connections_and_the_requests_on_them_are_hit_and_counted_apart() {
    let upstream = speaking_all();
    let experiment = holding("1ms").abort(500, "100");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.ask(&get("/a"));
        assert_eq!(
            (answer.status(), answer.one("x-glooshot-fault")),
            (500, Some(experiment.marker("abort", 1).as_str()))
        );
    }
    assert_eq!(open(proxy.address(), REDIS), Seen::Answer);
    for (name, fault, expected) in [
        ("glooshot_proxy_matched_total", "0", 2.0),
        ("glooshot_proxy_injected_total", "0", 2.0),
        ("glooshot_proxy_matched_total", "1", 3.0),
        ("glooshot_proxy_injected_total", "1", 3.0),
    ] {
        proxy.wait_for_metric(name, &[("fault", fault)], expected);
    }
}

/// Which of 40 requests, each on a connection of its own, are aborted.
fn aborted(experiment: &Experiment) -> Vec<bool> {
    let upstream = Upstream::ok();
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(["--seed", "7"]).start_with_faults_on();
    (0..40).map(|_| proxy.client().ask(&get("/a")).status() == 500).collect()
}

#[test]
fn a_seed_repeats_the_connections_that_are_hit_and_does_not_change_the_requests_that_are() {
    let upstream = speaking_all();
    let seen = |seed: &str| {
        let proxy =
            Setup::run(&resetting("50").yaml()).to(upstream.address()).with(["--seed", seed]).start_with_faults_on();
        (0..40).map(|_| open(proxy.address(), REDIS)).collect::<Vec<_>>()
    };
    let first = seen("7");
    assert_eq!(first, seen("7"));
    assert_ne!(first, seen("8"));
    let alone = Experiment::named("e14").abort(500, "50");
    let beside = alone.clone().fault("", "{connection: {delay: {duration: 1ms}}, percentage: 50}");
    let requests = aborted(&alone);
    assert_eq!(requests, aborted(&beside));
    let resets: Vec<bool> = first.into_iter().map(|seen| seen == Seen::Reset).collect();
    assert_ne!(requests, resets, "connections and requests do not share their dice");
}

/// Flag and marker of each line of the access log.
fn log(proxy: &Glooshot) -> Vec<(String, String)> {
    let field = |line: &str, name: &str, end: &str| {
        let value = line.split_once(name)?.1;
        Some(value.split(end).next()?.trim_matches('"').to_owned())
    };
    let lines = proxy.lines();
    let lines = lines.iter().filter(|line| find(line.as_bytes(), b"glooshot::access").is_some());
    lines.filter_map(|line| Some((field(line, " flag=", " ")?, field(line, " fault=", "\" ")?))).collect()
}

#[test]
fn a_connection_that_was_hit_has_a_line_in_the_access_log_and_no_other_has() {
    let upstream = speaking_all();
    let from = "originServices: [{name: productpage, namespace: bookinfo}]";
    let experiment = Experiment::named("e14").fault(from, RESET).fault(
        "originServices: [{name: reviews, namespace: bookinfo}]",
        "{connection: {delay: {duration: 1ms}}, percentage: 100}",
    );
    let proxy = Setup::run(&experiment.yaml())
        .to(upstream.address())
        .with(["--source", "127.0.0.9=productpage:v1", "--source", "127.0.0.8=reviews:v1"])
        .environment("RUST_LOG", "glooshot::access=debug")
        .start_with_faults_on();
    for from in ["127.0.0.9", "127.0.0.8", "127.0.0.7"] {
        open_from(from, proxy.address(), REDIS);
    }
    // The request's line is the last one, and is not marked: it was not the request that was held.
    assert_eq!(open_from("127.0.0.8", proxy.address(), &get("/a")), Seen::Answer);
    let line = |flag: &str, marker: String| (flag.to_owned(), marker);
    let expected = [
        line("FI", experiment.marker("reset", 0)),
        line("DI", experiment.marker("connection-delay", 1)),
        line("DI", experiment.marker("connection-delay", 1)),
        line("-", "-".to_owned()),
    ];
    eventually("four lines", || (log(&proxy).len() >= 4).then_some(()));
    assert_eq!(log(&proxy), expected);
}

#[test]
fn a_connection_fault_with_a_match_or_a_subset_is_refused_before_anything_is_routed() {
    let with_match = Experiment::named("e14").fault("match: {path: {prefix: /}}", RESET).yaml();
    is_refused("a match", &with_match, "spec.spec.faults[0].match: does not apply to a connection fault");
    let with_subset = resetting("10").yaml().replace("bookinfo-ratings-9080", "bookinfo-ratings-v1-9080");
    is_refused_before(
        "a subset",
        &with_subset,
        "spec.spec.faults[0].destinationServices[0]: names the subset v1 of bookinfo/ratings",
        |upstream| format!("{upstream}@v1,{upstream}@v2"),
    );
    is_refused("false", &resetting("10").yaml().replace("reset: true", "reset: false"), "fault.connection.reset");
    let sum = resetting("60").fault("", "{connection: {delay: {duration: 1s}}, percentage: 60}").yaml();
    is_refused("120%", &sum, "on the same connections this makes 120%");
}
