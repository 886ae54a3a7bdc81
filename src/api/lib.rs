//! The domain of Glooshot: pure data and pure decisions.
//!
//! Nothing here opens a socket, reads a clock or talks to Kubernetes, so everything can be tested with tables.
//!
//! | module | job |
//! |---|---|
//! | [`experiment`], [`fault`], [`failure_condition`], [`status`] | the `Experiment` resource as its author writes it |
//! | [`report`], [`routing_rule`], [`mesh`] | the other resources |
//! | [`names`] | Services, their ports, and upstream names such as `bookinfo-ratings-9080` |
//! | [`quantity`] | values with units: Go durations, percentages, comparison operators |
//! | [`validate`] | every static rule; turns an `Experiment` into a [`scenario::Scenario`] |
//! | [`without_effect`] | fields that do nothing where an experiment runs, and what to do instead |
//! | [`manifest`] | files given to the command line: strict reading, near-name suggestions |
//! | [`scenario`] | an experiment that has passed validation, with defaults filled in |
//! | [`verdict`] | the step function of a running experiment |
//! | [`plan`] | what a data plane is told |
//! | [`pattern`] | regular expressions that an author writes |
//! | [`traffic_shift`] | what a `RoutingRule` means for the routed ports |
//! | [`crds`] | the CustomResourceDefinitions |

#![allow(clippy::duplicated_attributes, reason = "printer columns of one CRD share words")]
#![allow(unreachable_pub, reason = "kube's KubeSchema copies every struct into a function, where no pub is reachable")]

pub mod crds;
pub mod experiment;
pub mod failure_condition;
pub mod fault;
pub mod manifest;
pub mod mesh;
pub mod names;
pub mod pattern;
pub mod plan;
pub mod quantity;
pub mod report;
pub mod routing_rule;
mod rules;
pub mod scenario;
mod share;
pub mod status;
mod strict;
pub mod traffic_shift;
pub mod validate;
pub mod verdict;
pub mod violation;
pub mod without_effect;
mod yaml;
