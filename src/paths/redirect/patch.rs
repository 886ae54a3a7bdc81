//! The flip and the restore, as patches of the Service that hold only for the version that was looked at. Pure.
//!
//! # How nothing of ours is left in `managedFields`
//! A write takes the selector away from whoever had written it (it is one atomic field) and makes it ours; afterwards the owner's
//! server-side apply conflicts with us. A write of `managedFields` themselves is taken as it comes, though, as long as it changes
//! nothing else. So both flip and restore are two patches: the first changes the selector, the second gives it back to its writers,
//! whom the annotation remembers in between. The annotation goes last, since removing a field makes nobody its owner.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Service,
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry},
};
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use super::{
    Holder, Owner,
    names::{self, REDIRECT, US},
    record::{Record, Writer},
};

/// Where the selector is in the sets of `managedFields`.
const SPEC: &str = "f:spec";
const SELECTOR: &str = "f:selector";

/// How the selector of a Service stands to the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selects {
    /// All that it selects by is ours.
    Proxies,
    /// Some of it.
    Both,
    /// None of it.
    Others,
}

/// Whom a Service selects.
pub(super) fn selects(service: &Service) -> Selects {
    let ours = names::proxy(&service.uid().unwrap_or_default());
    let selector = selector(service);
    match selector.values().filter(|value| **value == ours).count() {
        0 => Selects::Others,
        count if count == selector.len() => Selects::Proxies,
        _ => Selects::Both,
    }
}

/// What the annotation of a Service says; `None` if it has none, or one that was copied from another Service.
pub(super) fn record(service: &Service) -> Result<Option<Record>, super::record::RecordError> {
    let Some(text) = service.annotations().get(REDIRECT) else { return Ok(None) };
    let record = Record::parse(text)?;
    Ok(Some(record).filter(|record| Some(&record.service_uid) == service.uid().as_ref()))
}

/// Whether a Service is still what the run of this Experiment has made of it: redirected, and by nobody else; or by a RoutingRule, whose
/// guest the Experiment then was.
pub(super) fn is_redirected_by(service: &Service, experiment_uid: &str) -> bool {
    let ours = matches!(record(service), Ok(Some(record))
        if record.experiment.uid == experiment_uid || record.experiment.kind == Holder::RoutingRule);
    ours && selects(service) == Selects::Proxies
}

/// What the origin of a Service remembers of it.
pub(super) fn remembered(service: &Service, origin: &Service, experiment_uid: &str) -> Option<Record> {
    let selector = Some(selector(origin)).filter(|selector| !selector.is_empty())?;
    Some(Record {
        selector,
        service_uid: service.uid().unwrap_or_default(),
        experiment: Owner {
            namespace: String::new(),
            name: String::new(),
            uid: experiment_uid.to_owned(),
            kind: super::Holder::default(),
        },
        deadline: Timestamp::default(),
        writers: Vec::new(),
    })
}

/// The selector of a Service.
pub(super) fn selector(service: &Service) -> BTreeMap<String, String> {
    service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default()
}

/// The selector that a Service has while nothing redirects it.
pub(super) fn original(service: &Service) -> BTreeMap<String, String> {
    match record(service) {
        Ok(Some(record)) if selects(service) != Selects::Others => put_back(service, &record),
        _ => selector(service),
    }
}

/// Who has written the selector of a Service.
pub(super) fn writers(service: &Service) -> Vec<Writer> {
    let entries = service.managed_fields().iter();
    let writes = entries.filter(|entry| !is_our_entry(entry) && has_selector(entry));
    writes.map(Writer::of).collect()
}

/// Makes the Service select the proxies: only the values change, and our annotation comes with them in the same write.
pub(super) fn flip(service: &Service, annotation: &str) -> Value {
    let ours = names::proxy(&service.uid().unwrap_or_default());
    let selector: BTreeMap<String, String> = selector(service).into_keys().map(|key| (key, ours.clone())).collect();
    json!({
        "metadata": {
            "resourceVersion": service.metadata.resource_version,
            "annotations": {REDIRECT: annotation},
        },
        "spec": {"selector": selector},
    })
}

/// Gives the selector, as it is, back to its writers; for after the flip.
pub(super) fn give_back(service: &Service, record: &Record) -> Value {
    json!({"metadata": {
        "resourceVersion": service.metadata.resource_version,
        "managedFields": our_note(service).into_iter().chain(given_back(service, &record.writers)).collect::<Vec<_>>(),
    }})
}

/// Makes the Service select what it did before, as far as its selector is still ours; `None` if nothing of it is.
pub(super) fn restore(service: &Service, record: &Record) -> Option<Value> {
    if selects(service) == Selects::Others {
        return None;
    }
    // A patch merges into the selector: keys are never removed by it.
    Some(json!({
        "metadata": {"resourceVersion": service.metadata.resource_version},
        "spec": {"selector": put_back(service, record)},
    }))
}

