//! One object for each way to be wrong, and objects that are right where those are wrong: what the CEL rules are shown,
//! here by an evaluator in this process, and in the repository's `tests/api_server` by a real API server.

use serde_json::{Value, json};

/// An object that is refused.
#[derive(Debug)]
pub struct Refused {
    /// The object.
    pub object: Value,
    /// The field that the refusal names.
    pub field: &'static str,
    /// Part of what it says.
    pub words: &'static str,
}

/// A valid experiment with one part replaced, or taken away where the part is null; `pointer` begins at `spec.spec`.
pub fn with(pointer: &str, part: Value) -> Value {
    let mut object = experiment();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match (object.pointer_mut(&format!("/spec/spec{parent}")).unwrap(), part) {
        (Value::Object(fields), Value::Null) => drop(fields.remove(field)),
        (Value::Object(fields), part) => drop(fields.insert(field.to_owned(), part)),
        (Value::Array(items), part) => items[field.parse::<usize>().unwrap()] = part,
        (other, _) => panic!("{pointer}: {other}"),
    }
    object
}

fn experiment() -> Value {
    json!({
        "apiVersion": "glooshot.solo.io/v1", "kind": "Experiment", "metadata": {"name": "e", "namespace": "default"},
        "spec": {"spec": {
            "duration": "1m",
            "faults": [{
                "destinationServices": [{"name": "ratings", "namespace": "bookinfo"}],
                "fault": {"abort": {"httpStatus": 500}, "percentage": 50},
            }],
            "failureConditions": [
                {"name": "a", "trigger": {"traffic": {
                    "service": {"name": "reviews"}, "metric": "ErrorRate", "thresholdValue": 0.1, "comparisonOperator": ">",
                }}},
                {"name": "b", "trigger": {"webhookUrl": "http://checks.example.com/"}},
            ],
        }},
    })
}

fn mesh(spec: &Value) -> Value {
    json!({
        "apiVersion": "glooshot.solo.io/v1", "kind": "Mesh", "metadata": {"name": "m", "namespace": "default"}, "spec": spec,
    })
}

fn routing_rule(weight: u32) -> Value {
    json!({
        "apiVersion": "glooshot.solo.io/v1", "kind": "RoutingRule", "metadata": {"name": "r", "namespace": "default"},
        "spec": {
            "destinationSelector": {"upstreamSelector": {"upstreams": [{"name": "a"}]}},
            "spec": {"trafficShifting": {"destinations": {"destinations": [
                {"destination": {"upstream": {"name": "b"}}, "weight": weight},
            ]}}},
        },
    })
}

const FAULT: &str = "/faults/0/fault";
const MATCH: &str = "/faults/0/match";
const CONDITION: &str = "/failureConditions/0";
const TRAFFIC: &str = "/failureConditions/0/trigger/traffic";

/// Objects that every rule accepts; each rule has to look at a part of one of them.
pub fn accepted() -> Vec<Value> {
    let prometheus = |trigger: Value| with(CONDITION, json!({"trigger": {"prometheus": trigger}}));
    vec![
        experiment(),
        with("/duration", json!("1h")),
        with(FAULT, json!({"abort": {"grpcStatus": 16}, "percentage": 0.001})),
        with(FAULT, json!({"delay": {"duration": "60s", "jitter": "60s"}, "percentage": 100})),
        with(FAULT, json!({"connection": {"reset": true}, "percentage": 5})),
        with(FAULT, json!({"connection": {"delay": {"duration": "1s", "jitter": "0"}}, "percentage": 5})),
        with(MATCH, json!({"path": {"exact": "/"}, "methods": ["GET", "M-SEARCH"]})),
        with(MATCH, json!({"path": {"prefix": "/api/"}, "headers": [{"name": "x-user", "present": false}]})),
        prometheus(json!({"customQuery": "up", "thresholdValue": 0, "comparisonOperator": ">"})),
        prometheus(json!({"successRate": {"service": {"name": "ratings"}, "interval": "1h"}, "thresholdValue": 1})),
        with(
            TRAFFIC,
            json!({
                "service": {"name": "r"}, "metric": "RequestRate", "thresholdValue": 5, "interval": "59s",
            }),
        ),
        with("/limits", json!({"maxInjected": 5, "minInjected": 5})),
        with("/routing", json!({"settle": "5m", "keepRouted": "1h"})),
        with("/tls", json!([{"service": {"name": "r"}, "certificateSecret": "s", "upstream": {"plaintext": true}}])),
        mesh(&json!({"proxy": {}})),
        mesh(&json!({"istio": {"installationNamespace": "istio-system"}})),
        routing_rule(1),
    ]
}

