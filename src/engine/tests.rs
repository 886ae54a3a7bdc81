//! Whole runs of the engine over a scripted data path, against real HTTP servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod safety;
pub(crate) mod scripted_path;
pub(crate) mod server;
mod taken_up;
mod verdicts;
