//! E16: what the access log says of a request, and what no log says at any level: credentials, queries, bodies.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{
    Client, Glooshot, Setup, Step, Upstream, eventually,
    experiment::Experiment,
    glooshot::SERVICE,
    h2::{
        self,
        client::{request, with},
    },
};

/// Whatever contains this must not be written.
const SECRET: &str = "hunter2";
const SOON: Duration = Duration::from_secs(10);

/// An answer that sets a cookie and has a body, both secret.
fn secret_answer() -> Vec<u8> {
    let body = format!("{SECRET}-body");
    let (cookie, length) = (format!("Set-Cookie: session={SECRET}-answer"), body.len());
    format!("HTTP/1.1 200 OK\r\n{cookie}\r\nX-Token: {SECRET}-header\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Header fields of a request that are nobody's business.
const FIELDS: [(&str, &str); 5] = [
    ("authorization", "Bearer hunter2-authorization"),
    ("proxy-authorization", "Basic hunter2-proxy"),
    ("cookie", "session=hunter2-cookie"),
    ("x-api-key", "hunter2-key"),
    ("referer", "http://a/?password=hunter2-referer"),
];

/// Requests with secrets everywhere: well formed, faulted, refused, broken.
fn requests() -> Vec<Vec<u8>> {
    let fields = FIELDS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let post = |start: &str, more: &str, body: &str| {
        format!("POST {start} HTTP/1.1\r\nHost: ratings\r\n{fields}{more}\r\n{body}").into_bytes()
    };
    let length = format!("Content-Length: {}\r\n", SECRET.len());
    vec![
        post(&format!("/login?password={SECRET}-query"), &length, SECRET),
        post(&format!("http://ratings/login?password={SECRET}-absolute#{SECRET}-fragment"), &length, SECRET),
        post(&format!("/abort?password={SECRET}-query"), &length, SECRET),
        post(
            &format!("/chunks?password={SECRET}-query"),
            "Transfer-Encoding: chunked\r\n",
            &format!("7\r\n{SECRET}\r\n0\r\nX: {SECRET}\r\n\r\n"),
        ),
        // Refused, for various reasons.
        post(&format!("/bad?{SECRET}-query"), "Content-Length: 1, 2\r\n", SECRET),
        post(&format!("/bad?{SECRET}-query"), &format!("{SECRET} x: 1\r\n"), SECRET),
        post(&format!("/bad?{SECRET}-query"), &format!("Host: {SECRET}\r\n"), SECRET),
        post(&format!("/bad?{SECRET}-query"), &format!("Expect: {SECRET}\r\n"), ""),
        post(&format!("/bad?{SECRET}-query"), "Transfer-Encoding: chunked\r\n", &format!("{SECRET}\r\n{SECRET}\r\n")),
        format!("GET http://user:{SECRET}@ratings/ HTTP/1.1\r\nHost: ratings\r\n\r\n").into_bytes(),
        format!("NONSENSE {SECRET} HTTP/1.1\r\n\r\n").into_bytes(),
    ]
}

/// Starts a run whose every log is on, at the lowest level.
fn telling_everything(upstream: &Upstream) -> Glooshot {
    let abort = "match: {path: {exact: /abort}}";
    let experiment = Experiment::named("e16").fault(abort, "{abort: {httpStatus: 503}, percentage: 100}");
    let protocol = format!("{SERVICE}=http1");
    Setup::run(&experiment.yaml())
        .to(upstream.address())
        .with(["--upstream-protocol", &protocol])
        .environment("RUST_LOG", "trace")
        .start_with_faults_on()
}

/// Ends the process; fails the test if any line has the secret in it, or there are no lines that could have had.
#[track_caller]
fn no_line_has_a_secret(mut proxy: Glooshot, at_least: usize) {
    proxy.signal(Signal::TERM);
    proxy.wait_for_exit(SOON);
    let lines = proxy.all_lines();
    assert!(access(&lines).len() >= at_least, "{} lines of the access log", access(&lines).len());
    let told = lines.iter().filter(|line| line.contains(SECRET)).collect::<Vec<_>>();
    assert!(told.is_empty(), "{told:#?}");
    assert!(!proxy.output().contains(SECRET));
}

/// The lines of the access log.
fn access(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains("glooshot::access:")).collect()
}

#[test]
fn e16_no_log_has_a_secret_of_a_request_or_an_answer_at_any_level() {
    let upstream = Upstream::answering(secret_answer());
    let proxy = telling_everything(&upstream);
    for request in requests() {
        let mut client = proxy.client();
        client.send(&request);
        let _refused_without_a_word = client.try_read_answer_to("POST");
    }
    let broken = Upstream::answering(format!("HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n"));
    let behind = Setup::proxy().to(broken.address()).environment("RUST_LOG", "trace").start();
    assert_eq!(behind.client().ask(&requests()[0]).status(), 502);
    no_line_has_a_secret(behind, 1);
    no_line_has_a_secret(proxy, 4);
}

#[test]
fn e16_no_log_has_a_secret_of_a_stream_at_any_level() {
    let upstream = Upstream::answering(secret_answer());
    let proxy = telling_everything(&upstream);
    for path in ["/login?password=hunter2-query", "/abort?password=hunter2-query"] {
        let mut client = h2::Client::connect(proxy.address());
        let stream = client.request_with_body(&with(request("POST", path), &FIELDS), SECRET.as_bytes());
        assert!(client.answer(stream).status() >= 200);
    }
    // Refused: two hosts that differ.
    let mut client = h2::Client::connect(proxy.address());
    let stream = client.request(&with(request("GET", "/?hunter2-query"), &[("host", "hunter2")]));
    client.outcome(stream);
    eventually("the lowest level is on, also of libraries", || {
        proxy.lines().iter().any(|line| line.contains("TRACE") && line.contains("h2::")).then_some(())
    });
    no_line_has_a_secret(proxy, 2);
}

#[test]
fn e16_no_log_has_a_secret_of_a_protocol_that_passes_through_or_is_upgraded() {
    let echo = Upstream::raw(|mut stream, recorder| {
        while recorder.read(stream) {
            let _gone = std::io::Write::write_all(&mut stream, &secret_answer());
        }
    });
    let proxy = Setup::proxy().to(echo.address()).environment("RUST_LOG", "trace").start();
    let mut client = proxy.client();
    client.send(format!("AUTH {SECRET}\r\n").as_bytes());
    client.read_at_least(10);
    drop(client);
    let switch = Upstream::scripted(|_| {
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        vec![Step::Send(switch.to_vec()), Step::Echo]
    });
    let upgraded = Setup::proxy().to(switch.address()).environment("RUST_LOG", "trace").start();
    let mut client = upgraded.client();
    let request = "GET /?hunter2-query HTTP/1.1\r\nHost: ratings\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    client.send(request.as_bytes());
    client.read_at_least(20);
    client.send(SECRET.as_bytes());
    client.read_at_least(SECRET.len());
    drop(client);
    no_line_has_a_secret(proxy, 0);
    no_line_has_a_secret(upgraded, 1);
}

#[test]
fn e16_the_access_log_says_method_and_escaped_path_and_nothing_else_of_what_a_client_sends() {
    let upstream = Upstream::ok();
    let proxy = Setup::proxy().to(upstream.address()).environment("RUST_LOG", "glooshot::access=debug").start();
    let mut client = proxy.client();
    // Quotation marks, and bytes above 7F, get as far as the log.
    let forged = b"PURGE /a\"%0a\\\xc2\x85|flag=FI?q=x HTTP/1.1\r\nHost: ratings\r\nUser-Agent: forged flag=FI\r\n\r\n";
    assert_eq!(client.ask(forged).status(), 200);
    let long = format!("GET /{} HTTP/1.1\r\nHost: ratings\r\n\r\n", "l".repeat(5_000));
    assert_eq!(proxy.client().ask(long.as_bytes()).status(), 200);
    let lines = eventually("two lines", || {
        let lines = proxy.lines();
        (access(&lines).len() >= 2).then_some(lines)
    });
    let lines = access(&lines);
    assert!(lines[0].contains(r#" method="PURGE" path="/a\\x22%0a\\x5c\\xc2\\x85|flag=FI" "#), "{}", lines[0]);
    assert!(lines[1].contains(" method=\"GET\" path=\"/lll") && lines[1].len() < 700, "{}", lines[1]);
    for line in lines {
        assert!(!line.contains("forged") && !line.contains("q="), "{line}");
        assert_eq!(line.matches(" flag=").count(), 1, "{line}");
    }
}

#[test]
fn e16_a_share_of_the_requests_is_logged_and_all_that_failed() {
    let upstream = Upstream::scripted(|exchange| {
        let fails = exchange.request.target() == "/fails";
        vec![if fails { Step::Close } else { Step::Send(crate::harness::answer("ok")) }]
    });
    let proxy = Setup::proxy()
        .to(upstream.address())
        .with(["--access-log-share", "0"])
        .environment("RUST_LOG", "glooshot::access=debug")
        .start();
    for _ in 0..5 {
        assert_eq!(proxy.client().ask(&crate::harness::get("/fine")).status(), 200);
        assert_eq!(Client::connect(proxy.address()).ask(&crate::harness::get("/fails")).status(), 502);
    }
    eventually("five lines", || (access(&proxy.lines()).len() >= 5).then_some(()));
    let lines = proxy.lines();
    assert_eq!(access(&lines).len(), 5);
    assert!(access(&lines).iter().all(|line| line.contains("/fails") && line.contains("status=502")), "{lines:#?}");
}
