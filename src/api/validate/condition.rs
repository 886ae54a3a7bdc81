//! The rules of `failureConditions`: names, triggers, thresholds, and the prepared success-rate query.

use std::{collections::HashSet, time::Duration};

use super::{
    BODY, DEFAULT_MIN_REQUESTS, DEFAULT_SUCCESS_RATE_INTERVAL, DEFAULT_TRAFFIC_INTERVAL, MAX_SUCCESS_RATE_INTERVAL,
    MAX_TRAFFIC_INTERVAL, Pass, Range, syntax,
};
use crate::{
    failure_condition::{FailureCondition, PrometheusTrigger, SuccessRate, TrafficMetric, TrafficTrigger, Trigger},
    plan::MAX_CONDITIONS,
    quantity::{ComparisonOperator, GoDuration},
    scenario::{ConditionRule, Threshold, TrafficRule, TriggerRule},
};

/// The longest PromQL text.
const MAX_QUERY: usize = 4096;

impl Pass<'_> {
    /// All conditions of an experiment that runs for `run`.
    pub(super) fn conditions(&mut self, conditions: &[FailureCondition], run: Duration) -> Vec<ConditionRule> {
        self.bounded(&format!("{BODY}.failureConditions"), conditions.len(), MAX_CONDITIONS);
        let mut names = HashSet::new();
        let mut rules = Vec::new();
        for (i, condition) in conditions.iter().enumerate() {
            let path = format!("{BODY}.failureConditions[{i}]");
            if let Some(name) = &condition.name {
                self.condition_name(&format!("{path}.name"), name, names.insert(name));
            }
            rules.extend(self.condition(&path, condition, run));
        }
        rules
    }

    fn condition_name(&mut self, path: &str, name: &str, is_new: bool) {
        if name.is_empty() || name.len() > 253 || name.trim() != name || name.chars().any(char::is_control) {
            self.report(path, "must be 1 to 253 printable characters without blanks around them, as in reviews-errors");
        } else if !is_new {
            self.report(path, format!("another condition has the name {name:?}; the report tells them apart by it"));
        }
    }

    fn condition(&mut self, path: &str, condition: &FailureCondition, run: Duration) -> Option<ConditionRule> {
        let at = format!("{path}.trigger");
        let Some(trigger) = &condition.trigger else {
            self.report(at, "is required: one of prometheus, webhookUrl and traffic");
            return None;
        };
        let rule = match trigger {
            Trigger { prometheus: Some(prometheus), webhook_url: None, traffic: None } => {
                self.prometheus(&format!("{at}.prometheus"), prometheus)
            }
            Trigger { prometheus: None, webhook_url: Some(url), traffic: None } => {
                if condition.on_no_data.is_some() {
                    self.report(
                        format!("{path}.onNoData"),
                        "does not apply to webhookUrl: a webhook answers or it fails",
                    );
                }
                self.webhook(&format!("{at}.webhookUrl"), url)
            }
            Trigger { prometheus: None, webhook_url: None, traffic: Some(traffic) } => {
                if condition.on_no_data.is_some() && traffic.metric == TrafficMetric::RequestRate {
                    self.report(
                        format!("{path}.onNoData"),
                        "does not apply to RequestRate: without requests the rate is 0",
                    );
                }
                self.traffic(&format!("{at}.traffic"), traffic, run)
            }
            Trigger { prometheus: None, webhook_url: None, traffic: None } => {
                self.report(at, "is empty: give one of prometheus, webhookUrl and traffic");
                None
            }
            Trigger { .. } => {
                self.report(
                    at,
                    "has more than one of prometheus, webhookUrl and traffic; give each a condition of its own",
                );
                None
            }
        };
        let on_no_data = condition.on_no_data.unwrap_or_default();
        Some(ConditionRule { name: condition.name.clone(), on_no_data, trigger: rule? })
    }

    fn prometheus(&mut self, path: &str, prometheus: &PrometheusTrigger) -> Option<TriggerRule> {
        let operator = prometheus.comparison_operator;
        let query = match (&prometheus.custom_query, &prometheus.success_rate) {
            (Some(query), None) => {
                self.custom_query(&format!("{path}.customQuery"), query);
                Some(query.clone())
            }
            (None, Some(rate)) => self.success_rate(&format!("{path}.successRate"), rate),
            (Some(_), Some(_)) => {
                self.report(path, "has both customQuery and successRate; give each a condition of its own");
                None
            }
            (None, None) => {
                self.report(path, "needs customQuery or successRate, as in successRate: {service: {name: ratings, namespace: bookinfo}}");
                None
            }
        };
        let bounds = if prometheus.success_rate.is_some() { Bounds::SHARE } else { Bounds::ANY };
        let threshold = self.threshold(path, prometheus.threshold_value, operator, bounds);
        Some(TriggerRule::Prometheus { query: query?, threshold })
    }

    fn custom_query(&mut self, path: &str, query: &str) {
        if query.trim().is_empty() {
            self.report(path, "must not be blank, as in scalar(sum(rate(http_errors_total[1m])))");
        } else if query.len() > MAX_QUERY {
            self.report(path, format!("is longer than {MAX_QUERY} bytes"));
        }
    }

    fn success_rate(&mut self, path: &str, rate: &SuccessRate) -> Option<String> {
        let range = Range::upto(MAX_SUCCESS_RATE_INTERVAL);
        let interval = self.duration(&format!("{path}.interval"), rate.interval, DEFAULT_SUCCESS_RATE_INTERVAL, range);
        let at = format!("{path}.service");
        let Some(service) = &rate.service else {
            self.report(at, "is required, as in service: {name: ratings, namespace: bookinfo}");
            return None;
        };
        if !interval.subsec_nanos().is_multiple_of(1_000_000) {
            self.report(
                format!("{path}.interval"),
                "Prometheus knows no unit below a millisecond, as in interval: \"1m\"",
            );
        }
        self.reference(&at, service, "{name: ratings, namespace: bookinfo}").then(|| {
            let service = self.as_written(service);
            success_rate_query(&service.namespace, &service.name, interval)
        })
    }

    fn webhook(&mut self, path: &str, url: &str) -> Option<TriggerRule> {
        if let Some(problem) = syntax::url_problem(url) {
            self.report(path, format!("{problem}; write for example https://checks.example.com/healthy"));
            return None;
        }
        Some(TriggerRule::Webhook { url: url.to_owned() })
    }

    fn traffic(&mut self, path: &str, traffic: &TrafficTrigger, run: Duration) -> Option<TriggerRule> {
        let service = self.destination(&format!("{path}.service"), &traffic.service);
        let at = format!("{path}.interval");
        let interval =
            self.duration(&at, traffic.interval, DEFAULT_TRAFFIC_INTERVAL, Range::upto(MAX_TRAFFIC_INTERVAL));
        if interval >= run && interval <= MAX_TRAFFIC_INTERVAL {
            let (interval, run) = (GoDuration::from(interval), GoDuration::from(run));
            self.report(at, format!("the window of {interval} is not shorter than the experiment, which takes {run}: it would never be evaluated"));
        }
        let min_requests = match (traffic.metric, traffic.min_requests) {
            (TrafficMetric::RequestRate, None) => 0,
            (TrafficMetric::RequestRate, Some(_)) => {
                self.report(
                    format!("{path}.minRequests"),
                    "does not apply to RequestRate: without requests the rate is 0",
                );
                0
            }
            (_, Some(0)) => {
                self.report(
                    format!("{path}.minRequests"),
                    "must be at least 1: a window without requests has no value",
                );
                0
            }
            (_, given) => given.unwrap_or(DEFAULT_MIN_REQUESTS),
        };
        let bounds = match traffic.metric {
            TrafficMetric::ErrorRate | TrafficMetric::SuccessRate => Bounds::SHARE,
            _ => Bounds::FROM_ZERO,
        };
        let threshold = self.threshold(path, traffic.threshold_value, traffic.comparison_operator, bounds);
        Some(TriggerRule::Traffic(TrafficRule {
            service: service?,
            metric: traffic.metric,
            interval,
            min_requests,
            exclude_injected: traffic.exclude_injected.unwrap_or(true),
            threshold,
        }))
    }

    /// A threshold that the value can cross.
    fn threshold(&mut self, path: &str, value: f64, operator: ComparisonOperator, bounds: Bounds) -> Threshold {
        let Bounds { low, high, what } = bounds;
        let at = format!("{path}.thresholdValue");
        if !value.is_finite() {
            self.report(at, format!("{value} compares with nothing; write a number, as in 0.01"));
        } else if !(low..=high).contains(&value) {
            self.report(at, format!("{value} is out of range: {what}"));
        } else if operator == ComparisonOperator::Less && value <= low
            || operator == ComparisonOperator::Greater && value >= high
        {
            let message = format!(
                "can never trip: {what}, so it is never {operator} {value}; the operator is < unless comparisonOperator says otherwise"
            );
            self.report(at, message);
        }
        Threshold { value, operator }
    }
}

