//! The very files of the proxy that a relay on tokio sends its messages with. They depend on nothing else of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../../src/proxy/clock.rs"]
pub(crate) mod clock;
#[path = "../../src/proxy/outbox.rs"]
pub(crate) mod outbox;
#[path = "../../src/proxy/socket.rs"]
pub(crate) mod socket;
