//! J2: no server sees more requests than the proxy says it has forwarded, whatever a client sends.
//!
//! What the proxy says is in its figures; what the server saw is in the server's own log. Both are compared as running totals,
//! so that a line that comes late is still counted.

use std::time::Duration;

use crate::{
    harness::{
        Client, Ending, Glooshot, Message, Setup, corpus, eventually, get,
        patience::{PATIENCE, try_within},
        sockets::connections_of,
        wire::{self, Parsed, readable},
    },
    payloads::{PAYLOADS, bytes},
    peers::{
        Server,
        envoy::{self, Protocol},
        go::GoServer,
        haproxy::HaProxy,
        hyper_server::HyperServer,
        nginx::Nginx,
    },
};

/// Ends the connection behind a payload that is a whole number of requests.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: ratings\r\nConnection: close\r\n\r\n";
/// A connection on which nothing comes for so long waits for more of the payload.
const SILENCE: Duration = Duration::from_millis(300);
/// A server has logged what it saw of a whole request within this time; of a broken one it may have seen nothing.
const LOGGED: Duration = Duration::from_millis(500);

/// One payload and where it comes from.
struct Payload {
    name: String,
    segments: Vec<Vec<u8>>,
}

fn every_payload() -> Vec<Payload> {
    let of_the_corpus = corpus::groups().into_iter().flat_map(|group| {
        corpus::names(&group).into_iter().map(move |name| {
            let segments = corpus::load(&group, &name).segments;
            Payload { name: format!("{group}/{name}"), segments }
        })
    });
    let disputed = PAYLOADS.iter().map(|(name, text)| Payload { name: (*name).to_owned(), segments: bytes(text) });
    of_the_corpus.chain(disputed).collect()
}

/// The proxy before a server, and how many requests were on either side when it started.
struct Bench<'a> {
    server: &'a dyn Server,
    proxy: Glooshot,
    seen_before: usize,
}

impl<'a> Bench<'a> {
    fn set_up(server: &'a dyn Server) -> Self {
        let proxy = Setup::proxy().to(server.address()).start();
        Self { server, proxy, seen_before: server.seen().len() }
    }

    /// What the server has seen since the proxy was started.
    fn seen(&self) -> Vec<String> {
        self.server.seen().split_off(self.seen_before)
    }

    /// How many requests the proxy says it has forwarded, completely or not.
    fn said(&self) -> usize {
        let metrics = self.proxy.metrics();
        let passed = metrics.sum("glooshot_proxy_passed_through_total", &[]);
        assert_eq!(passed, 0.0, "a payload was not taken for HTTP, and went to the server unread");
        let requests = |labels: &[(&str, &str)]| metrics.sum("glooshot_proxy_requests_total", labels);
        let kept = ["DPE", "FI", "UH", "UF"].map(|flag| requests(&[("flag", flag)])).iter().sum::<f64>();
        // Refused, and yet on its way: the body broke when the head had been forwarded.
        let broken = metrics.sum("glooshot_proxy_rejected_total", &[("reason", "body")]);
        (requests(&[]) - kept + broken) as usize
    }

    /// Sends one payload; whether server and proxy agree exactly, or what is wrong.
    fn try_payload(&self, payload: &Payload) -> Result<bool, String> {
        let seen_before = self.seen().len();
        let from_upstream = self.send(payload);
        let mut totals = (0, 0);
        let agreed = try_within(LOGGED, || {
            let seen = self.seen();
            totals = (seen.len(), self.said());
            // Before the last request is told, one that is missing and one that is too many would be taken for agreement.
            let all_told = seen.iter().skip(seen_before).any(|line| line.contains("/sentinel"));
            (all_told && totals.0 == totals.1).then_some(())
        });
        let (seen, said) = totals;
        let lines = self.seen().split_off(seen_before);
        let about = || format!("{}; sent: {}", payload.name, readable(&payload.segments.concat()));
        if seen > said {
            return Err(format!("{seen} requests seen, {said} forwarded; seen last: {lines:#?}; {}", about()));
        }
        // The sentinel's is one more.
        if lines.len() <= from_upstream {
            return Err(format!("{from_upstream} answers, and only these requests: {lines:#?}; {}", about()));
        }
        Ok(agreed.is_some())
    }

    /// Sends a payload and a sentinel behind it; how many answers to the payload came from the server.
    fn send(&self, payload: &Payload) -> usize {
        let mut client = Client::connect(self.proxy.address());
        client.send_segments(payload.segments.iter().map(Vec::as_slice));
        client.send(LAST);
        let (mut come, mut ending) = client.read_to_end_within(SILENCE);
        if ending == Ending::StillOpen {
            client.finish_sending();
            let (more, end) = client.read_to_end_within(PATIENCE);
            come.extend(more);
            ending = end;
        }
        assert_ne!(ending, Ending::StillOpen, "{}: the connection stays open", payload.name);
        let method = wire::latin1(&payload.segments[0]).split(' ').next().unwrap_or("").to_owned();
        let answers = answers(&come, &method).unwrap_or_else(|what| panic!("{}: {what}", payload.name));
        let sentinel = Client::connect(self.proxy.address()).ask(&get("/sentinel"));
        assert_eq!((sentinel.status(), sentinel.text().as_str()), (200, "/sentinel"), "{}", payload.name);
        answers.iter().filter(|answer| answer.status() >= 200 && answer.has("via")).count()
    }