/// The values that an observation can have.
#[derive(Clone, Copy)]
struct Bounds {
    low: f64,
    high: f64,
    what: &'static str,
}

impl Bounds {
    const ANY: Self = Self { low: f64::MIN, high: f64::MAX, what: "the value is a finite number" };
    const SHARE: Self =
        Self { low: 0.0, high: 1.0, what: "a rate of errors or successes is a share from 0 to 1, as in 0.05" };
    const FROM_ZERO: Self = Self { low: 0.0, high: f64::MAX, what: "the value is never negative, as in 0.25" };
}

/// The share of requests to a Service that did not end in a 5xx, as Istio's metrics count them at the receiving side.
///
/// `scalar` makes one number of it, NaN where there are no requests.
fn success_rate_query(namespace: &str, name: &str, interval: Duration) -> String {
    let service = format!("destination_service_namespace=\"{namespace}\",destination_service_name=\"{name}\"");
    let range = prometheus_range(interval);
    format!(
        "scalar(sum(rate(istio_requests_total{{reporter=\"destination\",response_code!~\"5.*\",{service}}}[{range}]))\
         /sum(rate(istio_requests_total{{reporter=\"destination\",{service}}}[{range}])))"
    )
}

/// A range in one unit, since older Prometheus servers read no compound ones such as `1m30s`.
fn prometheus_range(interval: Duration) -> String {
    let millis = interval.as_millis();
    match millis {
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}
