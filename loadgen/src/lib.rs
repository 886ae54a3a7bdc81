//! An HTTP load generator that tells the truth about stalls, as a library.
//!
//! [`run()`] drives its targets until a [`Limit`] is reached or the run is cancelled, and returns a
//! [`Summary`]: counts by status, errors by class, and latency distributions. While it runs, a shared
//! [`LiveStats`] can be read at any time.
//!
//! Two kinds of pace, one worker loop:
//!
//! * The closed loop ([`Pace::Closed`]): each connection sends its next request as soon as it has the answer to
//!   the last one. It finds the highest throughput. Its latencies are those of a patient caller: a server that
//!   stalls also stalls the callers, so few requests see the stall.
//! * The open loop ([`Pace::Constant`], [`Pace::Open`]): requests are due at times of their own, whatever the
//!   server does. The latency of a request counts from the moment it was *due*, not from the moment a
//!   connection was free to send it, so a stall is seen by every request that should have been sent meanwhile
//!   (no coordinated omission).
//!
//! Each core works for itself, with its share of the schedule and of the connections, and results are put
//! together at the end. The files, in reading order: [`config`] (what is asked for), [`profile`] (a rate over
//! time), `prepared` and `trust` (the requests as they are sent, and to where), `run` and `core_thread` (the
//! threads), `crew` (what the workers of one core share), `worker` (the loop), `schedule`, `pacer` and `deadlines`
//! (which request is due when, waiting for it, and giving it up), `client` (how a request is made), `tally`,
//! [`latencies`] and [`series`] (what happened), [`live`], [`summary`] and [`report`] (what the caller sees of
//! it), [`assertion`] (whether that is good enough).

pub mod assertion;
mod client;
pub mod config;
mod core_thread;
mod crew;
mod deadlines;
pub mod latencies;
pub mod live;
mod pacer;
mod prepared;
pub mod profile;
pub mod report;
mod run;
mod schedule;
pub mod series;
pub mod summary;
mod tally;
mod trust;
pub mod units;
mod worker;

pub use assertion::Assertion;
pub use config::{
    Arrivals, Config, ConfigError, Inspect, Inspected, Limit, Pace, Protocol, RequestSpec, Timing, Trust,
};
pub use latencies::Latencies;
pub use live::{LiveLatencies, LiveSnapshot, LiveStats};
pub use profile::Profile;
pub use run::run;
pub use summary::{ErrorClass, ErrorCounts, Setup, Summary, TargetSummary};
