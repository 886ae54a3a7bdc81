//! A [`Summary`] as text for people and as JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::summary::{ErrorClass, Latencies, Summary};

/// The quantiles that are shown, with their names.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];

/// A few aligned lines, ending with a line break.
#[must_use]
pub fn text(summary: &Summary) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12} {value}");
    };
    line("elapsed", format!("{:.3} s", summary.elapsed.as_secs_f64()));
    line("requests", requests(summary));
    line("throughput", format!("{:.1} responses/s, {} body bytes", summary.responses_per_second(), summary.body_bytes));
    line("statuses", list(summary.statuses.iter().map(|(status, count)| format!("{status}: {count}"))));
    line("errors", errors(summary));
    line("latency", latencies(&summary.latency));
    if summary.latency.histogram() != summary.service_time.histogram() {
        line("service time", latencies(&summary.service_time));
    }
    if summary.unsent > 0 {
        line(
            "unsent",
            format!("{}: due, but no connection was free; the latencies count them as waiting", summary.unsent),
        );
    }
    out
}

/// One object; times in the names' units.
#[must_use]
pub fn json(summary: &Summary) -> Value {
    let errors: serde_json::Map<_, _> =
        ErrorClass::ALL.into_iter().map(|class| (class.name().to_owned(), json!(summary.errors.get(class)))).collect();
    json!({
        "elapsedSeconds": summary.elapsed.as_secs_f64(),
        "started": summary.started,
        "responses": summary.responses,
        "responsesPerSecond": summary.responses_per_second(),
        "statuses": summary.statuses,
        "errors": errors,
        "cancelled": summary.cancelled,
        "unsent": summary.unsent,
        "bodyBytes": summary.body_bytes,
        "latencyMicros": latencies_json(&summary.latency),
        "serviceTimeMicros": latencies_json(&summary.service_time),
    })
}

fn requests(summary: &Summary) -> String {
    let mut out = format!("{} started, {} answered", summary.started, summary.responses);
    if summary.cancelled > 0 {
        let _ = write!(out, ", {} cancelled", summary.cancelled);
    }
    out
}

fn errors(summary: &Summary) -> String {
    let seen = ErrorClass::ALL.into_iter().filter(|class| summary.errors.get(*class) > 0);
    list(seen.map(|class| format!("{}: {}", class.name(), summary.errors.get(class))))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let joined = items.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "none".to_owned() } else { joined }
}

fn latencies(latencies: &Latencies) -> String {
    if latencies.count() == 0 {
        return "none".to_owned();
    }
    let quantiles =
        QUANTILES.into_iter().map(|(name, quantile)| format!("{name} {}", short(latencies.quantile(quantile))));
    let quantiles = list(quantiles);
    format!(
        "min {}, mean {}, {quantiles}, max {}",
        short(latencies.min()),
        short(latencies.mean()),
        short(latencies.max())
    )
}

fn latencies_json(latencies: &Latencies) -> Value {
    let micros = |latency: Duration| json!(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    let ends = [("min", latencies.min()), ("mean", latencies.mean()), ("max", latencies.max())];
    let quantiles = QUANTILES.into_iter().map(|(name, quantile)| (name, latencies.quantile(quantile)));
    let mut object: serde_json::Map<_, _> =
        ends.into_iter().chain(quantiles).map(|(name, latency)| (name.to_owned(), micros(latency))).collect();
    object.insert("count".to_owned(), json!(latencies.count()));
    Value::Object(object)
}

/// Three significant digits in the unit that reads best.
fn short(latency: Duration) -> String {
    let micros = latency.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        below if below < 1e3 => (micros, "µs"),
        below if below < 1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let decimals = match value {
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::collections::BTreeMap;

    use super::*;
    use crate::summary::ErrorCounts;

    fn summary() -> Summary {
        let mut latency = Latencies::new().unwrap();
        latency.record(Duration::from_millis(300), 3);
        Summary {
            elapsed: Duration::from_secs(2),
            started: 5,
            responses: 3,
            statuses: BTreeMap::from([(200, 2), (500, 1)]),
            errors: ErrorCounts { io: 1, ..ErrorCounts::default() },
            cancelled: 1,
            unsent: 4,
            body_bytes: 12,
            latency,
            service_time: Latencies::new().unwrap(),
        }
    }

    #[test]
    fn the_text_names_every_count() {
        let text = text(&summary());
        for part in [
            "5 started, 3 answered, 1 cancelled",
            "1.5 responses/s",
            "200: 2, 500: 1",
            "errors       io: 1",
            "p99 300 ms",
            "service time none",
            "unsent       4: due",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_json_holds_the_same_numbers() {
        let json = json(&summary());
        assert_eq!(json["statuses"]["500"], 1);
        assert_eq!(json["errors"], json!({"connect": 0, "timeout": 0, "io": 1, "protocol": 0, "body": 0}));
        assert_eq!(json["latencyMicros"]["count"], 3);
        assert!(json["latencyMicros"]["p99"].as_u64().unwrap().abs_diff(300_000) < 300);
        assert_eq!((&json["unsent"], &json["cancelled"]), (&json!(4), &json!(1)));
    }

    #[test]
    fn short_times_have_three_digits() {
        let shown = [7, 1_234, 56_789, 999_000, 12_340_000].map(|micros| short(Duration::from_micros(micros)));
        assert_eq!(shown, ["7.00 µs", "1.23 ms", "56.8 ms", "999 ms", "12.3 s"]);
    }
}
