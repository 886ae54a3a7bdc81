//! What a run said in the end: exit code, printed result, lines.

use std::time::Duration;

use serde_json::Value;

use crate::harness::Glooshot;

/// Time for a run to end.
const END: Duration = Duration::from_secs(60);

/// What a run said in the end.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub text: String,
    /// The Experiment in it.
    pub experiment: Value,
    /// The lines of standard error.
    pub lines: Vec<String>,
}

impl Outcome {
    /// Waits for the end of `run`, whose output is YAML.
    #[track_caller]
    pub fn of(run: &mut Glooshot) -> Self {
        Self::read(run, |text| serde_saphyr::from_str(text).unwrap())
    }

    /// Waits for the end of `run`, whose output is JSON.
    #[track_caller]
    pub fn of_json(run: &mut Glooshot) -> Self {
        Self::read(run, |text| serde_json::from_str(text).unwrap())
    }

    #[track_caller]
    fn read(run: &mut Glooshot, read: impl Fn(&str) -> Value) -> Self {
        let status = run.wait_for_exit(END);
        let (text, lines) = (run.output(), run.all_lines());
        assert!(!lines.iter().any(|line| line.contains("panicked")), "{lines:#?}");
        let code = status.code().unwrap_or_else(|| panic!("ended by {status}: {lines:#?}"));
        assert!(text.starts_with("apiVersion:") || text.starts_with('{'), "exit code {code}, no result: {lines:#?}");
        Self { code, experiment: read(&text), text, lines }
    }

    /// Checks how it ended: exit code and state, and the failure's type, or "" where there is none.
    #[track_caller]
    pub fn expect(&self, code: i32, state: &str, failure_type: &str) -> &Self {
        let found = (self.code, self.result("state"), self.failure("failure_type"));
        assert_eq!(found, (code, state, failure_type), "{}\n{:#?}", self.text, self.lines);
        self
    }

    /// A text of `status.result`, or "".
    pub fn result(&self, field: &str) -> &str {
        self.experiment["status"]["result"][field].as_str().unwrap_or("")
    }

    /// An entry of the failure report, or "".
    pub fn failure(&self, key: &str) -> &str {
        self.experiment["status"]["result"]["failureReport"][key].as_str().unwrap_or("")
    }

    /// The keys of the failure report, sorted.
    pub fn failure_keys(&self) -> Vec<&str> {
        let report = self.experiment["status"]["result"]["failureReport"].as_object();
        report.map(|report| report.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// Requests that the fault number `fault` applied to, and how many of them it aborted and delayed.
    #[track_caller]
    pub fn injected(&self, fault: usize) -> (u64, u64, u64) {
        let entry = &self.experiment["status"]["injection"][fault];
        let count = |field: &str| entry[field].as_u64().unwrap_or_else(|| panic!("no {field}: {}", self.text));
        (count("requests"), count("aborted"), count("delayed"))
    }

    /// Status and reason of a condition of the status, and its message.
    #[track_caller]
    pub fn condition(&self, kind: &str) -> (&str, &str, &str) {
        let conditions = self.experiment["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        let found = found.unwrap_or_else(|| panic!("no condition {kind}: {}", self.text));
        let text = |field: &str| found[field].as_str().unwrap();
        (text("status"), text("reason"), text("message"))
    }

    /// `status.stopLatency`, which is only there after a trip of a traffic condition.
    pub fn stop_latency(&self) -> Option<Duration> {
        let text = self.experiment["status"]["stopLatency"].as_str()?;
        Some(Duration::from_secs_f64(text.strip_suffix('s')?.parse().ok()?))
    }

    /// Whether a line of standard error contains `text`.
    pub fn said(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }

    /// The lines that begin with one of `beginnings`, in their order, cut to those beginnings.
    pub fn order<'a>(&self, beginnings: &[&'a str]) -> Vec<&'a str> {
        let longest = |line: &String| {
            let fitting = beginnings.iter().filter(|beginning| line.starts_with(**beginning));
            fitting.max_by_key(|beginning| beginning.len()).copied()
        };
        self.lines.iter().filter_map(longest).collect()
    }
}
