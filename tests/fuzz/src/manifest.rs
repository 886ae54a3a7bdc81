//! Manifests: what reads is printed and reads as the same; what is refused says where; what validates makes a sound plan.

use glooshot_api::{
    experiment::Experiment,
    manifest::{self, ManifestError, Resource},
    names::{KnownPort, ServiceName, ServicePort},
    plan::{Plan, PlannedExperiment},
    traffic_shift, validate,
    violation::Violation,
};

/// Reads a file as `glooshot validate` and `glooshot run` do.
///
/// # Panics
/// When an object changes by being printed, a violation does not say where, or a valid experiment makes no valid plan.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for document in manifest::documents(text).into_iter().flatten() {
        if document.resource.is_none() {
            assert!(!document.problems.is_empty(), "an object is lost without a word");
        }
        says_where(text, &document.violations());
    }
    match manifest::read(text) {
        Ok(resources) => resources.iter().for_each(|resource| accepted(text, resource)),
        Err(ManifestError::Invalid(violations)) => says_where(text, &violations.into_iter().collect::<Vec<_>>()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A path that a reader finds, and words.
fn says_where(text: &str, violations: &[Violation]) {
    for Violation { path, message } in violations {
        // serde's words for the whole, and for a step that it cannot name.
        let is_vague = path.is_empty() || path == "." || path.contains('?') && !text.contains('?');
        assert!(!is_vague, "{path:?}: {message}");
        assert!(!message.is_empty(), "{path}");
    }
}

/// What holds for an object whose form is sound.
fn accepted(text: &str, resource: &Resource) {
    let printed = print(resource);
    let again = manifest::read(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    let [again] = again.as_slice() else { panic!("{} objects in\n{printed}", again.len()) };
    assert_eq!(print(again), printed);
    // Kubernetes' own times in the metadata are printed in whole seconds; all that is ours comes back as it was.
    let same = match (again, resource) {
        (Resource::Experiment(again), Resource::Experiment(it)) => again.spec == it.spec && again.status == it.status,
        (Resource::Report(again), Resource::Report(it)) => again.spec == it.spec,
        (Resource::RoutingRule(again), Resource::RoutingRule(it)) => again.spec == it.spec,
        (Resource::Mesh(again), Resource::Mesh(it)) => again.spec == it.spec,
        _ => false,
    };
    assert!(same, "{resource:?} was read from its print as {again:?}");
    match resource {
        Resource::Experiment(experiment) => validated(text, experiment),
        Resource::RoutingRule(rule) => {
            for (_, weights) in traffic_shift::shares(rule, &known()).into_iter().flatten() {
                assert!(weights.iter().any(|subset| subset.weight > 0), "{weights:?}");
            }
        }
        Resource::Report(_) | Resource::Mesh(_) => {}
    }
}

/// As `kubectl get -o yaml` prints it.
fn print(resource: &Resource) -> String {
    let printed = match resource {
        Resource::Experiment(it) => manifest::to_yaml(it),
        Resource::Report(it) => manifest::to_yaml(it),
        Resource::RoutingRule(it) => manifest::to_yaml(it),
        Resource::Mesh(it) => manifest::to_yaml(it),
    };
    printed.unwrap()
}

/// Validation with and without knowing the world; what passes is told to a data plane, which must not refuse it.
fn validated(text: &str, experiment: &Experiment) {
    let checked = match validate::check(experiment) {
        Ok(checked) => checked,
        Err(violations) => return says_where(text, &violations.into_iter().collect::<Vec<_>>()),
    };
    match checked.resolve(&known()) {
        Ok(scenario) => {
            let plan = Plan {
                experiment: Some(PlannedExperiment { armed: true, ..PlannedExperiment::of(&scenario, "") }),
                ..Plan::default()
            };
            assert_eq!(plan.check(), Ok(()), "{scenario:?}");
        }
        Err(violations) => says_where(text, &violations.into_iter().collect::<Vec<_>>()),
    }
}

/// The Services of the tutorial.
fn known() -> Vec<KnownPort> {
    let port = |name: &str, subsets: &[&str]| KnownPort {
        port: ServicePort { service: ServiceName { namespace: "bookinfo".into(), name: name.into() }, port: 9080 },
        subsets: subsets.iter().map(|&subset| subset.into()).collect(),
    };
    let reviews = port("reviews", &["v1", "v2", "v3", "v4"]);
    vec![port("productpage", &[]), port("details", &[]), port("ratings", &[]), reviews]
}
