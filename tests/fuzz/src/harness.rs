//! The parts of the black-box tests' harness that judge bytes.
#![allow(dead_code)]

#[path = "../../harness/corpus.rs"]
pub(crate) mod corpus;
#[path = "../../harness/wire.rs"]
pub(crate) mod wire;
