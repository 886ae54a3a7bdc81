//! The very files of the product's proxy that decide what an upstream gets. They depend on nothing else of it.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../src/proxy/admit.rs"]
pub(crate) mod admit;
#[path = "../../../src/proxy/chunks.rs"]
pub(crate) mod chunks;
#[path = "../../../src/proxy/field_name.rs"]
pub(crate) mod field_name;
#[path = "../../../src/proxy/fields.rs"]
pub(crate) mod fields;
#[path = "../../../src/proxy/head.rs"]
pub(crate) mod head;
#[path = "../../../src/proxy/hop_by_hop.rs"]
pub(crate) mod hop_by_hop;
#[path = "../../../src/proxy/http1/mod.rs"]
pub(crate) mod http1;
#[path = "../../../src/proxy/limits.rs"]
pub(crate) mod limits;
#[path = "../../../src/proxy/name.rs"]
pub(crate) mod name;
#[path = "../../../src/proxy/reject.rs"]
pub(crate) mod reject;
#[path = "../../../src/proxy/rewrite.rs"]
pub(crate) mod rewrite;
#[path = "../../../src/proxy/sniff.rs"]
pub(crate) mod sniff;
#[path = "../../../src/proxy/tapped_io.rs"]
pub(crate) mod tapped_io;
#[path = "../../../src/proxy/trailers.rs"]
pub(crate) mod trailers;
#[path = "../../../src/proxy/turn.rs"]
pub(crate) mod turn;
#[path = "../../../src/proxy/whole.rs"]
pub(crate) mod whole;