/// Removes every trace of us from the metadata; for after the restore, or after somebody else has written the selector.
pub(super) fn forget(service: &Service, record: Option<&Record>) -> Value {
    // Who has written the selector over ours is its writer now.
    let writers =
        record.filter(|_| is_selector_ours(service)).map(|record| record.writers.as_slice()).unwrap_or_default();
    let version = &service.metadata.resource_version;
    if !service.managed_fields().iter().any(is_our_entry) {
        return json!({"metadata": {"resourceVersion": version, "annotations": {REDIRECT: null}}});
    }
    json!({"metadata": {
        "resourceVersion": version,
        "annotations": {REDIRECT: null},
        "managedFields": given_back(service, writers),
    }})
}

/// The selector with the values that are still ours as they were before.
fn put_back(service: &Service, record: &Record) -> BTreeMap<String, String> {
    let ours = names::proxy(&record.service_uid);
    let before = |key: &String, value: String| match record.selector.get(key) {
        Some(before) if value == ours => before.clone(),
        _ => value,
    };
    selector(service).into_iter().map(|(key, value)| (key.clone(), before(&key, value))).collect()
}

/// The entries without ours, and with the selector in those of its writers.
fn given_back(service: &Service, writers: &[Writer]) -> Vec<ManagedFieldsEntry> {
    let mut entries: Vec<ManagedFieldsEntry> =
        service.managed_fields().iter().filter(|entry| !is_our_entry(entry)).cloned().collect();
    for writer in writers {
        match entries.iter_mut().find(|entry| writer.is_of(entry)) {
            Some(entry) => add_selector(entry),
            // It had written nothing else, and lost its entry with the selector.
            None => entries.push(ManagedFieldsEntry {
                manager: Some(writer.manager.clone()),
                operation: Some(writer.operation.clone()),
                api_version: Some(writer.api_version.clone()),
                time: writer.time.clone(),
                fields_type: Some("FieldsV1".to_owned()),
                fields_v1: Some(FieldsV1(json!({SPEC: {SELECTOR: {}}}))),
                subresource: None,
            }),
        }
    }
    entries
}

/// Whether the API server remembers us as a writer of the selector.
pub(super) fn is_selector_ours(service: &Service) -> bool {
    service.managed_fields().iter().any(|entry| is_our_entry(entry) && has_selector(entry))
}

/// Our own entries, without the selector: the annotation stays ours as long as it is there, or else it would go with the last
/// annotation that somebody removes by a server-side apply.
fn our_note(service: &Service) -> Vec<ManagedFieldsEntry> {
    let ours = service.managed_fields().iter().filter(|entry| is_our_entry(entry));
    let without = ours.filter_map(|entry| {
        let mut entry = entry.clone();
        let fields = entry.fields_v1.as_mut()?.0.as_object_mut()?;
        if let Some(spec) = fields.get_mut(SPEC).and_then(Value::as_object_mut) {
            spec.remove(SELECTOR);
        }
        fields.retain(|_, fields| fields.as_object().is_none_or(|fields| !fields.is_empty()));
        (!fields.is_empty()).then_some(entry)
    });
    without.collect()
}

fn is_our_entry(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(US)
}

fn has_selector(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    fields.and_then(|fields| fields.get(SPEC)?.get(SELECTOR)).is_some()
}