/// An object for each mistake.
pub fn refused() -> Vec<Refused> {
    let mut all = faults();
    all.extend(matches());
    all.extend(conditions());
    all.extend(settings());
    all.extend([
        Refused { object: mesh(&json!({})), field: "spec", words: "exactly one of istio and proxy" },
        Refused {
            object: mesh(&json!({"proxy": {}, "istio": {"installationNamespace": "istio-system"}})),
            field: "spec",
            words: "exactly one of istio and proxy",
        },
        Refused {
            object: routing_rule(0),
            field: "spec.spec.trafficShifting.destinations.destinations",
            words: "the weights add up to 0",
        },
    ]);
    all
}

fn refuse(pointer: &str, part: Value, field: &'static str, words: &'static str) -> Refused {
    Refused { object: with(pointer, part), field, words }
}

fn faults() -> Vec<Refused> {
    let one_fault = "spec.spec.faults[0].fault";
    let abort = "spec.spec.faults[0].fault.abort";
    let delay = "spec.spec.faults[0].fault.delay";
    let connection = "spec.spec.faults[0].fault.connection";
    vec![
        refuse("/faults/0/destinationServices", Value::Null, "spec.spec.faults[0]", "must name at least one service"),
        refuse("/faults/0/destinationServices", json!([]), "spec.spec.faults[0]", "must name at least one service"),
        refuse("/faults/0/fault", Value::Null, "spec.spec.faults[0]", "fault is missing"),
        refuse(
            "/faults/0",
            json!({
                "destinationServices": [{"name": "ratings"}],
                "match": {"methods": ["GET"]},
                "fault": {"connection": {"reset": true}, "percentage": 5},
            }),
            "spec.spec.faults[0]",
            "match does not apply to a connection fault",
        ),
        refuse(FAULT, json!({"percentage": 5}), one_fault, "exactly one of abort, delay and connection"),
        refuse(
            FAULT,
            json!({"abort": {"httpStatus": 500}, "delay": {"duration": "1s"}, "percentage": 5}),
            one_fault,
            "exactly one of abort, delay and connection",
        ),
        refuse(
            FAULT,
            json!({"abort": {"httpStatus": 500}, "connection": {"reset": true}, "percentage": 5}),
            one_fault,
            "exactly one of abort, delay and connection",
        ),
        refuse(FAULT, json!({"abort": {"httpStatus": 500}}), one_fault, "percentage is required"),
        refuse(FAULT, json!({"abort": {"httpStatus": 500}, "percentage": 0}), one_fault, "percentage is required"),
        refuse(FAULT, json!({"abort": {"httpStatus": 500}, "percentage": 100.5}), one_fault, "percentage is required"),
        refuse(FAULT, json!({"abort": {}, "percentage": 5}), abort, "exactly one of httpStatus and grpcStatus"),
        refuse(
            FAULT,
            json!({"abort": {"httpStatus": 199}, "percentage": 5}),
            "spec.spec.faults[0].fault.abort.httpStatus",
            "an HTTP status from 200 to 599",
        ),
        refuse(
            FAULT,
            json!({"abort": {"grpcStatus": 17}, "percentage": 5}),
            "spec.spec.faults[0].fault.abort.grpcStatus",
            "a gRPC status from 1 to 16",
        ),
        refuse(
            FAULT,
            json!({"delay": {"duration": "61s"}, "percentage": 5}),
            "spec.spec.faults[0].fault.delay.duration",
            "at most 60s",
        ),
        refuse(
            FAULT,
            json!({"delay": {"duration": "1s", "jitter": "61s"}, "percentage": 5}),
            "spec.spec.faults[0].fault.delay.jitter",
            "at most 60s",
        ),
        refuse(
            FAULT,
            json!({"delay": {"duration": "1s", "jitter": "2s"}, "percentage": 5}),
            delay,
            "jitter must not be longer",
        ),
        refuse(FAULT, json!({"connection": {}, "percentage": 5}), connection, "exactly one of reset and delay"),
        refuse(
            FAULT,
            json!({"connection": {"reset": true, "delay": {"duration": "1s"}}, "percentage": 5}),
            connection,
            "exactly one of reset and delay",
        ),
        refuse(
            FAULT,
            json!({"connection": {"reset": false}, "percentage": 5}),
            "spec.spec.faults[0].fault.connection.reset",
            "reset is true or left out",
        ),
        refuse(
            FAULT,
            json!({"connection": {"delay": {"duration": "61s"}}, "percentage": 5}),
            "spec.spec.faults[0].fault.connection.delay.duration",
            "at most 60s",
        ),
        refuse(
            FAULT,
            json!({"connection": {"delay": {"duration": "1s", "jitter": "x"}}, "percentage": 5}),
            "spec.spec.faults[0].fault.connection.delay.jitter",
            "at most 60s",
        ),
        refuse(
            FAULT,
            json!({"connection": {"delay": {"duration": "1s", "jitter": "2s"}}, "percentage": 5}),
            "spec.spec.faults[0].fault.connection.delay",
            "jitter must not be longer",
        ),
    ]
}

