//! Files given to the command line: what is refused, in which words, and how objects are printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

use std::collections::BTreeMap;

use glooshot_api::{
    manifest::{self, ManifestError, Resource},
    report::{ConditionHistory, SampleValue, Snapshot},
    status::{ExperimentResult, ResultState},
};
use serde_json::json;

const HEAD: &str = "apiVersion: glooshot.solo.io/v1\nkind: Experiment\nmetadata: {name: e, namespace: bookinfo}\n";

/// What is wrong with an experiment that has this `spec`.
fn problems(spec: &str) -> Vec<String> {
    match manifest::read_experiment(&format!("{HEAD}spec: {spec}\n")) {
        Err(ManifestError::Invalid(violations)) => violations.iter().map(ToString::to_string).collect(),
        other => panic!("{spec}: {other:?}"),
    }
}

#[test]
fn an_unknown_field_is_an_error_that_suggests_the_near_name() {
    for (spec, expected) in [
        (
            "{spec: {faults: [{fault: {percent: 5}}]}}",
            "spec.spec.faults[0].fault.percent: unknown field; known here are \"abort\", \"connection\", \"delay\", \"percentage\"",
        ),
        (
            "{spec: {faults: [{fault: {percentge: 5}}]}}",
            "spec.spec.faults[0].fault.percentge: unknown field; did you mean \"percentage\"?",
        ),
        (
            "{spec: {failure_conditions: []}}",
            "spec.spec.failure_conditions: unknown field; did you mean \"failureConditions\"?",
        ),
        (
            "{spec: {faults: [{destinationService: []}]}}",
            "spec.spec.faults[0].destinationService: unknown field; did you mean \"destinationServices\"?",
        ),
        ("{spec: {}, faults: []}", "spec.faults: unknown field; \"faults\" belongs one level deeper, under spec.spec"),
        ("{spec: {}, result: {}}", "spec.result: unknown field; the result of an experiment is in status.result"),
        (
            "{spec: {faults: [{fault: {httpStatus: 500}}]}}",
            "spec.spec.faults[0].fault.httpStatus: unknown field; \"httpStatus\" belongs one level deeper, under spec.spec.faults[0].fault.abort",
        ),
        (
            "{spec: {faults: [{fault: {conection: {reset: true}}}]}}",
            "spec.spec.faults[0].fault.conection: unknown field; did you mean \"connection\"?",
        ),
        (
            "{spec: {faults: [{fault: {connection: {rest: true}}}]}}",
            "spec.spec.faults[0].fault.connection.rest: unknown field; did you mean \"reset\"?",
        ),
        (
            "{spec: {faults: [{fault: {reset: true}}]}}",
            "spec.spec.faults[0].fault.reset: unknown field; \"reset\" belongs one level deeper, under spec.spec.faults[0].fault.connection",
        ),
        (
            "{spec: {faults: [{fault: {connection: {percentage: 5}}}]}}",
            "spec.spec.faults[0].fault.connection.percentage: unknown field; \"percentage\" belongs one level up, beside \"connection\"",
        ),
        (
            "{spec: {faults: [{fault: {abort: {percentage: 5}}}]}}",
            "spec.spec.faults[0].fault.abort.percentage: unknown field; \"percentage\" belongs one level up, beside \"abort\"",
        ),
        (
            "{spec: {failureConditions: [{prometheusTrigger: {}}]}}",
            "spec.spec.failureConditions[0].prometheusTrigger: unknown field; write trigger: {prometheus: {...}}",
        ),
    ] {
        assert_eq!(problems(spec), [expected]);
    }
}

