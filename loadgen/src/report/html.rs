//! A page with plots, in one file: no scripts, nothing loaded from elsewhere.

use minijinja::{Environment, context};

use super::chart::{Axis, Line, Scale, Size, draw};
use super::{QUANTILES, ReportError, micros, setup_line};
use crate::assertion::Verdict;
use crate::latencies::Latencies;
use crate::series::Interval;
use crate::summary::{ErrorClass, Summary};
use crate::units::{short_bytes, short_rate, short_time};

const PAGE: &str = include_str!("page.html");

/// Points of a percentile curve.
const CURVE_POINTS: u32 = 200;

/// Part of an interval that must have passed for it to be shown.
const LEAST_SHARE: f64 = 0.2;

/// Labels of the axis of percentiles.
const PERCENTILES: [f64; 7] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];

pub(super) fn render(summary: &Summary, verdicts: &[Verdict]) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    // The name tells that values are to be escaped.
    environment.add_template("page.html", PAGE)?;
    let page = environment.get_template("page.html")?.render(context! {
        title => title(summary),
        setup => setup_line(summary),
        facts => facts(summary),
        verdicts => judged(verdicts),
        corrected => has_corrected(summary),
        percentiles => percentiles(summary),
        rates => rates(summary),
        latencies => latencies(summary),
        failures => failures(summary),
        columns => QUANTILES.map(|(name, _, _)| name),
        times => times(summary),
        answers => answers(summary),
        targets => targets(summary),
        version => env!("CARGO_PKG_VERSION"),
    })?;
    Ok(page)
}

/// Whether each assertion holds, its text, and what was measured.
fn judged(verdicts: &[Verdict]) -> Vec<(bool, String, String)> {
    verdicts.iter().map(|verdict| (verdict.holds, verdict.text.clone(), verdict.actual.clone())).collect()
}

fn title(summary: &Summary) -> String {
    match summary.targets.as_slice() {
        [only] => only.name.clone(),
        several => format!("{} targets", several.len()),
    }
}