fn matches() -> Vec<Refused> {
    let path = "spec.spec.faults[0].match.path";
    let header = "spec.spec.faults[0].match.headers[0]";
    vec![
        refuse(MATCH, json!({"path": {"exact": "/a", "prefix": "/b"}}), path, "exactly one of exact, prefix and regex"),
        refuse(MATCH, json!({"path": {}}), path, "exactly one of exact, prefix and regex"),
        refuse(
            MATCH,
            json!({"path": {"exact": "a"}}),
            "spec.spec.faults[0].match.path.exact",
            "a path begins with /, as in /api/v1",
        ),
        refuse(
            MATCH,
            json!({"path": {"prefix": "a"}}),
            "spec.spec.faults[0].match.path.prefix",
            "a path begins with /, as in /api/",
        ),
        refuse(
            MATCH,
            json!({"methods": ["get"]}),
            "spec.spec.faults[0].match.methods",
            "a method is written in capitals",
        ),
        refuse(MATCH, json!({"headers": [{"name": "x"}]}), header, "exactly one of exact, prefix, regex and present"),
        refuse(
            MATCH,
            json!({"headers": [{"name": "a b", "exact": "x"}]}),
            "spec.spec.faults[0].match.headers[0].name",
            "a header name has",
        ),
    ]
}

