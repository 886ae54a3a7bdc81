//! WebSocket (RFC 6455) between tungstenite on both sides: once the upstream has agreed, the proxy is not in the way.

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use tungstenite::{
    Bytes, Error, HandshakeError, Message, WebSocket,
    client::IntoClientRequest as _,
    handshake::server::{ErrorResponse, Request, Response},
    http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::harness::{
    Glooshot, Setup, Upstream, experiment::Experiment, patience::PATIENCE, scale, upstream::Recorder, wire::find,
};
use crate::peers::echo::echo;

const HANDSHAKE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: ratings\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A text frame of five letters, masked with zeros.
const FRAME: &[u8] = b"\x81\x85\0\0\0\0hello";

/// Opens a WebSocket through the proxy at `address`.
#[track_caller]
fn connected(address: SocketAddr) -> WebSocket<TcpStream> {
    try_connect(address).unwrap_or_else(|error| panic!("{error}")).0
}

type Handshake = Result<(WebSocket<TcpStream>, tungstenite::handshake::client::Response), Error>;

fn try_connect(address: SocketAddr) -> Handshake {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = "ws://ratings/chat".into_client_request().unwrap();
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat"));
    tungstenite::client(request, stream).map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        HandshakeError::Interrupted(_) => panic!("no answer within {PATIENCE:?}"),
    })
}

/// Sends a message and reads the next one.
#[track_caller]
fn ask(socket: &mut WebSocket<TcpStream>, message: impl Into<Message>) -> Message {
    socket.send(message.into()).unwrap();
    socket.read().unwrap()
}

/// The answer that stood in the place of an agreement.
#[track_caller]
fn refused(handshake: Handshake) -> tungstenite::http::Response<Option<Vec<u8>>> {
    match handshake {
        Err(Error::Http(response)) => *response,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn text_and_binary_messages_come_back_as_they_were() {
    let upstream = echo();
    let proxy = Glooshot::before(&upstream);
    let mut socket = connected(proxy.address());
    for text in ["", "hello", "größer als 7 Bit: 😀"] {
        assert_eq!(ask(&mut socket, text), Message::text(text));
    }
    let every_byte = (0..=255).collect::<Vec<u8>>();
    for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let bytes = Bytes::from(every_byte.iter().copied().cycle().take(length).collect::<Vec<_>>());
        assert_eq!(ask(&mut socket, bytes.clone()), Message::Binary(bytes));
    }
}

#[test]
fn a_large_frame_comes_back_whole() {
    let upstream = echo();
    let proxy = Glooshot::before(&upstream);
    let length = usize::try_from(scale::WEB_SOCKET_FRAME.get()).unwrap();
    let bytes = Bytes::from((0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let echoed = ask(&mut connected(proxy.address()), bytes.clone());
    assert!(echoed == Message::Binary(bytes), "{} bytes of {length}", echoed.len());
}

#[test]
fn pings_are_answered_by_the_other_end() {
    let upstream = Upstream::raw(|stream, _: &Recorder| {
        let mut socket = tungstenite::accept(stream.try_clone().unwrap()).unwrap();
        socket.send(Message::Ping(Bytes::from_static(b"from the server"))).unwrap();
        let pong = socket.read().unwrap();
        socket.send(Message::text(format!("{pong:?}"))).unwrap();
        while socket.read().is_ok() {}
    });
    let proxy = Glooshot::before(&upstream);
    let mut socket = tungstenite::client("ws://ratings/", TcpStream::connect(proxy.address()).unwrap()).unwrap().0;
    assert_eq!(socket.read().unwrap(), Message::Ping(Bytes::from_static(b"from the server")));
    let said = socket.read().unwrap();
    assert_eq!(said, Message::text(format!("{:?}", Message::Pong(Bytes::from_static(b"from the server")))));
    let pong = ask(&mut socket, Message::Ping(Bytes::from_static(b"from the client")));
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"from the client")));
}

#[test]
fn a_close_carries_its_code_and_reason_and_ends_both_connections() {
    let upstream = echo();
    let proxy = Glooshot::before(&upstream);
    let mut socket = connected(proxy.address());
    let frame = CloseFrame { code: CloseCode::Library(4000), reason: "enough".into() };
    socket.close(Some(frame.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    drop(socket);
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("code", "101"), ("flag", "-")], 1.0);
}

#[test]
fn the_subprotocol_is_agreed_between_the_ends() {
    let upstream = echo();
    let proxy = Glooshot::before(&upstream);
    let (_socket, response) = try_connect(proxy.address()).unwrap();
    assert_eq!(response.headers().get(SEC_WEBSOCKET_PROTOCOL).unwrap(), "chat");
}

#[test]
fn many_connections_do_not_mix() {
    let upstream = echo();
    let proxy = Glooshot::before(&upstream);
    let mut sockets = (0..20).map(|_| connected(proxy.address())).collect::<Vec<_>>();
    for round in 0..5 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(Message::text(format!("{round} of {number}"))).unwrap();
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(socket.read().unwrap(), Message::text(format!("{round} of {number}")));
        }
    }
}

#[test]
fn an_abort_answers_the_handshake_and_the_server_never_hears_of_it() {
    let upstream = echo();
    let experiment = Experiment::named("ws").abort(503, "100");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let response = refused(try_connect(proxy.address()));
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers().get("x-glooshot-fault").unwrap(), &experiment.marker("abort", 0));
    assert!(upstream.connections().is_empty());
}

#[test]
fn a_delay_is_spent_before_the_handshake_and_not_on_messages() {
    const DELAY: Duration = Duration::from_secs(1);
    let upstream = echo();
    let experiment = Experiment::named("ws").delay("1s");
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).start_with_faults_on();
    let begun = Instant::now();
    let (mut socket, response) = try_connect(proxy.address()).unwrap();
    assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
    assert_eq!(response.headers().get("x-glooshot-fault").unwrap(), &experiment.marker("delay", 0));
    let begun = Instant::now();
    for number in 0..20 {
        assert_eq!(ask(&mut socket, number.to_string()), Message::text(number.to_string()));
    }
    assert!(begun.elapsed() < 20 * DELAY, "{:?} for 20 messages", begun.elapsed());
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), 1.0);
}

#[test]
fn a_frame_behind_a_handshake_that_the_server_refuses_is_never_tunnelled() {
    let upstream = Upstream::raw(|stream, recorder| {
        #[allow(clippy::result_large_err, reason = "the type of tungstenite's callback")]
        let refuse = |_: &Request, _: Response| {
            let mut response = ErrorResponse::new(None);
            *response.status_mut() = StatusCode::FORBIDDEN;
            response.headers_mut().insert("content-length", HeaderValue::from_static("0"));
            Err::<Response, _>(response)
        };
        assert!(tungstenite::accept_hdr(stream.try_clone().unwrap(), refuse).is_err());
        while recorder.read(stream) {}
    });
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&[HANDSHAKE, FRAME].concat());
    assert_eq!(client.read_answer().status(), 403);
    assert_eq!(client.read_answer().status(), 400, "the frame is read as a request");
    client.expect_end();
    assert!(upstream.connections().iter().all(|connection| find(&connection.bytes, b"hello").is_none()));
}

#[test]
fn a_frame_that_was_sent_too_early_arrives_behind_the_agreement() {
    let upstream = echo();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&[HANDSHAKE, FRAME].concat());
    assert_eq!(client.read_answer().status(), 101);
    assert_eq!(client.read_at_least(7), b"\x81\x05hello");
}
