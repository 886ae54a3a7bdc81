//! The tutorial on one machine: its application, and the tutorial itself.
//!
//! ```text
//! load generator -> productpage -> details
//!                               -> [proxy] -> reviews v1..v4 -> [proxy] -> ratings
//! ```
//!
//! Everything is the real thing, on loopback addresses and free ports: services, proxy, engine and load generator are
//! those of the other commands, and several demos can run side by side.
//!
//! | file | job |
//! |---|---|
//! | `script` | the tutorial, step by step, and what it must have shown in the end |
//! | `stage` | what the script can have done: start, watch, shift traffic, run an experiment, end |
//! | `network` | who is where: the services, and the proxy between them |
//! | `services`, `traffic` | the application and its visitors, each in a thread of its own |
//! | [`pages`] | what the visitors' pages show |
//! | `prometheus` | a real Prometheus as a child process |
//! | `screen`, `live` | sections and sentences; the words for what goes on |
//! | [`bookinfo`] | the application |

pub mod bookinfo;
mod error;
mod live;
mod network;
pub mod pages;
mod prometheus;
mod screen;
mod script;
mod services;
mod stage;
mod traffic;

use std::path::PathBuf;

use self::stage::Stage;
pub use self::{error::DemoError, prometheus::PrometheusError, services::PRODUCTPAGE};

/// What a demo is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Pages per second.
    pub rate: u32,
    /// The `prometheus` program to run the tutorial's own manifests with: a path, or a name that is looked up on `PATH`.
    /// Without it the conditions are judged by the proxy.
    pub prometheus: Option<PathBuf>,
}

/// Plays the tutorial from its start to its summary on standard output, and takes everything down again, also after an
/// error or a signal.
///
/// # Errors
/// When something could not be done, when it was interrupted ([`DemoError::Interrupted`]), and when the experiments
/// did not end as in the tutorial ([`DemoError::NotAsInTheTutorial`]). No fault is left on in any case.
pub async fn play(options: Options) -> Result<(), DemoError> {
    let mut stage = Stage::set(options).await?;
    let played = script::play(&mut stage).await;
    let ended = stage.end().await;
    played.and(ended)
}
