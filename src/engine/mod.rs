//! Runs one experiment over any data path; shared by the controller and the standalone mode.
//!
//! | file | job |
//! |---|---|
//! | [`run`] | the life of an experiment, on one screen |
//! | `life` | its steps: what happens is judged by [`glooshot_api::verdict`], and what that decides is done |
//! | `happenings` | what can happen to it, one after the other |
//! | [`data_path`] | what is needed of a data path |
//! | [`condition`] | observing the failure conditions |
//! | `safety` | faults end whatever happens to the task, and stopping is insisted on |
//! | [`recorder`] | the Report |
//! | `outcome` | result, status and Report together |
//! | [`progress`], [`stop`], [`clock`] | what a run tells, how it is asked to stop, timestamps |

pub mod clock;
pub mod condition;
pub mod data_path;
mod happenings;
mod life;
mod outcome;
pub mod progress;
pub mod recorder;
pub mod run;
mod safety;
pub mod stop;
#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    condition::{AllowedHost, ConditionError, EgressPolicy, Prometheus},
    data_path::DataPath,
    outcome::{KEPT_ROUTED, Outcome},
    progress::{Progress, ProgressEvent, ProgressSender, progress_channel},
    run::{Run, TakenUp},
    stop::{StopHandle, StopSignal, stop_channel},
};
