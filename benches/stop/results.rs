//! The figures of all trials: as a table, against the bar, and as a file.

use std::{fs, time::Duration};

use glooshot::engine::run::POLLING_INTERVAL;
use glooshot_loadgen::Summary;
use serde_json::{Value, json};

use crate::{
    experiment::PERCENTAGE,
    load::{CONNECTIONS, RATE},
    support::{
        figures::{at_quantile, ms},
        finding::Finding,
        machine,
    },
    trial::Stop,
};

/// What the p99 must be below.
const BAR: Duration = Duration::from_millis(20);
/// The share of the load that must really have been sent.
const SENT: f64 = 0.99;
/// Where the figures are kept.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results/stop.json");

/// Everything that was measured.
#[derive(Debug)]
pub struct Results {
    /// The proxy judged.
    pub judged: Vec<Stop>,
    /// Prometheus was polled.
    pub polled: Vec<Stop>,
    /// What the load was.
    pub load: Summary,
}

/// One kind of figure of all trials.
struct Row {
    name: &'static str,
    sorted: Vec<Duration>,
    /// Whether the bar is for it.
    judged: bool,
}

impl Row {
    fn new(name: &'static str, judged: bool, values: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = values.collect();
        sorted.sort();
        Self { name, sorted, judged }
    }

    fn at(&self, quantile: f64) -> f64 {
        ms(at_quantile(&self.sorted, quantile))
    }

    fn holds(&self) -> bool {
        !self.judged || at_quantile(&self.sorted, 0.99) < BAR
    }

    fn json(&self) -> Value {
        let rounded = |quantile: f64| (self.at(quantile) * 1e3).round() / 1e3;
        json!({"min": rounded(0.0), "p50": rounded(0.5), "p99": rounded(0.99), "max": rounded(1.0)})
    }
}

impl Results {
    fn rows(&self) -> Vec<Row> {
        let judged = self.judged.iter();
        vec![
            Row::new("outside", true, judged.clone().map(|stop| stop.outside)),
            Row::new("client", false, judged.clone().map(|stop| stop.client)),
            Row::new("proxy", true, judged.filter_map(|stop| stop.proxy)),
            Row::new("polled", false, self.polled.iter().map(|stop| stop.outside)),
        ]
    }

    /// What must hold of the load, or the figures mean nothing.
    fn load_findings(&self) -> Vec<Finding> {
        let (rate, wanted) = (self.load.responses_per_second(), f64::from(RATE));
        let errors = self.load.errors.total();
        let enough = rate >= wanted * SENT;
        vec![
            Finding::judged("load", format!("{rate:.0} responses/s"), format!(">= {:.0}", wanted * SENT), enough),
            Finding::judged("without an answer", errors.to_string(), "0", errors == 0),
            Finding::shown("latency of all requests", self.latency()),
        ]
    }

    fn latency(&self) -> String {
        let at = |quantile| ms(self.load.latency.quantile(quantile));
        format!("p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99))
    }

    /// Injected responses behind the crossing one, on average and at the most.
    fn injected_behind(&self) -> (f64, u64) {
        let behind = self.judged.iter().map(|stop| stop.injected);
        (behind.clone().sum::<u64>() as f64 / self.judged.len().max(1) as f64, behind.max().unwrap_or(0))
    }

    /// Whether every bar holds.
    pub fn holds(&self) -> bool {
        self.rows().iter().all(Row::holds)
            && self.judged.iter().all(|stop| stop.proxy.is_some())
            && self.load_findings().iter().all(Finding::holds)
    }

    /// Prints the table and what was found beside it.
    pub fn print(&self) {
        println!("\n{:<10} {:>7} {:>11} {:>11} {:>11} {:>11}", "", "trials", "min ms", "p50 ms", "p99 ms", "max ms");
        for row in self.rows() {
            let figures = [0.0, 0.5, 0.99, 1.0].map(|quantile| format!("{:>11.3}", row.at(quantile)));
            let bar = format!("bar p99 < {BAR:?}: {}", if row.holds() { "holds" } else { "BROKEN" });
            println!(
                "{:<10} {:>7} {}  {}",
                row.name,
                row.sorted.len(),
                figures.join(" "),
                if row.judged { &bar } else { "" }
            );
        }
        let (mean, max) = self.injected_behind();
        println!(
            "{}",
            Finding::shown("injected behind the crossing", format!("{mean:.1} on average, {max} at the most"))
        );
        self.load_findings().iter().for_each(|finding| println!("{finding}"));
    }

    /// Keeps the figures.
    pub fn write(&self) {
        let [outside, client, proxy, polled] = self.rows().try_into().ok().expect("four rows");
        let (mean, max) = self.injected_behind();
        let result = json!({
            "bench": "stop",
            "date": machine::date(),
            "machine": machine::describe(),
            "versions": machine::versions(),
            "load": {
                "requestsPerSecond": RATE, "connections": CONNECTIONS, "abortedPercent": PERCENTAGE,
                "responsesPerSecond": self.load.responses_per_second().round(),
            },
            "judgedInTheProxy": {
                "trials": self.judged.len(),
                "bar": {"p99Milliseconds": ms(BAR), "holds": self.holds()},
                "milliseconds": {"outside": outside.json(), "client": client.json(), "proxy": proxy.json()},
                "injectedBehindTheCrossing": {"mean": (mean * 10.0).round() / 10.0, "max": max},
            },
            "pollingPrometheus": {
                "trials": self.polled.len(),
                "version": machine::first_line("prometheus", &["--version"]),
                "scrapeIntervalSeconds": 1,
                "pollingIntervalSeconds": POLLING_INTERVAL.as_secs(),
                "milliseconds": {"outside": polled.json()},
            },
        });
        fs::write(FILE, format!("{result:#}\n")).unwrap();
        println!("wrote {FILE}");
    }
}
