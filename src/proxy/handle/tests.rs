//! F4: a panic while a request is handled costs that request alone.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use glooshot_api::{
    names::{ServiceName, ServicePort},
    plan::Endpoint,
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http2::SendRequest,
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::proxy::{
    Origin, Proxy, ProxyConfig, StaticRoute, UpstreamProtocol, head::RequestHead, metrics::Totals, plain_route,
};

/// A request with this field makes its handler panic.
const PANIC: &str = "x-panic";

/// What [`handle`](super::handle) meets in tests alone.
pub(super) fn panic_if_asked(head: &RequestHead) {
    assert!(head.fields.iter().all(|(name, _)| name != PANIC.as_bytes()), "a test asked for it");
}

/// Answers every request of every connection with `ok`.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                let mut piece = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    seen.extend_from_slice(&piece[..count]);
                    if seen.ends_with(b"\r\n\r\n") {
                        seen.clear();
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                    }
                }
            });
        }
    });
    address
}

/// A proxy on one core.
fn proxy() -> Proxy {
    let service = ServiceName { namespace: "bookinfo".into(), name: "ratings".into() };
    let port = ServicePort { service, port: 9080 };
    let route = plain_route(port.clone(), vec![Endpoint { address: upstream(), subset: None }]);
    let mut route = StaticRoute::plain(([127, 0, 0, 1], 0).into(), Origin { port, route });
    route.upstream_protocol = UpstreamProtocol::Http1;
    Proxy::start(ProxyConfig { routes: vec![route], workers: Some(1), ..ProxyConfig::default() }).unwrap()
}

/// Waits until so many panics have been counted, which is a moment after the connection's end.
fn wait_for_panics(proxy: &Proxy, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Totals::of(&proxy.shared.published).panics != count {
        assert!(Instant::now() < deadline, "{} panics", Totals::of(&proxy.shared.published).panics);
        std::thread::yield_now();
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.listening()[0].1).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// What comes back for a GET with these fields: to the end of the body `ok`, or of the connection.
fn ask(stream: &mut TcpStream, fields: &str) -> String {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: ratings\r\n{fields}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"\r\n\r\nok") {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_panic_costs_one_connection_of_http_1_and_is_counted() {
    let proxy = proxy();
    let mut other = connect(&proxy);
    assert!(ask(&mut other, "").starts_with("HTTP/1.1 200 "));
    for count in 1..=3 {
        let mut unlucky = connect(&proxy);
        assert!(ask(&mut unlucky, "").starts_with("HTTP/1.1 200 "));
        assert_eq!(ask(&mut unlucky, "X-Panic: 1\r\n"), "", "the connection is closed without an answer");
        wait_for_panics(&proxy, count);
        assert!(ask(&mut other, "").starts_with("HTTP/1.1 200 "), "the same core goes on");
    }
    assert!(proxy.control().is_alive());
}

/// A request over HTTP/2; panics where the test asks for it.
fn send(
    sender: &mut SendRequest<Empty<Bytes>>,
    panic: bool,
) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
    let mut request = Request::get("http://ratings/");
    if panic {
        request = request.header(PANIC, "1");
    }
    sender.send_request(request.body(Empty::new()).unwrap())
}

#[tokio::test]
async fn a_panic_costs_one_stream_of_http_2_and_is_counted() {
    let proxy = proxy();
    let stream = tokio::net::TcpStream::connect(proxy.listening()[0].1).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for count in 1..=3 {
        let (before, unlucky, behind) = (send(&mut sender, false), send(&mut sender, true), send(&mut sender, false));
        let (before, unlucky, behind) = tokio::join!(before, unlucky, behind);
        assert!(unlucky.is_err(), "{unlucky:?}");
        wait_for_panics(&proxy, count);
        for answer in [before, behind] {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 200, "other streams of the connection go on");
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
    }
    assert!(proxy.control().is_alive());
}