fn has_corrected(summary: &Summary) -> bool {
    summary.schedule_error.count() > 0 || summary.service_time.histogram() != summary.latency.histogram()
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What one looks for first: a name, a value, and a note below it.
fn facts(summary: &Summary) -> Vec<(&'static str, String, String)> {
    let all = summary.started + summary.unsent;
    let failed = if all > 0 { 100.0 * summary.failed() as f64 / all as f64 } else { 0.0 };
    let time = |quantile| short_time(summary.latency.quantile(quantile));
    let received = short_bytes(summary.per_second(summary.received_bytes));
    let mut facts = vec![
        ("Responses", grouped(summary.responses), format!("in {}", short_time(summary.elapsed))),
        ("Rate", format!("{}/s", short_rate(summary.responses_per_second())), format!("{received}/s received")),
        ("p50", time(0.5), format!("mean {}", short_time(summary.latency.mean()))),
        ("p99", time(0.99), format!("max {}", short_time(summary.latency.max()))),
        ("Failed", format!("{failed:.2} %"), format!("{} of {}", grouped(summary.failed()), grouped(all))),
    ];
    if summary.unsent > 0 {
        facts.push(("Never sent", grouped(summary.unsent), "no connection was free".to_owned()));
    }
    facts
}

/// Latency by percentile; each power of ten to the right is ten times rarer.
fn percentiles(summary: &Summary) -> String {
    let rarest = (summary.latency.count().max(10) as f64).log10();
    let shown = PERCENTILES.into_iter().map(|percent| (rarity(percent / 100.0), format!("{percent}%")));
    let x = Axis {
        scale: Scale::Linear,
        from: 0.0,
        to: rarest,
        ticks: shown.filter(|(place, _)| *place <= rarest + 1e-9).collect(),
    };
    let curves: Vec<&Latencies> =
        if has_corrected(summary) { vec![&summary.latency, &summary.service_time] } else { vec![&summary.latency] };
    let lowest = curves.iter().map(|times| micros(times.min())).min().unwrap_or(1);
    let highest = curves.iter().map(|times| micros(times.max())).max().unwrap_or(1);
    let y = time_axis(lowest as f64, highest as f64);
    let lines = (1..).zip(&curves).map(|(style, times)| Line { style, points: curve(times, rarest) });
    draw(Size::Whole, &x, &y, &lines.collect::<Vec<_>>())
}

/// How rare what lies above a quantile is: the power of ten.
fn rarity(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

fn curve(times: &Latencies, rarest: f64) -> Vec<Option<(f64, f64)>> {
    if times.count() == 0 {
        return Vec::new();
    }
    let point = |step: u32| {
        let place = rarest * f64::from(step) / f64::from(CURVE_POINTS);
        Some((place, micros(times.quantile(1.0 - 10_f64.powf(-place))).max(1) as f64))
    };
    (0..=CURVE_POINTS).map(point).collect()
}

fn time_axis(lowest: f64, highest: f64) -> Axis {
    Axis::powers_of_ten(lowest.max(1.0), highest.max(1.0), |value| {
        short_time(std::time::Duration::from_micros(value as u64)).replace(".00 ", " ").replace(".0 ", " ")
    })
}

/// The begin of each second with its length and what happened in it, also if that is nothing. A last one that was
/// hardly begun is left out: its rate would be that of a few requests.
fn by_interval(summary: &Summary) -> Vec<(f64, f64, Interval)> {
    let width = summary.series.width().as_secs_f64();
    let elapsed = summary.elapsed.as_secs_f64();
    let mut all = Vec::new();
    let length = |begin: f64| (elapsed - begin).clamp(0.0, width);
    for (index, interval) in summary.series.intervals() {
        while (all.len() as u64) < index {
            all.push((all.len() as f64 * width, width, Interval::default()));
        }
        let begin = index as f64 * width;
        all.push((begin, length(begin), interval.clone()));
    }
    all.retain(|(begin, length, _)| *length >= width * LEAST_SHARE || *begin == 0.0);
    all
}

fn seconds_axis(summary: &Summary) -> Axis {
    let last = by_interval(summary).last().map_or(0.0, |(begin, _, _)| *begin);
    let mut axis = Axis::from_zero(last.max(1.0), |seconds| format!("{seconds} s"));
    axis.to = last.max(1.0);
    axis.ticks.retain(|(seconds, _)| *seconds <= axis.to);
    axis
}

/// What is counted in an interval.
type Count = fn(&Interval) -> u64;

/// A chart over time with lines that begin at zero.
fn over_time(summary: &Summary, size: Size, values: &[(u8, Count)]) -> String {
    let intervals = by_interval(summary);
    let line = |(style, value): &(u8, Count)| Line {
        style: *style,
        points: intervals
            .iter()
            .map(|(begin, length, at)| Some((*begin, value(at) as f64 / length.max(f64::MIN_POSITIVE))))
            .collect(),
    };
    let lines: Vec<Line> = values.iter().map(line).collect();
    let highest = lines.iter().flat_map(|line| line.points.iter().flatten()).map(|(_, y)| *y).fold(0.0, f64::max);
    let y = Axis::from_zero(highest.max(1.0), |value| {
        if value >= 1e4 { format!("{:.0}k", value / 1e3) } else { format!("{value}") }
    });
    draw(size, &seconds_axis(summary), &y, &lines)
}

fn rates(summary: &Summary) -> String {
    over_time(summary, Size::Half, &[(3, |at| at.started), (1, |at| at.responses)])
}

fn failures(summary: &Summary) -> String {
    if summary.failed() == 0 { String::new() } else { over_time(summary, Size::Whole, &[(4, |at| at.failed)]) }
}

/// p50 and p99 over time; gaps where nothing ended.
fn latencies(summary: &Summary) -> String {
    let intervals = by_interval(summary);
    let line = |(style, quantile): (u8, f64)| {
        let point = |(begin, _, at): &(f64, f64, Interval)| {
            at.latencies.quantile(quantile).map(|time| (*begin, micros(time).max(1) as f64))
        };
        Line { style, points: intervals.iter().map(point).collect() }
    };
    let lines: Vec<Line> = [(1, 0.5), (2, 0.99)].into_iter().map(line).collect();
    let values = || lines.iter().flat_map(|line| line.points.iter().flatten()).map(|(_, y)| *y);
    let (lowest, highest) = (values().fold(f64::MAX, f64::min).min(1e9), values().fold(1.0, f64::max));
    draw(Size::Half, &seconds_axis(summary), &time_axis(lowest, highest), &lines)
}

/// Rows of the table of times.
fn times(summary: &Summary) -> Vec<(&'static str, Vec<String>)> {
    let all = [
        ("Latency", &summary.latency, true),
        ("From sending", &summary.service_time, has_corrected(summary)),
        ("Sent late by", &summary.schedule_error, summary.schedule_error.count() > 0),
        ("Connecting", &summary.connect_time, summary.connect_time.count() > 0),
    ];
    let row = |times: &Latencies| {
        let quantiles = QUANTILES.map(|(_, _, quantile)| times.quantile(quantile));
        let cells = [times.min(), times.mean()].into_iter().chain(quantiles).chain([times.max()]);
        cells.map(short_time).collect()
    };
    all.into_iter().filter(|(_, _, shown)| *shown).map(|(name, times, _)| (name, row(times))).collect()
}

/// Statuses and errors with their counts and shares of 100.
fn answers(summary: &Summary) -> Vec<(String, String, String, bool)> {
    let all = (summary.started + summary.unsent).max(1) as f64;
    let statuses = summary.statuses.iter().map(|(status, count)| (status.to_string(), *count, *status >= 400));
    let errors = ErrorClass::ALL.into_iter().map(|class| (class.name().to_owned(), summary.errors.get(class), true));
    let others = [("cancelled", summary.cancelled), ("never sent", summary.unsent)];
    let others = others.into_iter().map(|(name, count)| (name.to_owned(), count, true));
    let seen = statuses.chain(errors).chain(others).filter(|(_, count, _)| *count > 0);
    seen.map(|(name, count, bad)| (name, grouped(count), format!("{:.2}", 100.0 * count as f64 / all), bad)).collect()
}

fn targets(summary: &Summary) -> Vec<(String, [String; 5])> {
    if summary.targets.len() < 2 {
        return Vec::new();
    }
    let time = |times: &Latencies, quantile| short_time(times.quantile(quantile));
    let row = |target: &crate::summary::TargetSummary| {
        let counts = [target.started, target.responses, target.failed].map(grouped);
        let [started, responses, failed] = counts;
        let (p50, p99) = (time(&target.latency, 0.5), time(&target.latency, 0.99));
        (target.name.clone(), [started, responses, failed, p50, p99])
    };
    summary.targets.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::sample;
    use super::*;

    fn page() -> String {
        let verdict = |holds| Verdict { text: "p99<50ms".to_owned(), actual: "99.0 ms".to_owned(), holds };
        render(&sample(), &[verdict(false), verdict(true)]).unwrap()
    }

    #[test]
    fn the_page_has_a_plot_for_each_question_and_loads_nothing() {
        let page = page();
        assert_eq!(page.matches("<svg").count(), 4);
        for elsewhere in ["<script", "http://www", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let page = page();
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn every_number_of_the_summary_is_on_the_page() {
        let page = page();
        for part in
            ["450.0&#x2f;s", "5.50 %", "55 of 1,000", "Never sent", "99.0 ms", "connect", "503", "FAILED", "holds"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn a_run_in_which_nothing_happened_has_a_page_too() {
        let mut empty = sample();
        for times in [&mut empty.latency, &mut empty.service_time, &mut empty.schedule_error, &mut empty.connect_time] {
            *times = Latencies::new().unwrap();
        }
        empty.series = crate::series::Series::default();
        assert!(render(&empty, &[]).unwrap().contains("<svg"));
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn tags_are_closed() {
        let page = page();
        for tag in ["svg", "section", "table", "tr", "td", "th", "h2", "p", "main", "figure"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
