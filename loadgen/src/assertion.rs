//! What a result must be like, as in `p99<50ms,errors<1%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::latencies::Latencies;
use crate::summary::Summary;
use crate::units::{DurationError, parse_duration, short_rate, short_time};

/// One comparison of a measured value with a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    text: String,
    measure: Measure,
    comparison: Comparison,
}

/// What became of an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The assertion as given.
    pub text: String,
    /// The value that was measured, for people.
    pub actual: String,
    /// Whether it holds. Of what was never measured nothing holds.
    pub holds: bool,
}

/// A measured value and its limit, in a unit that both have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Time(Clock, Statistic, Duration),
    /// A share of all requests that were due, 0 to 1.
    Share(Count, f64),
    Number(Count, f64),
    /// Responses per second.
    Rate(f64),
}

/// Which distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Latency,
    Service,
    Schedule,
    Connect,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Min,
    Mean,
    Max,
    Quantile(f64),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// Without a complete response, or with a status of 400 or more.
    Errors,
    /// Without a complete response.
    Unanswered,
    Unsent,
    Responses,
    Class(u16),
    Status(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

/// The text is no assertion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// There is no comparison in it.
    #[error("{0:?} has none of < <= > >= ==; write it like 'p99<50ms' or 'errors<1%'")]
    Comparison(String),
    /// Nothing of this name is measured.
    #[error(
        "{0:?} is not measured; there are pNN (such as p99 or p99.9), mean, min, max, each also as service.p99, \
         schedule.p99 and connect.p99; errors, unanswered, unsent, responses, 2xx to 5xx and single statuses such \
         as 503; and rate"
    )]
    Name(String),
    /// The limit of a time is no duration.
    #[error("{limit:?} in {text:?} is no time: {problem}")]
    Time {
        /// The assertion as given.
        text: String,
        /// The limit as given.
        limit: String,
        /// What is wrong with it.
        problem: DurationError,
    },
    /// The limit of a count is no number.
    #[error("{limit:?} in {text:?} is no limit; write a share such as 1% or a number such as 5")]
    Number {
        /// The assertion as given.
        text: String,
        /// The limit as given.
        limit: String,
    },
}

impl FromStr for Assertion {
    type Err = AssertionError;

