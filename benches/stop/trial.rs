//! One trial: an Experiment from its start to its result, with the service's failure in its middle.

use std::{sync::Arc, time::Duration};

use glooshot::{
    api::{quantity::GoDuration, scenario::Scenario, status::ResultState},
    engine::{ProgressEvent, Prometheus, Run, progress_channel, stop_channel},
    paths::local::LocalPath,
};
use tokio::time::timeout;

use crate::stage::Stage;

/// Responses that are read before a trial begins, and behind its end: more than were under way.
const BEHIND: u64 = 200;

/// How long the faults went on.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// From the service's failing answer to the last injected response that the client read.
    pub outside: Duration,
    /// From the same answer when the client had read it.
    pub client: Duration,
    /// What the status says.
    pub proxy: Option<Duration>,
    /// Injected responses that the client read behind the crossing one.
    pub injected: u64,
}

/// Plays a trial: `ripens` returns when the service may begin to fail with `status`; then there is a verdict within `limit`.
///
/// # Panics
/// When the experiment does not end as it must, or something is injected behind its end.
pub async fn play(
    stage: &Stage,
    scenario: Scenario,
    prometheus: Option<Prometheus>,
    status: u16,
    ripens: impl Future<Output = ()>,
    limit: Duration,
) -> Stop {
    let Stage { service, proxy, seen, load, .. } = stage;
    let injected_before = seen.injected();
    load.responses(BEHIND).await;
    assert_eq!(seen.injected(), injected_before, "nothing is injected between two experiments");
    seen.begin();
    let (progress, mut events) = progress_channel();
    let (_stop, signal) = stop_channel();
    let path = Arc::new(LocalPath::new(proxy.control(), Vec::new(), None));
    let run = Run::new(scenario, path).prometheus(prometheus).progress(progress);
    let running = tokio::spawn(run.run(signal));
    while events.recv().await.expect("the faults go on").event != ProgressEvent::FaultsOn {}
    ripens.await;
    // It may be ripe at once, when nothing of what is injected has been read.
    load.responses(BEHIND).await;
    assert!(seen.injected() > injected_before && proxy.control().is_injecting(), "faults are on");
    assert_eq!(seen.crossing(), None, "the service is well");
    service.fail(status, u32::MAX);
    let outcome = timeout(limit, running).await.expect("a verdict in time").unwrap().unwrap();
    load.responses(BEHIND).await;
    service.recover();
    assert_eq!(outcome.result.state, ResultState::Failed, "{:?}", outcome.result);
    let failed = service.first_failure().expect("the service has failed");
    let crossing = seen.crossing().expect("the client has seen that");
    let last = seen.last_injected().expect("something was injected");
    Stop {
        outside: last.since(failed),
        client: last.since(crossing),
        proxy: outcome.status.stop_latency.map(GoDuration::get),
        injected: seen.behind(),
    }
}
