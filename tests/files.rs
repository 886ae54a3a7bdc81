//! The commands that work on files: `glooshot validate` and `glooshot crds`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

fn glooshot(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glooshot")).current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const TUTORIAL: &str = "manifests/examples/tutorial/abort-ratings-metric.yaml";

#[test]
fn valid_files_are_named_and_the_exit_code_is_0() {
    let output = glooshot(&["validate", "-f", TUTORIAL, "-f", "manifests/examples/tutorial/reviews-vulnerable.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        format!(
            "{TUTORIAL}: Experiment bookinfo/abort-ratings-metric is valid\n\
             manifests/examples/tutorial/reviews-vulnerable.yaml: RoutingRule bookinfo/reviews-vulnerable is valid\n"
        )
    );
}

#[test]
fn every_violation_is_a_line_with_file_and_field_and_the_exit_code_is_2() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_glooshot"))
        .args(["validate", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = fs::read_to_string(format!("{}/{TUTORIAL}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let text = text
        .replace("percentage: 100", "percentge: 100")
        .replace("600s", "2h")
        .replace("abort:", "abort: {}\n        delay:");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let lines: Vec<String> = stdout(&output).lines().map(ToOwned::to_owned).collect();
    let starts = [
        "(standard input): spec.spec.faults[0].fault.delay.duration: is required, as in",
        "(standard input): spec.spec.faults[0].fault.delay.httpStatus: unknown field",
        "(standard input): spec.spec.faults[0].fault.percentge: unknown field; did you mean \"percentage\"?",
    ];
    for start in starts {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{lines:#?} lacks {start}");
    }
}

#[test]
fn files_that_cannot_be_read_are_said_to_be_so_and_the_others_are_still_checked() {
    let output = glooshot(&["validate", "-f", "/does/not/exist.yaml", "-f", "manifests", "-f", TUTORIAL]);
    assert_eq!(output.status.code(), Some(2));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("/does/not/exist.yaml: cannot be opened: "), "{text}");
    assert_eq!(lines[1], "manifests: is a directory; name the files in it");
    assert!(lines[2].ends_with("is valid"), "{text}");
}

#[test]
fn no_file_at_all_is_a_usage_error() {
    let output = glooshot(&["validate"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--file <FILE>"));
}

#[test]
fn crds_prints_the_files_in_manifests() {
    let printed = stdout(&glooshot(&["crds"]));
    let directory = tempfile::tempdir().unwrap();
    let output = glooshot(&["crds", "--output-dir", directory.path().join("new").to_str().unwrap()]);
    assert_eq!((output.status.code(), stdout(&output).lines().count()), (Some(0), 4));
    let mut files = Vec::new();
    for name in ["experiments", "reports", "routingrules", "meshes"] {
        let written = fs::read_to_string(directory.path().join(format!("new/{name}.yaml"))).unwrap();
        let kept = fs::read_to_string(format!("{}/manifests/crds/{name}.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(written, kept, "{name}");
        files.push(written);
    }
    assert_eq!(printed, files.join("---\n"));
}
