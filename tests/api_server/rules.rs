//! Every CEL rule, shown to the API server both ways: an object that it accepts, and one that it refuses, with the field and
//! the words that the user sees.

use std::collections::BTreeSet;

use glooshot::api::crds;
use serde_json::Value;

use super::{
    cases::{self, Refused},
    client::{ApiClient, causes},
    control_plane::registered,
};

#[test]
fn the_api_server_accepts_what_is_right() {
    let client = ApiClient::of(registered());
    for object in cases::accepted() {
        let stored = client.would_create(&object).unwrap_or_else(|status| panic!("{object}: {}", status.message));
        assert_eq!(stored["spec"], object["spec"], "something was dropped or added");
    }
}

#[test]
fn the_api_server_refuses_each_mistake_at_its_field_in_our_words() {
    let client = ApiClient::of(registered());
    for Refused { object, field, words } in cases::refused() {
        let status = client.would_create(&object).expect_err(&format!("accepted: {object}"));
        let found = causes(&status);
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{object}: {}", status.message);
        assert!(
            found.iter().any(|(at, says)| at == field && says.contains(words)),
            "{object}: {found:?} lacks {words:?} at {field}"
        );
    }
}

/// A rule, by its kind, the path of the schema that has it, and its message.
type Rule = (String, String, String);

#[test]
fn every_rule_has_an_object_that_it_accepts_and_one_that_it_refuses() {
    let rules = all_rules();
    assert!(rules.len() > 40, "{rules:#?}");

    let accepted = cases::accepted();
    let is_looked_at =
        |(kind, path, _): &&Rule| accepted.iter().any(|object| object["kind"] == **kind && has_value(object, path));
    let without = rules.iter().filter(|rule| !is_looked_at(rule)).collect::<Vec<_>>();
    assert!(without.is_empty(), "no accepted object has what these rules are about: {without:#?}");

    let refused = cases::refused();
    let is_broken = |(kind, path, message): &&Rule| {
        refused.iter().any(|case| {
            case.object["kind"] == **kind && without_indices(case.field) == *path && message.contains(case.words)
        })
    };
    // The one about updates is in lifecycle.rs.
    let is_of_updates = |(_, path, message): &&Rule| path.is_empty() && message.contains("has started");
    let without = rules.iter().filter(|rule| !is_broken(rule) && !is_of_updates(rule)).collect::<Vec<_>>();
    assert!(without.is_empty(), "no object breaks these rules: {without:#?}");
}

fn all_rules() -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for definition in crds::all() {
        let definition = serde_json::to_value(definition).unwrap();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        collect(kind, "", &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut rules);
    }
    rules
}

fn collect(kind: &str, path: &str, schema: &Value, rules: &mut BTreeSet<Rule>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().expect("every rule has our own message");
        rules.insert((kind.to_owned(), path.to_owned(), message.to_owned()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let separator = if path.is_empty() { "" } else { "." };
        collect(kind, &format!("{path}{separator}{name}"), property, rules);
    }
    if schema["items"].is_object() {
        collect(kind, &format!("{path}[]"), &schema["items"], rules);
    }
}

/// Whether `object` has a value at the path of a schema, in any item of its lists.
fn has_value(object: &Value, path: &str) -> bool {
    let mut here = vec![object];
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, lists) =
            part.split_once("[]").map_or((part, 0), |(name, more)| (name, 1 + more.matches("[]").count()));
        here = here.into_iter().filter_map(|value| value.get(name)).collect();
        for _ in 0..lists {
            here = here.into_iter().filter_map(Value::as_array).flatten().collect();
        }
    }
    !here.is_empty()
}

fn without_indices(field: &str) -> String {
    let mut parts = field.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |path, part| path + "[]" + part.split_once(']').map_or("", |(_, rest)| rest))
}
