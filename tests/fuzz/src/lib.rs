//! Fuzz targets: each is a function of bytes that panics when something does not hold that must hold for all bytes.
//!
//! libFuzzer runs them through `fuzz_targets/`, and `tests/replay.rs` runs them over the committed corpora as plain tests.
#![forbid(unsafe_code)]

pub mod manifest;
pub mod plan;
pub mod replay;
pub mod verdict;

/// A function of bytes that panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 3] = [("plan", plan::run), ("manifest", manifest::run), ("verdict", verdict::run)];
