//! Step 3, disrupt: the fault that hit the request is done to it, before any upstream is contacted.

use std::{sync::Arc, time::Duration};

use glooshot_api::plan::Disruption;

use super::{
    clock::Moment,
    error::Stop,
    exchange::Exchange,
    fault::LiveFault,
    run_state::{ActiveDelay, RunState},
    select::Selection,
};

/// Delays the request, or ends it; does nothing to a request that no fault hit.
pub(crate) async fn disrupt(exchange: &mut Exchange, selection: &Selection<'_>) -> Result<(), Stop> {
    let Some(fault) = selection.fault else { return Ok(()) };
    let Some(run) = exchange.run().cloned() else { return Ok(()) };
    match fault.disruption {
        Disruption::AbortHttp(_) | Disruption::AbortGrpc(_) => {
            if begin_abort(&run, fault) {
                Err(Stop::Injected(Arc::clone(fault)))
            } else {
                Ok(())
            }
        }
        Disruption::Delay { duration, jitter } => {
            if let Some(active) = begin_delay(&run, fault) {
                let time = jittered(duration, jitter, exchange.worker.random());
                // Before and after: a client may give up in between, and its request was delayed all the same.
                exchange.begins_delay(fault);
                let held = hold(&run, active, time).await;
                exchange.delayed(held);
            }
            Ok(())
        }
        // Those are done before there is a request.
        Disruption::ResetConnection | Disruption::DelayConnection { .. } => Ok(()),
    }
}

/// Counts an abort or a reset that is about to be done; false when the budget is used up.
pub(crate) fn begin_abort(run: &RunState, fault: &LiveFault) -> bool {
    if !run.take_from_budget() {
        return false;
    }
    fault.counters.aborted();
    run.injected_at(Moment::now());
    true
}

/// Counts a delay that is about to begin; `None` when there is no place left, or the budget is used up.
pub(crate) fn begin_delay(run: &Arc<RunState>, fault: &LiveFault) -> Option<ActiveDelay> {
    let Some(active) = run.begin_delay() else {
        fault.counters.overflowed();
        return None;
    };
    if !run.take_from_budget() {
        return None;
    }
    fault.counters.delayed();
    run.injected_at(Moment::now());
    Some(active)
}

/// Holds back for `time`, or until a stop lets everything go at once; says for how long it was.
pub(crate) async fn hold(run: &RunState, active: ActiveDelay, time: Duration) -> Duration {
    let released = run.released();
    let started = Moment::now();
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = released.cancelled() => {}
    }
    drop(active);
    Moment::now().since(started)
}

/// The delay moved by up to `jitter` either way, uniformly over `random`.
pub(crate) fn jittered(duration: Duration, jitter: Duration, random: u64) -> Duration {
    if jitter.is_zero() {
        return duration;
    }
    let span = jitter.as_nanos() * 2 + 1;
    let offset = (u128::from(random) * span) >> 64;
    let nanoseconds = (duration.as_nanos() + offset).saturating_sub(jitter.as_nanos());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds(ms in 1u64..1_000, jitter in 0u64..1_000, random: u64) {
            let (delay, jitter) = (Duration::from_millis(ms.max(jitter)), Duration::from_millis(jitter));
            let time = jittered(delay, jitter, random);
            prop_assert!(time >= delay - jitter && time <= delay + jitter);
        }
    }

    #[test]
    fn jitter_reaches_both_ends() {
        let (delay, jitter) = (Duration::from_millis(100), Duration::from_millis(50));
        assert_eq!(jittered(delay, jitter, 0), Duration::from_millis(50));
        assert_eq!(jittered(delay, jitter, u64::MAX), Duration::from_millis(150));
    }
}
