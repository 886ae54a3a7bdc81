//! What all attacks have in common: what they are called, what they may do to others, and what became of their connections.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::support::finding::Finding;

/// One kind of hostile client.
pub trait Attack: Sync {
    /// What it is called on the command line, and the case that it belongs to.
    fn name(&self) -> (&'static str, &'static str);

    /// What it does.
    fn describe(&self) -> String;

    /// How long it goes on in a round.
    fn lasts(&self) -> Duration;

    /// The most connections that it has at a time when memory is measured: so many that what each costs is more than what the
    /// allocator keeps for whoever comes first.
    fn crowd(&self) -> u32;

    /// The most bytes by which the proxy may grow for each of them.
    fn growth_allowed(&self) -> u64;

    /// Attacks until then.
    fn run(&self, target: Target, until: Instant) -> Assault;

    /// Attacks until then with all of the crowd; only where [`run`](Self::run) has fewer connections at a time.
    fn run_as_crowd(&self, _target: Target, _until: Instant) -> bool {
        false
    }

    /// What is to be said of its connections' lives, whose proxy stood still for `stalled` at the most.
    fn judge(&self, lives: &[Life], stalled: Duration) -> Vec<Finding>;
}

/// Where the proxy listens.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// For plain text.
    pub plain: SocketAddr,
    /// For TLS that ends in the proxy.
    pub tls: SocketAddr,
}

/// What became of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// The kind of client, where an attack has several.
    pub kind: &'static str,
    /// From its opening to its end.
    pub lasted: Duration,
    /// Streams or frames that were sent until then.
    pub units: u32,
    /// And until the proxy said goodbye (GOAWAY), if it was heard.
    pub units_to_goodbye: Option<u32>,
    /// How it ended.
    pub end: End,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The proxy closed it.
    Closed,
    /// The proxy read no more, and did not close it.
    Stuck,
    /// It was still open when the attack ended.
    Open,
}

/// What one round of an attack did.
#[derive(Debug, Default)]
pub struct Assault {
    pub lives: Vec<Life>,
    /// The attacker's own processor time.
    pub processor_time: Duration,
}
