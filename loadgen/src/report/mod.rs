//! A [`Summary`] in its different forms: for people, for programs, for spreadsheets and for browsers.

mod chart;
mod csv;
mod html;
mod json;
mod text;

use std::time::Duration;

pub use json::read;

use crate::assertion::Verdict;
use crate::summary::Summary;

/// The quantiles that are shown, with their names in text and in JSON.
const QUANTILES: [(&str, &str, f64); 7] = [
    ("p50", "p50", 0.5),
    ("p75", "p75", 0.75),
    ("p90", "p90", 0.9),
    ("p95", "p95", 0.95),
    ("p99", "p99", 0.99),
    ("p99.9", "p999", 0.999),
    ("p99.99", "p9999", 0.9999),
];

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Aligned lines for people.
    Text,
    /// One JSON object in one line, with the histograms, so that [`read`] gives the summary back.
    Json,
    /// What happened in each interval, a row each.
    Csv,
    /// A page with plots, in one file.
    Html,
}

/// A report cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A histogram cannot be written.
    #[error("a histogram cannot be written: {0}")]
    Histogram(String),
    /// The page cannot be written.
    #[error("the page cannot be written: {0}")]
    Page(#[from] minijinja::Error),
    /// The text is no result.
    #[error("this is no result of a run: {0}; write results with -o json")]
    Json(#[from] serde_json::Error),
    /// There is nothing in the text.
    #[error("there is no result in it; write results with -o json")]
    Nothing,
    /// The result was written by something else.
    #[error("a result has the format {0:?}, this program reads glooshot-loadgen/1")]
    Format(String),
    /// A histogram in the result is damaged.
    #[error("a histogram in the result is damaged: {0}")]
    Damaged(String),
}

/// Writes a summary, and what became of the assertions about it, in one form.
///
/// # Errors
/// Only for what does not depend on the summary.
pub fn render(form: Form, summary: &Summary, verdicts: &[Verdict]) -> Result<String, ReportError> {
    match form {
        Form::Text => Ok(text::render(summary, verdicts)),
        Form::Json => json::render(summary, verdicts),
        Form::Csv => Ok(csv::render(summary)),
        Form::Html => html::render(summary, verdicts),
    }
}

/// Whole microseconds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How the requests were made, in one line.
fn setup_line(summary: &Summary) -> String {
    let setup = &summary.setup;
    let plural = |count: u64, thing: &str| format!("{count} {thing}{}", if count == 1 { "" } else { "s" });
    let mut line = format!(
        "{}; {}; {}, {}",
        setup.paces.join(" and "),
        setup.protocols.join(" and "),
        plural(setup.connections, "connection"),
        plural(setup.threads, "thread"),
    );
    if setup.runs > 1 {
        line.push_str(&format!("; {} runs together", setup.runs));
    }
    line
}

/// A summary for tests: 1000 requests due in 2 s, 900 answered (10 with 503, 5 with 404), 40 without an answer,
/// 10 cancelled, 50 never sent.
#[cfg(test)]
pub(crate) fn sample() -> Summary {
    use std::collections::BTreeMap;

    use crate::latencies::{Counted, Latencies};
    use crate::series::{Interval, Series};
    use crate::summary::{ErrorCounts, Setup, TargetSummary};

    #[allow(clippy::unwrap_used)]
    let times = |micros: &[u64]| {
        let mut times = Latencies::new().unwrap();
        for micros in micros {
            times.record(Duration::from_micros(*micros), 10);
        }
        times
    };
    let spread: Vec<u64> = (1..=100).map(|ms| ms * 1000).collect();
    let interval = |responses| Interval {
        started: 475,
        responses,
        failed: 27,
        body_bytes: 5400,
        latencies: Counted::from_pairs([(1_500, 300), (80_000, 150)]),
    };
    let target = |name: &str, started| TargetSummary {
        name: name.to_owned(),
        started,
        responses: started - 20,
        failed: 25,
        latency: times(&spread),
    };
    Summary {
        setup: Setup {
            paces: vec!["500/s, at regular distances (open loop)".to_owned()],
            protocols: vec!["HTTP/1.1".to_owned()],
            connections: 8,
            threads: 2,
            runs: 1,
        },
        elapsed: Duration::from_secs(2),
        started: 950,
        responses: 900,
        statuses: BTreeMap::from([(200, 885), (404, 5), (503, 10)]),
        errors: ErrorCounts { connect: 30, io: 10, ..ErrorCounts::default() },
        cancelled: 10,
        unsent: 50,
        body_bytes: 10_800,
        sent_bytes: 95_000,
        received_bytes: 250_000,
        latency: times(&spread),
        service_time: times(&[900, 1_100, 9_000]),
        schedule_error: times(&[30, 60, 110]),
        connect_time: times(&[120]),
        targets: vec![target("GET http://h/a", 400), target("POST http://h/<b>", 550)],
        series: Series::new(Duration::from_secs(1), BTreeMap::from([(0, interval(460)), (2, interval(440))])),
    }
}
