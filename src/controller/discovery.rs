//! Upstream names, computed from Services and pods; pure.
//!
//! A Service port is the upstream `<namespace>-<service>-<port>`. Pods of a Service that differ in labels make subsets of it, named
//! by the values of the labels that its selector does not fix: `bookinfo-reviews-v4-9080`.

use std::collections::{BTreeMap, BTreeSet};

use glooshot_api::names::{KnownPort, ServiceName, ServicePort};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

use crate::paths::redirect::{names, pods};

/// Subsets of one Service at the most: a label with a new value for each pod is no version.
const MAX_SUBSETS: usize = 64;
/// What references are resolved against, and who may be named as a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Every port of every Service, with its subsets.
    pub(crate) ports: Vec<KnownPort>,
    /// Applications that have pods, by namespace and the value of their label: callers need no Service.
    pub(crate) callers: Vec<ServiceName>,
}

/// What the selector of a Service is when nothing is routed; none for Services that are not anybody's to break.
pub(crate) type OriginalSelector = dyn Fn(&Service) -> Option<BTreeMap<String, String>>;

/// The index over all Services and pods. `original` knows the selector that a routed Service has had before.
pub(crate) fn index<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    all: impl IntoIterator<Item = &'a Pod>,
    original: &OriginalSelector,
) -> Index {
    let mut by_namespace: BTreeMap<String, Vec<&Pod>> = BTreeMap::new();
    let mut callers = BTreeSet::new();
    for pod in all.into_iter().filter(|pod| !names::is_ours(&pod.metadata)) {
        let namespace = pod.namespace().unwrap_or_default();
        if let Some(name) = pods::application(pod) {
            callers.insert(ServiceName { namespace: namespace.clone(), name: name.to_owned() });
        }
        by_namespace.entry(namespace).or_default().push(pod);
    }
    let mut ports = Vec::new();
    for service in services {
        let Some(selector) = original(service) else { continue };
        let name = ServiceName { namespace: service.namespace().unwrap_or_default(), name: service.name_any() };
        let candidates = by_namespace.get(&name.namespace).map(Vec::as_slice).unwrap_or_default();
        let subsets = subsets(&selector, candidates);
        let numbers = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).map(|port| port.port);
        for number in numbers.filter_map(|number| u16::try_from(number).ok()) {
            let port = ServicePort { service: name.clone(), port: number };
            ports.push(KnownPort { port, subsets: subsets.clone() });
        }
    }
    ports.sort_by(|a, b| a.port.cmp(&b.port));
    // One number may be served over TCP and UDP.
    ports.dedup_by(|a, b| a.port == b.port);
    Index { ports, callers: callers.into_iter().collect() }
}

/// As the data path tells the pods of a Service apart.
fn subsets(selector: &BTreeMap<String, String>, candidates: &[&Pod]) -> Vec<String> {
    let selected = candidates.iter().filter(|pod| pods::is_selected(pod, selector));
    let found: BTreeSet<String> = selected.filter_map(|pod| pods::subset(pod, selector)).collect();
    found.into_iter().take(MAX_SUBSETS).collect()
}

#[cfg(test)]
mod tests {
    use glooshot_api::names::{Destination, ResolveError, ResourceRef, resolve};
    use serde_json::json;

    use super::*;

    fn service(namespace: &str, name: &str, selector: &str, ports: &[i32]) -> Service {
        let ports: Vec<_> = ports.iter().map(|port| json!({"port": port})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": selector}, "ports": ports},
        }))
        .unwrap()
    }

    fn pod(namespace: &str, name: &str, labels: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace, "labels": labels}})).unwrap()
    }

    fn bookinfo() -> Index {
        let services = [
            service("bookinfo", "reviews", "reviews", &[9080]),
            service("bookinfo", "ratings", "ratings", &[9080, 9090]),
            service("bookinfo-reviews", "v4", "v4", &[9080]),
            service("bookinfo", "ratings-glooshot", "ratings", &[9080]),
        ];
        let pods = [
            pod("bookinfo", "a", &json!({"app": "reviews", "version": "v3", "pod-template-hash": "1"})),
            pod("bookinfo", "b", &json!({"app": "reviews", "version": "v4", "tool.example/x": "y"})),
            pod("bookinfo", "c", &json!({"app": "reviews", "version": "v4", "pod-template-hash": "2"})),
            pod("bookinfo", "d", &json!({"app": "ratings"})),
            pod("elsewhere", "e", &json!({"app": "reviews", "version": "v9"})),
        ];
        let original = |service: &Service| {
            (!service.name_any().ends_with("-glooshot")).then(|| service.spec.clone()?.selector).flatten()
        };
        index(&services, &pods, &original)
    }

    fn reference(namespace: &str, name: &str) -> ResourceRef {
        ResourceRef { name: name.to_owned(), namespace: Some(namespace.to_owned()) }
    }

    #[test]
    fn a_port_is_an_upstream_and_versions_are_subsets_of_it() {
        let index = bookinfo();
        let table = [
            ("glooshot", "bookinfo-ratings-9080", "bookinfo/ratings:9080"),
            ("glooshot", "bookinfo-ratings-9090", "bookinfo/ratings:9090"),
            ("glooshot", "bookinfo-reviews-v3-9080", "bookinfo/reviews:9080@v3"),
            ("bookinfo", "reviews", "bookinfo/reviews"),
        ];
        for (namespace, name, expected) in table {
            let found = resolve(&reference(namespace, name), &index.ports).map(|found: Destination| found.to_string());
            assert_eq!(found.as_deref(), Ok(expected), "{namespace}/{name}");
        }
    }

    #[test]
    fn a_name_that_two_things_have_is_refused_with_both() {
        let found = resolve(&reference("glooshot", "bookinfo-reviews-v4-9080"), &bookinfo().ports);
        let Err(ResolveError::Ambiguous { candidates, .. }) = found else { panic!("{found:?}") };
        assert_eq!(candidates, ["bookinfo/reviews:9080@v4", "bookinfo-reviews/v4:9080"]);
    }

    #[test]
    fn our_own_services_are_nobody_s_to_break() {
        let found = resolve(&reference("glooshot", "bookinfo-ratings-glooshot-9080"), &bookinfo().ports);
        assert!(matches!(found, Err(ResolveError::Unknown { .. })), "{found:?}");
    }

    #[test]
    fn a_pod_without_a_service_can_be_named_as_a_caller() {
        let elsewhere = ServiceName { namespace: "elsewhere".to_owned(), name: "reviews".to_owned() };
        assert!(bookinfo().callers.contains(&elsewhere));
    }

    #[test]
    fn a_service_with_a_label_for_each_pod_has_a_bounded_number_of_subsets() {
        let pods: Vec<Pod> =
            (0..2_000).map(|i| pod("n", &format!("p{i}"), &json!({"app": "a", "shard": format!("s{i}")}))).collect();
        let index = index(&[service("n", "a", "a", &[80])], &pods, &|service| service.spec.clone()?.selector);
        assert_eq!(index.ports[0].subsets.len(), MAX_SUBSETS);
    }
}
