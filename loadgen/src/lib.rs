//! An HTTP/1.1 load generator that tells the truth about stalls, as a library.
//!
//! [`run()`] drives one target until a [`Limit`] is reached or the run is cancelled, and returns a
//! [`Summary`]: counts by status, errors by class, and latency distributions. While it runs, a shared
//! [`LiveStats`] can be read at any time.
//!
//! Two paces, one worker loop:
//!
//! * [`Pace::Closed`]: each connection sends its next request as soon as it has the answer to the last one.
//!   It finds the highest throughput. Its latencies are those of a patient caller: a server that stalls also
//!   stalls the callers, so few requests see the stall.
//! * [`Pace::Constant`]: requests are due at fixed times, whatever the server does. The latency of a request
//!   counts from the moment it was *due*, not from the moment a connection was free to send it, so a stall is
//!   seen by every request that should have been sent meanwhile (no coordinated omission).
//!
//! The files, in reading order: [`config`] (what is asked for), `schedule` (which request is due when),
//! `connection` (one keep-alive connection), `worker` (the loop), `tally` (what happened), [`live`] and
//! [`summary`] (what the caller sees of it), [`render`] (the summary as text and JSON).

pub mod config;
mod connection;
pub mod live;
pub mod render;
mod run;
mod schedule;
pub mod summary;
mod tally;
mod target;
mod worker;

pub use config::{Config, ConfigError, Inspect, Inspected, Limit, Pace};
pub use live::{LiveSnapshot, LiveStats};
pub use run::run;
pub use summary::{ErrorClass, ErrorCounts, Latencies, Summary};
