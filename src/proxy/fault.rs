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
use http::{HeaderName, HeaderValue, Method};

use super::{
    fields::{Fields, Key},
    live_plan::Refusal,
    run_state::RunState,
};

/// A fault, compiled.
#[derive(Debug)]
pub(crate) struct LiveFault {
    destinations: Vec<Destination>,
    origins: HashSet<ServiceName>,
    path: Option<Text>,
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
                path: fault.matches.path.as_ref().map(Text::compile).transpose()?,
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
        // One destination without a subset is all of them: there is no list then.
        Some(FaultHere { path: self.path.clone(), subsets: subsets.collect(), fault: Arc::clone(self) })
    }

    /// Whether what this caller sends can be hit; an unknown one matches no name.
    pub(crate) fn is_about(&self, source: Option<&ServiceName>) -> bool {
        self.origins.is_empty() || source.is_some_and(|source| self.origins.contains(source))
    }
}

/// What of a fault concerns one port: its destinations are looked through when the plan comes, and not for each request.
///
/// It is small, so that those of a port are side by side. Most requests differ from most faults in the path: then nothing but
/// this is looked at.
#[derive(Clone, Debug)]
pub(crate) struct FaultHere {
    /// The path of the requests that it hits.
    path: Option<Text>,
    /// The subsets that it hits; `None` where it hits all.
    subsets: Option<Box<[String]>>,
    /// The fault.
    pub(crate) fault: Arc<LiveFault>,
}

impl FaultHere {
    /// Whether this very request applies: path, destination subset, caller, method, headers.
    pub(crate) fn applies(&self, request: &Facts<'_>) -> bool {
        let is_here = |subsets: &[String]| request.subset.is_some_and(|to| subsets.iter().any(|subset| subset == to));
        self.path.as_ref().is_none_or(|path| path.matches(request.path.as_bytes()))
            && self.subsets.as_deref().is_none_or(is_here)
            && self.fault.is_about(request.source)
            && self.fault.matcher.matches(request.method, request.fields)
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
    /// Its fields as they were sent.
    pub(crate) fields: &'a Fields,
}

/// A compiled [`MatchRule`], but for its path.
#[derive(Debug)]
struct Matcher {
    methods: Vec<Method>,
    headers: Vec<(Key, HeaderText)>,
}

#[derive(Debug)]
enum HeaderText {
    Text(Text),
    Present,
    Absent,
}

#[derive(Clone, Debug)]
enum Text {
    Exact(Box<str>),
    Prefix(Box<str>),
    /// Counted, since each copy of a regular expression has memory of its own to work in.
    Regex(Arc<regex::bytes::Regex>),
}

impl Text {
    fn compile(rule: &TextMatch) -> Result<Self, Refusal> {
        Ok(match rule {
            TextMatch::Exact(text) => Self::Exact(text.as_str().into()),
            TextMatch::Prefix(text) => Self::Prefix(text.as_str().into()),
            TextMatch::Regex(text) => {
                Self::Regex(Arc::new(pattern::whole(text).map_err(|error| Refusal::Pattern(error.to_string()))?))
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
            Ok((Key::new(name), value))
        });
        Ok(Self { methods: methods.collect::<Result<_, _>>()?, headers: headers.collect::<Result<_, Refusal>>()? })
    }

    fn matches(&self, method: &Method, fields: &Fields) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|(name, rule)| match rule {
                HeaderText::Present => fields.all_of(name).next().is_some(),
                HeaderText::Absent => fields.all_of(name).next().is_none(),
                HeaderText::Text(text) => fields.all_of(name).any(|value| text.matches(value)),
            })
    }
}

