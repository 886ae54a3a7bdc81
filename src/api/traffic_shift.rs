//! What a `RoutingRule` means for the Service ports that it selects: shares by subset.

use crate::{
    names::{Destination, KnownPort, ServicePort, resolve, upstream_name},
    plan::SubsetWeight,
    routing_rule::{RoutingRule, WeightedDestination},
    violation::{Violation, Violations},
};

const SELECTED: &str = "spec.destinationSelector.upstreamSelector.upstreams";
const SHARES: &str = "spec.spec.trafficShifting.destinations.destinations";

/// The shares of each Service port that the rule selects.
///
/// # Errors
/// Every upstream that is not known, is not of the selected Service, or is no subset, and weights that add up to nothing.
pub fn shares(rule: &RoutingRule, known: &[KnownPort]) -> Result<Vec<(ServicePort, Vec<SubsetWeight>)>, Violations> {
    let mut found = Vec::new();
    let mut ports = Vec::new();
    for (i, reference) in rule.spec.destination_selector.upstream_selector.upstreams.iter().enumerate() {
        let path = format!("{SELECTED}[{i}]");
        match resolve(reference, known) {
            Ok(Destination { service, port, subset: None }) => {
                let of_service = known.iter().map(|k| &k.port).filter(|k| k.service == service);
                ports.extend(of_service.filter(|k| port.is_none_or(|port| k.port == port)).cloned());
            }
            Ok(Destination { subset: Some(subset), .. }) => found.push(Violation::new(
                path,
                format!(
                    "{reference} is only the subset {subset}; select the whole upstream, as in bookinfo-reviews-9080"
                ),
            )),
            Err(error) => found.push(Violation::new(path, error.to_string())),
        }
    }
    if ports.is_empty() && found.is_empty() {
        found.push(Violation::new(SELECTED, "selects nothing; name an upstream, as in {name: bookinfo-reviews-9080}"));
    }
    let all = ports.iter().map(|port| (port.clone(), port_shares(rule, port, known, &mut found))).collect();
    Violations::check(found)?;
    Ok(all)
}

/// The shares of one port.
fn port_shares(
    rule: &RoutingRule,
    port: &ServicePort,
    known: &[KnownPort],
    found: &mut Vec<Violation>,
) -> Vec<SubsetWeight> {
    let destinations = &rule.spec.spec.traffic_shifting.destinations.destinations;
    let mut shares = Vec::new();
    for (i, destination) in destinations.iter().enumerate() {
        match subset(destination, port, known) {
            Ok(subset) => shares.push(SubsetWeight { subset, weight: destination.weight }),
            Err(message) => found.push(Violation::new(format!("{SHARES}[{i}].destination.upstream"), message)),
        }
    }
    if destinations.iter().all(|destination| destination.weight == 0) {
        found.push(Violation::new(SHARES, "the weights add up to 0; give one destination a weight of 1 or more"));
    }
    shares
}

/// The subset of `port` that a destination names.
fn subset(destination: &WeightedDestination, port: &ServicePort, known: &[KnownPort]) -> Result<String, String> {
    let reference = &destination.destination.upstream;
    match resolve(reference, known).map_err(|error| error.to_string())? {
        Destination { service, port: number, subset: Some(subset) }
            if service == port.service && number.is_none_or(|number| number == port.port) =>
        {
            Ok(subset)
        }
        Destination { subset: None, .. } => {
            let example = upstream_name(port, Some("v4"));
            Err(format!("{reference} is not a subset; name one, as in {example}"))
        }
        other => Err(format!("{other} is not a subset of {port}, whose traffic this rule shifts")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::{manifest, names::ServiceName};

    fn known() -> Vec<KnownPort> {
        let port = |name: &str| ServicePort {
            service: ServiceName { namespace: "bookinfo".into(), name: name.into() },
            port: 9080,
        };
        vec![
            KnownPort { port: port("reviews"), subsets: vec!["v3".into(), "v4".into()] },
            KnownPort { port: port("ratings"), subsets: vec![] },
        ]
    }

    fn rule(selected: &str, shares: &[(&str, u32)]) -> RoutingRule {
        let list: String = shares
            .iter()
            .map(|(n, w)| format!("\n      - destination: {{upstream: {{name: {n}}}}}\n        weight: {w}"))
            .collect();
        let text = format!(
            "apiVersion: glooshot.solo.io/v1\nkind: RoutingRule\nmetadata: {{name: r, namespace: bookinfo}}\nspec:\n  \
             destinationSelector: {{upstreamSelector: {{upstreams: [{{name: {selected}}}]}}}}\n  spec:\n    \
             trafficShifting:\n     destinations:\n      destinations:{list}\n"
        );
        match manifest::read(&text).unwrap().pop() {
            Some(manifest::Resource::RoutingRule(rule)) => *rule,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_traffic_goes_to_the_one_subset_that_is_named() {
        let shares = shares(&rule("bookinfo-reviews-9080", &[("bookinfo-reviews-v4-9080", 1)]), &known()).unwrap();
        assert_eq!(shares.len(), 1);
        assert_eq!(shares[0].1, vec![SubsetWeight { subset: "v4".into(), weight: 1 }]);
    }

    #[test]
    fn what_cannot_be_shifted_is_said_with_its_path() {
        for (selected, destinations, path) in [
            ("bookinfo-nothing-9080", vec![("bookinfo-reviews-v4-9080", 1)], SELECTED),
            ("bookinfo-reviews-9080", vec![("bookinfo-ratings-9080", 1)], SHARES),
            ("bookinfo-ratings-9080", vec![("bookinfo-reviews-v4-9080", 1)], SHARES),
            ("bookinfo-reviews-9080", vec![("bookinfo-reviews-9080", 1)], SHARES),
            ("bookinfo-reviews-9080", vec![("bookinfo-reviews-v4-9080", 0)], SHARES),
        ] {
            let found = shares(&rule(selected, &destinations), &known()).unwrap_err();
            assert!(found.iter().any(|v| v.path.starts_with(path)), "{selected} {destinations:?}: {found:?}");
        }
    }
}
