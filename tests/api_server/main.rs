//! What users meet in a cluster before any controller runs: `glooshot register`, and our kinds in a real API server.
//!
//! The API server and its etcd are the test bed's (`tests/cluster/control-plane.sh`), and so is kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "what the tests are made of are modules of this binary")]

#[allow(dead_code, unused_imports, reason = "another test binary uses the rest of the harness")]
#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../standalone/program.rs"]
mod program;

// What the tests are made of.
#[path = "../../src/api/tests/cases/mod.rs"]
mod cases;
mod client;
#[allow(dead_code, reason = "another test binary uses the rest")]
mod control_plane;
mod installation;
mod kubectl;
mod kubelet;
mod redirect_stage;

// The tests.
mod access;
mod bounds;
mod commands;
mod kubectl_views;
mod lifecycle;
mod network_policies;
mod policies;
mod privileges;
mod redirect;
mod redirect_rules;
mod registration;
mod rules;
mod the_bed;
mod tutorial;
