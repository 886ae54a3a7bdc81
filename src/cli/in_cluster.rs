//! What commands that change a cluster have in common: interruptible, and a refusal is told with what to do about it.

use std::process::ExitCode;

use super::{INTERRUPTED, cluster_options::ClusterOptions};
use crate::{
    cluster::{Cluster, ClusterError},
    output::say,
    signals::{Interrupt, runtime},
};

/// Exit code when the cluster cannot be reached, or refuses.
const REFUSED: u8 = 1;

/// Does `work` in the chosen cluster, until Ctrl-C; `rights` is said where the cluster's own words are about a missing right.
pub(super) fn run(
    options: &ClusterOptions,
    rights: &str,
    work: impl AsyncFnOnce(&Cluster) -> Result<(), ClusterError>,
) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let interrupt = Interrupt::new()?;
        let working = async { work(&Cluster::find(&options.access()).await?).await };
        let done = tokio::select! {
            done = working => done,
            () = interrupt.wait() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        let Err(error) = done else { return Ok(ExitCode::SUCCESS) };
        if let ClusterError::NotConfigured(_) = error {
            return Err(error.into());
        }
        say!("error: {error}");
        if let ClusterError::Forbidden(_) = error {
            say!("{rights}");
        }
        Ok(ExitCode::from(REFUSED))
    })
}
