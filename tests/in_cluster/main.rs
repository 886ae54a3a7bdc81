//! What a user does in a real cluster of two nodes: the commands of the documents, executed.
//!
//! The cluster is the test bed's (`tests/cluster/up.sh`), which needs root; our image is packed from the programs that were just built.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "what the tests are made of are modules of this binary")]

// What the tests are made of.
mod bed;
mod document;

// The tests.
mod tutorial;
