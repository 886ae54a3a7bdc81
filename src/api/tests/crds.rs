//! The CustomResourceDefinitions: golden files, bounds everywhere, and what their CEL rules accept and refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::HashMap, env, fs, path::PathBuf, sync::LazyLock};

use glooshot_api::{crds, manifest};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use kube::core::cel::Validator;
use serde_json::{Value, json};

#[allow(unreachable_pub, reason = "also a module of the tests with a real API server")]
mod cases;

use cases::{Refused, with};

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

#[test]
fn the_rules_accept_every_case_that_is_right() {
    for object in cases::accepted() {
        assert_eq!(refusals(object["kind"].as_str().unwrap(), &object, None), Vec::<String>::new(), "{object}");
    }
}

#[test]
fn the_rules_refuse_each_mistake_with_our_words() {
    for Refused { object, field, words } in cases::refused() {
        let found = refusals(object["kind"].as_str().unwrap(), &object, None);
        let told = found.iter().any(|message| message.starts_with(&format!("{field}: ")) && message.contains(words));
        assert!(told, "{object}: {found:?} lacks {words:?} at {field}");
        // And the same rule in Rust.
        let text = manifest::to_yaml(&object).unwrap();
        let documents = manifest::documents(&text).unwrap();
        assert!(!documents[0].violations().is_empty(), "{object} is refused by the API server only");
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
