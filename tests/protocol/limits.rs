//! Limits on numbers and sizes: each is reached, what it says happens, and the smallest value of each is one that works.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use glooshot::proxy::LIMITS;

use crate::harness::{
    Client, Gate, Glooshot, Setup, Step, Upstream, answer, eventually, get,
    glooshot::SERVICE,
    h2::{
        self,
        client::{self, with},
    },
    upstream::{BlackHole, Connection},
};

const SOON: Duration = Duration::from_secs(10);

/// A proxy with this limit.
fn limited(limit: &str, upstream: &Upstream) -> Glooshot {
    Setup::proxy().to(upstream.address()).with(["--limit", limit]).start()
}

/// The same, whose service is spoken to in HTTP/1 whatever the client speaks.
fn limited_to_http1(limit: &str, upstream: &Upstream) -> Glooshot {
    let protocol = format!("{SERVICE}=http1");
    Setup::proxy().to(upstream.address()).with(["--limit", limit, "--upstream-protocol", &protocol]).start()
}

#[test]
fn the_smallest_value_of_each_limit_is_refused_or_one_that_works() {
    let upstream = Upstream::ok();
    for limit in LIMITS {
        let starts = |value: &str| {
            let argument = format!("{}={value}", limit.name);
            let mut process = Setup::proxy().to(upstream.address()).with(["--limit", &argument]).spawn();
            eventually("it is ready or has ended", || {
                let ready = process.lines().iter().any(|line| line == "ready");
                (ready || !process.is_running()).then_some(())
            });
            process.is_running().then_some(process)
        };
        // A number, or a time.
        let Some(process) = ["1", "1s", "8192"].into_iter().find_map(starts) else {
            panic!("{} takes no small value", limit.name);
        };
        let address = process.lines().iter().find_map(|line| line.rsplit_once(" on ")?.1.parse().ok()).unwrap();
        let answer = Client::connect(address).ask(&get("/a"));
        // A request has more than one byte, and more than one field is what it may have here.
        let expected = match limit.name {
            "target_bytes" => 414,
            _ => 200,
        };
        assert_eq!(answer.status(), expected, "{}: {answer:?}", limit.name);
        assert!(!process.lines().iter().any(|line| line.contains("panicked")), "{}", limit.name);
    }
}

#[test]
fn values_that_could_not_work_are_refused_before_anything_listens() {
    let upstream = Upstream::ok();
    for argument in ["head_bytes=8191", "head_bytes=1", "streams=0", "stream_window=2147483648", "idle=1s", "drain"] {
        let mut process = Setup::proxy().to(upstream.address()).with(["--limit", argument]).spawn();
        assert_eq!(process.wait_for_exit(SOON).code(), Some(2), "{argument}");
        let lines = process.all_lines();
        assert!(!lines.iter().any(|line| line.contains("panicked") || line.contains("listening")), "{lines:#?}");
    }
}

#[test]
fn connections_beyond_the_limit_wait_until_one_ends() {
    let upstream = Upstream::ok();
    let proxy = limited("connections=3", &upstream);
    let mut held = (0..3).map(|_| proxy.client()).collect::<Vec<_>>();
    for client in &mut held {
        assert_eq!(client.ask(&get("/held")).status(), 200);
    }
    let mut waiting = proxy.client();
    waiting.send(&get("/waiting"));
    proxy.wait_for_metric("glooshot_proxy_open_connections", &[], 3.0);
    assert_eq!(held[0].ask(&get("/held")).status(), 200, "those that are there are served");
    assert!(upstream.requests().iter().all(|request| request.target() == "/held"));
    assert_eq!(proxy.metrics().sum("glooshot_proxy_connections_total", &[]), 3.0);
    drop(held.pop());
    assert_eq!(waiting.read_answer().status(), 200);
}

#[test]
fn a_target_is_as_long_as_the_limit_at_the_most() {
    let upstream = Upstream::ok();
    let proxy = limited_to_http1("target_bytes=100", &upstream);
    for (length, status) in [(100, 200), (101, 414), (5_000, 414)] {
        for start in ["/", "/?"] {
            let target = format!("{start}{}", "t".repeat(length - start.len()));
            let mut client = proxy.client();
            assert_eq!(client.ask(&get(&target)).status(), status, "{length} bytes");
            let answer = h2::Client::connect(proxy.address()).ask(&client::get(&target));
            assert_eq!(answer.status(), status, "{length} bytes over HTTP/2");
        }
    }
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "target-too-long")], 8.0);
}

#[test]
fn a_request_has_as_many_fields_as_the_limit_at_the_most() {
    let upstream = Upstream::ok();
    let proxy = limited_to_http1("request_headers=10", &upstream);
    for (count, status) in [(10, 200), (11, 431), (60, 431)] {
        let fields = (1..count).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
        let request = format!("GET /a HTTP/1.1\r\nHost: ratings\r\n{fields}\r\n");
        assert_eq!(proxy.client().ask(request.as_bytes()).status(), status, "{count} fields");
        let names = (0..count).map(|number| format!("x-{number}")).collect::<Vec<_>>();
        let different = names.iter().map(|name| (name.as_str(), "a")).collect::<Vec<_>>();
        let mut client = h2::Client::connect(proxy.address());
        for fields in [different, vec![("x-same", "a"); count]] {
            let answer = client.ask(&with(client::get("/a"), &fields));
            assert_eq!(answer.status(), status, "{count} fields over HTTP/2");
        }
    }
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "too-many-headers")], 6.0);
}