fn add_selector(entry: &mut ManagedFieldsEntry) {
    let fields = entry.fields_v1.get_or_insert_with(|| FieldsV1(Value::Object(Map::new())));
    if let Some(fields) = fields.0.as_object_mut() {
        let spec = fields.entry(SPEC).or_insert_with(|| json!({}));
        if let Some(spec) = spec.as_object_mut() {
            spec.entry(SELECTOR).or_insert_with(|| json!({}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "s-1";

    fn ours() -> String {
        names::proxy(UID)
    }

    fn record() -> Record {
        Record::parse(
            &json!({
                "selector": {"app": "ratings", "tier": "back"},
                "serviceUid": UID,
                "experiment": {"namespace": "bookinfo", "name": "abort", "uid": "e-1"},
                "deadline": "2026-01-01T00:00:00Z",
                "writers": [{"manager": "kubectl", "operation": "Apply", "apiVersion": "v1"}],
            })
            .to_string(),
        )
        .unwrap()
    }

    fn service(selector: &Value, managed: &Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {
                "name": "ratings", "namespace": "bookinfo", "uid": UID, "resourceVersion": "7",
                "annotations": {REDIRECT: record().to_annotation().unwrap()}, "managedFields": managed,
            },
            "spec": {"selector": selector},
        }))
        .unwrap()
    }

    #[test]
    fn the_flip_changes_values_only_and_holds_for_one_version() {
        let service = service(&json!({"app": "ratings", "tier": "back"}), &json!([]));
        let patch = flip(&service, "text");
        assert_eq!(patch["spec"], json!({"selector": {"app": ours(), "tier": ours()}}));
        assert_eq!(patch["metadata"], json!({"resourceVersion": "7", "annotations": {REDIRECT: "text"}}));
    }

    #[test]
    fn a_service_that_somebody_has_put_back_is_no_longer_redirected() {
        let flipped = service(&json!({"app": ours(), "tier": ours()}), &json!([]));
        assert!(is_redirected_by(&flipped, "e-1"));
        assert!(!is_redirected_by(&flipped, "e-2"), "by another Experiment");
        let mut of_a_rule = record();
        of_a_rule.experiment.kind = Holder::RoutingRule;
        let mut held = flipped.clone();
        held.annotations_mut().insert(REDIRECT.to_owned(), of_a_rule.to_annotation().unwrap());
        assert!(is_redirected_by(&held, "e-2"), "by a rule, whose guest it is");
        let mut rescued = flipped.clone();
        rescued.metadata.annotations = None;
        assert!(!is_redirected_by(&rescued, "e-1"), "without the annotation");
        for selector in [json!({"app": "ratings", "tier": "back"}), json!({"app": ours(), "tier": "back"})] {
            assert!(!is_redirected_by(&service(&selector, &json!([])), "e-1"), "applied by its owner: {selector}");
        }
    }

    #[test]
    fn a_restore_touches_only_what_is_still_ours() {
        let cases = [
            (
                "nothing has changed",
                json!({"app": ours(), "tier": ours()}),
                Some(json!({"app": "ratings", "tier": "back"})),
            ),
            ("one value", json!({"app": ours(), "tier": "new"}), Some(json!({"app": "ratings", "tier": "new"}))),
            (
                "one more key",
                json!({"app": ours(), "tier": ours(), "x": "y"}),
                Some(json!({"app": "ratings", "tier": "back", "x": "y"})),
            ),
            ("one key less", json!({"app": ours()}), Some(json!({"app": "ratings"}))),
            ("all of it", json!({"app": "ratings", "tier": "new"}), None),
            ("the value of another Service's proxy", json!({"app": names::proxy("s-2")}), None),
        ];
        for (case, selector, expected) in cases {
            let patch = restore(&service(&selector, &json!([])), &record());
            assert_eq!(patch.map(|patch| patch["spec"]["selector"].clone()), expected, "{case}");
        }
    }

    #[test]
    fn whose_the_selector_was_it_is_again() {
        let selector_of_ours = json!({"manager": US, "operation": "Update", "fieldsV1": {SPEC: {SELECTOR: {}}}});
        let kubectl =
            |fields: Value| json!({"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields});
        let flipped = json!({"app": ours(), "tier": ours()});
        let entries = |managed: Value| {
            let patch = give_back(&service(&flipped, &managed), &record());
            patch["metadata"]["managedFields"].as_array().unwrap().clone()
        };

        let given = entries(json!([kubectl(json!({SPEC: {"f:type": {}}})), selector_of_ours]));
        assert_eq!(given, [kubectl(json!({SPEC: {"f:type": {}, SELECTOR: {}}}))]);

        let note = json!({"f:metadata": {"f:annotations": {}}});
        let mut both = note.clone();
        both[SPEC] = json!({SELECTOR: {}});
        let given = entries(json!([{"manager": US, "operation": "Update", "fieldsV1": both}]));
        assert_eq!((&given[0]["manager"], &given[0]["fieldsV1"]), (&json!(US), &note), "the annotation stays ours");

        let given = entries(json!([selector_of_ours]));
        assert_eq!(given.len(), 1, "a writer that had lost its entry gets one again");
        assert_eq!(given[0]["fieldsV1"], json!({SPEC: {SELECTOR: {}}}));
    }

    #[test]
    fn who_has_written_the_selector_over_ours_keeps_it() {
        let theirs =
            json!({"manager": "helm", "operation": "Update", "apiVersion": "v1", "fieldsV1": {SPEC: {SELECTOR: {}}}});
        let left = json!({"manager": US, "operation": "Update", "fieldsV1": {"f:metadata": {}}});
        let service = service(&json!({"app": "ratings"}), &json!([theirs, left]));
        let patch = forget(&service, Some(&record()));
        assert_eq!(patch["metadata"]["managedFields"], json!([theirs]));
        assert_eq!(patch["metadata"]["annotations"], json!({REDIRECT: null}));
    }

    #[test]
    fn whom_a_service_selects_is_told_by_the_values_of_its_selector() {
        let cases = [
            (json!({"app": ours(), "tier": ours()}), Selects::Proxies),
            (json!({"app": ours(), "tier": "back"}), Selects::Both),
            (json!({"app": "ratings"}), Selects::Others),
        ];
        for (selector, expected) in cases {
            assert_eq!(selects(&service(&selector, &json!([]))), expected, "{selector}");
        }
    }
}
