//! What is found around the Service: its pods, quotas, autoscalers and monitors.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec},
        core::v1::{Pod, ResourceQuota, Service},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};
use kube::{ResourceExt as _, core::DynamicObject};

use super::{
    super::{amount::Amount, isolation::matches, objects, patch, pods},
    Findings, Reason, Seen,
};

/// Proxies at one time: two, and one more while they are replaced.
const PROXIES: f64 = 3.0;

pub(super) fn inspect(seen: &Seen, service: &Service, findings: &mut Findings) {
    let selector = patch::original(service);
    let real: Vec<&Pod> = seen.pods.iter().filter(|pod| pods::is_selected(pod, &selector)).collect();
    mesh(seen, &real, findings);
    for quota in &seen.quotas {
        quotas(quota, findings);
    }
    for autoscaler in &seen.autoscalers {
        autoscalers(autoscaler, service, &real, findings);
    }
    let monitors = seen.service_monitors.iter().filter(|monitor| watches(monitor, service));
    for monitor in monitors {
        findings.warn(
            Reason::ServiceMonitor,
            format!(
                "ServiceMonitor {}/{} would scrape the proxies in the place of the pods; conditions on the application's own \
                 metrics have no data meanwhile",
                monitor.namespace().unwrap_or_default(),
                monitor.name_any()
            ),
        );
    }
}

/// Pods with a sidecar, or in an ambient mesh, may accept nobody from outside it.
fn mesh(seen: &Seen, real: &[&Pod], findings: &mut Findings) {
    let sidecar = real.iter().flat_map(|pod| super::super::ports::containers(pod)).find_map(|container| {
        ["istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane"]
            .into_iter()
            .find(|it| container.name == *it)
    });
    let ambient =
        |labels: &BTreeMap<String, String>| labels.get("istio.io/dataplane-mode").is_some_and(|mode| mode == "ambient");
    let is_ambient =
        seen.namespace.labels.as_ref().is_some_and(ambient) || real.iter().any(|pod| ambient(pod.labels()));
    if let Some(mesh) = sidecar.or(is_ambient.then_some("ambient mode")) {
        findings.error(
            Reason::MeshedPods,
            format!(
                "its pods are in a mesh ({mesh}), which proxies outside it cannot enter; set targetMesh to that mesh"
            ),
        );
    }
}

fn quotas(quota: &ResourceQuota, findings: &mut Findings) {
    let Some(status) = &quota.status else { return };
    let (hard, used) = (status.hard.as_ref(), status.used.as_ref());
    let amount = |amounts: Option<&BTreeMap<String, Quantity>>, key: &str| {
        amounts.and_then(|amounts| amounts.get(key)).and_then(|quantity| Amount::parse(&quantity.0))
    };
    let needs = [
        ("pods", "1"),
        ("count/pods", "1"),
        ("cpu", objects::REQUEST_CPU),
        ("requests.cpu", objects::REQUEST_CPU),
        ("memory", objects::REQUEST_MEMORY),
        ("requests.memory", objects::REQUEST_MEMORY),
        ("limits.cpu", objects::LIMIT_CPU),
        ("limits.memory", objects::LIMIT_MEMORY),
    ];
    for (key, one) in needs {
        let (Some(hard), Some(one)) = (amount(hard, key), Amount::parse(one)) else { continue };
        let used = amount(used, key).unwrap_or_default();
        if used.0 + PROXIES * one.0 > hard.0 {
            findings.error(
                Reason::Quota,
                format!("quota {} leaves no room for {PROXIES} proxies: {key} is used up; raise it", quota.name_any()),
            );
        }
    }
}

/// An autoscaler that counts requests counts other ones while some are aborted or delayed.
fn autoscalers(autoscaler: &HorizontalPodAutoscaler, service: &Service, real: &[&Pod], findings: &mut Findings) {
    let Some(spec) = &autoscaler.spec else { return };
    let of_service = |metric: &MetricSpec| {
        metric
            .object
            .as_ref()
            .is_some_and(|it| it.described_object.kind == "Service" && it.described_object.name == service.name_any())
    };
    let of_requests = |metric: &MetricSpec| metric.pods.is_some() || metric.external.is_some();
    let scales = real.iter().any(|pod| {
        // A ReplicaSet of a Deployment has its name and a hash.
        let name = &spec.scale_target_ref.name;
        pod.owner_references().iter().any(|owner| {
            owner.name == *name || owner.name.rsplit_once('-').is_some_and(|(deployment, _)| deployment == name)
        })
    });
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    if metrics.iter().any(of_service) || (scales && metrics.iter().any(of_requests)) {
        findings.warn(
            Reason::RequestAutoscaler,
            format!("autoscaler {} goes by requests, of which faults leave fewer", autoscaler.name_any()),
        );
    }
}

/// Whether a ServiceMonitor is about this Service.
fn watches(monitor: &DynamicObject, service: &Service) -> bool {
    let spec = monitor.data.get("spec");
    let selector = spec.and_then(|spec| spec.get("selector")).cloned().unwrap_or_default();
    let Ok(selector) = serde_json::from_value::<LabelSelector>(selector) else { return false };
    let namespaces = spec.and_then(|spec| spec.get("namespaceSelector"));
    let any = namespaces.and_then(|it| it.get("any")).and_then(serde_json::Value::as_bool).unwrap_or(false);
    let named = namespaces.and_then(|it| it.get("matchNames")).and_then(|names| names.as_array().cloned());
    let namespace = service.namespace().unwrap_or_default();
    let is_there = match named {
        _ if any => true,
        Some(names) => names.iter().any(|name| name.as_str() == Some(namespace.as_str())),
        None => monitor.namespace().as_ref() == Some(&namespace),
    };
    is_there && matches(&selector, service.labels())
}
