//! h2spec, the conformance suite for HTTP/2 servers: run as a program, its report read.

use std::{
    env, fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::NamedTempFile;

/// How many cases there are, the strict ones included.
pub const CASES: usize = 146;

/// What h2spec found.
#[derive(Debug, Default)]
pub struct Report {
    /// The names of the cases that passed.
    pub passed: Vec<String>,
    /// The names of the cases that it could not judge.
    pub skipped: Vec<String>,
    /// The cases that failed: name, and what was expected and what came.
    pub failed: Vec<(String, String)>,
}

/// Runs all cases, also the strict ones, against the server at `target`.
pub fn run(target: SocketAddr) -> Report {
    let report = NamedTempFile::with_suffix(".xml").unwrap();
    let program = program();
    let output = Command::new(&program)
        .args(["--strict", "--host", &target.ip().to_string(), "--port", &target.port().to_string()])
        .args(["--timeout", "3", "--junit-report"])
        .arg(report.path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/deps.sh builds it", program.display()));
    let text = fs::read_to_string(report.path()).unwrap();
    assert!(!text.is_empty(), "h2spec wrote no report: {output:?}");
    parse(&text)
}

/// Where tests/deps.sh puts it; the Makefile names the same cache.
fn program() -> PathBuf {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("GLOOSHOT_CACHE").unwrap_or_else(|| {
        let home = || variable("HOME").expect("a home directory").join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(home).join("glooshot")
    });
    cache.join("h2spec-2.2.1/h2spec")
}

/// Reads a report in JUnit's form; a case is named `package: title`.
pub fn parse(text: &str) -> Report {
    let mut report = Report::default();
    for case in text.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or("");
        let name = format!("{}: {}", attribute(case, "package"), attribute(case, "classname"));
        if let Some((_, why)) = case.split_once("<failure>").or_else(|| case.split_once("<error>")) {
            report.failed.push((name, unescaped(why)));
        } else if case.contains("<skipped") {
            report.skipped.push(name);
        } else {
            report.passed.push(name);
        }
    }
    report
}

fn attribute(element: &str, name: &str) -> String {
    let value = element.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    unescaped(value.map_or("", |(value, _)| value))
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&#34;", "\"").replace("&#39;", "'").replace("&#xA;", "\n").replace("&#x9;", " ");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
