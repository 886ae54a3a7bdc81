//! The account of one request: what happened to it and when; counted exactly once, however it ends.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    access_log::{AccessLog, Asked},
    clock::Moment,
    connection::Caller,
    error::Flag,
    fault::LiveFault,
    fields::Fields,
    grpc::{self, GrpcStatus},
    guard::Completion,
    head::RequestHead,
    identity::{IdentityId, UNKNOWN},
    metrics::{Outcome, SeriesKey},
    name::Name,
    route::LiveEndpoint,
    run_state::RunState,
    unread::Unread,
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
    /// When a delay began that is not over.
    delayed_since: Option<Moment>,
    /// The fault that was injected.
    fault: Option<Arc<LiveFault>>,
    /// Whether it is a gRPC call, and how that ended.
    call: Option<Call>,
    /// It asks for no body.
    pub(crate) head_only: bool,
    /// Where it went.
    upstream: Option<SocketAddr>,
    /// What the access log says of it, where it says anything.
    asked: Option<Asked>,
    counted: bool,
}

/// A gRPC call.
#[derive(Clone, Copy, Debug, Default)]
struct Call {
    /// `None` until the service has told it.
    status: Option<GrpcStatus>,
}

impl Exchange {
    /// Begins the account of a request whose head has arrived; boxed, since it is moved from step to step.
    pub(crate) fn begin(worker: &Rc<Worker>, caller: &Rc<Caller>, head: &RequestHead, started: Moment) -> Box<Self> {
        let plan = worker.plan();
        let source = plan.source(caller.address);
        if let (Some(source), Some(experiment)) = (source, plan.experiment()) {
            experiment.run.saw(&source.service);
        }
        caller.connection.request_begins();
        worker.request_begins();
        Box::new(Self {
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
            delayed_since: None,
            fault: None,
            call: grpc::is_call(&head.fields).then(Call::default),
            head_only: head.method == Method::HEAD,
            upstream: None,
            asked: AccessLog::ask(head),
            counted: false,
        })
    }

    /// When the request's head had arrived.
    pub(crate) fn started(&self) -> Moment {
        self.started
    }

    /// The run whose faults apply.
    pub(crate) fn run(&self) -> Option<&Arc<RunState>> {
        self.plan.experiment().map(|experiment| &experiment.run)
    }

    /// Notes that a delay begins.
    pub(crate) fn begins_delay(&mut self, fault: &Arc<LiveFault>) {
        self.delayed_since = Some(Moment::now());
        self.fault = Some(Arc::clone(fault));
    }

    /// Notes that it is over.
    pub(crate) fn delayed(&mut self, delay: Duration) {
        self.delayed_since = None;
        self.delay = delay;
    }

    /// Notes an abort that is injected.
    pub(crate) fn aborted(&mut self, fault: &Arc<LiveFault>) {
        self.fault = Some(Arc::clone(fault));
    }

    /// The marker that the response carries, if a fault touched it.
    pub(crate) fn marker(&self) -> Option<&HeaderValue> {
        self.fault.as_ref().map(|fault| &fault.marker)
    }

    /// Notes the endpoint that the request goes to.
    pub(crate) fn sent_to(&mut self, endpoint: &LiveEndpoint) {
        self.upstream = Some(endpoint.address);
        self.destination = endpoint.identity;
        self.subset.clone_from(&endpoint.subset);
    }

    /// Notes the status of the response, and who is to blame for it.
    pub(crate) fn answered(&mut self, status: StatusCode, flag: Flag) {
        if self.status.is_none() {
            self.caller.connection.answer_begins(self.worker.coarse_now());
        }
        self.status = Some(status);
        self.flag = flag;
    }

    /// Whether it is a gRPC call over HTTP/2.
    pub(crate) fn is_call(&self) -> bool {
        self.call.is_some() && self.is_multiplexed()
    }

    /// Notes what the head of an answer says of a gRPC call: its status, where it has no body.
    pub(crate) fn answered_call(&mut self, fields: &Fields) {
        self.call_ended(|| fields.get(Name::GrpcStatus));
    }

    fn call_ended<'t>(&mut self, status: impl FnOnce() -> Option<&'t [u8]>) {
        if let Some(call) = &mut self.call {
            call.status = status().map(GrpcStatus::read).or(call.status);
        }
    }

    /// Notes the trailers behind a response's body.
    pub(crate) fn ended_with(&mut self, trailers: &HeaderMap) {
        let is_status = |name: &HeaderName| Name::of(name.as_ref()) == Some(Name::GrpcStatus);
        self.call_ended(|| trailers.iter().find_map(|(name, value)| is_status(name).then(|| value.as_bytes())));
    }

    /// Whether the client speaks HTTP/2.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.caller.connection.is_multiplexed()
    }

    /// Where responses are noted that their client does not take; only over HTTP/2.
    pub(crate) fn unread(&self) -> Option<&Unread> {
        self.is_multiplexed().then_some(&self.caller.unread)
    }

    /// Whether its connection is ended because nothing moves any more.
    pub(crate) fn is_stalled(&self) -> bool {
        self.caller.connection.is_stalled()
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
        if let Some(since) = self.delayed_since {
            self.delay = now.since(since);
        }
        self.caller.connection.request_ends(now, self.status.is_some());
        self.worker.request_ends();
        let key = SeriesKey {
            listener: self.caller.front.index,
            source: self.source,
            destination: self.destination,
            status: self.code(),
            flag: self.flag,
            delayed: !self.delay.is_zero(),
            call: self.call.is_some(),
            grpc: self.grpc_status(),
        };
        self.worker.metrics.record(key, Outcome { latency, delay: self.delay });
        self.show_conditions(now, latency);
        self.log(now, latency);
    }

    fn grpc_status(&self) -> Option<GrpcStatus> {
        self.call.and_then(|call| call.status)
    }

    /// Lets every condition that measures this route count the request; evaluates those whose verdict it can change.
    fn show_conditions(&self, now: Moment, latency: Duration) {
        // What we refused, or the client gave up before there was an answer, says nothing about the service.
        if self.flag == Flag::Rejected || self.status.is_none() {
            return;
        }
        let (Some(run), Some(view)) = (self.run(), self.plan.route(self.caller.front.index)) else { return };
        let completion = Completion {
            error: self.status.is_some_and(|status| status.is_server_error())
                || self.flag.is_upstream_failure()
                || self.grpc_status().is_some_and(GrpcStatus::is_error),
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

    /// Writes the access log.
    fn log(&self, now: Moment, latency: Duration) {
        let Some(asked) = &self.asked else { return };
        let log = &self.worker.log;
        if !log.samples(self.worker.random(), self.fault.is_some() || self.flag != Flag::None) {
            return;
        }
        if !log.has_room(now) {
            self.worker.metrics.line_lost();
            return;
        }
        tracing::debug!(
            target: "glooshot::access",
            service = %self.caller.front.port,
            client = %self.caller.address,
            method = asked.method(),
            path = asked.path(),
            status = self.code(),
            grpc = self.grpc_status().map(GrpcStatus::code),
            flag = %self.flag.as_str(!self.delay.is_zero()),
            micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            upstream = self.upstream.map(tracing::field::display),
            fault = self.marker().and_then(|marker| marker.to_str().ok()).unwrap_or("-"),
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
