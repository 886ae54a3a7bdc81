//! HTTP/1.1 on both sides: our own server towards clients, and our own client towards upstreams. No task drives a connection but
//! that of the client, there is no channel between the two sides, and an idle connection holds no buffer.
//!
//! Towards clients `serve` is the loop: `asked` reads the head of a request and `answer` writes that of an answer; `inbound` is what
//! comes, which the connection and the reader of a body share. Towards upstreams `connection` sends a request and reads its answer
//! at the same time: `encode` writes the head, and `parse` reads one. Both sides have `decode` for the body that comes, `sending` for the
//! message that goes, and `input`, `output` and `scratch` for the bytes. Of the rest of the proxy it knows heads and their
//! fields, the grammars of chunks and of lists, and the turn of `turn`.

mod answer;
mod asked;
mod connection;
mod decode;
mod encode;
mod error;
mod inbound;
mod input;
mod output;
mod parse;
mod scratch;
mod sending;
mod serve;

pub(crate) use self::{
    asked::Refused,
    connection::Connection,
    error::Error,
    inbound::Incoming,
    parse::Bounds,
    serve::{Served, Service, serve},
};

/// A text in pieces of these lengths, and what is left of it.
#[cfg(test)]
fn pieces<'t>(text: &'t str, lengths: &[usize]) -> Vec<&'t [u8]> {
    let (mut pieces, mut left) = (Vec::new(), text.as_bytes());
    for length in lengths {
        let (piece, rest) = left.split_at((*length).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    pieces
}