fn conditions() -> Vec<Refused> {
    let first = "spec.spec.failureConditions[0]";
    let prometheus = "spec.spec.failureConditions[0].trigger.prometheus";
    let traffic = "spec.spec.failureConditions[0].trigger.traffic";
    let url = "spec.spec.failureConditions[1].trigger.webhookUrl";
    let at_url = "/failureConditions/1/trigger/webhookUrl";
    vec![
        refuse("/failureConditions/1/name", json!("a"), "spec.spec.failureConditions", "must be unique"),
        refuse("/failureConditions/0/trigger", Value::Null, first, "trigger is missing"),
        refuse(
            "/failureConditions/0/trigger",
            json!({}),
            "spec.spec.failureConditions[0].trigger",
            "exactly one of prometheus, webhookUrl and traffic",
        ),
        refuse(
            "/failureConditions/1/onNoData",
            json!("Fail"),
            "spec.spec.failureConditions[1]",
            "onNoData does not apply to webhookUrl",
        ),
        refuse(
            CONDITION,
            json!({"onNoData": "Fail", "trigger": {"traffic": {
                "service": {"name": "r"}, "metric": "RequestRate", "thresholdValue": 5,
            }}}),
            first,
            "onNoData does not apply to RequestRate",
        ),
        refuse(at_url, json!("ftp://example.com/"), url, "absolute http or https URL"),
        refuse(at_url, json!("http://user:pw@example.com/"), url, "absolute http or https URL"),
        refuse(at_url, json!("/healthy"), url, "absolute http or https URL"),
        refuse(
            CONDITION,
            json!({"trigger": {"prometheus": {"thresholdValue": 1}}}),
            prometheus,
            "exactly one of customQuery and successRate",
        ),
        refuse(
            CONDITION,
            json!({"trigger": {"prometheus": {"customQuery": " \n", "thresholdValue": 1}}}),
            "spec.spec.failureConditions[0].trigger.prometheus.customQuery",
            "must not be blank",
        ),
        refuse(
            CONDITION,
            json!({"trigger": {"prometheus": {"successRate": {}, "thresholdValue": 0.9}}}),
            "spec.spec.failureConditions[0].trigger.prometheus.successRate",
            "successRate needs a service",
        ),
        refuse(
            CONDITION,
            json!({"trigger": {"prometheus": {
                "successRate": {"service": {"name": "a"}, "interval": "61m"}, "thresholdValue": 0.9,
            }}}),
            "spec.spec.failureConditions[0].trigger.prometheus.successRate.interval",
            "at most 1h",
        ),
        refuse(
            CONDITION,
            json!({"trigger": {"prometheus": {"successRate": {"service": {"name": "a"}}, "thresholdValue": 95}}}),
            prometheus,
            "a share from 0 to 1",
        ),
        refuse(
            CONDITION,
            json!({"trigger": {"prometheus": {"successRate": {"service": {"name": "a"}}}}}),
            prometheus,
            "can never trip",
        ),
        refuse(
            "/failureConditions/0/trigger/traffic/interval",
            json!("11m"),
            "spec.spec.failureConditions[0].trigger.traffic.interval",
            "at most 10m",
        ),
        refuse(
            "/failureConditions/0/trigger/traffic/interval",
            json!("60s"),
            "spec.spec",
            "must be shorter than the experiment",
        ),
        refuse("/failureConditions/0/trigger/traffic/thresholdValue", json!(5), traffic, "a share from 0 to 1"),
        refuse("/failureConditions/0/trigger/traffic/thresholdValue", json!(1), traffic, "can never trip"),
        refuse(
            TRAFFIC,
            json!({"service": {"name": "r"}, "metric": "LatencyP99", "thresholdValue": -1, "comparisonOperator": ">"}),
            traffic,
            "must not be negative",
        ),
        refuse(
            TRAFFIC,
            json!({"service": {"name": "r"}, "metric": "LatencyP99", "thresholdValue": 0}),
            traffic,
            "can never trip",
        ),
        refuse(
            TRAFFIC,
            json!({"service": {"name": "r"}, "metric": "RequestRate", "thresholdValue": 5, "minRequests": 3}),
            traffic,
            "minRequests does not apply to RequestRate",
        ),
    ]
}

fn settings() -> Vec<Refused> {
    let duration = "spec.spec.duration";
    vec![
        refuse("/duration", json!("0s"), duration, "above 0 and at most 1h"),
        refuse("/duration", json!("61m"), duration, "above 0 and at most 1h"),
        refuse("/duration", json!("600"), duration, "with a unit"),
        refuse("/duration", json!("-5s"), duration, "above 0 and at most 1h"),
        refuse(
            "/limits",
            json!({"maxInjected": 5, "minInjected": 6}),
            "spec.spec.limits",
            "minInjected must not be above maxInjected",
        ),
        refuse("/routing", json!({"settle": "6m"}), "spec.spec.routing.settle", "at most 5m"),
        refuse("/routing", json!({"keepRouted": "61m"}), "spec.spec.routing.keepRouted", "at most 1h"),
        refuse(
            "/tls",
            json!([{
                "service": {"name": "r"}, "certificateSecret": "s", "upstream": {"plaintext": true, "serverName": "x"},
            }]),
            "spec.spec.tls[0].upstream",
            "plaintext excludes",
        ),
    ]
}
