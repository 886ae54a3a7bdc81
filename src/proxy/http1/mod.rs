//! Our own client of HTTP/1.1 towards upstreams. The task of the request drives it: there is no task for a connection, no
//! channel between the two, and an idle connection holds no buffer.
//!
//! `encode` writes the head of a request and `sending` the whole of it; `parse` reads the head of an answer and `decode` its
//! body; `connection` does both at the same time over one stream. Of the rest of the proxy it knows the grammars of chunks
//! and of lists alone.

mod connection;
mod decode;
mod encode;
mod error;
mod output;
mod parse;
mod scratch;
mod sending;

pub(crate) use self::{connection::Connection, error::Error, parse::Bounds};

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
