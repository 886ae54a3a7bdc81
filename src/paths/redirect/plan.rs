//! What the proxies of one Service are told: its ready endpoints, the callers that are known, and the experiment. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use glooshot_api::{
    names::{ServiceName, ServicePort},
    plan::{Endpoint, MAX_ENDPOINTS, MAX_SOURCES, PlannedExperiment, PlannedRoute, PlannedSource},
    scenario::Scenario,
};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::ResourceExt as _;

use super::{names, pods, ports::Listen};

/// A Service that is named as a caller, and what it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) service: ServiceName,
    pub(super) selector: BTreeMap<String, String>,
}

/// The services that must come through the proxies of `service` for its faults to mean anything.
pub(super) fn callers(scenario: &Scenario, service: &ServiceName) -> BTreeSet<ServiceName> {
    let here = scenario.faults.iter().filter(|fault| fault.destinations.iter().any(|it| it.service == *service));
    here.flat_map(|fault| fault.origins.iter().cloned()).collect()
}

/// The ready endpoints of each port, as the slices of the origin tell them.
pub(super) fn routes(
    service: &Service,
    selector: &BTreeMap<String, String>,
    listens: &[Listen],
    slices: &[impl AsRef<EndpointSlice>],
    pods: &[impl AsRef<Pod>],
) -> Vec<PlannedRoute> {
    let name = ServiceName { namespace: service.namespace().unwrap_or_default(), name: service.name_any() };
    let by_name: BTreeMap<&str, &Pod> = pods
        .iter()
        .map(AsRef::as_ref)
        .filter(|pod: &&Pod| pod.metadata.namespace.as_ref() == Some(&name.namespace))
        .filter_map(|pod| Some((pod.metadata.name.as_deref()?, pod)))
        .collect();
    // Where a pod has an address of each family it is still one endpoint.
    let family = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref()?.first().cloned());
    let slices: Vec<&EndpointSlice> = slices
        .iter()
        .map(AsRef::as_ref)
        .filter(|slice: &&EndpointSlice| family.as_ref().is_none_or(|family| slice.address_type == *family))
        .collect();
    let route = |listen: &Listen| {
        let port_name = super::ports::ports(service)
            .find(|port| port.port == i32::from(listen.service_port))
            .and_then(|port| port.name.clone())
            .unwrap_or_default();
        let mut endpoints = BTreeMap::new();
        for slice in &slices {
            let ports = slice.ports.iter().flatten();
            let mut number = ports.filter(|port| port.name.as_deref().unwrap_or_default() == port_name);
            let Some(number) = number.find_map(|port| u16::try_from(port.port?).ok().filter(|port| *port > 0)) else {
                continue;
            };
            for endpoint in slice.endpoints.iter().filter(|it| is_ready(it)) {
                let pod = endpoint.target_ref.as_ref().and_then(|it| by_name.get(it.name.as_deref()?));
                let subset = pod.and_then(|pod| pods::subset(pod, selector));
                for address in endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()) {
                    endpoints.insert(SocketAddr::new(address, number), subset.clone());
                }
            }
        }
        let endpoints = endpoints.into_iter().take(MAX_ENDPOINTS);
        PlannedRoute {
            port: ServicePort { service: name.clone(), port: listen.service_port },
            endpoints: endpoints.map(|(address, subset)| Endpoint { address, subset }).collect(),
            weights: Vec::new(),
        }
    };
    listens.iter().map(route).collect()
}

/// Who a pod is to us when it calls: the caller that a fault names, if it is selected by one, or else its application. No address
/// is given twice: it would be anybody's.
pub(super) fn sources(callers: &[Caller], pods: &[impl AsRef<Pod>]) -> Vec<PlannedSource> {
    let mut sources: BTreeMap<IpAddr, Option<PlannedSource>> = BTreeMap::new();
    for pod in pods.iter().map(AsRef::as_ref) {
        if names::is_ours(&pod.metadata) || !pods::has_addresses(pod) {
            continue;
        }
        let namespace = pod.namespace().unwrap_or_default();
        let named = callers
            .iter()
            .find(|caller| caller.service.namespace == namespace && pods::is_selected(pod, &caller.selector))
            .map(|caller| caller.service.clone());
        let application = || pods::application(pod).map(|name| ServiceName { namespace, name: name.to_owned() });
        let Some(service) = named.or_else(application) else { continue };
        let version = pods::version(pod).map(str::to_owned);
        for address in pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten()) {
            let Ok(address) = address.ip.parse::<IpAddr>() else { continue };
            let source = PlannedSource { address, service: service.clone(), version: version.clone() };
            sources.entry(address).and_modify(|source| *source = None).or_insert(Some(source));
        }
    }
    sources.into_values().flatten().take(MAX_SOURCES).collect()
}

/// What the proxies of `service` are told of the run: conditions are those of this Service, each judged on all of its proxies.
pub(super) fn experiment(
    scenario: &Scenario,
    uid: &str,
    service: &ServiceName,
    armed: bool,
    max_injected: Option<u64>,
) -> PlannedExperiment {
    let mut experiment = PlannedExperiment { armed, max_injected, ..PlannedExperiment::of(scenario, uid) };
    experiment.conditions.retain(|condition| condition.rule.service.service == *service);
    for condition in &mut experiment.conditions {
        condition.shared = true;
    }
    experiment
}

/// The share of `total` of the `index`-th of `count`: they add up to it exactly.
pub(super) fn share(total: u64, index: u64, count: u64) -> u64 {
    let count = count.max(1);
    total / count + u64::from(index < total % count)
}

fn is_ready(endpoint: &k8s_openapi::api::discovery::v1::Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

#[cfg(test)]
mod tests;
