//! Whether an Experiment is still there and wanted, asked once a second while it runs: the data path renews a plan by nothing else.

use std::time::Duration;

use kube::{Api, api::DynamicObject};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::halt::Switch;
use crate::{engine::StopHandle, proxy::Moment};

/// Between two looks.
const BEAT: Duration = Duration::from_secs(1);
/// For one look.
const ANSWER: Duration = Duration::from_secs(2);

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Alive,
    Deleting,
    Gone,
}

/// Tells `live` when the Experiment and the switch were last seen, and stops the run when it is deleted, until it is gone.
pub(crate) async fn beat(
    api: Api<DynamicObject>,
    name: String,
    uid: String,
    halt: watch::Receiver<Switch>,
    live: watch::Sender<Moment>,
    stop: StopHandle,
) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = Moment::now();
        match timeout(ANSWER, api.get_metadata_opt(&name)).await {
            Ok(Ok(object)) => {
                let metadata = object.as_ref().map(|object| &object.metadata);
                match seen(
                    metadata.and_then(|it| it.uid.as_deref()),
                    &uid,
                    metadata.is_some_and(|it| it.deletion_timestamp.is_some()),
                ) {
                    Seen::Alive => {
                        let switch = halt.borrow();
                        if switch.halted.is_none() {
                            live.send_replace(asked.min(switch.seen));
                        }
                    }
                    Seen::Deleting => stop.stop("the Experiment was deleted"),
                    Seen::Gone => {
                        stop.stop("the Experiment is gone");
                        return;
                    }
                }
            }
            // What was seen grows old, and the faults end by that.
            Ok(Err(error)) => tracing::warn!(%error, %name, "a running Experiment cannot be looked at"),
            Err(_) => tracing::warn!(%name, "the API server did not answer about a running Experiment in time"),
        }
    }
}

fn seen(found: Option<&str>, uid: &str, deleting: bool) -> Seen {
    match found {
        Some(found) if found == uid && deleting => Seen::Deleting,
        Some(found) if found == uid => Seen::Alive,
        Some(_) | None => Seen::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_experiment_of_the_same_name_is_not_the_one_that_runs() {
        assert_eq!(seen(Some("a"), "a", false), Seen::Alive);
        assert_eq!(seen(Some("a"), "a", true), Seen::Deleting);
        assert_eq!(seen(Some("b"), "a", false), Seen::Gone);
        assert_eq!(seen(None, "a", false), Seen::Gone);
    }
}