#[test]
fn an_answer_has_as_many_fields_as_the_limit_at_the_most() {
    for (count, status) in [(10, 200), (11, 502)] {
        let fields = (1..count).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
        let upstream = Upstream::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok"));
        let proxy = limited("response_headers=10", &upstream);
        let answer = proxy.client().ask(&get("/a"));
        assert_eq!(answer.status(), status, "{count} fields");
        let upstream = h2::Upstream::scripted(move |call| {
            let names = (0..count).map(|number| format!("x-{number}")).collect::<Vec<_>>();
            call.head("200", &names.iter().map(|name| (name.as_str(), "a")).collect::<Vec<_>>(), true);
        });
        let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "response_headers=10"]).start();
        let answer = h2::Client::connect(proxy.address()).ask(&client::get("/a"));
        assert_eq!(answer.status(), status, "{count} fields over HTTP/2");
        if status == 502 {
            assert_eq!(answer.one("x-glooshot-error"), Some("upstream; garbage"));
            proxy.wait_for_metric("glooshot_proxy_requests_total", &[("flag", "UPE")], 1.0);
        }
    }
}

#[test]
fn a_head_is_as_large_as_the_limit_at_the_most() {
    let large = "y".repeat(9_000);
    let upstream = Upstream::answering(answer("ok"));
    let proxy = limited_to_http1("head_bytes=8192", &upstream);
    let request = format!("GET /a HTTP/1.1\r\nHost: ratings\r\nX-Large: {large}\r\n\r\n");
    assert_eq!(proxy.client().ask(request.as_bytes()).status(), 431);
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "too-many-headers")], 1.0);
    let mut client = h2::Client::connect(proxy.address());
    assert_eq!(client.ask(&with(client::get("/a"), &[("x-large", &large)])).status(), 431);
    assert_eq!(client.ask(&client::get("/a")).status(), 200, "the connection is as good as before");
    assert_eq!(upstream.requests().len(), 1);
    let upstream = Upstream::answering(format!("HTTP/1.1 200 OK\r\nX-Large: {large}\r\nContent-Length: 0\r\n\r\n"));
    let proxy = limited("head_bytes=8192", &upstream);
    let answer = proxy.client().ask(&get("/a"));
    assert_eq!((answer.status(), answer.one("x-glooshot-error")), (502, Some("upstream; garbage")));
}

#[test]
fn no_more_endpoints_are_tried_for_a_request_than_the_limit_says() {
    const CONNECT: Duration = Duration::from_millis(700);
    let holes = [(); 3].map(|()| BlackHole::new());
    let route = holes.each_ref().map(|hole| hole.address().to_string()).join(",");
    for attempts in [1, 2] {
        let proxy = Setup::proxy()
            .raw_route(&format!("{SERVICE}=127.0.0.1:0->{route}"))
            .with(["--connect-timeout", "700ms", "--limit", &format!("connect_attempts={attempts}")])
            .start();
        let asked = Instant::now();
        assert_eq!(proxy.client().ask(&get("/a")).status(), 503);
        let took = asked.elapsed();
        assert!(took >= CONNECT * attempts && took < CONNECT * (attempts + 1), "{attempts} attempts took {took:?}");
    }
}

/// How many connections the service has, and how many of them have ended.
fn connections(log: &[Connection]) -> (usize, usize) {
    (log.len(), log.iter().filter(|connection| connection.ended).count())
}

#[test]
fn no_more_idle_connections_to_an_endpoint_are_kept_than_the_limit_says() {
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = Upstream::scripted(move |_| vec![Step::Wait(opened.clone()), Step::Send(answer("ok"))]);
    let proxy = limited("idle_per_endpoint=2", &upstream);
    let mut clients = (0..5).map(|_| proxy.client()).collect::<Vec<_>>();
    for client in &mut clients {
        client.send(&get("/a"));
    }
    upstream.wait_for_requests(5);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_answer().status(), 200);
    }
    upstream.wait_until("three connections end", |log| connections(log) == (5, 3));
    assert_eq!(clients[0].ask(&get("/b")).status(), 200);
    assert_eq!(connections(&upstream.connections()), (5, 3), "the others are used again");
}

#[test]
fn labels_beyond_the_limit_are_counted_without_what_peers_choose() {
    const CALLERS: u8 = 12;
    let upstream = Upstream::scripted(|exchange| {
        let status = exchange.request.target().trim_start_matches('/').to_owned();
        vec![Step::Send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes())]
    });
    let sources = (1..=CALLERS).map(|n| format!("127.0.0.{n}=caller{n}")).collect::<Vec<_>>();
    let arguments = sources.iter().flat_map(|source| ["--source", source.as_str()]);
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "series=5"]).with(arguments).start();
    for caller in 1..=CALLERS {
        for status in ["200", "404", "418", "503"] {
            let mut client = Client::connect_from([127, 0, 0, caller].into(), proxy.address());
            assert_eq!(client.ask(&get(&format!("/{status}"))).status().to_string(), status);
        }
    }
    let all = f64::from(CALLERS) * 4.0;
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[], all);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("glooshot_proxy_requests_total", &[("source", "caller1")]), 4.0);
    assert_eq!(metrics.sum("glooshot_proxy_requests_total", &[("source", "unknown"), ("code", "200")]), 10.0);
    assert_eq!(metrics.sum("glooshot_proxy_requests_total", &[("source", "unknown"), ("code", "400")]), 22.0);
    assert_eq!(metrics.sum("glooshot_proxy_requests_total", &[("source", "unknown"), ("code", "500")]), 11.0);
    let callers = (1..=CALLERS).map(|n| format!("caller{n}"));
    let known = callers.filter(|name| metrics.sum("glooshot_proxy_requests_total", &[("source", name)]) > 0.0);
    assert_eq!(known.collect::<BTreeSet<_>>().len(), 2);
}
