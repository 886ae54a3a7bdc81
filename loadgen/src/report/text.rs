//! Aligned lines for people.

use std::fmt::Write as _;

use super::{QUANTILES, setup_line};
use crate::assertion::Verdict;
use crate::latencies::Latencies;
use crate::summary::{ErrorClass, Summary, TargetSummary};
use crate::units::{short_bytes, short_rate, short_time};

/// Columns of the names on the left.
const NAME: usize = 12;

/// Columns of a time.
const TIME: usize = 8;

pub(super) fn render(summary: &Summary, verdicts: &[Verdict]) -> String {
    let mut lines = vec![
        line("load", &setup_line(summary)),
        line("elapsed", &short_time(summary.elapsed)),
        line("requests", &requests(summary)),
        line("throughput", &throughput(summary)),
        line("statuses", &list(summary.statuses.iter().map(|(status, count)| format!("{status}: {count}")))),
        line("errors", &errors(summary)),
        String::new(),
    ];
    lines.extend(table(summary));
    if summary.targets.len() > 1 {
        lines.push(String::new());
        lines.extend(targets(&summary.targets));
    }
    if !verdicts.is_empty() {
        lines.push(String::new());
        lines.extend(verdicts.iter().map(verdict));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<NAME$} {value}")
}

fn list(items: impl Iterator<Item = String>) -> String {
    let joined = items.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "none".to_owned() } else { joined }
}

fn requests(summary: &Summary) -> String {
    let mut out = format!("{} started, {} answered", summary.started, summary.responses);
    if summary.cancelled > 0 {
        let _ = write!(out, ", {} cancelled", summary.cancelled);
    }
    if summary.unsent > 0 {
        let _ = write!(
            out,
            ", {} due but never sent: no connection was free; the latencies count them as waiting",
            summary.unsent
        );
    }
    out
}

fn throughput(summary: &Summary) -> String {
    format!(
        "{} responses/s, {}/s received ({} of bodies), {}/s sent",
        short_rate(summary.responses_per_second()),
        short_bytes(summary.per_second(summary.received_bytes)),
        short_bytes(summary.body_bytes as f64),
        short_bytes(summary.per_second(summary.sent_bytes)),
    )
}

/// Requests without an answer by class; what failed in all is in front, if statuses count too.
fn errors(summary: &Summary) -> String {
    let seen = ErrorClass::ALL.into_iter().filter(|class| summary.errors.get(*class) > 0);
    let mut parts: Vec<_> = seen.map(|class| format!("{}: {}", class.name(), summary.errors.get(class))).collect();
    for (digit, name) in [(4, "4xx"), (5, "5xx")] {
        let count = summary.status_class(digit);
        if count > 0 {
            parts.push(format!("{name}: {count}"));
        }
    }
    list(parts.into_iter())
}

/// The distributions side by side.
fn table(summary: &Summary) -> Vec<String> {
    let names = ["min", "mean"].into_iter().chain(QUANTILES.map(|(name, _, _)| name)).chain(["max"]);
    let head = names.fold(" ".repeat(NAME + 1), |line, name| format!("{line}{name:>TIME$} "));
    let mut lines = vec![head.trim_end().to_owned()];
    // Corrected and uncorrected: the second hides how long requests waited for a connection.
    lines.push(times("latency", &summary.latency));
    if summary.schedule_error.count() > 0 || summary.service_time.histogram() != summary.latency.histogram() {
        lines.push(times("from sending", &summary.service_time));
    }
    for (name, distribution) in [("sent late by", &summary.schedule_error), ("connecting", &summary.connect_time)] {
        if distribution.count() > 0 {
            lines.push(times(name, distribution));
        }
    }
    lines
}

fn times(name: &str, times: &Latencies) -> String {
    if times.count() == 0 {
        return line(name, "none");
    }
    let quantiles = QUANTILES.map(|(_, _, quantile)| times.quantile(quantile));
    let all = [times.min(), times.mean()].into_iter().chain(quantiles).chain([times.max()]);
    let line = all.fold(format!("{name:<NAME$} "), |line, time| format!("{line}{:>TIME$} ", short_time(time)));
    line.trim_end().to_owned()
}

fn targets(targets: &[TargetSummary]) -> Vec<String> {
    let width = targets.iter().map(|target| target.name.chars().count()).max().unwrap_or(0);
    let heads = ["started", "answered", "failed", "p50", "p99"];
    let head = heads.into_iter().fold(format!("{:<width$}", "target"), |line, name| format!("{line} {name:>9}"));
    let row = |target: &TargetSummary| {
        let [p50, p99] = [0.5, 0.99].map(|quantile| short_time(target.latency.quantile(quantile)));
        format!(
            "{:<width$} {:>9} {:>9} {:>9} {p50:>9} {p99:>9}",
            target.name, target.started, target.responses, target.failed
        )
    };
    std::iter::once(head).chain(targets.iter().map(row)).collect()
}

fn verdict(verdict: &Verdict) -> String {
    let word = if verdict.holds { "holds" } else { "FAILED" };
    line(word, &format!("{} (measured: {})", verdict.text, verdict.actual))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_text_names_every_count() {
        let text = render(&sample(), &[]);
        for part in [
            "load         500/s, at regular distances (open loop); HTTP/1.1; 8 connections, 2 threads",
            "950 started, 900 answered, 10 cancelled, 50 due but never sent",
            "450.0 responses/s, 125 kB/s received (10.8 kB of bodies), 47.5 kB/s sent",
            "statuses     200: 885, 404: 5, 503: 10",
            "errors       connect: 30, io: 10, 4xx: 5, 5xx: 10",
            "GET http://h/a          400       380        25",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn corrected_and_uncorrected_latencies_stand_below_each_other() {
        let text = render(&sample(), &[]);
        let rows: Vec<&str> = text.lines().skip_while(|line| !line.contains("p99.9")).collect();
        for (row, name) in rows.iter().skip(1).zip(["latency", "from sending", "sent late by", "connecting"]) {
            assert!(row.starts_with(name), "{text}");
            assert_eq!(row.chars().count(), rows[0].chars().count(), "{text}");
        }
    }

    #[test]
    fn verdicts_say_what_was_measured() {
        let verdicts = [
            Verdict { text: "p99<50ms".to_owned(), actual: "99.0 ms".to_owned(), holds: false },
            Verdict { text: "errors<9%".to_owned(), actual: "5.500%".to_owned(), holds: true },
        ];
        let text = render(&sample(), &verdicts);
        assert!(text.contains("FAILED       p99<50ms (measured: 99.0 ms)\nholds        errors<9%"), "{text}");
    }
}
