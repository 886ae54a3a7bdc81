//! Puts back whatever is redirected, from the world alone: no Experiment, no controller and no kind of ours is needed.

use std::collections::BTreeMap;

use futures::future::join_all;
use glooshot_api::names::ServiceName;
use k8s_openapi::api::core::v1::Service;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::{
    names::{self, EXPERIMENT_UID, REDIRECT},
    patch::{self, Selects},
    record::Record,
    world::World,
};
use crate::engine::data_path::PathError;

/// Looks for what is redirected, and puts it back.
#[derive(Clone, Debug)]
pub struct Rescue(World);

/// A Service with our annotation.
#[derive(Clone, Debug)]
pub struct Redirected {
    /// Which one.
    pub service: ServiceName,
    /// What it was before; or why that is not known.
    record: Result<Record, PathError>,
    now: Service,
}

impl Rescue {
    /// In the cluster of `client`.
    pub fn new(client: Client) -> Self {
        Self(World::new(client))
    }

    /// The Services that are redirected, in one namespace or in all.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn redirected(&self, namespace: Option<&str>) -> Result<Vec<Redirected>, PathError> {
        let services = self.0.all_services(namespace).await?;
        Ok(services.iter().filter_map(|service| Redirected::of(service, &services)).collect())
    }

    /// Makes a Service what it was before.
    ///
    /// # Errors
    /// When that is not known, or cannot be written.
    pub async fn put_back(&self, redirected: &Redirected) -> Result<(), PathError> {
        let record = redirected.record.as_ref().map_err(Clone::clone)?;
        self.0.restore(&redirected.service, &record.experiment.uid).await
    }

    /// Removes the proxies and the origins that no Service needs any more, when the proxies have drained; gives how many Services
    /// they were for.
    ///
    /// # Errors
    /// When something cannot be removed; what can be has been.
    pub async fn remove_proxies(&self, namespace: Option<&str>) -> Result<usize, PathError> {
        let still: Vec<ServiceName> = self.redirected(namespace).await?.into_iter().map(|it| it.service).collect();
        let held = self.0.held(namespace).await?;
        let free: Vec<_> = held.iter().filter(|(held, _)| !still.contains(&held.service)).collect();
        let removed = join_all(free.iter().map(|(held, experiment)| self.0.remove(held, experiment))).await;
        removed.into_iter().collect::<Result<Vec<()>, _>>().map(|removed| removed.len())
    }
}

