//! Numbers out of many numbers: quantiles, medians, and the slope of a line.

use std::time::Duration;

/// The value at `quantile` of sorted values, by nearest rank.
pub fn at_quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (sorted.len() as f64 * quantile).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle value; the mean of the two middle ones where their number is even.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A line through points, by least squares.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    /// By how much y rises while x rises by 1.
    pub rise: f64,
    /// The standard error of that, if the points stray from the line independently of each other.
    pub standard_error: f64,
}

/// The line of least squares through at least three points.
pub fn slope(points: &[(f64, f64)]) -> Slope {
    let count = points.len() as f64;
    let (mean_x, mean_y) =
        (points.iter().map(|(x, _)| x).sum::<f64>() / count, points.iter().map(|(_, y)| y).sum::<f64>() / count);
    let spread = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    let rise = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let strays = points.iter().map(|(x, y)| (y - mean_y - rise * (x - mean_x)).powi(2)).sum::<f64>();
    Slope { rise, standard_error: (strays / (count - 2.0) / spread).sqrt() }
}

/// Milliseconds with their fraction.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
