//! The example manifests, and above all the tutorial's, are valid and mean what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use glooshot_api::{
    experiment::Experiment,
    manifest::{self, Resource},
    names::{Destination, KnownPort, ServiceName, ServicePort},
    plan::Disruption,
    quantity::ComparisonOperator,
    scenario::{Scenario, Threshold, TriggerRule},
    validate,
};

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests/examples")
}

fn text(name: &str) -> String {
    fs::read_to_string(examples().join(name)).unwrap()
}

fn experiment(name: &str) -> Experiment {
    manifest::read_experiment(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The bookinfo application, as the tutorial deploys it.
fn bookinfo() -> Vec<KnownPort> {
    let service = |name: &str, subsets: &[&str]| KnownPort {
        port: ServicePort { service: ServiceName { namespace: "bookinfo".into(), name: name.into() }, port: 9080 },
        subsets: subsets.iter().map(ToString::to_string).collect(),
    };
    vec![service("productpage", &["v1"]), service("ratings", &["v1"]), service("reviews", &["v1", "v2", "v3", "v4"])]
}

fn scenario(name: &str) -> Scenario {
    validate::validate(&experiment(name), &bookinfo()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const QUERY: &str = "scalar(sum(rate(istio_requests_total{ source_app=\"productpage\",response_code=\"500\",reporter=\"destination\",destination_app=\"reviews\",destination_version!=\"v1\"}[1m])))\n";

#[test]
fn the_tutorials_first_experiment_is_read_as_it_stands() {
    let scenario = scenario("tutorial/abort-ratings-metric.yaml");
    assert_eq!(scenario.experiment.to_string(), "bookinfo/abort-ratings-metric");
    assert_eq!(scenario.duration, Duration::from_secs(600));
    let [fault] = scenario.faults.as_slice() else { panic!("one fault") };
    let ratings = ServiceName { namespace: "bookinfo".into(), name: "ratings".into() };
    assert_eq!(fault.destinations, [Destination { service: ratings, port: Some(9080), subset: None }]);
    assert_eq!((fault.disruption, fault.percentage.get()), (Disruption::AbortHttp(500), 100.0));
    let [condition] = scenario.conditions.as_slice() else { panic!("one condition") };
    assert_eq!(condition.name, None);
    let threshold = Threshold { value: 0.01, operator: ComparisonOperator::Greater };
    assert_eq!(condition.trigger, TriggerRule::Prometheus { query: QUERY.into(), threshold });
    assert_eq!((scenario.max_injected, scenario.min_injected), (None, 1));
}

#[test]
fn the_tutorials_second_experiment_differs_in_name_and_duration_only() {
    let (first, second) =
        (scenario("tutorial/abort-ratings-metric.yaml"), scenario("tutorial/abort-ratings-metric-repeat.yaml"));
    assert_eq!(
        (second.experiment.name.as_str(), second.duration),
        ("abort-ratings-metric-repeat", Duration::from_secs(30))
    );
    assert_eq!(Scenario { experiment: first.experiment.clone(), duration: first.duration, ..second }, first);
}

#[test]
fn the_tutorials_routing_rules_shift_all_traffic_to_one_version() {
    for (file, upstream) in [("vulnerable", "bookinfo-reviews-v4-9080"), ("resilient", "bookinfo-reviews-v3-9080")] {
        let resources = manifest::read(&text(&format!("tutorial/reviews-{file}.yaml"))).unwrap();
        let [Resource::RoutingRule(rule)] = resources.as_slice() else { panic!("one routing rule") };
        assert_eq!(rule.spec.destination_selector.upstream_selector.upstreams[0].name, "bookinfo-reviews-9080");
        let destinations = &rule.spec.spec.traffic_shifting.destinations.destinations;
        assert_eq!((destinations[0].destination.upstream.name.as_str(), destinations[0].weight), (upstream, 1));
    }
}

#[test]
fn every_example_is_valid_and_reads_back_the_same_when_printed() {
    let mut files: Vec<PathBuf> = [examples(), examples().join("tutorial")]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let resources =
            manifest::read(&fs::read_to_string(&file).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for resource in resources {
            let Resource::Experiment(experiment) = resource else { continue };
            validate::check(&experiment).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let printed = manifest::to_yaml(&*experiment).unwrap();
            assert_eq!(manifest::read_experiment(&printed).unwrap(), *experiment, "{printed}");
        }
    }
}

#[test]
fn the_examples_show_every_field_that_an_author_can_write() {
    let definition = glooshot_api::crds::all().remove(0);
    let schema = definition.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    let mut fields = BTreeSet::new();
    collect(&serde_json::to_value(&schema.properties.unwrap()["spec"]).unwrap(), &mut fields);
    let all: String = fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    // Written only when their default is wrong.
    let rare = ["excludeInjected", "plaintext", "interval"];
    for field in fields.iter().filter(|field| !rare.contains(&field.as_str())) {
        assert!(all.contains(&format!("{field}:")), "no example shows {field}");
    }
}

/// The names of all properties in a schema.
fn collect(schema: &serde_json::Value, fields: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) {
        for (name, property) in properties {
            fields.insert(name.clone());
            collect(property, fields);
        }
    }
    if let Some(items) = schema.get("items") {
        collect(items, fields);
    }
}

#[test]
fn the_prepared_success_rate_is_one_number_of_the_requests_that_reached_the_service() {
    let checked = validate::check(&experiment("conditions.yaml")).unwrap();
    let scenario = checked.resolve(&bookinfo()).unwrap();
    let TriggerRule::Prometheus { query, .. } = &scenario.conditions[1].trigger else {
        panic!("a Prometheus condition")
    };
    assert_eq!(
        query,
        "scalar(sum(rate(istio_requests_total{reporter=\"destination\",response_code!~\"5.*\",destination_service_namespace=\"bookinfo\",destination_service_name=\"reviews\"}[1m]))/sum(rate(istio_requests_total{reporter=\"destination\",destination_service_namespace=\"bookinfo\",destination_service_name=\"reviews\"}[1m])))"
    );
}

#[test]
fn defaults_are_filled_in_where_the_author_says_nothing() {
    let scenario = scenario("conditions.yaml");
    assert_eq!((scenario.settle, scenario.max_concurrent_delays), (Duration::from_secs(5), 5_000));
    let TriggerRule::Traffic(rate) = &scenario.conditions[4].trigger else { panic!("a traffic condition") };
    assert_eq!((rate.interval, rate.min_requests, rate.exclude_injected), (Duration::from_secs(5), 0, true));
    assert_eq!(scenario.conditions[1].trigger.threshold_operator(), Some(ComparisonOperator::Less));
}

trait Operator {
    fn threshold_operator(&self) -> Option<ComparisonOperator>;
}

impl Operator for TriggerRule {
    fn threshold_operator(&self) -> Option<ComparisonOperator> {
        match self {
            Self::Prometheus { threshold, .. } => Some(threshold.operator),
            Self::Traffic(rule) => Some(rule.threshold.operator),
            Self::Webhook { .. } => None,
        }
    }
}

#[test]
fn a_control_experiment_needs_no_injected_request() {
    assert_eq!((scenario("control.yaml").faults.len(), scenario("control.yaml").min_injected), (0, 0));
}
