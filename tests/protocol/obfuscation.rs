//! A8: spellings of Transfer-Encoding that one reader obeys and another passes over.

use std::collections::BTreeSet;

use crate::harness::{
    Client, Ending, Glooshot, Upstream, get,
    upstream::account,
    wire::{self, Parsed, find, readable},
};

/// Bytes that some reader somewhere takes for a blank, a line end, or nothing.
const ODD_BYTES: [u8; 16] =
    [0x00, 0x01, 0x04, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1f, 0x20, 0x7f, 0x80, 0x85, 0xa0, 0xff];

/// Where such a byte is put (`@`); `^` and `$` stand for CR and LF.
const PLACES: [&str; 8] = [
    "@Transfer-Encoding: chunked",
    "Transfer-Encoding@: chunked",
    "Transfer-Encoding:@chunked",
    "Transfer-Encoding: chunked@",
    "Transfer@-Encoding: chunked",
    "Transfer-Encoding: chun@ked",
    "X: X@Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked@X: X",
];

/// Spellings of other kinds.
const SPELLINGS: [&str; 36] = [
    "Transfer-Encoding: chunked",
    "transfer-encoding: chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "tRANSFER-eNCODING: cHUNKED",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:  chunked",
    "Transfer-Encoding: \tchunked \t",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: `chunked`",
    "Transfer-Encoding: chunked;",
    "Transfer-Encoding: chunked; q=0",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: x chunked",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: chunkedchunked",
    "Transfer-Encoding: identity^$Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked^$Transfer-Encoding: identity",
    "Transfer-Encoding: chunked^$Transfer-Encoding: chunked",
    "Transfer-Encoding: x^$Transfer-Encoding: chunked",
    "Transfer-Encoding:^$Transfer-Encoding: chunked",
    "Transfer-Encoding:^$ chunked",
    "Transfer-Encoding:^$\tchunked",
    "Transfer-Encoding: chunked^$ , identity",
    "Transfer^$-Encoding: chunked",
    "Transfer-Encoding^$ : chunked",
    "Transfer_Encoding: chunked",
    "Transfer Encoding: chunked",
    "Transfer-Encoding chunked",
    "Transfer-Encoding; chunked",
    "\"Transfer-Encoding\": chunked",
    "X:^$Transfer-Encoding: chunked",
];

fn mutations() -> BTreeSet<Vec<u8>> {
    let placed = PLACES.iter().flat_map(|place| {
        ODD_BYTES.iter().map(|odd| place.bytes().map(|byte| if byte == b'@' { *odd } else { byte }).collect())
    });
    let spelt = SPELLINGS.iter().map(|text| text.replace('^', "\r").replace('$', "\n").into_bytes());
    placed.chain(spelt).collect()
}

/// The chunks end at once and a request stands behind them, all of it inside the Content-Length.
fn attack(mutation: &[u8]) -> Vec<u8> {
    let body = [b"0\r\n\r\n", get("/smuggled").as_slice()].concat();
    let length = format!("\r\nContent-Length: {}\r\n\r\n", body.len());
    [b"POST /a8 HTTP/1.1\r\nHost: ratings\r\n", mutation, length.as_bytes(), &body].concat()
}

/// The statuses of the answers in `bytes`; nothing may be left over.
fn statuses(mut bytes: &[u8]) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        match wire::response(bytes, "POST", true) {
            Parsed::Whole(answer) => {
                statuses.push(answer.status());
                bytes = &bytes[answer.length..];
            }
            other => return Err(format!("{other:?} in {}", readable(bytes))),
        }
    }
    Ok(statuses)
}

/// Either nothing gets through, or one request with framing that the upstream's strict reader accepts.
fn try_mutation(proxy: &Glooshot, upstream: &Upstream, mutation: &[u8]) -> Result<(), String> {
    let mark = upstream.mark();
    let mut client = proxy.client();
    client.send(&attack(mutation));
    // Only then the end of sending: it must not look as if the client had gone away.
    let _first_answer_or_end = client.peek_at_least(1);
    client.finish_sending();
    let (bytes, ending) = client.read_to_end();
    if ending == Ending::StillOpen {
        return Err("the connection stayed open".to_owned());
    }
    let statuses = statuses(&bytes)?;
    let sentinel = Client::connect(proxy.address()).ask(&get("/sentinel"));
    if sentinel.text() != "/sentinel" {
        return Err(format!("the sentinel got {sentinel:?}"));
    }
    let log = upstream.since(&mark);
    let account = account(&log);
    let through = account.requests.iter().filter(|request| request.target() != "/sentinel").collect::<Vec<_>>();
    let good = statuses.iter().filter(|status| **status == 200).count();
    if good != through.len() || good > 1 || statuses.iter().any(|status| !matches!(status, 200 | 400 | 501)) {
        return Err(format!("answered {statuses:?}; upstream {through:#?}"));
    }
    if through.iter().any(|request| request.target() != "/a8" || !request.has("via")) {
        return Err(format!("upstream {through:#?}"));
    }
    if account.rests.len() > usize::from(good == 0) || account.rests.iter().any(|rest| !rest.starts_with("unfinished"))
    {
        return Err(format!("upstream {:?}", account.rests));
    }
    let spelt_otherwise = |name: &str| {
        let letters = name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
        letters == "transferencoding" && !name.eq_ignore_ascii_case("transfer-encoding")
    };
    if through.iter().any(|request| request.headers.iter().any(|(name, _)| spelt_otherwise(name))) {
        return Err(format!("upstream {through:#?}"));
    }
    match log.iter().find(|connection| find(&connection.bytes, b"GET /smuggled").is_some() && good == 0) {
        Some(connection) => Err(format!("upstream {}", readable(&connection.bytes))),
        None => Ok(()),
    }
}

#[test]
fn a8_no_spelling_of_transfer_encoding_makes_two_readers_disagree() {
    let mutations = mutations();
    assert!(mutations.len() >= 130, "only {}", mutations.len());
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let wrong = mutations
        .iter()
        .filter_map(|mutation| {
            try_mutation(&proxy, &upstream, mutation).err().map(|what| format!("{}: {what}", readable(mutation)))
        })
        .collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{} of {} mutations:\n{}", wrong.len(), mutations.len(), wrong.join("\n"));
}
