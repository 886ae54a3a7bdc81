//! The middle of a few values, and how sure one can be of it.

use crate::support::figures::median;

/// How likely the interval must have the true median in it.
const CONFIDENCE: f64 = 0.95;

/// A median with its interval. Of nothing it is not a number.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub median: f64,
    /// The interval that has the true median in it with at least 95 %; `None` where the values are too few for that.
    pub interval: Option<(f64, f64)>,
}

/// The median of independent values and its interval from order statistics, which assumes nothing about their distribution: the
/// true median is between the k-th smallest and the k-th largest unless fewer than k values are on one side of it, and on
/// which side a value is, is as the throw of a coin. What is not a number is of a void round, and left out.
pub fn estimate(values: &[f64]) -> Estimate {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let interval = (1..=count / 2).rev().find(|k| coverage(count, *k) >= CONFIDENCE);
    let interval = interval.map(|k| (sorted[k - 1], sorted[count - k]));
    Estimate { median: median(sorted), interval }
}

/// The probability that at least `k` of `count` values are on each side of the median.
fn coverage(count: usize, k: usize) -> f64 {
    let mut ways = 1.0;
    let mut fewer = 0.0;
    for on_one_side in 0..k {
        fewer += ways;
        ways *= (count - on_one_side) as f64 / (on_one_side + 1) as f64;
    }
    1.0 - 2.0 * fewer / (count as f64).exp2()
}
