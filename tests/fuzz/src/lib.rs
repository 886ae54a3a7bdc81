//! Fuzz targets: each is a function of bytes that panics when something does not hold that must hold for all bytes.
//!
//! libFuzzer runs them through `fuzz_targets/`, and `tests/replay.rs` runs them over the committed corpora as plain tests.
#![forbid(unsafe_code)]

pub mod chunks;
pub mod h2;
mod harness;
pub mod head;
mod http2;
pub mod manifest;
mod passage;
mod pieces;
pub mod plan;
mod proxy;
pub mod replay;
mod sent;
pub mod sockets;
mod tasks;
pub mod verdict;

/// A function of bytes that panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("head", head::run),
    ("chunks", chunks::run),
    ("h2", h2::run),
    ("plan", plan::run),
    ("manifest", manifest::run),
    ("verdict", verdict::run),
];