#[test]
fn a_wrong_type_is_an_error_with_an_example() {
    for (spec, expected) in [
        ("{spec: {duration: 600}}", "spec.spec.duration: must be a text, but is 600, as in duration: \"600s\""),
        (
            "{spec: {duration: 600z}}",
            "spec.spec.duration: unknown unit \"z\" in \"600z\"; the units are ns, us, ms, s, m and h, as in \"1m30s\"",
        ),
        (
            "{spec: {duration: \"600\"}}",
            "spec.spec.duration: \"600\" has no unit; write for example \"600ms\" or \"600s\"",
        ),
        (
            "{spec: {duration: -5s}}",
            "spec.spec.duration: \"-5s\" is negative; a duration counts forward, as in \"30s\"",
        ),
        ("{spec: {faults: {}}}", "spec.spec.faults: must be a list, but is a map"),
        ("{spec: {faults: [null]}}", "spec.spec.faults[0]: must be a map, but is nothing"),
        (
            "{spec: {faults: [{fault: {percentage: \"50\"}}]}}",
            "spec.spec.faults[0].fault.percentage: must be a number, but is the text \"50\"; write it without quotes: 50",
        ),
        (
            "{spec: {faults: [{fault: {abort: {httpStatus: 500.5}}}]}}",
            "spec.spec.faults[0].fault.abort.httpStatus: must be a whole number, but is 500.5, as in httpStatus: 500",
        ),
        (
            "{spec: {faults: [{fault: {abort: {httpStatus: 5000000000}}}]}}",
            "spec.spec.faults[0].fault.abort.httpStatus: invalid value: integer `5000000000`, expected i32",
        ),
        (
            "{spec: {faults: [{fault: {percentage: .nan}}]}}",
            "spec.spec.faults[0].fault.percentage: must be a number, but is the text \".nan\", as in percentage: 25",
        ),
        (
            "{spec: {faults: [{fault: {delay: {}}}]}}",
            "spec.spec.faults[0].fault.delay.duration: is required, as in duration: \"2s\"",
        ),
        ("{spec: {limits: {maxInjected: -1}}}", "spec.spec.limits.maxInjected: -1 is below 1, as in maxInjected: 100"),
        (
            "{spec: {routing: {reconnect: restartTargets}}}",
            "spec.spec.routing.reconnect: \"restartTargets\" is not one of \"None\", \"RestartTargets\"; did you mean \"RestartTargets\"?",
        ),
        (
            "{spec: {failureConditions: [{trigger: {prometheus: {customQuery: up, comparisonOperator: =>}}}]}}",
            "spec.spec.failureConditions[0].trigger.prometheus.comparisonOperator: \"=>\" is not one of \"==\", \">\", \"<\", \">=\", \"<=\"; did you mean \"==\"?",
        ),
        ("{}", "spec.spec: is required, as in spec: {spec: {duration: \"600s\", faults: [...]}}"),
    ] {
        assert_eq!(problems(spec), [expected]);
    }
}

#[test]
fn a_mistyped_field_is_checked_as_if_it_had_the_near_name() {
    let fault = "{destinationServices: [{name: ratings}], fault: {abort: {httpStatus: 500}, percentge: 150}}";
    let text = format!("{HEAD}spec: {{spec: {{faults: [{fault}]}}}}\n");
    let documents = manifest::documents(&text).unwrap();
    let found: Vec<String> = documents[0].violations().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec.spec.faults[0].fault.percentge: unknown field; did you mean \"percentage\"?",
            "spec.spec.faults[0].fault.percentage: 150 is not a percentage: it must be above 0 and at most 100, as in 25 or 0.5",
        ]
    );
}

#[test]
fn a_field_is_not_taken_for_one_that_is_there_already() {
    assert!(
        problems("{spec: {faults: [], fault: []}}")[0].starts_with("spec.spec.fault: unknown field; known here are")
    );
}

#[test]
fn every_mistake_of_a_file_is_said_at_once() {
    let found = problems(
        "{spec: {duration: 5, colour: red, faults: [{fault: {percentage: high, delay: {duration: soon, jitter: later}}}], routing: {settle: 1x}}}",
    );
    let paths: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "spec.spec.colour",
            "spec.spec.duration",
            "spec.spec.faults[0].fault.delay.duration",
            "spec.spec.faults[0].fault.delay.jitter",
            "spec.spec.faults[0].fault.percentage",
            "spec.spec.routing.settle",
        ]
    );
}

#[test]
fn a_null_says_nothing_as_everywhere_in_kubernetes() {
    let text = format!("{HEAD}spec: {{spec: {{duration: null, faults: null, targetMesh: ~}}}}\n");
    assert_eq!(
        manifest::read_experiment(&text).unwrap().spec.spec,
        glooshot_api::experiment::ExperimentBody::default()
    );
}

#[test]
fn kind_and_version_are_checked_first_and_near_names_suggested() {
    let read = |head: &str| manifest::read(&format!("{head}\nspec: {{spec: {{}}}}\n")).unwrap_err().to_string();
    assert_eq!(
        read("apiVersion: glooshot.solo.io/v1beta1\nkind: experiment"),
        "apiVersion: must be glooshot.solo.io/v1, but is \"glooshot.solo.io/v1beta1\"\n\
         kind: \"experiment\" is not one of Experiment, Report, RoutingRule, Mesh; did you mean Experiment?"
    );
    assert_eq!(
        read("metadata: {name: e}"),
        "apiVersion: is required, as in apiVersion: glooshot.solo.io/v1\n\
         kind: is required, as in kind: Experiment; known are Experiment, Report, RoutingRule, Mesh"
    );
}

