//! Chunked bodies: what is of the grammar arrives as the grammar says, however it is cut into pieces, and nothing else is ever
//! forwarded as a whole request.

use crate::{
    harness::wire::{self, Message, Parsed, readable},
    passage::{Outcome, pass},
    pieces,
    proxy::chunks::Chunk,
};

/// The request whose body is tried.
const HEAD: &[u8] = b"POST /a HTTP/1.1\r\nHost: ratings\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";

/// The bound for the extensions of one body, and for its trailers.
const LIMIT_BYTES: usize = 16 * 1024;

/// Sends the bytes behind the head of a request with a chunked body.
///
/// # Panics
/// When the proxy and a reading of the grammar disagree, or the outcome depends on the pieces. See also [`pass`].
pub fn run(data: &[u8]) {
    let bytes = [HEAD, data].concat();
    let whole = pass(vec![bytes.clone()]);
    is_read_by_the_grammar(&bytes, &whole);
    for mut cut in pieces::cuts(data) {
        // The beginning of a chunk may come with the head.
        let mut first = HEAD.to_vec();
        first.extend(cut.first_mut().map(std::mem::take).unwrap_or_default());
        cut.insert(0, first);
        assert_eq!(pass(cut).requests, whole.requests);
    }
}

/// Whether a chunked body of the grammar stands at the beginning of these bytes.
fn is_of_the_grammar(mut bytes: &[u8]) -> bool {
    let mut stand = Chunk::BEGIN;
    loop {
        stand = match (stand, bytes.first()) {
            (Chunk::End, _) => return true,
            (Chunk::Data(left), _) if usize::try_from(left).is_ok_and(|left| left <= bytes.len()) => {
                bytes = &bytes[usize::try_from(left).unwrap()..];
                Chunk::DataCr
            }
            (Chunk::Data(_), _) | (_, None) => return false,
            (stand, Some(byte)) => match stand.behind(*byte) {
                Ok(behind) => {
                    bytes = &bytes[1..];
                    behind
                }
                Err(_) => return false,
            },
        };
    }
}

/// What arrived is what the grammar says, and what is of the grammar arrives.
fn is_read_by_the_grammar(bytes: &[u8], outcome: &Outcome) {
    match (outcome.requests.first(), wire::request(bytes)) {
        (Some(arrived), Parsed::Whole(sent)) => {
            assert_eq!(readable(&arrived.body), readable(&sent.body));
            assert_eq!(sum(arrived), sum(&sent));
        }
        (Some(arrived), sent) => panic!("{sent:?} arrived as {arrived:?}"),
        (None, Parsed::Whole(sent)) => {
            let refused = !is_of_the_grammar(&bytes[HEAD.len()..]);
            assert!(refused || bytes.len() > LIMIT_BYTES, "never arrived: {sent:?}");
        }
        (None, Parsed::Partial | Parsed::Broken(_)) => {}
    }
}

/// The one trailer that is announced.
fn sum(message: &Message) -> Vec<&str> {
    wire::values(&message.trailers, "x-sum")
}
