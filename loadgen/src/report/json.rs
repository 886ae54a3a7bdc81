//! One JSON object with everything, the histograms included, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::{QUANTILES, ReportError, micros};
use crate::assertion::Verdict;
use crate::latencies::{Counted, Latencies};
use crate::series::{Interval, MAX_INTERVALS, Series};
use crate::summary::{ErrorClass, ErrorCounts, Setup, Summary, TargetSummary};

/// Name and version of the form.
const FORMAT: &str = "glooshot-loadgen/1";

/// Longest interval of a series that is believed.
const MAX_WIDTH: Duration = Duration::from_secs(1 << 32);

/// The object. What can be computed from the rest is written for those who read it, and not read back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    format: String,
    paces: Vec<String>,
    protocols: Vec<String>,
    connections: u64,
    threads: u64,
    runs: u64,
    elapsed_seconds: f64,
    started: u64,
    responses: u64,
    #[serde(skip_deserializing)]
    responses_per_second: f64,
    #[serde(skip_deserializing)]
    failed: u64,
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<String, u64>,
    cancelled: u64,
    unsent: u64,
    body_bytes: u64,
    sent_bytes: u64,
    received_bytes: u64,
    latency_micros: Times,
    service_time_micros: Times,
    schedule_error_micros: Times,
    connect_time_micros: Times,
    targets: Vec<Target>,
    series: SeriesRecord,
    #[serde(skip_deserializing)]
    assertions: Vec<Judged>,
}

/// A distribution; the histogram is HdrHistogram's own form (V2, deflate) in base64.
#[derive(Debug, Serialize, Deserialize)]
struct Times {
    #[serde(flatten, skip_deserializing)]
    shown: BTreeMap<&'static str, u64>,
    histogram: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    name: String,
    started: u64,
    responses: u64,
    failed: u64,
    latency_micros: Times,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeriesRecord {
    width_seconds: u64,
    intervals: Vec<IntervalRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntervalRecord {
    index: u64,
    started: u64,
    responses: u64,
    failed: u64,
    body_bytes: u64,
    /// Microseconds and how often.
    latencies: Vec<(u64, u64)>,
}

#[derive(Debug, Default, Serialize)]
struct Judged {
    text: String,
    actual: String,
    holds: bool,
}

pub(super) fn render(summary: &Summary, verdicts: &[Verdict]) -> Result<String, ReportError> {
    let Setup { paces, protocols, connections, threads, runs } = summary.setup.clone();
    let errors = ErrorClass::ALL.into_iter().map(|class| (class.name().to_owned(), summary.errors.get(class)));
    let judged =
        |verdict: &Verdict| Judged { text: verdict.text.clone(), actual: verdict.actual.clone(), holds: verdict.holds };
    let record = Record {
        format: FORMAT.to_owned(),
        paces,
        protocols,
        connections,
        threads,
        runs,
        elapsed_seconds: summary.elapsed.as_secs_f64(),
        started: summary.started,
        responses: summary.responses,
        responses_per_second: summary.responses_per_second(),
        failed: summary.failed(),
        statuses: summary.statuses.clone(),
        errors: errors.collect(),
        cancelled: summary.cancelled,
        unsent: summary.unsent,
        body_bytes: summary.body_bytes,
        sent_bytes: summary.sent_bytes,
        received_bytes: summary.received_bytes,
        latency_micros: Times::write(&summary.latency)?,
        service_time_micros: Times::write(&summary.service_time)?,
        schedule_error_micros: Times::write(&summary.schedule_error)?,
        connect_time_micros: Times::write(&summary.connect_time)?,
        targets: summary.targets.iter().map(Target::write).collect::<Result<_, _>>()?,
        series: SeriesRecord::write(&summary.series),
        assertions: verdicts.iter().map(judged).collect(),
    };
    let mut text = serde_json::to_string(&record)?;
    text.push('\n');
    Ok(text)
}

/// Reads all results in a text, one behind the other. Lines around them that do not begin with `{`, as in the log
/// of a container, are skipped.
///
/// # Errors
/// There is none, or one is damaged.
pub fn read(text: &str) -> Result<Vec<Summary>, ReportError> {
    let mut results = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let behind = if rest.starts_with('{') {
            let mut records = serde_json::Deserializer::from_str(rest).into_iter::<Record>();
            if let Some(record) = records.next() {
                results.push(record?.read()?);
            }
            records.byte_offset()
        } else {
            rest.find('\n').unwrap_or(rest.len())
        };
        rest = rest.get(behind..).unwrap_or_default().trim_start();
    }
    if results.is_empty() { Err(ReportError::Nothing) } else { Ok(results) }
}

impl Record {
    fn read(self) -> Result<Summary, ReportError> {
        if self.format != FORMAT {
            return Err(ReportError::Format(self.format));
        }
        let mut errors = ErrorCounts::default();
        for class in ErrorClass::ALL {
            errors.add_many(class, self.errors.get(class.name()).copied().unwrap_or(0));
        }
        let elapsed = Duration::try_from_secs_f64(self.elapsed_seconds);
        Ok(Summary {
            setup: Setup {
                paces: self.paces,
                protocols: self.protocols,
                connections: self.connections,
                threads: self.threads,
                runs: self.runs,
            },
            elapsed: elapsed.map_err(|error| ReportError::Damaged(error.to_string()))?,
            started: self.started,
            responses: self.responses,
            statuses: self.statuses,
            errors,
            cancelled: self.cancelled,
            unsent: self.unsent,
            body_bytes: self.body_bytes,
            sent_bytes: self.sent_bytes,
            received_bytes: self.received_bytes,
            latency: self.latency_micros.read()?,
            service_time: self.service_time_micros.read()?,
            schedule_error: self.schedule_error_micros.read()?,
            connect_time: self.connect_time_micros.read()?,
            targets: self.targets.into_iter().map(Target::read).collect::<Result<_, _>>()?,
            series: self.series.read()?,
        })
    }
}

impl Times {
    fn write(times: &Latencies) -> Result<Self, ReportError> {
        let ends = [("min", times.min()), ("mean", times.mean()), ("max", times.max())];
        let quantiles = QUANTILES.map(|(_, name, quantile)| (name, times.quantile(quantile)));
        let shown = ends.into_iter().chain(quantiles).map(|(name, time)| (name, micros(time)));
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(times.histogram(), &mut bytes)
            .map_err(|error| ReportError::Histogram(format!("{error:?}")))?;
        Ok(Self { shown: shown.chain([("count", times.count())]).collect(), histogram: BASE64_STANDARD.encode(bytes) })
    }

