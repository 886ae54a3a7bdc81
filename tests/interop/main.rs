//! The proxy between real peers: clients and servers as their makers ship them, on both sides of the real binary.
//!
//! The other suites say which bytes are right; this one shows that those who wrote curl, nginx, HAProxy, Envoy and others agree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "the harness is a module of each test binary that uses it")]

#[allow(dead_code, unused_imports, reason = "another test binary uses the rest of the harness")]
#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../standalone/program.rs"]
mod program;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../standalone/trial.rs"]
mod trial;

// What the tests are made of.
mod payloads;
mod peers;

// The tests.
mod clients;
mod differential;
mod grpc;
mod through_envoy;
mod tls;
mod websocket;