    /// Ends the proxy and waits until the server has nothing of it left; the last comparison.
    fn take_down(self) {
        let said = self.said();
        let Self { server, proxy, seen_before } = self;
        drop(proxy);
        eventually("the server has no connection left", || (connections_of(server.address()) == 0).then_some(()));
        let seen = server.seen().split_off(seen_before);
        assert!(seen.len() <= said, "{} requests seen, {said} forwarded: {seen:#?}", seen.len());
    }
}

/// The answers in `bytes`, the first to a request by `method`; the last one may be cut off.
fn answers(mut bytes: &[u8], method: &str) -> Result<Vec<Message>, String> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let of = if answers.is_empty() { method } else { "GET" };
        match wire::response(bytes, of, true) {
            Parsed::Whole(answer) => {
                bytes = &bytes[answer.length..];
                answers.push(*answer);
            }
            Parsed::Partial => break,
            Parsed::Broken(why) => return Err(format!("{why}: {}", readable(bytes))),
        }
    }
    Ok(answers)
}

/// Every payload through a proxy before `server`.
fn sees_no_more_than_was_forwarded(server: &dyn Server) {
    let mut bench = Bench::set_up(server);
    for payload in every_payload() {
        let agreed = bench.try_payload(&payload).unwrap_or_else(|what| panic!("{what}"));
        // Where fewer were seen than forwarded, the difference could hide a request that is smuggled later.
        if !agreed {
            bench.take_down();
            bench = Bench::set_up(server);
        }
    }
    bench.take_down();
}

/// The server itself, asked without the proxy.
fn counts_what_it_sees(server: &dyn Server) {
    let inside_a_body =
        [b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\n", &get("/0123456789")[..37]].concat();
    for (count, bytes) in [
        (1, LAST.to_vec()),
        (2, [&get("/a"), LAST].concat()),
        (2, [&inside_a_body, LAST].concat()),
        (2, [get("/a"), b"GET / HTTP/1.1\r\nnonsense\r\n\r\n".to_vec()].concat()),
    ] {
        let before = server.seen().len();
        let mut client = Client::connect(server.address());
        client.send(&bytes);
        let (come, ending) = client.read_to_end();
        assert_ne!(ending, Ending::StillOpen, "after {}", readable(&come));
        let mut seen = Vec::new();
        let all = try_within(PATIENCE, || {
            seen = server.seen().split_off(before);
            (seen.len() >= count).then_some(())
        });
        assert!(all.is_some() && seen.len() == count, "{seen:?} are not {count}: {}", readable(&bytes));
    }
}

#[test]
fn hyper_sees_no_more_requests_than_the_proxy_has_forwarded() {
    sees_no_more_than_was_forwarded(&HyperServer::start());
}

#[test]
fn nginx_sees_no_more_requests_than_the_proxy_has_forwarded() {
    sees_no_more_than_was_forwarded(&Nginx::start());
}

#[test]
fn haproxy_sees_no_more_requests_than_the_proxy_has_forwarded() {
    let server = HaProxy::start();
    sees_no_more_than_was_forwarded(&server);
    let (passed_on, seen) = (server.passed_on(), server.seen().len());
    assert!(passed_on <= seen, "the backend got {passed_on} requests of {seen}");
}

#[test]
fn go_sees_no_more_requests_than_the_proxy_has_forwarded() {
    sees_no_more_than_was_forwarded(&GoServer::start());
}

#[test]
fn envoy_sees_no_more_requests_than_the_proxy_has_forwarded() {
    let behind = GoServer::start();
    sees_no_more_than_was_forwarded(&envoy::Setup::to(behind.address(), Protocol::Http1).start());
}

#[test]
fn the_servers_say_how_many_requests_they_see() {
    counts_what_it_sees(&HyperServer::start());
    counts_what_it_sees(&Nginx::start());
    counts_what_it_sees(&HaProxy::start());
    let go = GoServer::start();
    counts_what_it_sees(&go);
    counts_what_it_sees(&envoy::Setup::to(go.address(), Protocol::Http1).start());
}

#[test]
fn a_request_that_the_proxy_does_not_know_of_is_found() {
    let server = GoServer::start();
    let bench = Bench::set_up(&server);
    let payload = Payload { name: "a good request".to_owned(), segments: vec![get("/a")] };
    assert_eq!(bench.try_payload(&payload), Ok(true));
    Client::connect(server.address()).ask(&get("/smuggled"));
    assert!(bench.try_payload(&payload).is_err());
}
