//! Whatever a client sends over HTTP/1, an upstream gets whole and unambiguous requests, each of them admitted; and how the
//! bytes are cut into pieces makes no difference.

use crate::{
    passage::{Outcome, pass},
    pieces,
    proxy::sniff::Protocol,
};

/// A head that is longer may be refused, by how much of it is read at once.
const LIMIT_BYTES: usize = 60 * 1024;

/// Sends the bytes as one connection: in one piece, in many, byte by byte.
///
/// # Panics
/// See [`pass`]; and when the outcome depends on the pieces.
pub fn run(data: &[u8]) {
    let whole = pass(vec![data.to_vec()]);
    for cut in pieces::cuts(data) {
        let split = pass(cut);
        assert_eq!(split.protocol, whole.protocol);
        if data.len() <= LIMIT_BYTES {
            is_alike(&whole, &split);
        }
    }
}

/// The same requests arrive, whatever comes behind them.
fn is_alike(whole: &Outcome, split: &Outcome) {
    if whole.protocol == Some(Protocol::Http1) {
        assert_eq!(split.requests, whole.requests);
    }
}
