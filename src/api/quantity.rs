//! Values with units: Go durations, percentages, comparison operators, and Go's way of printing a float.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration in Go's syntax (`600s`, `1m30s`, `250ms`), never negative, at nanosecond resolution.
///
/// Printed in seconds the way the original system printed it: whole seconds as `600s`, fractions with 3, 6 or 9 digits as `0.500s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(Duration);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is empty.
    #[error("a duration must not be empty; write for example \"30s\"")]
    Empty,
    /// A number without a unit (`100`).
    #[error("{0:?} has no unit; write for example \"{0}ms\" or \"{0}s\"")]
    NoUnit(String),
    /// A unit that Go does not know.
    #[error("unknown unit {unit:?} in {text:?}; the units are ns, us, ms, s, m and h, as in \"1m30s\"")]
    UnknownUnit {
        /// What stood in the place of the unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// A duration below zero.
    #[error("{0:?} is negative; a duration counts forward, as in \"30s\"")]
    Negative(String),
    /// Anything else.
    #[error("{0:?} is not a duration; write for example \"600s\", \"1m30s\" or \"250ms\"")]
    Syntax(String),
    /// More than Go's 64-bit count of nanoseconds (about 292 years).
    #[error("{0:?} is too long for a duration")]
    TooLong(String),
}

impl GoDuration {
    /// The duration as the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// A duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    /// Reads what Go's `time.ParseDuration` reads, except that a value below zero is refused.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        let syntax = || DurationError::Syntax(text.to_owned());
        let unsigned = text.strip_prefix('+').or_else(|| text.strip_prefix('-')).unwrap_or(text);
        if unsigned.is_empty() {
            return Err(if text.is_empty() { DurationError::Empty } else { syntax() });
        }
        let mut rest = unsigned;
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            if number.is_empty() {
                return Err(syntax());
            }
            if unit.is_empty() {
                // Go accepts a lone zero without a unit, and nothing else.
                if unsigned == "0" {
                    return Ok(Self(Duration::ZERO));
                }
                return Err(DurationError::NoUnit(number.to_owned()));
            }
            let nanoseconds = unit_nanoseconds(unit)
                .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
            total += scaled(number, nanoseconds).ok_or_else(syntax)?;
            if total > i64::MAX as u128 {
                return Err(DurationError::TooLong(text.to_owned()));
            }
            rest = next;
        }
        if text.starts_with('-') && total > 0 {
            return Err(DurationError::Negative(text.to_owned()));
        }
        let total = u64::try_from(total).map_err(|_| DurationError::TooLong(text.to_owned()))?;
        Ok(Self(Duration::from_nanos(total)))
    }
}

/// Nanoseconds in one of Go's units.
fn unit_nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one dot) times `unit` nanoseconds, the part below one nanosecond dropped as Go drops it.
fn scaled(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // 18 digits keep everything that 64-bit nanoseconds can show of an hour.
    let digits: String = fraction.chars().take(18).collect();
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let scale = 10u128.pow(u32::try_from(digits.len()).ok()?);
    Some(whole * u128::from(unit) + part * u128::from(unit) / scale)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.0.as_secs(), self.0.subsec_nanos());
        match nanoseconds {
            0 => write!(f, "{seconds}s"),
            n if n % 1_000_000 == 0 => write!(f, "{seconds}.{:03}s", n / 1_000_000),
            n if n % 1_000 == 0 => write!(f, "{seconds}.{:06}s", n / 1_000),
            n => write!(f, "{seconds}.{n:09}s"),
        }
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 64 })
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = GoDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes with a unit, such as \"600s\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A percentage above 0 and at most 100, kept as a share of 2^64 so that a roll of the dice is one comparison.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(f64);

/// A number that is not a percentage.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a percentage: it must be above 0 and at most 100, as in 25 or 0.5")]
pub struct PercentError(pub f64);

impl Percent {
    /// Every request.
    pub const ALL: Self = Self(100.0);

    /// The percentage, in `(0, 100]`.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The share of `2^64` that this percentage stands for: a uniform 64-bit number below it is a hit; 100 % is `2^64` itself.
    pub fn of_two_to_the_64(self) -> u128 {
        // 2^64 is a power of two, so the product only rounds where the percentage itself is not exact.
        (self.0 / 100.0 * 18_446_744_073_709_551_616.0) as u128
    }
}

impl TryFrom<f64> for Percent {
    type Error = PercentError;

    fn try_from(value: f64) -> Result<Self, PercentError> {
        if value > 0.0 && value <= 100.0 { Ok(Self(value)) } else { Err(PercentError(value)) }
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// How an observed value is compared with a threshold; the default is `<`, as in the original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ComparisonOperator {
    /// Trips when the value equals the threshold.
    #[serde(rename = "==")]
    Equal,
    /// Trips when the value is above the threshold.
    #[serde(rename = ">")]
    Greater,
    /// Trips when the value is below the threshold.
    #[default]
    #[serde(rename = "<")]
    Less,
    /// Trips when the value is at or above the threshold.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Trips when the value is at or below the threshold.
    #[serde(rename = "<=")]
    LessOrEqual,
}

impl ComparisonOperator {
    /// Every operator, in the order in which they are listed to users.
    pub const ALL: [Self; 5] = [Self::Equal, Self::Greater, Self::Less, Self::GreaterOrEqual, Self::LessOrEqual];

    /// The operator as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
        }
    }

    /// Whether `value` trips a condition with this operator and `threshold`. NaN never does.
    pub fn trips(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Equal => value == threshold,
            Self::Greater => value > threshold,
            Self::Less => value < threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::LessOrEqual => value <= threshold,
        }
    }
}

impl fmt::Display for ComparisonOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A float as Go's `%v` prints it, which is how the original wrote `value` and `threshold`: `50`, `0.01`, `1e+06`, `1e-05`, `NaN`, `+Inf`.
///
/// The shortest digits that read back the same, with an exponent of at least two digits below 1e-4 and from 1e6 on.
pub fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
