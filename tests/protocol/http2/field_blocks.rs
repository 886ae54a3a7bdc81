//! C3, C4: field blocks without an end, or that make more than they are, are refused and cost little memory.

use super::{
    before_http1,
    floods::{IDLE_WITHIN, MIB},
};
use crate::harness::{
    Upstream,
    h2::{Client, Frame, client::get, code, frame::flag, hpack},
    scale,
};

/// Sends the beginning of a field block and `pieces` of it without an end; the proxy ends the connection and does not grow.
#[track_caller]
fn never_ends(what: &str, piece: &[u8]) {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    assert_eq!(Client::connect(proxy.address()).ask(&get("/before")).status(), 200);
    let ((), growth) = proxy.growth_during(|| {
        let client = Client::connect(proxy.address());
        client.send_frame(&Frame::headers(1, &hpack::block(&get("/a")), true).without(flag::END_HEADERS));
        let frame = Frame::continuation(1, piece, false).bytes();
        let frames = frame.repeat(1 + 65_536 / frame.len());
        for _ in 0..scale::ENDLESS_FIELDS.get() / frames.len() as u64 {
            if client.endpoint().try_send(&frames).is_err() {
                break;
            }
        }
        let goaway = client.expect_end();
        assert!(goaway.is_none_or(|goaway| goaway.code != code::NO_ERROR), "{what}: {goaway:?}");
    });
    assert!(growth < MIB, "{what}: {growth} bytes more");
    assert!(upstream.requests().len() == 1, "{what}: {:?}", upstream.requests());
    proxy.wait_until_idle(IDLE_WITHIN);
}

#[test]
fn c3_fields_without_an_end_end_the_connection() {
    never_ends("large fields", &hpack::literal("x-a", &"a".repeat(16_000)));
}

#[test]
fn c3_small_fields_without_an_end_end_the_connection() {
    never_ends("small fields", &hpack::literal("x-a", "1"));
}

#[test]
fn c3_empty_continuations_without_an_end_end_the_connection() {
    never_ends("empty continuations", &[]);
}

/// A field block of a few KiB that makes a list of megabytes: one large entry in the table, referred to again and again.
fn bomb(references: usize) -> Vec<u8> {
    let entry = hpack::indexed_literal("x-a", &"a".repeat(3_900));
    [hpack::block(&get("/bomb")), entry, hpack::indexed(62).repeat(references)].concat()
}

#[test]
fn c4_a_small_block_that_makes_a_large_list_is_refused_and_costs_little_memory() {
    /// Ten times the limit of the list.
    const MOST: u64 = 10 * (64 << 10);
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    assert_eq!(Client::connect(proxy.address()).ask(&get("/before")).status(), 200);
    let ((), growth) = proxy.growth_during(|| {
        for references in [4_000, 16_000] {
            let mut client = Client::connect(proxy.address());
            let stream = client.next_stream();
            client.send_frame(&Frame::headers(stream, &bomb(references), true));
            let outcome = client.outcome(stream);
            assert!(outcome.status() == 431 || client.expect_end().is_some(), "{outcome:?}");
        }
    });
    assert!(growth < MOST, "{growth} bytes more");
    assert_eq!(upstream.only_request().target(), "/before");
}

/// The connection ends with an error. RFC 9113 section 4.3 calls it COMPRESSION_ERROR; the proxy's HTTP/2 library says
/// PROTOCOL_ERROR, which tells a client as much.
#[track_caller]
fn expect_error_of_compression(client: &Client, what: &str) {
    let goaway = client.expect_end().expect("a GOAWAY");
    assert!(matches!(goaway.code, code::COMPRESSION_ERROR | code::PROTOCOL_ERROR), "{what}: {goaway:?}");
}

#[test]
fn c4_tables_that_flap_and_grow_are_errors_of_compression_or_do_no_harm() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    let block = hpack::block(&get("/a"));
    assert_eq!(Client::connect(proxy.address()).ask(&get("/before")).status(), 200);
    let flapping = [hpack::table_size(0), hpack::table_size(4_096)].concat();
    let ((), growth) = proxy.growth_during(|| {
        for (what, start, may_pass) in [
            ("twice", flapping.clone(), true),
            ("thousands of times", flapping.repeat(3_000), true),
            ("more than allowed", hpack::table_size(1 << 20), false),
            ("an integer without an end", vec![0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], false),
        ] {
            let mut client = Client::connect(proxy.address());
            let stream = client.next_stream();
            client.send_frame(&Frame::headers(stream, &[start, block.clone()].concat(), true));
            if !(client.outcome(stream).status() == 200 && may_pass) {
                expect_error_of_compression(&client, what);
            }
        }
    });
    assert!(growth < 1 << 20, "{growth} bytes more");
    assert_eq!(Client::connect(proxy.address()).ask(&get("/after")).status(), 200);
}

#[test]
fn c4_broken_blocks_are_errors_of_compression() {
    let upstream = Upstream::ok();
    let proxy = before_http1(&upstream);
    for block in [hpack::indexed(0), hpack::indexed(100), vec![0x40, 0x82, 0xff, 0xff, 0x00], vec![0x00, 0x7f]] {
        let client = Client::connect(proxy.address());
        client.send_frame(&Frame::headers(1, &block, true));
        expect_error_of_compression(&client, &format!("{block:x?}"));
    }
    assert_eq!(upstream.byte_count(), 0);
}
