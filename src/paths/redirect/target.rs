//! One Service that is redirected: what is known of it for the whole run, and what follows from what is seen now.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use glooshot_api::{
    names::ServiceName,
    plan::PlannedRoute,
    scenario::{Scenario, TlsRule},
};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

use super::{
    Owner, Settings,
    eyes::Eyes,
    mirror::Mirror,
    objects::Parts,
    orders::Inputs,
    patch,
    path::error,
    plan,
    plan::Caller,
    pods,
    ports::{self, Listen, Unlistenable},
    shifts::Shifts,
    steps::ENOUGH_PROXIES,
};
use crate::engine::data_path::PathError;

/// Where a Service is called inside the cluster; a headless one nowhere.
pub(super) fn address(service: &Service) -> Option<IpAddr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

/// A Service that is redirected.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: ServiceName,
    pub(super) uid: String,
    /// For whom it is redirected: ourselves, or the rule whose guests we are.
    pub(super) holder: Owner,
    /// As it was found.
    pub(super) service: Service,
    /// What it selects while nothing redirects it.
    selector: BTreeMap<String, String>,
    pub(super) listens: Vec<Listen>,
    /// Where TLS ends at its proxies.
    tls: Vec<TlsRule>,
    callers: Vec<Caller>,
    /// No more than this many requests and connections are ever faulted at its proxies.
    max_injected: Option<u64>,
    origin: Mutex<Option<IpAddr>>,
    /// NetworkPolicies of ours, where they are to stand for those of others.
    pub(super) mirror: Option<Mirror>,
}

impl Target {
    /// The Service, whose real pods are `pods`.
    pub(super) fn new(
        service: Service,
        pods: &[Pod],
        scenario: &Scenario,
        callers: Vec<Caller>,
        max_injected: Option<u64>,
        holder: Owner,
    ) -> Result<Self, Unlistenable> {
        let ready: Vec<&Pod> = pods.iter().filter(|pod| pods::is_ready(pod)).collect();
        let name = ServiceName { namespace: service.namespace().unwrap_or_default(), name: service.name_any() };
        Ok(Self {
            tls: scenario.tls.iter().filter(|rule| rule.port.service == name).cloned().collect(),
            name,
            uid: service.uid().unwrap_or_default(),
            holder,
            selector: patch::original(&service),
            listens: ports::listens(&service, &ready)?,
            service,
            callers,
            max_injected,
            origin: Mutex::default(),
            mirror: None,
        })
    }

    /// What its objects are made of.
    pub(super) fn parts<'a>(&'a self, owner: &'a Owner, settings: &'a Settings) -> Parts<'a> {
        let Self { service, selector, listens, tls, .. } = self;
        Parts { service, selector, listens, tls, owner, settings }
    }

    /// Policies of ours must be in force before callers come to its proxies.
    pub(super) fn needs_policies(&self) -> bool {
        self.mirror.as_ref().is_some_and(|mirror| mirror.proxies.is_some() || mirror.pods.is_some())
    }

    /// Not everybody may reach it, so perhaps not us.
    pub(super) fn is_shut(&self) -> bool {
        self.mirror.as_ref().is_some_and(|mirror| mirror.pods.is_some())
    }

    /// The address of its origin, once it is made.
    pub(super) fn origin(&self) -> Option<IpAddr> {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This is its origin.
    pub(super) fn set_origin(&self, origin: Option<&Service>) -> Result<(), PathError> {
        let address = origin.and_then(address);
        let address = address.ok_or_else(|| error(format!("the origin of {} has no address", self.name)))?;
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        Ok(())
    }

    /// Its ready endpoints.
    pub(super) fn routes(&self, eyes: &Eyes) -> Vec<PlannedRoute> {
        plan::routes(&self.service, &self.selector, &self.listens, &eyes.slices(&self.name), &eyes.pods())
    }

    /// Everything that its proxies are told, as it is now.
    pub(super) fn inputs(&self, eyes: &Eyes, scenario: &Scenario, uid: &str, shifts: &Shifts) -> Inputs {
        let proxies = eyes.proxies(&self.name.namespace, &self.uid);
        let mut routes = self.routes(eyes);
        for route in &mut routes {
            route.weights = shifts.weights(&route.port, uid);
        }
        Inputs {
            routes,
            sources: plan::sources(&self.callers, &eyes.pods()),
            experiment: plan::experiment(scenario, uid, &self.name, false, self.max_injected),
            sharers: proxies.iter().filter(|pod| pods::is_ready(pod)).count().max(ENOUGH_PROXIES),
        }
    }
}
