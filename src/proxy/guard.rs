//! A condition that is evaluated in the proxy itself, on the requests that it sees.
//!
//! Each core counts its own requests in its own [`Window`]; a verdict adds the cores up, and what the other proxies of the
//! same Service last reported. A quantile is compared with its threshold by exact counts (how many requests were below, how
//! many exactly at it), never by the histogram's estimate; the histogram only gives the value that is reported.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use glooshot_api::{
    failure_condition::TrafficMetric,
    plan::PlannedCondition,
    quantity::ComparisonOperator,
    scenario::{Threshold, TrafficRule},
};

use super::{
    clock::Moment,
    window::{Histogram, Tally, Window},
};

/// Sums of other proxies that are older than this cannot carry a verdict: faults pause until they are fresh.
pub(crate) const OTHERS_MAX_AGE: Duration = Duration::from_secs(2);

/// How one request ended, as conditions see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// It ended in a 5xx, or the upstream gave no answer.
    pub(crate) error: bool,
    /// We answered in the place of the upstream.
    pub(crate) aborted: bool,
    /// From the request to the end of its response, an injected delay included.
    pub(crate) latency: Duration,
    /// The injected delay.
    pub(crate) delay: Duration,
}

/// What a guard found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// The value; NaN while the window holds too few requests.
    pub(crate) value: f64,
    /// Whether the condition trips.
    pub(crate) trips: bool,
}

/// What the other proxies of the same Service saw, and when we were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Others {
    /// The sum of their windows.
    pub(crate) tally: Tally,
    /// When the oldest part of it was counted.
    pub(crate) counted_at: Moment,
}

/// One condition and its windows, one for each core.
#[derive(Debug)]
pub(crate) struct Guard {
    condition: PlannedCondition,
    threshold_latency: Duration,
    shards: Vec<Mutex<Window>>,
    others: Mutex<Others>,
}

impl Guard {
    /// A guard with empty windows for this many cores.
    pub(crate) fn new(condition: PlannedCondition, cores: usize) -> Self {
        let latencies = condition.rule.metric.quantile().is_some();
        let seconds = condition.rule.threshold.value.clamp(0.0, 86_400.0);
        Self {
            threshold_latency: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO),
            shards: (0..cores).map(|_| Mutex::new(Window::new(condition.rule.interval, latencies))).collect(),
            condition,
            others: Mutex::default(),
        }
    }

    /// The condition.
    pub(crate) fn condition(&self) -> &PlannedCondition {
        &self.condition
    }

    /// Counts a request on this core. Says whether it could have changed the verdict, so that it must be evaluated at once.
    pub(crate) fn record(&self, core: usize, now: Moment, completion: Completion) -> bool {
        if completion.aborted && self.condition.rule.exclude_injected {
            return false;
        }
        let latency = if self.condition.rule.exclude_injected {
            completion.latency.saturating_sub(completion.delay)
        } else {
            completion.latency
        };
        let one = Tally {
            total: 1,
            errors: u64::from(completion.error),
            below: u64::from(latency < self.threshold_latency),
            equal: u64::from(latency == self.threshold_latency),
        };
        let Some(shard) = self.shards.get(core) else { return false };
        let mut window = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let few = window.record(now, one, latency).total <= u64::from(self.condition.rule.min_requests);
        few || moves_towards(&self.condition.rule, one)
    }

    /// What the other proxies saw.
    pub(crate) fn set_others(&self, others: Others) {
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = others;
    }

    /// Whether a verdict would need sums of other proxies that are not fresh.
    pub(crate) fn is_blind(&self, now: Moment) -> bool {
        self.condition.shared
            && now.since(self.others.lock().unwrap_or_else(PoisonError::into_inner).counted_at) > OTHERS_MAX_AGE
    }

    /// What all cores of this proxy count.
    pub(crate) fn own_tally(&self, now: Moment) -> Tally {
        self.shards.iter().fold(Tally::default(), |sum, shard| {
            sum.plus(shard.lock().unwrap_or_else(PoisonError::into_inner).sum(now))
        })
    }

    /// The value now, and whether it trips. The value of a latency is looked up only when it trips or `with_value` asks for it.
    pub(crate) fn judge(&self, now: Moment, with_value: bool) -> Judgement {
        let mut tally = self.own_tally(now);
        if self.condition.shared {
            tally = tally.plus(self.others.lock().unwrap_or_else(PoisonError::into_inner).tally);
        }
        let judgement = judge(&self.condition.rule, tally);
        if self.condition.rule.metric.quantile().is_none()
            || !(judgement.trips || with_value)
            || judgement.value.is_nan()
        {
            return judgement;
        }
        with_latency(&self.condition.rule, tally, &self.own_latencies(now))
    }

    /// The latencies that all cores of this proxy keep; empty where the condition is not about any.
    pub(crate) fn own_latencies(&self, now: Moment) -> Histogram {
        let mut histogram = Histogram::default();
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).add_latencies(now, &mut histogram);
        }
        histogram
    }
}

