//! Chunked bodies: what the strict follower accepts is read by hyper as the grammar says, however it is cut into pieces, and
//! nothing else is ever forwarded as a whole request.

use crate::{
    harness::wire::{self, Message, Parsed, readable},
    passage::{Outcome, pass},
    pieces,
    proxy::{chunks::Malformed, framing::Follower},
};

/// The request whose body is tried.
const HEAD: &[u8] = b"POST /a HTTP/1.1\r\nHost: ratings\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";

/// hyper's own bound for the extensions of one body, and for its trailers.
const LIMIT_BYTES: usize = 16 * 1024;

/// Sends the bytes behind the head of a request with a chunked body.
///
/// # Panics
/// When the follower, hyper and a reading of the grammar disagree, or the outcome depends on the pieces. See also [`pass`].
pub fn run(data: &[u8]) {
    let bytes = [HEAD, data].concat();
    let followed = follow([&bytes]);
    let whole = pass(vec![bytes.clone()]);
    is_read_by_the_grammar(&bytes, &whole, followed.is_ok());
    for mut cut in pieces::cuts(data) {
        // The beginning of a chunk may come with the head.
        let mut first = HEAD.to_vec();
        first.extend(cut.first_mut().map(std::mem::take).unwrap_or_default());
        cut.insert(0, first);
        assert_eq!(follow(&cut), followed);
        let split = pass(cut);
        is_read_by_the_grammar(&bytes, &split, followed.is_ok());
        if followed.is_ok() {
            assert_eq!(split.requests, whole.requests);
        }
    }
}

/// What the follower says, and where it stands.
fn follow(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<String, Malformed> {
    let mut follower = Follower::default();
    for piece in pieces {
        follower.follow(piece.as_ref())?;
    }
    Ok(format!("{follower:?}"))
}

/// What arrived is what the grammar says, and arrives if the follower has nothing against it.
fn is_read_by_the_grammar(bytes: &[u8], outcome: &Outcome, is_accepted: bool) {
    match (outcome.requests.first(), wire::request(bytes)) {
        (Some(arrived), Parsed::Whole(sent)) => {
            assert_eq!(readable(&arrived.body), readable(&sent.body));
            assert_eq!(sum(arrived), sum(&sent));
        }
        (Some(arrived), sent) => panic!("{sent:?} arrived as {arrived:?}"),
        (None, Parsed::Whole(sent)) => {
            assert!(!is_accepted || bytes.len() > LIMIT_BYTES, "accepted, and never arrived: {sent:?}");
        }
        (None, Parsed::Partial | Parsed::Broken(_)) => {}
    }
}

/// The one trailer that is announced.
fn sum(message: &Message) -> Vec<&str> {
    wire::values(&message.trailers, "x-sum")
}
