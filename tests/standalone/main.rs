//! `glooshot run` and its neighbours from outside: the real binary, real services, a real Prometheus.
//!
//! The list of these tests is the specification of the command: verdicts, counts, reports, ends, and what bad input gives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "the harness is a module of each test binary that uses it")]

#[allow(dead_code, unused_imports, reason = "another test binary uses the rest of the harness")]
#[path = "../harness/mod.rs"]
mod harness;

// What the tests are made of.
mod application;
mod metric_store;
mod outcome;
#[allow(dead_code, reason = "another test binary uses the rest")]
mod program;
mod refusal;
mod side_by_side;
mod traffic;
mod trial;

// The tests.
mod bad_arguments;
mod bad_files;
mod bad_prometheus;
mod bad_upstreams;
mod commands;
mod conditions;
mod counts;
mod ends;
mod killed;
mod lost_output;
mod reports;
mod routes;
mod tutorial;
mod verdicts;
mod webhooks;
