//! The parts of the black-box tests' harness that write HTTP/2.
#![allow(dead_code)]

#[path = "../../harness/h2/fields.rs"]
pub(crate) mod fields;
#[path = "../../harness/h2/frame.rs"]
pub(crate) mod frame;
#[path = "../../harness/h2/hpack.rs"]
pub(crate) mod hpack;
#[path = "../../harness/h2/huffman.rs"]
mod huffman;

/// The first bytes of a client (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
