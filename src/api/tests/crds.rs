//! The CustomResourceDefinitions: golden files, bounds everywhere, and what their CEL rules accept and refuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

use std::{collections::HashMap, env, fs, path::PathBuf, sync::LazyLock};

use glooshot_api::{crds, manifest, validate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use kube::core::cel::Validator;
use serde_json::{Value, json};

fn manifests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

#[test]
fn the_files_in_manifests_are_what_the_types_say() {
    for definition in crds::all() {
        let path = manifests().join("crds").join(crds::file_name(&definition));
        let now = manifest::to_yaml(&definition).unwrap();
        if env::var_os("GLOOSHOT_BLESS").is_some() {
            fs::write(&path, &now).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, now, "{} is out of date: run the tests with GLOOSHOT_BLESS=1", path.display());
    }
}

/// The schema of each kind.
static SCHEMAS: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    let schema = |version: &CustomResourceDefinitionVersion| {
        serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap()
    };
    crds::all().into_iter().map(|crd| (crd.spec.names.kind.clone(), schema(&crd.spec.versions[0]))).collect()
});

#[test]
fn every_list_map_and_text_has_a_bound() {
    fn walk(path: &str, schema: &Value) {
        let kind = schema["type"].as_str().unwrap_or_default();
        let bounded = match kind {
            "array" => schema["maxItems"].is_number(),
            "string" => schema["maxLength"].is_number() || schema["enum"].is_array(),
            "object" if schema["additionalProperties"].is_object() => schema["maxProperties"].is_number(),
            _ => true,
        };
        assert!(bounded, "{path} has no bound: {schema}");
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property);
        }
        for (word, inner) in [("[]", &schema["items"]), ("{}", &schema["additionalProperties"])] {
            if inner.is_object() {
                walk(&format!("{path}{word}"), inner);
            }
        }
    }
    for kind in manifest::KINDS {
        let schema = &SCHEMAS[kind];
        for part in ["spec", "status"] {
            walk(&format!("{kind}.{part}"), &schema["properties"][part]);
        }
    }
}

/// The messages of the rules that refuse `object`; its `old` state if it is an update.
fn refusals(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(&SCHEMAS[kind], object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| format!("{}: {}", error.field_path, error.message)).collect(),
    }
}

fn example(name: &str) -> Value {
    let text = fs::read_to_string(manifests().join("examples").join(name)).unwrap();
    serde_json::to_value(manifest::read_experiment(&text).unwrap()).unwrap()
}

#[test]
fn the_rules_accept_every_example() {
    for name in [
        "tutorial/abort-ratings-metric.yaml",
        "tutorial/abort-ratings-metric-repeat.yaml",
        "conditions.yaml",
        "connection.yaml",
        "control.yaml",
        "delay.yaml",
        "match.yaml",
        "origin-services.yaml",
        "tls.yaml",
    ] {
        assert_eq!(refusals("Experiment", &example(name), None), Vec::<String>::new(), "{name}");
    }
}

/// A valid experiment with one part replaced, or taken away where the part is null.
fn with(pointer: &str, part: Value) -> Value {
    let mut object = json!({
        "apiVersion": "glooshot.solo.io/v1", "kind": "Experiment", "metadata": {"name": "e", "namespace": "bookinfo"},
        "spec": {"spec": {
            "duration": "1m",
            "faults": [{
                "destinationServices": [{"name": "ratings", "namespace": "bookinfo"}],
                "fault": {"abort": {"httpStatus": 500}, "percentage": 50},
            }],
            "failureConditions": [
                {"name": "a", "trigger": {"traffic": {"service": {"name": "reviews"}, "metric": "ErrorRate", "thresholdValue": 0.1, "comparisonOperator": ">"}}},
                {"name": "b", "trigger": {"webhookUrl": "http://checks.example.com/"}},
            ],
        }},
    });
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(&format!("/spec/spec{parent}")).unwrap();
    match (parent, part) {
        (Value::Object(fields), Value::Null) => drop(fields.remove(field)),
        (Value::Object(fields), part) => drop(fields.insert(field.to_owned(), part)),
        (Value::Array(items), part) => items[field.parse::<usize>().unwrap()] = part,
        (other, _) => panic!("{pointer}: {other}"),
    }
    object
}

