//! The channel between controllers and proxies: plans and the others' sums down, counts and trips up.
//!
//! A proxy calls every controller: HTTP/2 over TLS, one request whose body and answer stay open. What goes over them are frames
//! (`frame`) of JSON (`messages`); `link` gives every message a bound on its age. `client` is the proxy's side, `server` the
//! controller's.
//!
//! # Guarantees
//! - Nothing queues up: a message is composed from the present state in the moment in which the connection can take it.
//! - Nothing that is said is younger for having been under way: both sides echo each other's last stamp, so that whoever receives
//!   an age or a remaining time knows the earliest moment at which it can have been composed. No wall clock is ever compared.
//! - A version and the one before it understand each other (`versions`). What a message says beyond what is known is ignored,
//!   except in a plan: a rule that is not understood could break more than its author asked for, so such a plan is refused whole.
//! - Before a peer is authenticated it costs a bounded number of connections, bytes and seconds (`server::gate`).

pub mod client;
mod frame;
mod link;
mod messages;
pub mod server;
mod stream;
mod versions;

use std::time::Duration;

pub use self::messages::{Answer, PlanId};

/// The path of the one request of a connection.
const PATH: &str = "/glooshot.control";
/// The header in which a proxy says which versions it understands, and a controller which one is spoken.
const VERSIONS: &str = "glooshot-control-versions";
/// Between two reports of counts, and between two sums of the others.
const BEAT: Duration = Duration::from_millis(100);
/// The same, while no experiment is planned. A plan that comes then has lost up to this much of its time.
const IDLE_BEAT: Duration = Duration::from_millis(500);
/// Between two pings, which find a peer that has gone without a word.
const PING: Duration = Duration::from_secs(2);
/// A peer that does not answer a ping for this long has gone.
const PONG: Duration = Duration::from_secs(5);
/// The longest bearer token, in bytes: those of Kubernetes have about 1,200.
const MAX_TOKEN: usize = 16 << 10;
