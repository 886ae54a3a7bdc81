//! The rules of the other kinds, and of any object of ours.

use std::collections::HashSet;

use super::{Names, Pass, Violations, check};
use crate::{
    manifest::Resource, mesh::Mesh, names::ResourceRef, plan::MAX_SERVICES, routing_rule::RoutingRule,
    violation::Violation,
};

/// The highest weight of one destination.
const MAX_WEIGHT: u32 = 1_000_000;

/// Checks every rule of an object that needs nothing but the object, whatever its kind.
///
/// # Errors
/// Everything that is wrong, each with its field's path and an example.
pub fn check_resource(resource: &Resource) -> Result<(), Violations> {
    match resource {
        Resource::Experiment(experiment) => check(experiment).map(drop),
        Resource::RoutingRule(rule) => check_routing_rule(rule),
        Resource::Mesh(mesh) => check_mesh(mesh),
        // Only we write Reports, and their schema says all there is to say.
        Resource::Report(_) => Ok(()),
    }
}

/// Checks every rule of a routing rule that needs nothing but the object.
///
/// # Errors
/// As [`check_resource`].
pub fn check_routing_rule(rule: &RoutingRule) -> Result<(), Violations> {
    let namespace = rule.metadata.namespace.as_deref().unwrap_or("default");
    let mut pass = Pass { names: Names::AsWritten, namespace, found: Vec::new() };
    if let Some(mesh) = &rule.spec.target_mesh {
        pass.reference("spec.targetMesh", mesh, "{name: glooshot-proxy, namespace: glooshot}");
    }
    let selected = &rule.spec.destination_selector.upstream_selector.upstreams;
    pass.upstreams("spec.destinationSelector.upstreamSelector.upstreams", "", selected.iter());
    let destinations = &rule.spec.spec.traffic_shifting.destinations.destinations;
    let path = "spec.spec.trafficShifting.destinations.destinations";
    pass.upstreams(path, ".destination.upstream", destinations.iter().map(|weighted| &weighted.destination.upstream));
    for (i, weighted) in destinations.iter().enumerate().filter(|(_, weighted)| weighted.weight > MAX_WEIGHT) {
        pass.report(
            format!("{path}[{i}].weight"),
            format!("{} is above {MAX_WEIGHT}, as in weight: 1", weighted.weight),
        );
    }
    if !destinations.is_empty() && destinations.iter().all(|weighted| weighted.weight == 0) {
        pass.report(path, "the weights add up to 0: give one destination a weight, as in weight: 1");
    }
    Violations::check(pass.found)
}

fn check_mesh(mesh: &Mesh) -> Result<(), Violations> {
    match (&mesh.spec.istio, &mesh.spec.proxy) {
        (Some(_), None) | (None, Some(_)) => Ok(()),
        _ => Err(Violation::new("spec", "a mesh is exactly one of istio and proxy, as in proxy: {}").into()),
    }
}

impl Pass<'_> {
    /// A list of upstreams, not empty and each only once.
    fn upstreams<'a>(&mut self, path: &str, field: &str, upstreams: impl ExactSizeIterator<Item = &'a ResourceRef>) {
        self.bounded(path, upstreams.len(), MAX_SERVICES);
        if upstreams.len() == 0 {
            self.report(
                path,
                "must name at least one upstream, as in {name: bookinfo-reviews-9080, namespace: glooshot}",
            );
        }
        let mut seen = HashSet::new();
        for (i, upstream) in upstreams.enumerate() {
            let here = format!("{path}[{i}]{field}");
            let sound = self.reference(&here, upstream, "{name: bookinfo-reviews-9080, namespace: glooshot}");
            if sound && !seen.insert(upstream) {
                self.report(here, format!("{upstream} is in this list already; name every upstream once"));
            }
        }
    }
}
