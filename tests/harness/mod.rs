//! The black-box harness: a scripted upstream, a raw client, the proxy as a process, and the judge of both byte logs.
//!
//! Nothing here uses an HTTP library: what the tests say about bytes is read from bytes, by a parser of its own that is
//! stricter than any that it judges.

pub mod client;
pub mod corpus;
pub mod crowd;
pub mod experiment;
pub mod files;
pub mod forwarder;
pub mod glooshot;
pub mod h2;
pub mod in_process;
pub mod judge;
pub mod load;
pub mod metrics;
pub mod paced;
pub mod patience;
pub mod scale;
pub mod sockets;
pub mod upstream;
pub mod usage;
pub mod wire;

pub use client::{Client, Ending};
pub use glooshot::{Glooshot, Setup};
pub use patience::{Gate, eventually, let_pass, within};
pub use upstream::{Step, Upstream};
pub use wire::{Framing, Message};

/// A whole answer with a Content-Length.
pub fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A whole GET of `path`.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: ratings\r\n\r\n").into_bytes()
}

/// A whole POST to `path` with a Content-Length.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: ratings\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
