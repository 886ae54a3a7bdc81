//! One fault of the plan in force: compiled matchers, its share of the dice, its counters.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use glooshot_api::{
    names::{Destination, ServiceName, ServicePort},
    pattern,
    plan::{Disruption, HeaderRule, HeaderValueRule, MatchRule, PlannedExperiment, TextMatch},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{live_plan::Refusal, run_state::RunState};

/// A fault, compiled.
#[derive(Debug)]
pub(crate) struct LiveFault {
    destinations: Vec<Destination>,
    origins: HashSet<ServiceName>,
    matcher: Matcher,
    /// The percentage as a share of 2^64.
    pub(crate) share: u128,
    /// What is done.
    pub(crate) disruption: Disruption,
    /// The marker on every response that it touches, and in the access log.
    pub(crate) marker: HeaderValue,
    /// What it has done in this run.
    pub(crate) counters: Arc<FaultCounters>,
}

/// What one fault has done, across all cores and plans of one run.
#[derive(Debug, Default)]
pub(crate) struct FaultCounters {
    /// It counts connections, not requests.
    of_connections: bool,
    requests: AtomicU64,
    aborted: AtomicU64,
    delayed: AtomicU64,
    overflow: AtomicU64,
}

impl FaultCounters {
    /// Counters of a fault that does this.
    pub(crate) fn new(disruption: Disruption) -> Self {
        Self { of_connections: disruption.is_of_connections(), ..Self::default() }
    }

    /// The words for what is aborted and for what is delayed.
    pub(crate) const fn kinds(&self) -> [&'static str; 2] {
        if self.of_connections { ["reset", "connection-delay"] } else { ["abort", "delay"] }
    }

