//! The tutorial as it is written, with its application, its manifests byte for byte and a real Prometheus that scrapes every
//! second.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use super::{
    application::Application,
    metric_store::MetricStore,
    outcome::Outcome,
    traffic::{during, during_paced},
    trial::Trial,
};
use crate::harness::{Glooshot, Setup, eventually, load::CountingUpstream};

/// What the page says when it has no reviews.
const NO_REVIEWS: &str = "Error fetching product reviews!";
/// What the page says in place of the stars.
const NO_RATINGS: &str = "Ratings service is currently unavailable";
/// Between two loads of the page by one client.
const PACE: Duration = Duration::from_millis(50);

fn manifest(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples/tutorial").join(name);
    path.to_str().unwrap().to_owned()
}

/// A run of the tutorial.
struct Tutorial {
    application: Application,
    run: Glooshot,
    directory: tempfile::TempDir,
    _metrics: MetricStore,
}

impl Tutorial {
    /// Starts the `experiment` with all traffic for reviews shifted by `rule`.
    #[track_caller]
    fn start(net: u8, experiment: &str, rule: &str) -> Self {
        let (metrics, application) = (MetricStore::start(), Application::start(net));
        let directory = tempfile::tempdir().unwrap();
        let yaml = fs::read_to_string(manifest(experiment)).unwrap();
        let run = application
            .behind(Setup::run(&yaml))
            .with(["--routing-rule", &manifest(rule), "--prometheus-url", &metrics.url, "--polling-interval", "1s"])
            .with(["--report-dir", directory.path().to_str().unwrap(), "-o", "json"])
            .start();
        metrics.scrape(&run);
        Self { application, run, directory, _metrics: metrics }
    }

    /// Loads pages until the run has ended; gives its outcome, the values in its report, and a page from under the fault.
    #[track_caller]
    fn end(&mut self) -> (Outcome, Vec<Value>, String) {
        let (application, run) = (&self.application, &mut self.run);
        let ((outcome, page), _) = during_paced(application.page, "/productpage", PACE, || {
            run.wait_for_line("faults on", |line| line == "faults on");
            let page = eventually("the page shows the fault", || {
                let page = application.load_page();
                (page.contains(NO_REVIEWS) || page.contains(NO_RATINGS)).then_some(page)
            });
            (Outcome::of_json(run), page)
        });
        let name = outcome.experiment["metadata"]["name"].as_str().unwrap();
        let file = self.directory.path().join(format!("{name}.report.json"));
        let report: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let histories = report["spec"]["failureConditionHistory"].as_array().unwrap();
        assert_eq!(histories.len(), 1, "{report:#}");
        let snapshots = histories[0]["failureConditionSnapshots"].as_array().unwrap();
        let values = snapshots.iter().map(|snapshot| snapshot["value"].clone()).collect();
        (outcome, values, page)
    }
}

#[test]
fn the_vulnerable_version_fails_the_first_experiment_of_the_tutorial() {
    let mut tutorial = Tutorial::start(1, "abort-ratings-metric.yaml", "reviews-vulnerable.yaml");
    assert!(!tutorial.application.load_page().contains(NO_REVIEWS), "the page is whole before the faults");
    let (outcome, values, page) = tutorial.end();
    assert!(page.contains(NO_REVIEWS), "ratings takes reviews v4 with it: {page}");
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!((outcome.failure("threshold"), outcome.failure("comparison_operator")), ("0.01", ">"));
    let keys = ["comparison_operator", "failure_condition", "failure_type", "threshold", "value"];
    assert_eq!(outcome.failure_keys(), keys);
    let value: f64 = outcome.failure("value").parse().unwrap();
    assert!(value > 0.01, "{value}");
    assert_eq!(values.last().and_then(Value::as_f64), Some(value), "{values:?}");
    assert!(outcome.injected(0).1 > 0);
    assert!(outcome.said("spec.spec.targetMesh is noted; it has no effect on this machine"), "{:#?}", outcome.lines);
}

#[test]
fn the_resilient_version_succeeds_in_the_second_experiment_of_the_tutorial() {
    let mut tutorial = Tutorial::start(2, "abort-ratings-metric-repeat.yaml", "reviews-resilient.yaml");
    let (outcome, values, page) = tutorial.end();
    assert!(page.contains(NO_RATINGS) && !page.contains(NO_REVIEWS), "reviews v3 survives: {page}");
    outcome.expect(0, "Succeeded", "");
    assert!(outcome.injected(0).1 > 0);
    // The series of reviews that answers 500 does not even exist.
    assert!(values.len() > 20 && values.iter().all(|value| *value == "NaN" || *value == 0.0), "{values:?}");
}

/// A run of `trial` against a real Prometheus, under traffic.
#[track_caller]
fn run_against_prometheus(trial: &Trial) -> Outcome {
    let (metrics, upstream) = (MetricStore::start(), CountingUpstream::start());
    let mut run = trial
        .setup()
        .to(upstream.address())
        .with(["--prometheus-url", &metrics.url, "--polling-interval", "500ms"])
        .start();
    metrics.scrape(&run);
    during(run.address(), || Outcome::of(&mut run)).0
}

#[test]
fn the_prepared_success_rate_is_a_query_that_works() {
    let rate = "name: rate, trigger: {prometheus: {successRate: {service: {name: ratings, namespace: bookinfo}, interval: 10s}, \
                thresholdValue: 0.999, comparisonOperator: '>='}}";
    let outcome = run_against_prometheus(&Trial::lasting("30s").settling("1s").abort("50").condition(rate));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(outcome.failure("value"), "1", "what we abort never reached the service, and all that did succeeded");
}

#[test]
fn a_query_that_sees_what_is_injected_trips_on_it() {
    let query =
        "sum(rate(glooshot_proxy_requests_total{code=\"500\"}[10s])) / sum(rate(glooshot_proxy_requests_total[10s]))";
    let trial =
        Trial::lasting("30s").settling("1s").abort("50").query(query, "thresholdValue: 0.2, comparisonOperator: '>'");
    let outcome = run_against_prometheus(&trial);
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    let value: f64 = outcome.failure("value").parse().unwrap();
    assert!((0.2..=1.0).contains(&value), "{value}");
}

#[test]
fn a_query_of_a_metric_that_does_not_exist_is_inconclusive_and_says_so() {
    let query = "scalar(sum(rate(istio_request_total{response_code=\"500\"}[1m])))";
    let outcome = run_against_prometheus(
        &Trial::lasting("2s").abort("50").query(query, "thresholdValue: 1, comparisonOperator: '>'"),
    );
    outcome.expect(3, "Inconclusive", "metrics_unavailable");
    assert!(outcome.failure("message").contains("istio_request_total"), "{}", outcome.text);
    assert!(outcome.said("condition 0-") && outcome.said(": NaN"), "{:#?}", outcome.lines);
}

#[test]
fn a_query_that_prometheus_cannot_parse_is_inconclusive_with_its_words() {
    let trial = Trial::lasting("30s").abort("50").query("sum(", "thresholdValue: 1, comparisonOperator: '>'");
    let outcome = run_against_prometheus(&trial);
    outcome.expect(3, "Inconclusive", "metrics_unavailable");
    assert!(outcome.failure("message").contains("parse error"), "{}", outcome.text);
}
