//! The account of one request: what happened to it and when; counted exactly once, however it ends.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode};

use super::{
    clock::Moment,
    connection::Caller,
    error::Flag,
    fault::LiveFault,
    guard::Completion,
    identity::{IdentityId, UNKNOWN},
    metrics::{Outcome, SeriesKey},
    route::LiveEndpoint,
    run_state::RunState,
    worker::{LocalPlan, Worker},
};

/// One request, from its head to the end of its response.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) worker: Rc<Worker>,
    caller: Rc<Caller>,
    pub(crate) plan: LocalPlan,
    started: Moment,
    source: IdentityId,
    destination: IdentityId,
    subset: Option<Arc<str>>,
    /// `None` until there is an answer.
    status: Option<StatusCode>,
    flag: Flag,
    delay: Duration,
    /// The marker of the fault that was injected.
    marker: Option<HeaderValue>,
    counted: bool,
}

impl Exchange {
    /// Begins the account of a request whose head has arrived.
    pub(crate) fn begin(worker: &Rc<Worker>, caller: &Rc<Caller>, started: Moment) -> Self {
        let plan = worker.plan();
        let source = plan.source(caller.address);
        if let (Some(source), Some(experiment)) = (source, plan.experiment()) {
            experiment.run.saw(&source.service);
        }
        caller.connection.request_begins();
        Self {
            source: source.map_or(UNKNOWN, |source| source.identity),
            worker: Rc::clone(worker),
            caller: Rc::clone(caller),
            plan,
            started,
            destination: UNKNOWN,
            subset: None,
            status: None,
            flag: Flag::None,
            delay: Duration::ZERO,
            marker: None,
            counted: false,
        }
    }

    /// When the request's head had arrived.
    pub(crate) fn started(&self) -> Moment {
        self.started
    }

    /// The run whose faults apply.
    pub(crate) fn run(&self) -> Option<&Arc<RunState>> {
        self.plan.experiment().map(|experiment| &experiment.run)
    }

    /// Notes a delay that was injected.
    pub(crate) fn delayed(&mut self, fault: &LiveFault, delay: Duration) {
        self.delay = delay;
        self.marker = Some(fault.marker.clone());
    }

    /// Notes an abort that is injected.
    pub(crate) fn aborted(&mut self, fault: &LiveFault) {
        self.marker = Some(fault.marker.clone());
    }

    /// The marker that the response carries, if a fault touched it.
    pub(crate) fn marker(&self) -> Option<&HeaderValue> {
        self.marker.as_ref()
    }

    /// Notes the endpoint that the request goes to.
    pub(crate) fn sent_to(&mut self, endpoint: &LiveEndpoint) {
        self.destination = endpoint.identity;
        self.subset.clone_from(&endpoint.subset);
    }

    /// Notes the status of the response, and who is to blame for it.
    pub(crate) fn answered(&mut self, status: StatusCode, flag: Flag) {
        self.status = Some(status);
        self.flag = flag;
    }

    /// Notes that the response broke off.
    pub(crate) fn broke_off(&mut self, flag: Flag) {
        self.flag = flag;
    }

    /// Ends the account: counts, and lets conditions see it.
    pub(crate) fn complete(&mut self) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        let now = Moment::now();
        let latency = now.since(self.started);
        self.caller.connection.request_ends(now);
        let key = SeriesKey {
            listener: self.caller.listener,
            source: self.source,
            destination: self.destination,
            status: self.code(),
            flag: self.flag,
            delayed: !self.delay.is_zero(),
        };
        self.worker.metrics.record(key, Outcome { latency, delay: self.delay });
        self.show_conditions(now, latency);
        self.log(latency);
    }

    /// Lets every condition that measures this route count the request; evaluates those whose verdict it can change.
    fn show_conditions(&self, now: Moment, latency: Duration) {
        // What we refused, or the client gave up before there was an answer, says nothing about the service.
        if self.flag == Flag::Rejected || self.status.is_none() {
            return;
        }
        let (Some(run), Some(view)) = (self.run(), self.plan.route(self.caller.listener)) else { return };
        let completion = Completion {
            error: self.status.is_some_and(|status| status.is_server_error()) || self.flag.is_upstream_failure(),
            aborted: self.flag == Flag::FaultAbort,
            latency,
            delay: self.delay,
        };
        for measured in &view.guards {
            if measured.subset.is_some() && measured.subset.as_deref() != self.subset.as_deref() {
                continue;
            }
            if measured.guard.record(self.worker.core, now, completion) {
                run.evaluate(&measured.guard, now);
            }
        }
    }

    /// The status, 0 when there was no answer.
    fn code(&self) -> u16 {
        self.status.map_or(0, |status| status.as_u16())
    }

    /// The access log: one structured event, off unless asked for.
    fn log(&self, latency: Duration) {
        tracing::debug!(
            target: "glooshot::access",
            service = %self.caller.port,
            client = %self.caller.address,
            status = self.code(),
            flag = %self.flag.as_str(!self.delay.is_zero()),
            micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            fault = self.marker.as_ref().and_then(|marker| marker.to_str().ok()).unwrap_or("-"),
        );
    }
}

impl Drop for Exchange {
    /// A request that is dropped before its end was given up by its client.
    fn drop(&mut self) {
        if !self.counted {
            self.flag = Flag::ClientGone;
            self.complete();
        }
    }
}
