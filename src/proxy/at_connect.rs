//! What is done to a new connection before a byte of it is read, whatever it speaks: a fault may reset it, or hold it back.
//!
//! It is the only kind of fault that can hit what passes through unread. No upstream has been contacted yet.

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use glooshot_api::plan::Disruption;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use super::{
    access_log::AccessLog,
    clock::Moment,
    connection::Caller,
    dice,
    disrupt::{begin_abort, begin_delay, hold, jittered},
    error::Flag,
    fault::LiveFault,
    live_plan::LivePlan,
    run_state::RunState,
    worker::Worker,
};

/// A new connection that a fault has hit.
struct Hit<'c> {
    worker: &'c Worker,
    caller: &'c Caller,
    stream: &'c TcpStream,
    run: Arc<RunState>,
    fault: Arc<LiveFault>,
}

/// Notes who has connected, and does what a fault on connections says; breaks when the connection is over.
pub(crate) async fn meet(worker: &Worker, caller: &Caller, stream: &TcpStream) -> ControlFlow<()> {
    let Some((run, fault)) = select(worker, &worker.plan(), caller) else { return ControlFlow::Continue(()) };
    let hit = Hit { worker, caller, stream, run, fault };
    match hit.fault.disruption {
        Disruption::ResetConnection => hit.reset(),
        Disruption::DelayConnection { duration, jitter } => {
            hit.delay(jittered(duration, jitter, worker.random())).await
        }
        Disruption::AbortHttp(_) | Disruption::AbortGrpc(_) | Disruption::Delay { .. } => ControlFlow::Continue(()),
    }
}

/// The fault that hits this connection, and its run. Rolls once for all that apply.
fn select(worker: &Worker, plan: &LivePlan, caller: &Caller) -> Option<(Arc<RunState>, Arc<LiveFault>)> {
    let live = plan.experiment()?;
    let source = plan.source(caller.address).map(|source| &source.service);
    if let Some(source) = source {
        live.run.saw(source);
    }
    let view = plan.route(caller.front.index)?;
    if view.connection_faults.is_empty() || !worker.shared.slot.injects(live, Moment::now()) {
        return None;
    }
    if caller.exempt {
        worker.metrics.published().exempt.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    let applying = view.connection_faults.iter().map(|here| &here.fault).filter(|fault| fault.is_about(source));
    let applying = applying.inspect(|fault| fault.counters.matched());
    let fault = dice::hit(worker.roll_for_connection(plan), applying.map(|fault| (fault.share, fault)))?;
    Some((Arc::clone(&live.run), Arc::clone(fault)))
}

impl Hit<'_> {
    /// Turns the close that follows into a reset.
    fn reset(&self) -> ControlFlow<()> {
        if !begin_abort(&self.run, &self.fault) {
            return ControlFlow::Continue(());
        }
        // Without a time to linger, close sends RST and drops whatever has come (socket(7), SO_LINGER).
        if let Err(error) = SockRef::from(self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, client = %self.caller.address, "the connection closes without a reset");
        }
        self.log(Flag::FaultAbort.as_str(false), Duration::ZERO);
        ControlFlow::Break(())
    }

    /// Holds the connection back, unless its client goes away meanwhile.
    async fn delay(&self, time: Duration) -> ControlFlow<()> {
        let Some(active) = begin_delay(&self.run, &self.fault) else { return ControlFlow::Continue(()) };
        // For the sweep a connection that we hold is busy: its client is not to blame that nothing moves.
        self.caller.connection.request_begins();
        let started = Moment::now();
        let is_over = tokio::select! {
            _ = hold(&self.run, active, time) => false,
            () = gone(self.stream) => true,
        };
        let now = Moment::now();
        self.caller.connection.request_ends(now, false);
        let flag = if is_over { Flag::ClientGone } else { Flag::None };
        self.log(flag.as_str(true), now.since(started));
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The access log's event, in the form of those for requests. It is never sampled away.
    fn log(&self, flag: &'static str, held: Duration) {
        if !AccessLog::is_on() {
            return;
        }
        if !self.worker.log.has_room(Moment::now()) {
            self.worker.metrics.line_lost();
            return;
        }
        tracing::debug!(
            target: "glooshot::access",
            service = %self.caller.front.port,
            client = %self.caller.address,
            status = 0,
            %flag,
            micros = u64::try_from(held.as_micros()).unwrap_or(u64::MAX),
            fault = self.fault.marker.to_str().unwrap_or("-"),
        );
    }
}

/// Returns when the client has reset the connection, or closed it without a word; reads nothing.
async fn gone(stream: &TcpStream) {
    // A client that has sent something may have closed its sending side only, and wait for an answer.
    if let Ok(1..) = stream.peek(&mut [0]).await {
        let _reset = stream.ready(Interest::ERROR).await;
    }
}
