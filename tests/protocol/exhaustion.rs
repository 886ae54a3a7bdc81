//! D7, D11: file descriptors that run out, and memory that clients could try to use up.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::harness::{
    Client, Glooshot, Setup, Step, Upstream,
    crowd::room_for,
    eventually, get,
    h2::{self, client::with},
    let_pass, scale, within,
};

/// Open files that the proxy is allowed in D7.
const FILES: u64 = 64;

/// Lets the process have no more open files than [`FILES`].
fn starve(proxy: &Glooshot) {
    let pid = Pid::from_raw(i32::try_from(proxy.id()).unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(FILES), maximum: Some(FILES) }).unwrap();
}

#[test]
fn d7_without_file_descriptors_nothing_is_busy_and_everything_goes_on_afterwards() {
    const WINDOW: Duration = Duration::from_secs(2);
    let upstream = Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", "idle_upstream=500ms"]).start();
    let sockets = proxy.open_sockets();
    starve(&proxy);
    let mut clients = (0..scale::CONNECTS.get()).map(|_| proxy.client()).collect::<Vec<_>>();
    for client in &mut clients {
        client.send(&get("/a"));
    }
    proxy.wait_for_line("no file descriptor is left", |line| line.contains("cannot accept"));
    let before = proxy.processor_time();
    let_pass(WINDOW);
    let used = proxy.processor_time() - before;
    assert!(used < WINDOW / 5, "{used:?} of processor time in {WINDOW:?}");
    drop(clients);
    eventually("an answer like any other", || {
        let mut client = proxy.client();
        client.send(&get("/b"));
        client.try_read_answer_to("GET").ok().filter(|answer| answer.status() == 200)
    });
    eventually("all file descriptors are free again", || (proxy.open_sockets() <= sockets).then_some(()));
    let metrics = proxy.metrics();
    assert!(metrics.sum("glooshot_proxy_accept_errors_total", &[]) > 0.0);
    assert_eq!(metrics.sum("glooshot_proxy_panics_total", &[]), 0.0);
}

/// Bytes of one request in D11.
const REQUEST: usize = 10 << 10;

/// Lets clients do `act`, by which they send `requests` of [`REQUEST`] bytes each, and tells what each byte costs the proxy.
#[track_caller]
fn amplification<C>(what: &str, proxy: &Glooshot, requests: u64, act: impl FnOnce() -> C) {
    let (_clients, growth) = proxy.growth_during(act);
    let sent = requests * REQUEST as u64;
    let factor = growth as f64 / sent as f64;
    println!("D11: {what}: {growth} bytes for {sent} sent, {factor:.1} times as many (the goal is 10)");
    assert!(factor <= 100.0, "{what}: {factor}");
}

/// That many clients who have sent `bytes`, all of which the proxy has read.
fn clients(proxy: &Glooshot, count: u64, bytes: &[u8]) -> Vec<Client> {
    let client = |_| {
        let mut client = proxy.client();
        client.send_segments([bytes]);
        client
    };
    (0..count).map(client).collect()
}

/// A head of [`REQUEST`] bytes without its end.
fn large_head() -> Vec<u8> {
    let mut head = b"POST /a HTTP/1.1\r\nHost: ratings\r\n".to_vec();
    for number in 0.. {
        if head.len() >= REQUEST - 100 {
            break;
        }
        head.extend(format!("X-{number}: {}\r\n", "y".repeat(90)).as_bytes());
    }
    head
}

#[test]
fn d11_a_request_of_10_kib_never_costs_a_hundred_times_as_much() {
    let count = scale::AMPLIFIERS.get();
    let _room = room_for(2 * count);
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let long = ["--response-timeout", "5m", "--limit", "request_head=5m", "--limit", "request_headers=200"];
    let start = || Setup::proxy().to(upstream.address()).with(long).start();

    let proxy = start();
    amplification("half a head", &proxy, count, || clients(&proxy, count, &large_head()));

    let whole = [large_head(), b"Content-Length: 0\r\n\r\n".to_vec()].concat();
    let mut half = b"POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: 20000\r\n\r\n".to_vec();
    half.resize(REQUEST, b'x');
    for (what, bytes) in [("a head", whole), ("half a body", half)] {
        let proxy = start();
        let expected = upstream.byte_count() + usize::try_from(count).unwrap() * REQUEST * 9 / 10;
        amplification(what, &proxy, count, || {
            let clients = clients(&proxy, count, &bytes);
            eventually("all of it at the service", || (upstream.byte_count() >= expected).then_some(()));
            clients
        });
    }
}

#[test]
fn d11_streams_of_10_kib_never_cost_a_hundred_times_as_much() {
    const STREAMS: u64 = 50;
    let connections = scale::AMPLIFIERS.get() / STREAMS;
    let _room = room_for(STREAMS * connections);
    let upstream = h2::Upstream::scripted(|call| {
        call.cut_off();
    });
    let proxy = Setup::proxy().to(upstream.address()).with(["--response-timeout", "5m"]).start();
    let value = "y".repeat(REQUEST / 10 - 10);
    let more = (0..10).map(|number| (format!("x-{number}"), value.clone())).collect::<Vec<_>>();
    let more = more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
    let head = with(h2::client::get("/a"), &more);
    let ask = |_| {
        let mut client = h2::Client::connect(proxy.address());
        for _ in 0..STREAMS {
            client.request(&head);
        }
        client
    };
    let count = STREAMS * connections;
    amplification("streams", &proxy, count, || {
        let clients = (0..connections).map(ask).collect::<Vec<_>>();
        within(Duration::from_mins(1), "all requests at the service", || {
            let come = upstream.endpoints().iter().map(|endpoint| endpoint.state().streams.len() as u64).sum::<u64>();
            (come >= count).then_some(())
        });
        clients
    });
}
