//! Everything that can happen to a run, from wherever it comes, one after the other.

use std::time::Duration;

use tokio::{
    select,
    sync::mpsc,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    condition::{MAX_WAITING, Observation},
    data_path::PathEvent,
    stop::StopSignal,
};

/// Between two words that the experiment is alive; a fifth of a plan's time to live.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Everything that can happen to a run.
#[derive(Debug)]
pub(super) enum Happening {
    Path(Option<PathEvent>),
    Observed(Observation),
    SamplerEnded(String),
    Stopped(String),
    Heartbeat,
}

/// Where it comes from.
#[derive(Debug)]
pub(super) struct Happenings {
    /// None before the routing, and after the path has said its last.
    pub(super) events: Option<mpsc::Receiver<PathEvent>>,
    /// While the faults are being switched on, a trip waits until they are: there is no start yet that it could refer to.
    pub(super) hold_events: bool,
    pub(super) observer: mpsc::Sender<Observation>,
    observations: mpsc::Receiver<Observation>,
    pub(super) samplers: JoinSet<()>,
    heartbeat: Interval,
    pub(super) stop: StopSignal,
}

impl Happenings {
    /// Of a run that is not routed yet, until somebody stops it.
    pub(super) fn until(stop: StopSignal) -> Self {
        let (observer, observations) = mpsc::channel(MAX_WAITING);
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let samplers = JoinSet::new();
        Self { events: None, hold_events: false, observer, observations, samplers, heartbeat, stop }
    }

    /// What happens next. Cancel safe. A trip goes before everything else that is ready at the same time.
    pub(super) async fn next(&mut self) -> Happening {
        let event = async {
            match &mut self.events {
                Some(events) if !self.hold_events => events.recv().await,
                _ => std::future::pending().await,
            }
        };
        select! {
            biased;
            event = event => Happening::Path(event),
            reason = self.stop.requested() => Happening::Stopped(reason),
            Some(observation) = self.observations.recv() => Happening::Observed(observation),
            _ = self.heartbeat.tick() => Happening::Heartbeat,
            Some(ended) = self.samplers.join_next() => {
                Happening::SamplerEnded(ended.err().map(|error| error.to_string()).unwrap_or_default())
            }
        }
    }
}