#[test]
fn metadata_is_read_strictly_too() {
    let read = |metadata: &str| {
        let text =
            format!("apiVersion: glooshot.solo.io/v1\nkind: Experiment\nmetadata: {metadata}\nspec: {{spec: {{}}}}\n");
        manifest::read(&text).unwrap_err().to_string()
    };
    assert_eq!(read("{name: e, namspace: a}"), "metadata.namspace: unknown field; did you mean \"namespace\"?");
    assert_eq!(read("{name: 5}"), "metadata.name: must be a text, but is 5, as in name: ratings");
    assert_eq!(
        read("{name: e, labels: {version: 1}}"),
        "metadata.labels.version: must be a text: write it in quotes, as in \"1\""
    );
}

#[test]
fn metadata_that_is_missing_or_mistyped_is_told_by_its_name() {
    let read = |lines: &str| {
        let text = format!("apiVersion: glooshot.solo.io/v1\nkind: Experiment\n{lines}spec: {{spec: {{}}}}\n");
        manifest::read(&text).unwrap_err().to_string()
    };
    assert_eq!(read(""), "metadata: is required, as in metadata: {name: my-experiment, namespace: bookinfo}");
    assert_eq!(read("metdata: {name: e}\n"), "metdata: unknown field; did you mean \"metadata\"?");
    assert_eq!(
        read("metdata: {name: e, namspace: a}\n"),
        "metadata.namspace: unknown field; did you mean \"namespace\"?\n\
         metdata: unknown field; did you mean \"metadata\"?"
    );
}

#[test]
fn several_documents_are_read_and_their_mistakes_told_apart() {
    let good = format!("{HEAD}spec: {{spec: {{}}}}\n");
    let mesh = "apiVersion: glooshot.solo.io/v1\nkind: Mesh\nmetadata: {name: m}\nspec: {proxy: {}}\n";
    let resources = manifest::read(&format!("---\n{good}---\n# nothing\n---\n{mesh}")).unwrap();
    assert_eq!(resources.iter().map(Resource::kind).collect::<Vec<_>>(), ["Experiment", "Mesh"]);
    let error = manifest::read(&format!("{good}---\n{good}wrong: 1\n")).unwrap_err().to_string();
    assert_eq!(error, "document 2: wrong: unknown field; known here are \"spec\", \"status\"");
    let error = manifest::read_experiment(&format!("{good}---\n{mesh}")).unwrap_err().to_string();
    assert_eq!(error, "the file holds 2 objects, but one Experiment is needed");
    assert_eq!(
        manifest::read_experiment(mesh).unwrap_err().to_string(),
        "the file holds a Mesh, but an Experiment is needed"
    );
}

#[test]
fn json_is_read_like_yaml() {
    let text = json!({"apiVersion": "glooshot.solo.io/v1", "kind": "Experiment", "metadata": {"name": "e"}, "spec": {"spec": {"duration": "5s"}}});
    let experiment = manifest::read_experiment(&serde_json::to_string_pretty(&text).unwrap()).unwrap();
    assert_eq!(experiment.spec.spec.duration.unwrap().to_string(), "5s");
}

#[test]
fn a_file_that_is_not_yaml_says_where() {
    for (text, words) in [
        ("a: b: c\n", "line 1"),
        ("{HEAD: [}\n", "line 1"),
        ("a: 1\na: 2\n", "a"),
        ("a: *nowhere\n", "line 1"),
        ("\u{0}\u{1}\u{2}", "not readable"),
    ] {
        let error = manifest::read(text).unwrap_err().to_string();
        assert!(error.contains("not readable as YAML or JSON: ") && error.contains(words), "{text:?}: {error}");
    }
    assert!(matches!(manifest::read("# nothing\n"), Err(ManifestError::Empty)));
    assert_eq!(manifest::read("5\n").unwrap_err().to_string().lines().count(), 2);
}

