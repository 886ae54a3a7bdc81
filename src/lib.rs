//! Glooshot: chaos experiments on HTTP services.
//!
//! | module | job |
//! |---|---|
//! | [`api`] | the domain: resources, validation, the verdict, the plan; pure |
//! | [`engine`] | one experiment from Pending to its result, over any data path |
//! | [`paths`] | data paths behind the engine's trait |
//! | [`webhook`] | the admission review of our resources; pure |
//! | [`proxy`] | the data plane: an HTTP proxy that injects the faults of a plan |
//! | [`control`] | the channel between controllers and proxies: plans down, counts and trips up |
//! | [`controller`] | Experiments in a cluster, from `kubectl apply` to their result |
//! | [`pki`] | certificates of our own, and their rotation |
//! | [`demo`] | the tutorial's application, and the tutorial on one machine |
//! | `cluster` | the way to a Kubernetes cluster, and what is installed in it |
//! | [`cli`] | one file per command |
//! | [`metrics_server`], [`signals`], [`telemetry`] | `/metrics`, wishes to stop, logs |

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic when nobody reads: use crate::output")]

pub mod cli;
mod cluster;
pub mod control;
pub mod controller;
pub mod demo;
pub mod engine;
pub mod metrics_server;
mod output;
pub mod paths;
pub mod pki;
pub mod proxy;
pub mod signals;
pub mod telemetry;

pub use glooshot_api as api;
pub use glooshot_webhook as webhook;
