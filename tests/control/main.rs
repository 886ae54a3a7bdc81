//! The control channel from outside: the real binary as the proxy, the real server of a controller, real TLS between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "the harness is a module of each test binary that uses it")]

#[allow(dead_code, unused_imports, reason = "another test binary uses the rest of the harness")]
#[path = "../harness/mod.rs"]
mod harness;

// What the tests are made of.
mod controller;
mod trio;

// The tests.
mod ends;
mod plans;
mod strangers;
mod trust;
mod verdicts;
