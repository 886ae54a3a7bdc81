//! The rules of `faults`: targets, percentages, aborts, delays, connection faults, matches.

use std::time::Duration;

use super::{BODY, Pass, Range, syntax};
use crate::{
    fault::{Abort, ConnectionFault, Delay, Fault, HeaderMatch, InjectedFault, PathMatch, RequestMatch},
    names::{Destination, ResourceRef, ServiceName},
    pattern,
    plan::{
        Disruption, HeaderRule, HeaderValueRule, MAX_DELAY, MAX_FAULTS, MAX_MATCHES, MAX_SERVICES, MAX_TEXT, MatchRule,
        TextMatch,
    },
    quantity::Percent,
    scenario::FaultRule,
    share::{self, Excess, Share},
};

impl Pass<'_> {
    /// All faults. Those with violations are left out, which is no matter, since then nothing is run.
    pub(super) fn faults(&mut self, faults: &[InjectedFault]) -> Vec<FaultRule> {
        self.bounded(&format!("{BODY}.faults"), faults.len(), MAX_FAULTS);
        let rules: Vec<Option<FaultRule>> =
            faults.iter().enumerate().map(|(i, fault)| self.fault(&format!("{BODY}.faults[{i}]"), fault)).collect();
        self.sums(&rules);
        rules.into_iter().flatten().collect()
    }

    fn fault(&mut self, path: &str, fault: &InjectedFault) -> Option<FaultRule> {
        let origins = self.services(&format!("{path}.originServices"), &fault.origin_services, Self::origin);
        let at = format!("{path}.destinationServices");
        if fault.destination_services.is_empty() {
            self.report(
                &at,
                "must name at least one service, as in [{name: bookinfo-ratings-9080, namespace: glooshot}]",
            );
        }
        let of_connections = fault.fault.as_ref().is_some_and(|what| what.connection.is_some());
        let meaning = if of_connections { Self::whole_destination } else { Self::destination };
        let destinations = self.services(&at, &fault.destination_services, meaning);
        if of_connections && fault.matches.is_some() {
            self.report(
                format!("{path}.match"),
                "does not apply to a connection fault, since there is no request yet; leave it out, or choose by caller, as in originServices: [{name: productpage, namespace: bookinfo}]",
            );
        }
        let matches =
            fault.matches.as_ref().map_or_else(MatchRule::default, |m| self.matches(&format!("{path}.match"), m));
        let Some(what) = &fault.fault else {
            self.report(
                format!("{path}.fault"),
                "is required, as in fault: {abort: {httpStatus: 500}, percentage: 50}",
            );
            return None;
        };
        let percentage = self.percentage(&format!("{path}.fault.percentage"), what.percentage);
        let disruption = self.disruption(&format!("{path}.fault"), what);
        Some(FaultRule { origins, destinations, matches, percentage: percentage?, disruption: disruption? })
    }

    /// A list of references, each only once.
    fn services<T: PartialEq>(
        &mut self,
        path: &str,
        references: &[ResourceRef],
        meaning: fn(&mut Self, &str, &ResourceRef) -> Option<T>,
    ) -> Vec<T> {
        self.bounded(path, references.len(), MAX_SERVICES);
        let mut services = Vec::new();
        for (i, reference) in references.iter().enumerate() {
            let here = format!("{path}[{i}]");
            match meaning(self, &here, reference) {
                Some(service) if services.contains(&service) => {
                    self.report(here, format!("{reference} is in this list already; name every service once"));
                }
                Some(service) => services.push(service),
                None => {}
            }
        }
        services
    }

    /// What a reference to a target of a connection fault means: at connect no endpoint has been chosen.
    fn whole_destination(&mut self, path: &str, reference: &ResourceRef) -> Option<Destination> {
        match self.destination(path, reference)? {
            Destination { service, subset: Some(subset), .. } => {
                let ServiceName { namespace, name } = &service;
                let message = format!(
                    "names the subset {subset} of {service}; a connection fault comes before an endpoint is chosen: name the whole service, as in {{name: {name}, namespace: {namespace}}}"
                );
                self.report(path, message);
                None
            }
            whole => Some(whole),
        }
    }

    fn percentage(&mut self, path: &str, given: Option<f64>) -> Option<Percent> {
        let Some(given) = given else {
            self.report(path, "is required, above 0 and at most 100, as in percentage: 25; there is no default, since 100 breaks production");
            return None;
        };
        Percent::try_from(given).map_err(|error| self.report(path, error.to_string())).ok()
    }

    fn disruption(&mut self, path: &str, fault: &Fault) -> Option<Disruption> {
        match (&fault.abort, &fault.delay, &fault.connection) {
            (Some(abort), None, None) => self.abort(&format!("{path}.abort"), abort),
            (None, Some(delay), None) => {
                let (duration, jitter) = self.delay(&format!("{path}.delay"), delay);
                Some(Disruption::Delay { duration, jitter })
            }
            (None, None, Some(connection)) => self.connection(&format!("{path}.connection"), connection),
            (None, None, None) => {
                self.report(
                    path,
                    "needs abort, delay or connection, as in abort: {httpStatus: 500}, delay: {duration: \"2s\"} or connection: {reset: true}",
                );
                None
            }
            (abort, delay, _) => {
                let given = match (abort, delay) {
                    (Some(_), Some(_)) => "both abort and delay",
                    (Some(_), None) => "both abort and connection",
                    _ => "both delay and connection",
                };
                self.report(path, format!("has {given}; give each a fault of its own"));
                None
            }
        }
    }

    fn connection(&mut self, path: &str, connection: &ConnectionFault) -> Option<Disruption> {
        match (connection.reset, &connection.delay) {
            (Some(true), None) => Some(Disruption::ResetConnection),
            (Some(false), None) => {
                self.report(
                    format!("{path}.reset"),
                    "false does nothing; a reset is asked for as in connection: {reset: true}",
                );
                None
            }
            (None, Some(delay)) => {
                let (duration, jitter) = self.delay(&format!("{path}.delay"), delay);
                Some(Disruption::DelayConnection { duration, jitter })
            }
            (Some(_), Some(_)) => {
                self.report(path, "has both reset and delay; give each a fault of its own");
                None
            }
            (None, None) => {
                self.report(path, "needs reset or delay, as in reset: true or delay: {duration: \"2s\"}");
                None
            }
        }
    }

    fn abort(&mut self, path: &str, abort: &Abort) -> Option<Disruption> {
        let within = |status: i32, low: u16, high: u16| u16::try_from(status).ok().filter(|s| (low..=high).contains(s));
        match (abort.http_status, abort.grpc_status) {
            (Some(status), None) => {
                let known = within(status, 200, 599).map(Disruption::AbortHttp);
                if known.is_none() {
                    self.report(
                        format!("{path}.httpStatus"),
                        format!("{status} is not within 200 to 599, as in httpStatus: 500"),
                    );
                }
                known
            }
            (None, Some(status)) => {
                let known = within(status, 1, 16).map(Disruption::AbortGrpc);
                if known.is_none() {
                    let message = format!("{status} is not within 1 to 16, as in grpcStatus: 14 (UNAVAILABLE)");
                    self.report(format!("{path}.grpcStatus"), message);
                }
                known
            }
            (Some(_), Some(_)) => {
                self.report(path, "has both httpStatus and grpcStatus; an abort answers with one of them");
                None
            }
            (None, None) => {
                self.report(path, "needs a status to answer with, as in httpStatus: 500 or grpcStatus: 14");
                None
            }
        }
    }

    /// How long a delay is, and its jitter.
    fn delay(&mut self, path: &str, delay: &Delay) -> (Duration, Duration) {
        let example = Duration::from_secs(2);
        let duration =
            self.duration(&format!("{path}.duration"), Some(delay.duration), example, Range::upto(MAX_DELAY));
        let jitter = delay.jitter.map_or(Duration::ZERO, crate::quantity::GoDuration::get);
        if jitter > duration {
            self.report(
                format!("{path}.jitter"),
                "must not be longer than the delay itself, as in {duration: 2s, jitter: 500ms}",
            );
        }
        (duration, jitter)
    }

    fn matches(&mut self, path: &str, matches: &RequestMatch) -> MatchRule {
        let text = matches.path.as_ref().and_then(|rule| self.path_match(&format!("{path}.path"), rule));
        self.bounded(&format!("{path}.methods"), matches.methods.len(), MAX_MATCHES);
        for (i, method) in matches.methods.iter().enumerate() {
            // Methods are case-sensitive (RFC 9110 §9.1), and no registered one has small letters.
            if !syntax::is_token(method) || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
                let message = format!("{method:?} is not a method; methods are written in capitals, as in GET");
                self.report(format!("{path}.methods[{i}]"), message);
            }
        }
        self.bounded(&format!("{path}.headers"), matches.headers.len(), MAX_MATCHES);
        let headers = matches.headers.iter().enumerate();
        let headers =
            headers.filter_map(|(i, rule)| self.header_match(&format!("{path}.headers[{i}]"), rule)).collect();
        MatchRule { path: text, methods: matches.methods.clone(), headers }
    }

    fn path_match(&mut self, path: &str, rule: &PathMatch) -> Option<TextMatch> {
        let text = match self.text_match(path, [&rule.exact, &rule.prefix, &rule.regex]) {
            Some(Ok(text)) => text,
            Some(Err(count)) => {
                let message = format!("has {count} of exact, prefix and regex; give exactly one, as in prefix: /api/");
                self.report(path, message);
                return None;
            }
            None => return None,
        };
        match &text {
            TextMatch::Exact(value) | TextMatch::Prefix(value) if !value.starts_with('/') => {
                self.report(
                    path,
                    format!("{value:?} does not begin with \"/\", as every path does: write \"/{value}\""),
                );
            }
            TextMatch::Exact(value) | TextMatch::Prefix(value) if value.contains(['?', '#', ' ']) => {
                self.report(
                    path,
                    format!("{value:?} is more than a path; the query is not matched, and a space is sent as %20"),
                );
            }
            TextMatch::Exact(_) | TextMatch::Prefix(_) | TextMatch::Regex(_) => {}
        }
        Some(text)
    }

    fn header_match(&mut self, path: &str, rule: &HeaderMatch) -> Option<HeaderRule> {
        if !syntax::is_token(&rule.name) || rule.name.len() > 128 {
            let message = format!("{:?} is not a header name: letters, digits and \"-\" only, as in x-user", rule.name);
            self.report(format!("{path}.name"), message);
        }
        let value = match (self.text_match(path, [&rule.exact, &rule.prefix, &rule.regex]), rule.present) {
            (Some(Ok(text)), None) => HeaderValueRule::Text(text),
            (Some(Err(0)), Some(true)) => HeaderValueRule::Present,
            (Some(Err(0)), Some(false)) => HeaderValueRule::Absent,
            (None, None) => return None,
            _ => {
                self.report(
                    path,
                    "give exactly one of exact, prefix, regex and present, as in {name: x-user, exact: jason}",
                );
                return None;
            }
        };
        Some(HeaderRule { name: rule.name.to_ascii_lowercase(), value })
    }

    /// The one text that is given; `Err` with how many there are if that is not one; `None` if it cannot be used, which was said.
    fn text_match(
        &mut self,
        path: &str,
        [exact, prefix, regex]: [&Option<String>; 3],
    ) -> Option<Result<TextMatch, usize>> {
        let given = [exact, prefix, regex].into_iter().filter(|text| text.is_some()).count();
        let (field, text) = match (exact, prefix, regex) {
            _ if given != 1 => return Some(Err(given)),
            (Some(text), ..) => ("exact", TextMatch::Exact(text.clone())),
            (_, Some(text), _) => ("prefix", TextMatch::Prefix(text.clone())),
            (.., Some(text)) => ("regex", TextMatch::Regex(text.clone())),
            (None, None, None) => return Some(Err(0)),
        };
        let problem = match &text {
            TextMatch::Regex(regex) if regex.is_empty() => {
                Some("only the empty text matches it; write for example /api/.*".to_owned())
            }
            TextMatch::Regex(regex) => pattern::whole(regex).err().map(|error| error.to_string()),
            TextMatch::Exact(text) | TextMatch::Prefix(text) if text.len() > MAX_TEXT => {
                Some(format!("is longer than {MAX_TEXT} bytes"))
            }
            TextMatch::Prefix(text) if text.is_empty() => {
                Some("every text begins with the empty one; leave the match out to match everything".to_owned())
            }
            TextMatch::Exact(text) | TextMatch::Prefix(text) if !syntax::is_header_value(text) => {
                Some("must not have control characters".to_owned())
            }
            TextMatch::Exact(_) | TextMatch::Prefix(_) => None,
        };
        if let Some(problem) = problem {
            self.report(format!("{path}.{field}"), problem);
            return None;
        }
        Some(Ok(text))
    }

    /// Faults on the very same requests, or the very same connections, may not add up to more than all of them.
    fn sums(&mut self, rules: &[Option<FaultRule>]) {
        let shares: Vec<Option<Share<'_>>> = rules.iter().map(|rule| rule.as_ref().map(Share::from)).collect();
        for Excess { fault, sum, what } in share::excesses(&shares) {
            self.report(
                format!("{BODY}.faults[{fault}].fault.percentage"),
                format!("with the faults above on the same {what} this makes {sum}%; together they can be at most 100"),
            );
        }
    }
}