#[cfg(test)]
mod tests {
    use glooshot_api::{plan::PlannedFault, quantity::Percent};

    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName { namespace: "bookinfo".into(), name: name.into() }
    }

    fn destination(port: Option<u16>, subset: Option<&str>) -> Destination {
        Destination { service: service("ratings"), port, subset: subset.map(str::to_owned) }
    }

    /// What of a fault concerns a port of ratings.
    fn at(
        port: u16,
        destinations: Vec<Destination>,
        origins: Vec<ServiceName>,
        matches: MatchRule,
    ) -> Option<FaultHere> {
        let fault = PlannedFault {
            origins,
            destinations,
            matches,
            percentage: Percent::ALL,
            disruption: Disruption::AbortHttp(500),
        };
        let experiment = PlannedExperiment {
            name: service("ratings"),
            uid: "one".into(),
            armed: true,
            faults: vec![fault],
            conditions: vec![],
            max_injected: None,
            max_concurrent_delays: 1,
            seed: None,
        };
        let run = RunState::new(&experiment, 1, tokio::sync::watch::Sender::default());
        let faults = LiveFault::compile_all(&experiment, &run).unwrap();
        faults[0].at(&ServicePort { service: service("ratings"), port })
    }

    fn everything(matches: MatchRule) -> FaultHere {
        at(9080, vec![destination(None, None)], vec![], matches).unwrap()
    }

    /// Whether a request applies that goes to subset v1.
    fn applies(fault: &FaultHere, source: Option<&ServiceName>, path: &str) -> bool {
        let uri: http::Uri = path.parse().unwrap();
        let fields = [("end-user", "jason")].into();
        fault.applies(&Facts { subset: Some("v1"), source, method: &Method::GET, path: uri.path(), fields: &fields })
    }

    #[test]
    fn a_fault_applies_at_its_ports_and_to_its_subsets_only() {
        let v1_and_v2 = || vec![destination(None, Some("v2")), destination(Some(9080), Some("v1"))];
        let v2 = || vec![destination(None, Some("v2"))];
        let v2_and_all = || vec![destination(None, Some("v2")), destination(None, None)];
        for (port, destinations, applies_here) in [
            (9080, v1_and_v2(), Some(true)),
            (9081, v1_and_v2(), Some(false)),
            (9080, v2(), Some(false)),
            (9080, v2_and_all(), Some(true)),
            (9080, vec![destination(Some(9081), None)], None),
        ] {
            let told = format!("{port} {destinations:?}");
            let fault = at(port, destinations, vec![], MatchRule::default());
            assert_eq!(fault.map(|fault| applies(&fault, None, "/")), applies_here, "{told}");
        }
    }

    #[test]
    fn the_path_of_a_request_must_be_the_one_begin_with_it_or_be_matched_as_a_whole() {
        let exact = || TextMatch::Exact("/ratings/1".into());
        let prefix = || TextMatch::Prefix("/ratings/".into());
        let regex = || TextMatch::Regex("/ratings/[0-9]".into());
        for (path, text, matched) in [
            ("/ratings/1", exact(), true),
            ("/ratings/1?user=jason", exact(), true),
            ("/ratings/12", exact(), false),
            ("/ratings/2", exact(), false),
            ("/ratings/12", prefix(), true),
            ("/ratings", prefix(), false),
            ("/ratings/2", regex(), true),
            ("/ratings/12", regex(), false),
            ("/x/ratings/1", regex(), false),
        ] {
            let fault = everything(MatchRule { path: Some(text.clone()), ..MatchRule::default() });
            assert_eq!(applies(&fault, None, path), matched, "{path} by {text:?}");
        }
    }

    #[test]
    fn caller_method_and_all_headers_must_match_besides_the_path() {
        let rule = |name: &str, value| HeaderRule { name: name.into(), value };
        let text = |text: &str| HeaderValueRule::Text(TextMatch::Exact(text.into()));
        let matches = |methods: &[&str], headers: Vec<HeaderRule>| MatchRule {
            path: Some(TextMatch::Prefix("/".into())),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            headers,
        };
        for (rules, matched) in [
            (matches(&["POST", "GET"], vec![]), true),
            (matches(&["POST"], vec![]), false),
            (matches(&[], vec![rule("end-user", text("jason"))]), true),
            (matches(&[], vec![rule("end-user", text("jane"))]), false),
            (matches(&[], vec![rule("end-user", HeaderValueRule::Absent)]), false),
            (matches(&[], vec![rule("end-user", text("jason")), rule("x-none", HeaderValueRule::Present)]), false),
            (
                matches(&[], vec![rule("end-user", HeaderValueRule::Present), rule("x-none", HeaderValueRule::Absent)]),
                true,
            ),
        ] {
            assert_eq!(applies(&everything(rules.clone()), None, "/"), matched, "{rules:?}");
        }
        let reviews = service("reviews");
        let of_reviews = at(9080, vec![destination(None, None)], vec![reviews.clone()], MatchRule::default()).unwrap();
        for (source, matched) in [(Some(&reviews), true), (Some(&service("details")), false), (None, false)] {
            assert_eq!(applies(&of_reviews, source, "/"), matched, "{source:?}");
        }
    }
}
