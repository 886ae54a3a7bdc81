//! Puts back whatever is redirected, from the world alone: no Experiment, no controller and no kind of ours is needed.

use std::collections::BTreeMap;

use futures::future::join_all;
use glooshot_api::names::ServiceName;
use k8s_openapi::api::core::v1::Service;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::{
    names::{self, REDIRECT},
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
        Ok(services.into_iter().filter_map(Redirected::of).collect())
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
    fn of(now: Service) -> Option<Self> {
        let annotation = now.annotations().get(REDIRECT)?;
        let service = ServiceName { namespace: now.namespace().unwrap_or_default(), name: now.name_any() };
        let wrong = |why: String| PathError {
            message: format!(
                "Service {service} cannot be put back: {why}; `kubectl edit service -n {} {}` by hand",
                service.namespace, service.name
            ),
        };
        let record = match Record::parse(annotation) {
            Ok(record) if Some(&record.service_uid) != now.metadata.uid.as_ref() => {
                Err(wrong("its annotation was copied from another Service".to_owned()))
            }
            read => read.map_err(|error| wrong(error.to_string())),
        };
        Some(Self { service, record, now })
    }

    /// The Experiment for which it is redirected, as far as that is known.
    pub fn experiment(&self) -> Option<String> {
        self.record.as_ref().ok().map(|record| format!("{}/{}", record.experiment.namespace, record.experiment.name))
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
        steps.push(json!({"op": "remove", "path": format!("/metadata/annotations/{}", pointer(REDIRECT))}));
        steps
    }
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
        Redirected::of(serde_json::from_value(service).unwrap()).unwrap()
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
