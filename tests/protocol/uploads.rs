//! Uploads take their time as long as they move; when one stops, whoever stopped it is to blame.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Client, Ending, Glooshot, Setup, Step, Upstream, experiment::Experiment, glooshot::SERVICE, let_pass,
    upstream::Recorder, within,
};

const LIMIT: Duration = Duration::from_millis(600);
/// The other limit, where it must not matter.
const LONG: Duration = Duration::from_secs(60);
/// Within this time what must not wait for the other limit has happened.
const SOON: Duration = Duration::from_secs(5);

fn proxy(stalled: Duration, response: Duration, upstream: &Upstream) -> Glooshot {
    let (stalled, response) = (format!("stalled={}ms", stalled.as_millis()), format!("{}ms", response.as_millis()));
    let arguments = ["--limit", stalled.as_str(), "--response-timeout", response.as_str()];
    Setup::proxy().to(upstream.address()).with(arguments).start()
}

const HEAD: &[u8] = b"POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: 20\r\n\r\n";

/// Sends `bytes` one at a time, so slowly that all of them take longer than `LIMIT`.
fn drip(client: &mut Client, bytes: &[u8]) {
    for byte in bytes {
        client.send(&[*byte]);
        let_pass(LIMIT / 8);
    }
}

#[test]
fn an_upload_that_takes_longer_than_an_answer_may_succeeds_as_long_as_it_moves() {
    let upstream = Upstream::ok();
    let proxy = proxy(LIMIT, LIMIT, &upstream);
    let mut client = proxy.client();
    let began = Instant::now();
    client.send(HEAD);
    drip(&mut client, b"0123456789abcdefghij");
    assert!(began.elapsed() > 2 * LIMIT);
    assert_eq!(client.read_answer_to("POST").status(), 200);
    assert_eq!(upstream.only_request().body, b"0123456789abcdefghij");
}

#[test]
fn a_client_that_stops_its_upload_is_to_blame() {
    for response in [LIMIT / 2, LIMIT, LONG] {
        let upstream = Upstream::ok();
        let proxy = proxy(LIMIT, response, &upstream);
        let mut client = proxy.client();
        client.send(&[HEAD, b"ten bytes."].concat());
        let stopped = Instant::now();
        let answer = client.read_answer_to("POST");
        assert_eq!((answer.status(), answer.one("x-glooshot-error")), (400, Some("client; body")));
        let took = stopped.elapsed();
        assert!(took >= LIMIT - Duration::from_millis(50) && took < SOON, "{took:?}");
        client.expect_end();
        proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "body")], 1.0);
        upstream.wait_until("the end of the request", |log| log.iter().all(|connection| connection.ended));
        assert_eq!(upstream.account().requests.len(), 0, "a body that stopped is never completed");
    }
}

#[test]
fn a_service_has_its_whole_time_from_the_end_of_a_slow_upload_and_not_more() {
    for stalled in [LIMIT, LONG] {
        let upstream = Upstream::scripted(|_| vec![Step::Hang]);
        let proxy = proxy(stalled, LIMIT, &upstream);
        let mut client = proxy.client();
        client.send(HEAD);
        drip(&mut client, b"0123456789abcdefghi");
        // Right before the last byte: a pause behind it might last longer than it was meant to.
        let sent = Instant::now();
        client.send(b"j");
        let answer = client.read_answer_to("POST");
        assert_eq!((answer.status(), answer.one("x-glooshot-error")), (504, Some("upstream; timeout")));
        let took = sent.elapsed();
        assert!(took >= LIMIT && took < SOON, "{took:?} with {stalled:?}");
    }
}

#[test]
fn a_service_that_takes_no_more_of_an_upload_is_to_blame() {
    let upstream = Upstream::raw(|_, _: &Recorder| thread::park_timeout(LONG));
    let proxy = proxy(LONG, LIMIT, &upstream);
    let mut client = proxy.client();
    let length = 256 << 20;
    client.send(format!("POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: {length}\r\n\r\n").as_bytes());
    thread::scope(|scope| {
        let stream = client.stream();
        // More than the kernel takes for both connections.
        scope.spawn(move || std::io::Write::write_all(&mut &stream, &vec![b'x'; length]));
        let answer = client.read_answer_to("POST");
        assert_eq!((answer.status(), answer.one("x-glooshot-error")), (504, Some("upstream; timeout")));
        assert_ne!(client.read_to_end_within(SOON).1, Ending::StillOpen);
    });
}

#[test]
fn an_upload_that_nobody_takes_leaves_no_connection_behind_when_its_client_leaves() {
    let upstream = Upstream::raw(|_, _: &Recorder| thread::park_timeout(LONG));
    let proxy = proxy(LONG, LIMIT, &upstream);
    let before = proxy.open_sockets();
    for _ in 0..5 {
        let mut client = proxy.client();
        let stream = client.stream();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        client.send(b"POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: 1000000000\r\n\r\n");
        while std::io::Write::write(&mut &stream, &[b'x'; 64 << 10]).is_ok() {}
        client.reset();
    }
    within(SOON, "the proxy has no more sockets than before", || (proxy.open_sockets() <= before).then_some(()));
}

/// Sends `count` MiB of an upload that a proxy aborts, before anything of the answer is read.
fn upload_before_reading(count: usize, then: impl FnOnce(Client, std::io::Result<()>)) {
    static MIB: [u8; 1 << 20] = [b'x'; 1 << 20];
    let upstream = Upstream::ok();
    let experiment = Experiment::named("early").abort(503, "100");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let mut client = proxy.client();
    let length = count * MIB.len();
    client.send(format!("POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: {length}\r\n\r\n").as_bytes());
    let stream = client.stream();
    let sent = (0..count).try_for_each(|_| std::io::Write::write_all(&mut &stream, &MIB));
    then(client, sent);
}

#[test]
fn a_client_that_sends_a_whole_upload_before_it_reads_gets_the_answer_that_came_early() {
    upload_before_reading(16, |mut client, sent| {
        sent.unwrap();
        assert_eq!(client.read_answer_to("POST").status(), 503);
        client.expect_end();
    });
}

#[test]
fn a_client_that_goes_on_sending_behind_an_answer_is_not_listened_to_for_long() {
    let began = Instant::now();
    upload_before_reading(1 << 30, |_, sent| assert!(sent.is_err()));
    assert!(began.elapsed() < 3 * SOON, "{:?}", began.elapsed());
}

#[test]
fn an_upload_of_http_2_that_stops_costs_its_stream_only() {
    use crate::harness::h2::{
        Client, Frame,
        client::{get, request},
    };
    let upstream = Upstream::ok();
    let stalled = format!("stalled={}ms", LIMIT.as_millis());
    let protocol = format!("{SERVICE}=http1");
    let arguments = ["--limit", stalled.as_str(), "--upstream-protocol", protocol.as_str()];
    let proxy = Setup::proxy().to(upstream.address()).with(arguments).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/a"), false);
    client.send_frame(&Frame::data(stream, b"ten bytes.", false));
    while !client.stream(stream).is_over() {
        assert_eq!(client.ask(&get("/b")).status(), 200);
        let_pass(LIMIT / 8);
    }
    assert_eq!(client.answer(stream).status(), 400);
    assert_eq!(client.ask(&get("/b")).status(), 200);
    assert_eq!(client.goaways(), []);
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "body")], 1.0);
}