/// The verdict on a whole Service's counts; a latency's value is that of the histogram, moved to the side of the threshold
/// where the exact counts say that it is. The histogram may hold only a part of what was counted.
pub(crate) fn with_latency(rule: &TrafficRule, tally: Tally, latencies: &Histogram) -> Judgement {
    let judgement = judge(rule, tally);
    let Some(quantile) = rule.metric.quantile().filter(|_| !judgement.value.is_nan()) else { return judgement };
    let estimate = latencies.at_rank(rank(quantile, latencies.total())).map_or(0.0, |latency| latency.as_secs_f64());
    let threshold = rule.threshold.value;
    let value = match position(rank(quantile, tally.total), tally) {
        std::cmp::Ordering::Less => estimate.min(threshold.next_down().max(0.0)),
        std::cmp::Ordering::Equal => threshold,
        std::cmp::Ordering::Greater => estimate.max(threshold.next_up()),
    };
    Judgement { value, ..judgement }
}

/// The rank (1 is the smallest) of a quantile among `total` values: nearest rank, `ceil(q * n)`.
fn rank(quantile: f64, total: u64) -> u64 {
    // Exact for quantiles of two decimals and any number of requests that fits a window.
    let hundredths = (quantile * 100.0).round() as u64;
    total.saturating_mul(hundredths).div_ceil(100).max(1)
}

/// Where the value at `rank` lies, seen from the threshold.
fn position(rank: u64, tally: Tally) -> std::cmp::Ordering {
    if tally.below >= rank {
        std::cmp::Ordering::Less
    } else if tally.below.saturating_add(tally.equal) >= rank {
        std::cmp::Ordering::Equal
    } else {
        std::cmp::Ordering::Greater
    }
}

/// Whether one request can have moved the value towards the side on which the condition trips.
fn moves_towards(rule: &TrafficRule, one: Tally) -> bool {
    use ComparisonOperator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let rises = match rule.metric {
        TrafficMetric::ErrorRate => one.errors > 0,
        TrafficMetric::SuccessRate => one.errors == 0,
        TrafficMetric::RequestRate => true,
        TrafficMetric::LatencyP50 | TrafficMetric::LatencyP90 | TrafficMetric::LatencyP99 => one.below == 0,
    };
    match rule.threshold.operator {
        Greater | GreaterOrEqual => rises,
        Less | LessOrEqual => !rises,
        Equal => true,
    }
}

/// The verdict on a whole Service's counts: pure, so that it can be compared with a recount of the clients' logs.
///
/// For a latency the value is only a placeholder on the right side of the threshold.
pub(crate) fn judge(rule: &TrafficRule, tally: Tally) -> Judgement {
    let Threshold { value: threshold, operator } = rule.threshold;
    let few = tally.total < u64::from(rule.min_requests) || tally.total == 0;
    if few && rule.metric != TrafficMetric::RequestRate {
        return Judgement { value: f64::NAN, trips: false };
    }
    let share = tally.errors as f64 / tally.total as f64;
    let value = match rule.metric {
        TrafficMetric::ErrorRate => share,
        TrafficMetric::SuccessRate => tally.total.saturating_sub(tally.errors) as f64 / tally.total as f64,
        TrafficMetric::RequestRate => tally.total as f64 / rule.interval.as_secs_f64(),
        TrafficMetric::LatencyP50 | TrafficMetric::LatencyP90 | TrafficMetric::LatencyP99 => {
            let rank = rank(rule.metric.quantile().unwrap_or(1.0), tally.total);
            match position(rank, tally) {
                std::cmp::Ordering::Less => threshold.next_down(),
                std::cmp::Ordering::Equal => threshold,
                std::cmp::Ordering::Greater => threshold.next_up(),
            }
        }
    };
    Judgement { value, trips: operator.trips(value, threshold) }
}

// By its path, since `benches/micro` includes this file by its own.
#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
