//! HTTP/2 requests that their client gives up at once (RST_STREAM): they cost the service nothing, and nobody else anything.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Client, Ending, Glooshot, Setup, Upstream, answer, get, glooshot::SERVICE};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// END_HEADERS and END_STREAM.
const WHOLE: u8 = 5;

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /` on this stream.
fn request(stream: u32) -> Vec<u8> {
    // `:method`, `:scheme` and `:path` are in the static table (RFC 7541 appendix A), `:authority` is named there.
    frame(HEADERS, WHOLE, stream, b"\x82\x86\x84\x01\x07ratings")
}

/// CANCEL.
fn give_up(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn connect(proxy: &Glooshot) -> Client {
    let mut client = proxy.client();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(&frame(SETTINGS, 0, 0, &[]));
    client
}

/// Sends `bytes`, and the frames of the answer until everything before has been read: the kind and the stream of each.
#[track_caller]
fn send(client: &mut Client, bytes: &[u8]) -> Vec<(u8, u32)> {
    client.send(bytes);
    client.send(&frame(PING, 0, 0, b"given up"));
    let (mut unread, mut frames) = (Vec::new(), Vec::new());
    loop {
        unread.extend(client.read_at_least(1));
        while let Some([l1, l2, l3, kind, _, stream @ ..]) = unread.first_chunk::<9>() {
            let whole = 9 + u32::from_be_bytes([0, *l1, *l2, *l3]) as usize;
            if unread.len() < whole {
                break;
            }
            if *kind == PING {
                return frames;
            }
            frames.push((*kind, u32::from_be_bytes(*stream)));
            unread.drain(..whole);
        }
    }
}

#[test]
fn a_request_that_is_given_up_in_the_same_breath_never_reaches_the_upstream() {
    let upstream = Upstream::answering(answer("ok"));
    let proxy = Glooshot::before(&upstream);
    let mut hasty = connect(&proxy);
    let breath: Vec<u8> = (0..10).flat_map(|n| [request(2 * n + 1), give_up(2 * n + 1)].concat()).collect();
    send(&mut hasty, &breath);
    assert_eq!(proxy.client().ask(&get("/other")).status(), 200);
    assert_eq!(upstream.connections().len(), 1, "one connection, for the other request");
    upstream.only_request();
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("flag", "DC")], 10.0);
}

#[test]
fn who_gives_up_while_a_connection_is_made_neither_makes_others_fail_nor_costs_another_connection() {
    // It says nothing in the TLS handshake, so that making a connection takes as long as it may.
    let upstream = Upstream::raw(|stream, recorder| while recorder.read(stream) {});
    let tls = format!("{SERVICE}=name=ratings");
    let proxy = Setup::proxy().to(upstream.address()).with(["--upstream-tls", &tls]).start();
    let (mut hasty, mut patient) = (connect(&proxy), connect(&proxy));
    send(&mut hasty, &request(1));
    send(&mut patient, &request(1));
    for stream in [1, 3, 5, 7] {
        send(&mut hasty, &give_up(stream));
        send(&mut hasty, &request(stream + 2));
    }
    let told = send(&mut patient, &[]);
    assert!(told.iter().all(|(kind, _)| *kind != HEADERS), "no answer before the connection has failed: {told:?}");
    upstream.wait_until("a connection", |log| !log.is_empty());
    assert_eq!(upstream.connections().len(), 1, "all wait for the same connection");
}

#[test]
fn no_client_fills_the_log_by_flooding_its_own_connection() {
    let upstream = Upstream::answering(answer("ok"));
    let mut proxy = Glooshot::before(&upstream);
    let mut hasty = connect(&proxy);
    let flood: Vec<u8> = (0..100).flat_map(|n| [request(2 * n + 1), give_up(2 * n + 1)].concat()).collect();
    hasty.send(&flood);
    assert_ne!(hasty.read_to_end().1, Ending::StillOpen, "it is cut off");
    proxy.signal(Signal::TERM);
    proxy.wait_for_exit(Duration::from_secs(10));
    let lines = proxy.all_lines();
    assert!(!lines.iter().any(|line| line.contains("WARN") || line.contains("ERROR")), "{lines:#?}");
}
