//! What happened in each interval, a row each, for spreadsheets.

use std::fmt::Write as _;

use super::micros;
use crate::series::Interval;
use crate::summary::Summary;

const HEAD: &str = "from_seconds,to_seconds,started,responses,failed,body_bytes,p50_us,p90_us,p99_us,max_us\n";

pub(super) fn render(summary: &Summary) -> String {
    let width = summary.series.width().as_secs();
    let mut out = HEAD.to_owned();
    let mut next = 0;
    for (index, interval) in summary.series.intervals() {
        for empty in next..index {
            row(&mut out, width, empty, &Interval::default());
        }
        row(&mut out, width, index, interval);
        next = index + 1;
    }
    out
}

/// Times are empty where nothing ended.
fn row(out: &mut String, width: u64, index: u64, interval: &Interval) {
    let Interval { started, responses, failed, body_bytes, latencies } = interval;
    // Writing to a String cannot fail.
    let _ = write!(out, "{},{},{started},{responses},{failed},{body_bytes}", index * width, (index + 1) * width);
    for quantile in [0.5, 0.9, 0.99, 1.0] {
        let time = latencies.quantile(quantile).map(|time| micros(time).to_string());
        let _ = write!(out, ",{}", time.unwrap_or_default());
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn there_is_a_row_for_every_second_also_for_those_in_which_nothing_happened() {
        let rows = render(&sample());
        let rows: Vec<&str> = rows.lines().collect();
        assert_eq!(
            rows[1..],
            [
                "0,1,475,460,27,5400,1500,80000,80000,80000",
                "1,2,0,0,0,0,,,,",
                "2,3,475,440,27,5400,1500,80000,80000,80000"
            ]
        );
    }
}