    /// Counts a request or connection that the fault applies to.
    pub(crate) fn matched(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an abort or a reset.
    pub(crate) fn aborted(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a delay.
    pub(crate) fn delayed(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request or connection that was hit, but passed because of a cap.
    pub(crate) fn overflowed(&self) {
        self.overflow.fetch_add(1, Ordering::Relaxed);
    }

    /// How many applied, were aborted, were delayed, and passed because of a cap.
    pub(crate) fn read(&self) -> [u64; 4] {
        [&self.requests, &self.aborted, &self.delayed, &self.overflow].map(|counter| counter.load(Ordering::Relaxed))
    }
}

impl LiveFault {
    /// Compiles all faults of an experiment; they count into the state of its run.
    pub(crate) fn compile_all(experiment: &PlannedExperiment, run: &RunState) -> Result<Vec<Arc<Self>>, Refusal> {
        let faults = experiment.faults.iter().enumerate().map(|(index, fault)| {
            let counters = run.counters(index);
            let [abort, delay] = counters.kinds();
            let kind = match fault.disruption {
                Disruption::AbortHttp(_) | Disruption::AbortGrpc(_) | Disruption::ResetConnection => abort,
                Disruption::Delay { .. } | Disruption::DelayConnection { .. } => delay,
            };
            let marker = format!("{kind}; experiment={}; fault={index}", experiment.name);
            Ok(Arc::new(Self {
                destinations: fault.destinations.clone(),
                origins: fault.origins.iter().cloned().collect(),
                matcher: Matcher::compile(&fault.matches)?,
                share: fault.percentage.of_two_to_the_64(),
                disruption: fault.disruption,
                marker: HeaderValue::from_str(&marker).map_err(|error| Refusal::Pattern(error.to_string()))?,
                counters,
            }))
        });
        faults.collect()
    }

    /// What of it concerns requests or connections to this port; `None` where it hits nothing there.
    pub(crate) fn at(self: &Arc<Self>, port: &ServicePort) -> Option<FaultHere> {
        let here = |d: &&Destination| d.service == port.service && d.port.is_none_or(|p| p == port.port);
        let mut subsets =
            self.destinations.iter().filter(here).map(|destination| destination.subset.clone()).peekable();
        subsets.peek()?;
        // One destination without a subset is all of them: there is no set then.
        Some(FaultHere { fault: Arc::clone(self), subsets: subsets.collect() })
    }

    /// Whether what this caller sends can be hit; an unknown one matches no name.
    pub(crate) fn is_about(&self, source: Option<&ServiceName>) -> bool {
        self.origins.is_empty() || source.is_some_and(|source| self.origins.contains(source))
    }
}

/// What of a fault concerns one port: its destinations are looked through when the plan comes, and not for each request.
#[derive(Clone, Debug)]
pub(crate) struct FaultHere {
    /// The fault.
    pub(crate) fault: Arc<LiveFault>,
    /// The subsets that it hits; `None` where it hits all.
    subsets: Option<HashSet<String>>,
}

impl FaultHere {
    /// Whether this very request applies: destination subset, caller, path, method, headers.
    pub(crate) fn applies(&self, request: &Facts<'_>) -> bool {
        let is_here = |subsets: &HashSet<String>| request.subset.is_some_and(|subset| subsets.contains(subset));
        self.subsets.as_ref().is_none_or(is_here)
            && self.fault.is_about(request.source)
            && self.fault.matcher.matches(request.method, request.path, request.headers)
    }
}

/// What a fault is matched against, behind the port that a request was sent to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The subset that it will go to.
    pub(crate) subset: Option<&'a str>,
    /// Who sent it, if that is known.
    pub(crate) source: Option<&'a ServiceName>,
    /// Its method.
    pub(crate) method: &'a Method,
    /// Its path as it was sent, without the query.
    pub(crate) path: &'a str,
    /// Its headers as they were sent.
    pub(crate) headers: &'a HeaderMap,
}

/// A compiled [`MatchRule`].
#[derive(Debug)]
struct Matcher {
    path: Option<Text>,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, HeaderText)>,
}

#[derive(Debug)]
enum HeaderText {
    Text(Text),
    Present,
    Absent,
}

#[derive(Debug)]
enum Text {
    Exact(String),
    Prefix(String),
    Regex(regex::bytes::Regex),
}

impl Text {
    fn compile(rule: &TextMatch) -> Result<Self, Refusal> {
        Ok(match rule {
            TextMatch::Exact(text) => Self::Exact(text.clone()),
            TextMatch::Prefix(text) => Self::Prefix(text.clone()),
            TextMatch::Regex(text) => {
                Self::Regex(pattern::whole(text).map_err(|error| Refusal::Pattern(error.to_string()))?)
            }
        })
    }

    fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Exact(text) => bytes == text.as_bytes(),
            Self::Prefix(text) => bytes.starts_with(text.as_bytes()),
            Self::Regex(regex) => regex.is_match(bytes),
        }
    }
}

impl Matcher {
    fn compile(rule: &MatchRule) -> Result<Self, Refusal> {
        let methods = rule.methods.iter().map(|method| {
            Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Pattern(format!("{method:?} is not a method")))
        });
        let headers = rule.headers.iter().map(|HeaderRule { name, value }| {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Refusal::Pattern(format!("{name:?} is not a header name")))?;
            let value = match value {
                HeaderValueRule::Text(text) => HeaderText::Text(Text::compile(text)?),
                HeaderValueRule::Present => HeaderText::Present,
                HeaderValueRule::Absent => HeaderText::Absent,
            };
            Ok((name, value))
        });
        Ok(Self {
            path: rule.path.as_ref().map(Text::compile).transpose()?,
            methods: methods.collect::<Result<_, _>>()?,
            headers: headers.collect::<Result<_, Refusal>>()?,
        })
    }

    fn matches(&self, method: &Method, path: &str, headers: &HeaderMap) -> bool {
        self.path.as_ref().is_none_or(|text| text.matches(path.as_bytes()))
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|(name, rule)| match rule {
                HeaderText::Present => headers.contains_key(name),
                HeaderText::Absent => !headers.contains_key(name),
                HeaderText::Text(text) => headers.get_all(name).iter().any(|value| text.matches(value.as_bytes())),
            })
    }
}