    fn from_str(text: &str) -> Result<Self, AssertionError> {
        let text = text.trim();
        let no_comparison = || AssertionError::Comparison(text.to_owned());
        let at = text.find(['<', '>', '=']).ok_or_else(no_comparison)?;
        let (name, rest) = text.split_at(at);
        let signs = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("==", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let sign = signs.into_iter().find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
        let (comparison, limit) = sign.ok_or_else(no_comparison)?;
        let measure = measure(text, name.trim(), limit.trim())?;
        Ok(Self { text: text.to_owned(), measure, comparison })
    }
}

fn measure(text: &str, name: &str, limit: &str) -> Result<Measure, AssertionError> {
    if let Some((clock, statistic)) = time(name) {
        let limit = parse_duration(limit).map_err(|problem| AssertionError::Time {
            text: text.to_owned(),
            limit: limit.to_owned(),
            problem,
        })?;
        return Ok(Measure::Time(clock, statistic, limit));
    }
    let number = |limit: &str| {
        let number = limit.trim_end().parse().ok().filter(|number: &f64| *number >= 0.0 && number.is_finite());
        number.ok_or_else(|| AssertionError::Number { text: text.to_owned(), limit: limit.to_owned() })
    };
    if name == "rate" {
        return Ok(Measure::Rate(number(limit.trim_end_matches("/s"))?));
    }
    let count = count(name).ok_or_else(|| AssertionError::Name(name.to_owned()))?;
    match limit.strip_suffix('%') {
        Some(percent) => Ok(Measure::Share(count, number(percent)? / 100.0)),
        None => Ok(Measure::Number(count, number(limit)?)),
    }
}

fn time(name: &str) -> Option<(Clock, Statistic)> {
    let clocks = [("service.", Clock::Service), ("schedule.", Clock::Schedule), ("connect.", Clock::Connect)];
    let named = clocks.into_iter().find_map(|(prefix, clock)| Some((clock, name.strip_prefix(prefix)?)));
    let (clock, name) = named.unwrap_or((Clock::Latency, name));
    let statistic = match name {
        "min" => Statistic::Min,
        "mean" => Statistic::Mean,
        "max" => Statistic::Max,
        _ => {
            let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
            let possible = percent > 0.0 && percent <= 100.0;
            Statistic::Quantile(possible.then_some(percent / 100.0)?)
        }
    };
    Some((clock, statistic))
}

fn count(name: &str) -> Option<Count> {
    match name {
        "errors" => Some(Count::Errors),
        "unanswered" => Some(Count::Unanswered),
        "unsent" => Some(Count::Unsent),
        "responses" => Some(Count::Responses),
        _ => {
            if let Some(digit) = name.strip_suffix("xx") {
                return digit.parse().ok().filter(|digit| (1..=9).contains(digit)).map(Count::Class);
            }
            name.parse().ok().filter(|status| (100..=999).contains(status)).map(Count::Status)
        }
    }
}

impl Assertion {
    /// Compares with what was measured.
    #[must_use]
    pub fn judge(&self, summary: &Summary) -> Verdict {
        let (holds, actual) = match self.measure {
            Measure::Time(clock, statistic, limit) => match clock.of(summary) {
                times if times.count() == 0 => (false, "nothing was measured".to_owned()),
                times => {
                    let time = statistic.of(times);
                    (self.comparison.holds(time.as_secs_f64(), limit.as_secs_f64()), short_time(time))
                }
            },
            Measure::Rate(limit) => {
                let rate = summary.responses_per_second();
                (self.comparison.holds(rate, limit), format!("{}/s", short_rate(rate)))
            }
            Measure::Number(count, limit) => {
                let number = count.of(summary);
                (self.comparison.holds(number as f64, limit), number.to_string())
            }
            Measure::Share(count, limit) => match summary.started + summary.unsent {
                0 => (false, "nothing was measured".to_owned()),
                all => {
                    let share = count.of(summary) as f64 / all as f64;
                    (self.comparison.holds(share, limit), format!("{:.3}%", share * 100.0))
                }
            },
        };
        Verdict { text: self.text.clone(), actual, holds }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Clock {
    fn of(self, summary: &Summary) -> &Latencies {
        match self {
            Self::Latency => &summary.latency,
            Self::Service => &summary.service_time,
            Self::Schedule => &summary.schedule_error,
            Self::Connect => &summary.connect_time,
        }
    }
}

impl Statistic {
    fn of(self, times: &Latencies) -> Duration {
        match self {
            Self::Min => times.min(),
            Self::Mean => times.mean(),
            Self::Max => times.max(),
            Self::Quantile(quantile) => times.quantile(quantile),
        }
    }
}

impl Count {
    fn of(self, summary: &Summary) -> u64 {
        match self {
            Self::Errors => summary.failed(),
            Self::Unanswered => summary.errors.total(),
            Self::Unsent => summary.unsent,
            Self::Responses => summary.responses,
            Self::Class(digit) => summary.status_class(digit),
            Self::Status(status) => summary.statuses.get(&status).copied().unwrap_or(0),
        }
    }
}

impl Comparison {
    fn holds(self, actual: f64, limit: f64) -> bool {
        match self {
            Self::Less => actual < limit,
            Self::LessOrEqual => actual <= limit,
            Self::Greater => actual > limit,
            Self::GreaterOrEqual => actual >= limit,
            Self::Equal => (actual - limit).abs() <= f64::EPSILON * limit.abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::report::sample;

    fn judge(text: &str) -> Verdict {
        text.parse::<Assertion>().unwrap_or_else(|error| panic!("{text}: {error}")).judge(&sample())
    }

    #[test]
    fn each_kind_of_value_is_compared_with_its_limit() {
        // 1000 requests due in 2 s: 900 answered (10 with 503, 5 with 404), 40 failed, 10 cancelled, 50 unsent;
        // latencies 1 to 100 ms.
        for (text, holds) in [
            ("p50<55ms", true),
            ("p50<=45ms", false),
            ("p99.9 > 99ms", true),
            ("max<1s", true),
            ("min>=1ms", true),
            ("mean<50.6ms", true),
            ("service.p50<10ms", true),
            ("schedule.p99<1ms", true),
            ("connect.max<10us", false),
            ("errors<5.6%", true),
            ("errors<5.4%", false),
            ("errors==55", true),
            ("unanswered<=40", true),
            ("unsent==5%", true),
            ("5xx==1%", true),
            ("404==5", true),
            ("4xx>5", false),
            ("2xx>=88.5%", true),
            ("responses>899", true),
            ("rate==450/s", true),
            ("rate>451", false),
        ] {
            assert_eq!(judge(text).holds, holds, "{text}");
        }
    }

    #[test]
    fn a_verdict_says_what_was_measured() {
        let verdict = judge(" errors<1%");
        assert_eq!((verdict.text.as_str(), verdict.actual.as_str()), ("errors<1%", "5.500%"));
    }

    #[test]
    fn nothing_holds_of_what_was_never_measured() {
        let mut summary = sample();
        summary.latency = Latencies::new().unwrap();
        (summary.started, summary.unsent) = (0, 0);
        for text in ["p99<50ms", "p99>50ms", "errors<1%", "errors>=0%"] {
            assert!(!text.parse::<Assertion>().unwrap().judge(&summary).holds, "{text}");
        }
    }

    #[test]
    fn what_is_no_assertion_is_refused_with_what_there_is() {
        for (text, said) in [
            ("p99", "has none of"),
            ("", "has none of"),
            ("p99=50ms", "has none of"),
            ("p99<50", "30s, 1m30s"),
            ("p101<50ms", "pNN"),
            ("p0<50ms", "pNN"),
            ("latency<50ms", "service.p99"),
            ("errors<x", "1%"),
            ("errors<-1%", "1%"),
            ("600xx<1", "single statuses"),
            ("99<1", "single statuses"),
        ] {
            let error = text.parse::<Assertion>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
