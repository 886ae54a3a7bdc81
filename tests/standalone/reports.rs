//! What is printed and written: the Experiment with its result, and the Report with the history of each condition.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{outcome::Outcome, traffic::during, trial::Trial};
use crate::harness::load::CountingUpstream;

const ERRORS: &str =
    "ErrorRate, interval: 1200ms, excludeInjected: false, thresholdValue: 0.05, comparisonOperator: '>'";

/// A trial that fails after more than a second, so that there is a sample before the one that trips.
fn failing() -> Trial {
    Trial::endless().abort("50").traffic(ERRORS).condition(
        "name: never, trigger: {traffic: {service: {name: ratings}, metric: RequestRate, interval: 300ms, \
         thresholdValue: 1000000, comparisonOperator: '>'}}",
    )
}

/// The outcome of a failing trial that was told to write into `directory`.
fn written_into(directory: &Path, format: &str) -> Outcome {
    let upstream = CountingUpstream::start();
    let arguments = ["--report-dir", directory.to_str().unwrap(), "-o", format];
    let mut run = failing().setup().to(upstream.address()).with(arguments).start_with_faults_on();
    let read = if format == "json" { Outcome::of_json } else { Outcome::of };
    let (outcome, _) = during(run.address(), || read(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    outcome
}

/// The Report that belongs to `outcome`.
#[track_caller]
fn is_the_report_of(outcome: &Outcome, report: &Value) {
    assert_eq!((&report["apiVersion"], &report["kind"]), (&json!("glooshot.solo.io/v1"), &json!("Report")));
    assert_eq!(report["metadata"], json!({"name": "trial", "namespace": "bookinfo"}));
    assert_eq!(report["spec"]["experiment"], json!({"name": "trial", "namespace": "bookinfo"}));
    let histories = report["spec"]["failureConditionHistory"].as_array().unwrap();
    assert_eq!(histories.len(), 2, "one for each condition: {report:#}");
    assert_eq!(histories[0]["failureConditionName"], outcome.failure("failure_condition"));
    assert_eq!(histories[1]["failureConditionName"], "never", "in the order of the spec");
    for history in histories {
        let snapshots = history["failureConditionSnapshots"].as_array().unwrap();
        assert!(!snapshots.is_empty(), "{report:#}");
        let times = snapshots.iter().map(|snapshot| snapshot["timestamp"].as_str().unwrap()).collect::<Vec<_>>();
        assert!(times.is_sorted() && times.iter().all(|time| is_like_the_tutorial(time)), "{times:?}");
        assert!(times[0] > outcome.result("timeStarted"), "{times:?}");
    }
    let last = histories[0]["failureConditionSnapshots"].as_array().unwrap().last().unwrap();
    let value: f64 = outcome.failure("value").parse().unwrap();
    assert_eq!(last["value"].as_f64(), Some(value), "the last snapshot is the value that tripped: {report:#}");
}

/// RFC 3339 in UTC with nine digits of a second.
fn is_like_the_tutorial(time: &str) -> bool {
    let pattern = "2019-06-10T16:08:39.869280871Z";
    time.len() == pattern.len()
        && time.chars().zip(pattern.chars()).all(|(a, b)| a == b || (a.is_ascii_digit() && b.is_ascii_digit()))
}

#[test]
fn the_result_and_the_report_are_written_as_yaml() {
    let directory = tempfile::tempdir().unwrap();
    let outcome = written_into(directory.path(), "yaml");
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("trial.result.yaml"), outcome.text, "the file is what was printed");
    let text = read("trial.report.yaml");
    is_the_report_of(&outcome, &serde_saphyr::from_str(&text).unwrap());
    assert!(text.contains("    failureConditionSnapshots:\n    - timestamp: \""), "as the tutorial shows it: {text}");
    assert!(outcome.said("trial.result.yaml") && outcome.said("trial.report.yaml"), "{:#?}", outcome.lines);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn the_result_and_the_report_are_written_as_json_into_a_directory_that_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let outcome = written_into(&directory, "json");
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!(read("trial.result.json"), outcome.text);
    is_the_report_of(&outcome, &serde_json::from_str(&read("trial.report.json")).unwrap());
}

#[test]
fn json_and_yaml_say_the_same() {
    let upstream = CountingUpstream::start();
    let trial = Trial::lasting("600ms").abort("100").with("targetMesh: {name: istio-istio-system}");
    let outcome = |format: &str, read: fn(&mut crate::harness::Glooshot) -> Outcome| {
        let mut run = trial.setup().to(upstream.address()).with(["--output", format]).start();
        let (outcome, _) = during(run.address(), || read(&mut run));
        outcome.expect(0, "Succeeded", "");
        outcome.experiment
    };
    let (yaml, json) = (outcome("yaml", Outcome::of), outcome("json", Outcome::of_json));
    let shape = |experiment: &Value| {
        let mut experiment = experiment.clone();
        let status = experiment["status"].as_object_mut().unwrap();
        for condition in status["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = Value::Null;
        }
        status["injection"] = Value::Null;
        status["result"]["timeStarted"] = Value::Null;
        status["result"]["timeFinished"] = Value::Null;
        // A number without a fraction is an integer in one of them and a float in the other.
        experiment["spec"]["spec"]["faults"][0]["fault"]["percentage"] = Value::Null;
        experiment
    };
    assert_eq!(shape(&yaml), shape(&json));
}

#[test]
fn a_condition_without_a_name_is_called_by_its_index_and_the_nanoseconds_of_the_start() {
    let upstream = CountingUpstream::start();
    let errors = "ErrorRate, interval: 300ms, excludeInjected: false, thresholdValue: 0.05, comparisonOperator: '>'";
    let never = "ErrorRate, interval: 300ms, thresholdValue: 0.9, comparisonOperator: '>'";
    let trial = Trial::endless().abort("50").traffic(never).traffic(errors);
    let mut run = trial.setup().to(upstream.address()).start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    let started: jiff::Timestamp = outcome.result("timeStarted").parse().unwrap();
    assert_eq!(outcome.failure("failure_condition"), format!("1-{}", started.as_nanosecond()));
}

#[test]
fn times_have_nine_digits_of_a_second_as_in_the_tutorial() {
    let upstream = CountingUpstream::start();
    let mut run = Trial::lasting("600ms").abort("100").setup().to(upstream.address()).start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    for field in ["timeStarted", "timeFinished"] {
        assert!(is_like_the_tutorial(outcome.result(field)), "{field}: {}", outcome.result(field));
    }
}

#[test]
fn the_printed_experiment_is_the_one_that_was_given_and_can_be_run_again() {
    let upstream = CountingUpstream::start();
    let trial =
        Trial::lasting("600ms").abort("12.5").with("limits: {maxInjected: 1000, minInjected: 1}").traffic(ERRORS);
    let yaml = trial.yaml().replace("1200ms", "400ms").replace("thresholdValue: 0.05", "thresholdValue: 0.97");
    let mut run = crate::harness::Setup::run(&yaml).to(upstream.address()).start();
    let (first, _) = during(run.address(), || Outcome::of(&mut run));
    let mut run = crate::harness::Setup::run(&first.text).to(upstream.address()).start();
    let (second, _) = during(run.address(), || Outcome::of(&mut run));
    assert_eq!(first.experiment["spec"], second.experiment["spec"]);
    assert_eq!(first.experiment["spec"]["spec"]["faults"][0]["fault"]["percentage"], 12.5);
    second.expect(first.code, first.result("state"), first.failure("failure_type"));
}
