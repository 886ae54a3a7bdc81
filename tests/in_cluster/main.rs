//! What a user does in a real cluster of two nodes: the commands of the documents, executed; and what happens to the user's requests
//! while Services are redirected, and whatever dies meanwhile.
//!
//! The cluster is the test bed's (`tests/cluster/up.sh`), which needs root; our image is packed from the programs that were just built.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "what the tests are made of are modules of this binary")]

#[allow(dead_code, unused_imports, reason = "another test binary uses the rest of the harness")]
#[path = "../harness/mod.rs"]
mod harness;

// What the tests are made of.
mod bed;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../interop/peers/certificates.rs"]
mod certificates;
mod document;
mod stage;
mod traffic;
mod victims;

// The tests.
mod changes;
mod deaths;
mod flips;
mod isolated;
mod nodes;
mod on_one_bed;
mod owners;
mod stops;
mod tls;
mod tutorial;
mod without_controllers;