#[test]
fn files_that_would_take_much_memory_are_refused() {
    assert!(matches!(manifest::read(&"#".repeat(manifest::MAX_BYTES + 1)), Err(ManifestError::TooLong(_))));
    let deep = format!("a: {}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(matches!(manifest::read(&deep), Err(ManifestError::Syntax(_))));
    let block_deep: String = (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(matches!(manifest::read(&block_deep), Err(ManifestError::Syntax(_))));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let last = i - 1;
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{last}"); 10].join(", "));
    }
    assert!(matches!(manifest::read(&bomb), Err(ManifestError::Syntax(_))));
    assert!(matches!(manifest::read(&"---\na: 1\n".repeat(1_000)), Err(ManifestError::Syntax(_))));
}

#[test]
fn a_result_is_printed_as_the_tutorial_shows_it() {
    let result = ExperimentResult {
        failure_report: BTreeMap::from(
            [
                ("failure_type", "value_exceeded_threshold"),
                ("value", "0.45160204631125467"),
                ("threshold", "0.01"),
                ("comparison_operator", ">"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
        state: ResultState::Failed,
        time_finished: Some("2019-06-10T16:08:39.869280871Z".into()),
        time_started: Some("2019-06-10T16:08:24.805158537Z".into()),
    };
    let printed = manifest::to_yaml(&json!({"spec": {"result": result}})).unwrap();
    let tutorial = r#"  result:
    failureReport:
      comparison_operator: '>'
      failure_type: value_exceeded_threshold
      threshold: "0.01"
      value: "0.45160204631125467"
    state: Failed
    timeFinished: "2019-06-10T16:08:39.869280871Z"
    timeStarted: "2019-06-10T16:08:24.805158537Z"
"#;
    assert_eq!(printed, format!("spec:\n{tutorial}"));
}

#[test]
fn a_success_is_printed_as_the_tutorial_shows_it() {
    let result = ExperimentResult {
        state: ResultState::Succeeded,
        time_finished: Some("2019-05-13T18:03:05.655751554Z".into()),
        time_started: Some("2019-05-13T18:02:35.650035732Z".into()),
        ..ExperimentResult::default()
    };
    assert_eq!(
        manifest::to_yaml(&json!({ "result": result })).unwrap(),
        "result:\n  state: Succeeded\n  timeFinished: \"2019-05-13T18:03:05.655751554Z\"\n  timeStarted: \"2019-05-13T18:02:35.650035732Z\"\n"
    );
}

#[test]
fn a_report_is_printed_as_the_tutorial_shows_it_and_reads_back() {
    let snapshot = |timestamp: &str, value: f64| Snapshot { timestamp: timestamp.into(), value: SampleValue(value) };
    let history = ConditionHistory {
        failure_condition_name: "0-1560182904805162499".into(),
        failure_condition_snapshots: vec![
            snapshot("2019-06-10T16:08:29.854217373Z", f64::NAN),
            snapshot("2019-06-10T16:08:34.853080228Z", f64::NAN),
            snapshot("2019-06-10T16:08:39.852576785Z", 0.451_602_046_311_254_67),
        ],
    };
    let tutorial = r#"    failureConditionHistory:
    - failureConditionName: 0-1560182904805162499
      failureConditionSnapshots:
      - timestamp: "2019-06-10T16:08:29.854217373Z"
        value: NaN
      - timestamp: "2019-06-10T16:08:34.853080228Z"
        value: NaN
      - timestamp: "2019-06-10T16:08:39.852576785Z"
        value: 0.45160204631125467
"#;
    let printed = manifest::to_yaml(&json!({"failureConditionHistory": [history]})).unwrap();
    let indented: String = printed.lines().map(|line| format!("    {line}\n")).collect();
    assert_eq!(indented, tutorial);
    let report = format!(
        "apiVersion: glooshot.solo.io/v1\nkind: Report\nmetadata: {{name: e, namespace: bookinfo}}\nspec:\n    experiment: {{name: e, namespace: bookinfo}}\n{tutorial}"
    );
    let resources = manifest::read(&report).unwrap();
    let [Resource::Report(report)] = resources.as_slice() else { panic!("one report") };
    assert_eq!(report.spec.failure_condition_history, [history]);
}

#[test]
fn a_sample_without_data_is_read_in_every_spelling() {
    let report = |value: &str| {
        let text = format!(
            "apiVersion: glooshot.solo.io/v1\nkind: Report\nmetadata: {{name: e}}\nspec:\n  experiment: {{name: e}}\n  failureConditionHistory:\n  - failureConditionName: a\n    failureConditionSnapshots:\n    - {{timestamp: \"2019-06-10T16:08:29Z\", value: {value}}}\n"
        );
        let resources = manifest::read(&text).unwrap_or_else(|error| panic!("{value}: {error}"));
        let [Resource::Report(report)] = resources.as_slice() else { panic!("one report") };
        report.spec.failure_condition_history[0].failure_condition_snapshots[0].value
    };
    for (text, value) in [
        ("NaN", f64::NAN),
        ("\"NaN\"", f64::NAN),
        (".nan", f64::NAN),
        (".NaN", f64::NAN),
        ("Infinity", f64::INFINITY),
        (".inf", f64::INFINITY),
        ("-.inf", f64::NEG_INFINITY),
        ("3", 3.0),
        ("0.5", 0.5),
    ] {
        assert_eq!(report(text), SampleValue(value), "{text}");
    }
}
