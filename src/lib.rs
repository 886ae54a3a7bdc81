//! Glooshot: chaos experiments on HTTP services.
//!
//! | module | job |
//! |---|---|
//! | [`api`] | the domain: resources, validation, the verdict, the plan; pure |
//! | [`proxy`] | the data plane: an HTTP proxy that injects the faults of a plan |
//! | [`demo`] | the tutorial's application, and the tutorial on one machine |

pub mod demo;
pub mod proxy;

pub use glooshot_api as api;