#[test]
fn the_rules_refuse_each_mistake_with_our_words() {
    let fault = "/faults/0/fault";
    let condition = "/failureConditions/0";
    let traffic = "/failureConditions/0/trigger/traffic";
    let cases: &[(&str, Value, &str)] = &[
        ("/duration", json!("0s"), "above 0 and at most 1h"),
        ("/duration", json!("61m"), "above 0 and at most 1h"),
        ("/duration", json!("600"), "with a unit"),
        ("/duration", json!("-5s"), "above 0 and at most 1h"),
        ("/faults/0/destinationServices", Value::Null, "must name at least one service"),
        ("/faults/0/destinationServices", json!([]), "must name at least one service"),
        ("/faults/0/fault", Value::Null, "fault is missing"),
        (fault, json!({"percentage": 5}), "exactly one of abort, delay and connection"),
        (
            fault,
            json!({"abort": {"httpStatus": 500}, "delay": {"duration": "1s"}, "percentage": 5}),
            "exactly one of abort, delay and connection",
        ),
        (
            fault,
            json!({"abort": {"httpStatus": 500}, "connection": {"reset": true}, "percentage": 5}),
            "exactly one of abort, delay and connection",
        ),
        (fault, json!({"connection": {}, "percentage": 5}), "exactly one of reset and delay"),
        (
            fault,
            json!({"connection": {"reset": true, "delay": {"duration": "1s"}}, "percentage": 5}),
            "exactly one of reset and delay",
        ),
        (fault, json!({"connection": {"reset": false}, "percentage": 5}), "reset is true or left out"),
        (fault, json!({"connection": {"delay": {"duration": "61s"}}, "percentage": 5}), "at most 60s"),
        (
            "/faults/0",
            json!({
                "destinationServices": [{"name": "ratings"}],
                "match": {"methods": ["GET"]},
                "fault": {"connection": {"reset": true}, "percentage": 5},
            }),
            "match does not apply to a connection fault",
        ),
        (fault, json!({"abort": {"httpStatus": 500}}), "percentage is required"),
        (fault, json!({"abort": {"httpStatus": 500}, "percentage": 0}), "percentage is required"),
        (fault, json!({"abort": {"httpStatus": 500}, "percentage": 100.5}), "percentage is required"),
        (fault, json!({"abort": {}, "percentage": 5}), "exactly one of httpStatus and grpcStatus"),
        (fault, json!({"abort": {"httpStatus": 199}, "percentage": 5}), "an HTTP status from 200 to 599"),
        (fault, json!({"abort": {"grpcStatus": 17}, "percentage": 5}), "a gRPC status from 1 to 16"),
        (fault, json!({"delay": {"duration": "61s"}, "percentage": 5}), "at most 60s"),
        (fault, json!({"delay": {"duration": "1s", "jitter": "2s"}, "percentage": 5}), "jitter must not be longer"),
        ("/faults/0/match", json!({"path": {"exact": "/a", "prefix": "/b"}}), "exactly one of exact, prefix and regex"),
        ("/faults/0/match", json!({"path": {"prefix": "a"}}), "a path begins with /"),
        ("/faults/0/match", json!({"methods": ["get"]}), "a method is written in capitals"),
        ("/faults/0/match", json!({"headers": [{"name": "x"}]}), "exactly one of exact, prefix, regex and present"),
        ("/faults/0/match", json!({"headers": [{"name": "a b", "exact": "x"}]}), "a header name has"),
        ("/failureConditions/1/name", json!("a"), "must be unique"),
        ("/failureConditions/0/trigger", Value::Null, "trigger is missing"),
        ("/failureConditions/0/trigger", json!({}), "exactly one of prometheus, webhookUrl and traffic"),
        ("/failureConditions/1/onNoData", json!("Fail"), "onNoData does not apply to webhookUrl"),
        ("/failureConditions/1/trigger/webhookUrl", json!("ftp://example.com/"), "absolute http or https URL"),
        ("/failureConditions/1/trigger/webhookUrl", json!("http://user:pw@example.com/"), "absolute http or https URL"),
        ("/failureConditions/1/trigger/webhookUrl", json!("/healthy"), "absolute http or https URL"),
        (
            condition,
            json!({"trigger": {"prometheus": {"thresholdValue": 1}}}),
            "exactly one of customQuery and successRate",
        ),
        (
            condition,
            json!({"trigger": {"prometheus": {"customQuery": " \n", "thresholdValue": 1}}}),
            "must not be blank",
        ),
        (
            condition,
            json!({"trigger": {"prometheus": {"successRate": {}, "thresholdValue": 0.9}}}),
            "successRate needs a service",
        ),
        (
            condition,
            json!({"trigger": {"prometheus": {"successRate": {"service": {"name": "a"}}, "thresholdValue": 95}}}),
            "a share from 0 to 1",
        ),
        (condition, json!({"trigger": {"prometheus": {"successRate": {"service": {"name": "a"}}}}}), "can never trip"),
        ("/failureConditions/0/trigger/traffic/interval", json!("11m"), "at most 10m"),
        ("/failureConditions/0/trigger/traffic/interval", json!("60s"), "must be shorter than the experiment"),
        ("/failureConditions/0/trigger/traffic/thresholdValue", json!(5), "a share from 0 to 1"),
        ("/failureConditions/0/trigger/traffic/thresholdValue", json!(1), "can never trip"),
        (
            traffic,
            json!({"service": {"name": "r"}, "metric": "LatencyP99", "thresholdValue": -1, "comparisonOperator": ">"}),
            "must not be negative",
        ),
        (traffic, json!({"service": {"name": "r"}, "metric": "LatencyP99", "thresholdValue": 0}), "can never trip"),
        (
            traffic,
            json!({"service": {"name": "r"}, "metric": "RequestRate", "thresholdValue": 5, "minRequests": 3}),
            "minRequests does not apply to RequestRate",
        ),
        (
            condition,
            json!({"onNoData": "Fail", "trigger": {"traffic": {"service": {"name": "r"}, "metric": "RequestRate", "thresholdValue": 5}}}),
            "onNoData does not apply",
        ),
        ("/limits", json!({"maxInjected": 5, "minInjected": 6}), "minInjected must not be above maxInjected"),
        ("/routing", json!({"settle": "6m"}), "at most 5m"),
        ("/routing", json!({"keepRouted": "61m"}), "at most 1h"),
        (
            "/tls",
            json!([{"service": {"name": "r"}, "certificateSecret": "s", "upstream": {"plaintext": true, "serverName": "x"}}]),
            "plaintext excludes",
        ),
    ];
    assert_eq!(refusals("Experiment", &with("/duration", json!("1m")), None), Vec::<String>::new());
    for (pointer, part, expected) in cases {
        let found = refusals("Experiment", &with(pointer, part.clone()), None);
        assert!(
            found.iter().any(|message| message.contains(expected)),
            "{pointer} = {part}: {found:?} lacks {expected:?}"
        );
        // And the same rule in Rust.
        let text = manifest::to_yaml(&with(pointer, part.clone())).unwrap();
        let refused = manifest::read_experiment(&text).map_or(true, |experiment| validate::check(&experiment).is_err());
        assert!(refused, "{pointer} = {part} is refused by the API server only");
    }
}

