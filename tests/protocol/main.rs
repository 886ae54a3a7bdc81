//! What the proxy does with bytes, checked from outside: a raw client in front of the real binary, a raw upstream behind it.
//!
//! The list of these tests is the specification; the letters and numbers in their names are those of the reliability cases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "the harness is a module of each test binary that uses it")]

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod bad_upstream;
mod connection_faults;
mod corpus;
mod drain;
mod endpoints;
mod exempt;
mod exhaustion;
mod expect;
mod experiment_files;
mod faults;
mod forwarding;
mod given_up;
mod half_close;
mod http2;
mod idle;
mod keep_alive;
mod labels;
mod limits;
mod obfuscation;
mod overload;
mod passthrough;
mod plans;
mod restarts;
mod scope;
mod secrets;
mod slow_peers;
mod slow_readers;
mod splits;
mod stopping;
mod the_harness;
mod trailers;
mod upgrade;
mod uploads;
mod upstream_failures;