impl Redirected {
    /// What is known of a Service that is redirected: by its annotation, or else by the origin among `all`.
    fn of(now: &Service, all: &[Service]) -> Option<Self> {
        if now.annotations().get(REDIRECT).is_none() && patch::selects(now) == Selects::Others {
            return None;
        }
        let service = ServiceName { namespace: now.namespace().unwrap_or_default(), name: now.name_any() };
        let record = match patch::record(now) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err("its annotation is gone, or that of another Service".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let record = record.or_else(|why| remembered(now, all).ok_or(why)).map_err(|why| PathError {
            message: format!(
                "Service {service} cannot be put back: {why}; `kubectl edit service -n {} {}` by hand",
                service.namespace, service.name
            ),
        });
        Some(Self { service, record, now: now.clone() })
    }

    /// The Experiment for which it is redirected, as far as that is known.
    pub fn experiment(&self) -> Option<String> {
        let of = |record: &Record| format!("{}/{}", record.experiment.namespace, record.experiment.name);
        // An origin knows no more than its uid.
        self.record.as_ref().ok().filter(|record| !record.experiment.name.is_empty()).map(of)
    }

    /// The command by which somebody without glooshot puts it back, if nobody has changed it meanwhile.
    ///
    /// # Errors
    /// When it is not known what it was before.
    pub fn by_hand(&self) -> Result<String, PathError> {
        let record = self.record.as_ref().map_err(Clone::clone)?;
        let patch = serde_json::to_string(&self.steps(record))
            .map_err(|error| PathError { message: format!("a patch cannot be written down: {error}") })?;
        let ServiceName { namespace, name } = &self.service;
        // Uids, keys and values have been checked to be such; the API server's own names are. None of them has a quote.
        Ok(format!("kubectl patch service -n {namespace} {name} --type=json -p '{patch}'"))
    }

    /// The same as JSON patch: each value that is still ours, and then the annotation.
    fn steps(&self, record: &Record) -> Vec<Value> {
        let ours = names::proxy(&record.service_uid);
        let mut steps = vec![json!({"op": "test", "path": "/metadata/uid", "value": record.service_uid})];
        let now: BTreeMap<String, String> =
            if patch::selects(&self.now) == Selects::Others { BTreeMap::new() } else { patch::selector(&self.now) };
        for (key, value) in now {
            let Some(before) = record.selector.get(&key).filter(|_| value == ours) else { continue };
            let path = format!("/spec/selector/{}", pointer(&key));
            steps.push(json!({"op": "test", "path": path, "value": ours}));
            steps.push(json!({"op": "replace", "path": path, "value": before}));
        }
        if self.now.annotations().contains_key(REDIRECT) {
            steps.push(json!({"op": "remove", "path": format!("/metadata/annotations/{}", pointer(REDIRECT))}));
        }
        steps
    }
}

/// What the origin of a Service remembers of it.
fn remembered(service: &Service, all: &[Service]) -> Option<Record> {
    let name = names::origin(&service.name_any());
    let is_origin =
        |it: &&Service| it.namespace() == service.namespace() && it.name_any() == name && names::is_ours(&it.metadata);
    let origin = all.iter().find(is_origin).filter(|_| patch::selects(service) != Selects::Others)?;
    patch::remembered(service, origin, origin.labels().get(EXPERIMENT_UID)?)
}

/// A key as one step of a JSON pointer.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(selector: &Value, annotation: &str) -> Redirected {
        let service = json!({
            "metadata": {"name": "ratings", "namespace": "bookinfo", "uid": "s-1", "annotations": {REDIRECT: annotation}},
            "spec": {"selector": selector},
        });
        Redirected::of(&serde_json::from_value(service).unwrap(), &[]).unwrap()
    }

    fn annotation(value: &str) -> String {
        json!({
            "selector": {"app.kubernetes.io/name": value},
            "serviceUid": "s-1",
            "experiment": {"namespace": "bookinfo", "name": "abort", "uid": "e-1"},
            "deadline": "2026-01-01T00:00:00Z",
        })
        .to_string()
    }

    #[test]
    fn what_is_printed_is_a_command_that_changes_only_what_is_ours() {
        let ours = names::proxy("s-1");
        let found = redirected(&json!({"app.kubernetes.io/name": ours}), &annotation("ratings"));
        let expected = format!(
            r#"kubectl patch service -n bookinfo ratings --type=json -p '[{{"op":"test","path":"/metadata/uid","value":"s-1"}},{{"op":"test","path":"/spec/selector/app.kubernetes.io~1name","value":"{ours}"}},{{"op":"replace","path":"/spec/selector/app.kubernetes.io~1name","value":"ratings"}},{{"op":"remove","path":"/metadata/annotations/glooshot.solo.io~1redirect"}}]'"#
        );
        assert_eq!(found.by_hand().unwrap(), expected);
        assert_eq!(found.experiment().as_deref(), Some("bookinfo/abort"));
    }

    #[test]
    fn of_a_service_that_its_owner_has_taken_back_only_the_annotation_goes() {
        let found = redirected(&json!({"app.kubernetes.io/name": "new"}), &annotation("ratings"));
        assert!(!found.by_hand().unwrap().contains("/spec/selector"), "{found:?}");
    }

    #[test]
    fn a_service_without_its_annotation_is_known_by_its_origin() {
        let ours = names::proxy("s-1");
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "ratings", "namespace": "bookinfo", "uid": "s-1"}, "spec": {"selector": {"app": ours}},
        }))
        .unwrap();
        assert!(Redirected::of(&service, &[]).unwrap().by_hand().is_err(), "nobody knows what it was");
        let origin: Service = serde_json::from_value(json!({
            "metadata": {
                "name": "ratings-glooshot", "namespace": "bookinfo",
                "labels": {names::MANAGED_BY: names::US, EXPERIMENT_UID: "e-1"},
            },
            "spec": {"selector": {"app": "ratings"}},
        }))
        .unwrap();
        let found = Redirected::of(&service, &[origin]).unwrap();
        let command = found.by_hand().unwrap();
        assert!(command.contains(r#""value":"ratings""#) && !command.contains("annotations"), "{command}");
    }

    #[test]
    fn a_service_that_nobody_has_redirected_is_left_alone() {
        let service = json!({"metadata": {"name": "x", "uid": "s-1"}, "spec": {"selector": {"app": "x"}}});
        assert!(Redirected::of(&serde_json::from_value(service).unwrap(), &[]).is_none());
    }

    #[test]
    fn an_annotation_that_we_have_not_written_is_never_printed() {
        for bad in
            [annotation("x'; rm -rf /; '"), "{}".to_owned(), "'".to_owned(), annotation("a").replace("s-1", "s-2")]
        {
            let found = redirected(&json!({"app": names::proxy("s-1")}), &bad);
            assert!(found.by_hand().is_err(), "{bad}");
            assert_eq!(found.experiment(), None);
        }
    }
}
