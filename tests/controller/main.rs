//! `glooshot controller` against a real API server: Experiments from `kubectl apply` to their result, and what happens when it dies.
//!
//! There are no nodes, so nothing reaches a pod. The binary runs experiments without faults, or redirects a Service to proxies in the test's
//! process; a controller in that process runs experiments over a data path that only remembers what it was told. The whole is tried on the
//! cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "what the tests are made of are modules of this binary")]

#[allow(dead_code, unused_imports, reason = "another test binary uses the rest of the harness")]
#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../standalone/program.rs"]
mod program;

// What the tests are made of.
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../api_server/control_plane.rs"]
mod control_plane;
mod gateway;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../api_server/installation.rs"]
mod installation;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../api_server/kubectl.rs"]
mod kubectl;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../api_server/kubelet.rs"]
mod kubelet;
mod scripted;
mod stage;
mod target;
mod workload;

// The tests.
mod audit;
mod callers;
mod crashes;
mod crowd;
mod deletion;
mod faults;
mod halt;
mod invalid;
mod isolated;
mod kept;
mod leaders;
mod life;
mod restarts;
mod routing_rules;
mod tls;
mod written_first;
