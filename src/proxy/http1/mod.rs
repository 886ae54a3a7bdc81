//! Our own client of HTTP/1.1 towards upstreams. The task of the request drives it: there is no task for a connection, no
//! channel between the two, and an idle connection holds no buffer.
//!
//! `encode` writes the head of a request and `sending` the whole of it; `parse` reads the head of an answer and `decode` its
//! body; `connection` does both at the same time over one stream. Nothing here knows the rest of the proxy.

mod connection;
mod decode;
mod encode;
mod error;
mod output;
mod parse;
mod scratch;
mod sending;

pub(crate) use self::{connection::Connection, error::Error, parse::Bounds};