    fn read(self) -> Result<Latencies, ReportError> {
        let bytes = BASE64_STANDARD.decode(self.histogram).map_err(|error| ReportError::Damaged(error.to_string()))?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| ReportError::Damaged(format!("{error:?}")))?;
        Latencies::from_histogram(&histogram).map_err(|error| ReportError::Damaged(error.to_string()))
    }
}

impl Target {
    fn write(target: &TargetSummary) -> Result<Self, ReportError> {
        Ok(Self {
            name: target.name.clone(),
            started: target.started,
            responses: target.responses,
            failed: target.failed,
            latency_micros: Times::write(&target.latency)?,
        })
    }

    fn read(self) -> Result<TargetSummary, ReportError> {
        Ok(TargetSummary {
            name: self.name,
            started: self.started,
            responses: self.responses,
            failed: self.failed,
            latency: self.latency_micros.read()?,
        })
    }
}

impl SeriesRecord {
    fn write(series: &Series) -> Self {
        let intervals = series.intervals().map(|(index, interval)| IntervalRecord {
            index,
            started: interval.started,
            responses: interval.responses,
            failed: interval.failed,
            body_bytes: interval.body_bytes,
            latencies: interval.latencies.pairs().collect(),
        });
        Self { width_seconds: series.width().as_secs(), intervals: intervals.collect() }
    }

    fn read(self) -> Result<Series, ReportError> {
        let width = Duration::from_secs(self.width_seconds);
        // Series are put together by doubling the length of their intervals.
        if !self.width_seconds.is_power_of_two() || width > MAX_WIDTH {
            return Err(ReportError::Damaged("its intervals have a length that is no power of two".to_owned()));
        }
        if self.intervals.iter().any(|record| record.index >= MAX_INTERVALS) {
            return Err(ReportError::Damaged("it has too many intervals".to_owned()));
        }
        let interval = |record: IntervalRecord| {
            let interval = Interval {
                started: record.started,
                responses: record.responses,
                failed: record.failed,
                body_bytes: record.body_bytes,
                latencies: Counted::from_pairs(record.latencies),
            };
            (record.index, interval)
        };
        Ok(Series::new(width, self.intervals.into_iter().map(interval).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::super::sample;
    use super::*;

    fn value(summary: &Summary) -> Value {
        serde_json::from_str(&render(summary, &[]).unwrap()).unwrap()
    }

    #[test]
    fn the_json_holds_the_same_numbers() {
        let json = value(&sample());
        assert_eq!(json["statuses"]["503"], 10);
        let errors = json!({"connect": 30, "tls": 0, "timeout": 0, "io": 10, "protocol": 0, "body": 0});
        assert_eq!(json["errors"], errors);
        assert_eq!(json["latencyMicros"]["count"], 1000);
        assert!(json["latencyMicros"]["p99"].as_u64().unwrap().abs_diff(99_000) < 100);
        assert_eq!((&json["unsent"], &json["cancelled"], &json["failed"]), (&json!(50), &json!(10), &json!(55)));
        assert_eq!(json["series"]["intervals"][1]["latencies"], json!([[1500, 300], [80_000, 150]]));
    }

    #[test]
    fn a_result_that_is_read_back_is_the_same() {
        let before = sample();
        let after = read(&render(&before, &[]).unwrap()).unwrap().remove(0);
        assert_eq!(value(&before), value(&after));
        assert_eq!(before.latency.histogram(), after.latency.histogram());
    }

    #[test]
    fn results_are_found_between_the_lines_of_a_log() {
        let verdict = Verdict { text: "p99<1s".to_owned(), actual: "1 ms".to_owned(), holds: true };
        let one = render(&sample(), &[verdict]).unwrap();
        let pretty = serde_json::to_string_pretty(&value(&sample())).unwrap();
        let log = format!("warning: x\n{one}{one}\nand\n{pretty}\nend");
        assert_eq!(read(&log).unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let good = render(&sample(), &[]).unwrap();
        for (text, said) in [
            ("hello".to_owned(), "no result in it"),
            ("{}".to_owned(), "no result of a run"),
            (good.replace("glooshot-loadgen/1", "other/7"), "other/7"),
            (good.replace("\"histogram\":\"HIST", "\"histogram\":\"AAAA"), "damaged"),
            (good.replace("\"widthSeconds\":1", "\"widthSeconds\":0"), "damaged"),
            (good.replace("\"index\":2", "\"index\":600"), "damaged"),
            (good[..good.len() / 2].to_owned(), "no result of a run"),
        ] {
            assert_ne!(text, good);
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
