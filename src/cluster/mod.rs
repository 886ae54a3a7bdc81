//! Kubernetes: the way to a cluster, what is installed in it, and its refusals in words that help.

mod connect;
pub(crate) mod definitions;
mod error;
pub(crate) mod experiments;
pub(crate) mod halt;
pub(crate) mod install;
pub(crate) mod objects;
pub(crate) mod pages;
pub(crate) mod rollout;
pub(crate) mod upstreams;
pub(crate) mod views;
pub(crate) mod watching;

pub(crate) use connect::{Access, Cluster, WATCH};
pub(crate) use error::ClusterError;
