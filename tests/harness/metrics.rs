//! The proxy's figures, read from the text that Prometheus would scrape.

use std::net::SocketAddr;

use super::{client::Client, wire::latin1};

/// One scrape.
#[derive(Debug)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Scrapes `/metrics` at `address`.
    #[track_caller]
    pub fn scrape(address: SocketAddr) -> Self {
        let mut client = Client::connect(address);
        let answer = client.ask(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.status(), 200, "{answer:?}");
        Self::parse(&latin1(&answer.body))
    }

    /// Reads the text format; lines that are no samples are passed over.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of `name` over all series that carry all of `labels`; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                labels.iter().all(|(key, value)| sample.labels.iter().any(|(k, v)| k == key && v == value))
            })
            .map(|sample| sample.value)
            .sum()
    }

    /// Requests that were refused at the gate, whatever the reason.
    pub fn rejected(&self) -> f64 {
        self.sum("glooshot_proxy_rejected_total", &[])
    }
}

/// `name{key="value",...} number` or `name number`; no label value of ours has a quote in it.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.trim_end().rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: Vec::new(), value });
    };
    let labels = labels
        .strip_suffix('}')?
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(key, value)| (key.trim().to_owned(), value.trim_end_matches('"').to_owned()))
        .collect();
    Some(Sample { name: name.to_owned(), labels, value })
}
