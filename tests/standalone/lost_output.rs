//! Whoever read the output went away, as in `glooshot run ... | head`: the run goes on to its end all the same.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{program::GLOOSHOT, refusal::file, trial::Trial};
use crate::harness::within;

const SOON: Duration = Duration::from_secs(20);
const ROUTE: &str = "bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9";

/// A control experiment that succeeds after a moment, with what `lose` does to its outputs before it can say anything; gives its
/// exit code and what could still be read.
fn run(more: &[&str], lose: impl FnOnce(&mut Child)) -> (Option<i32>, String) {
    let file = file(&Trial::lasting("300ms").yaml());
    let mut child = Command::new(GLOOSHOT)
        .args(["run", "-f", file.path().to_str().unwrap(), "--route", ROUTE])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lose(&mut child);
    let status = within(SOON, "the run ends", || child.try_wait().unwrap());
    let mut text = String::new();
    child.stdout.take().map(|mut output| output.read_to_string(&mut text));
    child.stderr.take().map(|mut errors| errors.read_to_string(&mut text));
    (status.code(), text)
}

#[test]
fn a_lost_standard_output_changes_no_exit_code_and_keeps_no_report_from_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--report-dir", directory.path().to_str().unwrap()];
    let (code, text) = run(&arguments, |child| drop(child.stdout.take()));
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(code, Some(0), "{text}");
    assert!(directory.path().join("trial.result.yaml").exists());
    assert!(directory.path().join("trial.report.yaml").exists());
}

#[test]
fn a_lost_standard_error_changes_neither_the_result_nor_the_exit_code() {
    let (code, text) = run(&[], |child| drop(child.stderr.take()));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("    state: Succeeded\n"), "{text}");
}