fn in_state(state: &str, object: &Value) -> Value {
    let mut object = object.clone();
    object["status"] = json!({"result": {"state": state, "timeStarted": "2019-06-10T16:08:24.805158537Z"}});
    object
}

#[test]
fn the_spec_of_a_started_experiment_cannot_be_changed() {
    let (before, after) = (with("/duration", json!("1m")), with("/duration", json!("2m")));
    assert_eq!(refusals("Experiment", &after, Some(&before)), Vec::<String>::new(), "not started");
    let pending = in_state("Pending", &before);
    assert_eq!(refusals("Experiment", &in_state("Pending", &after), Some(&pending)), Vec::<String>::new());
    for state in ["Started", "Failed", "Succeeded", "Inconclusive"] {
        let found = refusals("Experiment", &in_state(state, &after), Some(&in_state(state, &before)));
        assert!(found.iter().any(|message| message.contains("cannot be changed")), "{state}: {found:?}");
    }
}

#[test]
fn a_started_experiment_still_takes_finalizers_annotations_and_status() {
    let before = in_state("Started", &with("/duration", json!("1m")));
    let mut after = in_state("Failed", &before);
    after["metadata"]["finalizers"] = json!(["glooshot.solo.io/restore"]);
    after["metadata"]["annotations"] = json!({"a": "b"});
    assert_eq!(refusals("Experiment", &after, Some(&before)), Vec::<String>::new());
}

#[test]
fn a_mesh_is_one_data_path_and_a_routing_rule_has_some_weight() {
    let mesh = |spec: Value| json!({"apiVersion": "glooshot.solo.io/v1", "kind": "Mesh", "metadata": {"name": "m"}, "spec": spec});
    assert_eq!(refusals("Mesh", &mesh(json!({"proxy": {}})), None), Vec::<String>::new());
    assert!(refusals("Mesh", &mesh(json!({})), None)[0].contains("exactly one of istio and proxy"));
    let rule = |weight: u32| {
        json!({"apiVersion": "glooshot.solo.io/v1", "kind": "RoutingRule", "metadata": {"name": "r"}, "spec": {
            "destinationSelector": {"upstreamSelector": {"upstreams": [{"name": "a"}]}},
            "spec": {"trafficShifting": {"destinations": {"destinations": [{"destination": {"upstream": {"name": "b"}}, "weight": weight}]}}},
        }})
    };
    assert_eq!(refusals("RoutingRule", &rule(1), None), Vec::<String>::new());
    assert!(refusals("RoutingRule", &rule(0), None)[0].contains("the weights add up to 0"));
}

#[test]
fn kubectl_shows_state_duration_data_path_and_age_under_the_names_of_the_tutorial() {
    let definitions = crds::all();
    let names = &definitions[0].spec.names;
    assert_eq!(definitions[0].metadata.name.as_deref(), Some("experiments.glooshot.solo.io"));
    assert_eq!(names.short_names.as_deref(), Some(&["exp".to_owned(), "gsexp".to_owned()][..]));
    assert_eq!(names.categories.as_deref(), Some(&["chaos".to_owned()][..]));
    let columns = definitions[0].spec.versions[0].additional_printer_columns.clone().unwrap();
    let columns: Vec<(&str, &str)> =
        columns.iter().map(|column| (column.name.as_str(), column.json_path.as_str())).collect();
    assert_eq!(
        columns,
        [
            ("State", ".status.result.state"),
            ("Duration", ".spec.spec.duration"),
            ("Data path", ".status.dataPath.kind"),
            ("Age", ".metadata.creationTimestamp"),
        ]
    );
    assert!(definitions[0].spec.versions[0].subresources.as_ref().unwrap().status.is_some());
}
