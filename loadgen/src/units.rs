//! Durations, counts and sizes as people write and read them.

use std::time::Duration;

/// The text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not a sequence of numbers with units.
    #[error("write a number with a unit (us, ms, s, m, h), such as 30s, 1m30s or 500ms")]
    Form,
    /// It is no time at all.
    #[error("it must be longer than 0, such as 30s, 1m30s or 500ms")]
    Zero,
}

/// Reads `1m30s`, `500ms`, `1.5h`: numbers with a unit each, added up.
///
/// # Errors
/// The text is of another form, or the duration is zero or too long to be held.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(DurationError::Form),
        };
        let number: f64 = number.parse().map_err(|_| DurationError::Form)?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| DurationError::Form)?;
        total = total.checked_add(part).ok_or(DurationError::Form)?;
        rest = tail;
    }
    if total.is_zero() { Err(DurationError::Zero) } else { Ok(total) }
}

/// Three significant digits in the unit that reads best.
#[must_use]
pub fn short_time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        below if below < 999.5 => (micros, "µs"),
        below if below < 999.5e3 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Three significant digits with a decimal prefix: `12.3 MB`.
#[must_use]
pub fn short_bytes(bytes: f64) -> String {
    let (value, unit) = match bytes {
        below if below < 999.5 => return format!("{bytes:.0} B"),
        below if below < 999.5e3 => (bytes / 1e3, "kB"),
        below if below < 999.5e6 => (bytes / 1e6, "MB"),
        below if below < 999.5e9 => (bytes / 1e9, "GB"),
        _ => (bytes / 1e12, "TB"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A rate per second: one decimal below a thousand, none above.
#[must_use]
pub fn short_rate(per_second: f64) -> String {
    if per_second < 1000.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

fn three_digits(value: f64) -> String {
    let decimals = match value {
        below if below < 9.995 => 2,
        below if below < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, micros) in [
            ("30s", 30_000_000),
            ("1m30s", 90_000_000),
            ("500ms", 500_000),
            ("1.5h", 5_400_000_000),
            ("250us", 250),
            ("250µs", 250),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for wrong in ["5", "s", "-1s", "1d", "1..2s", "1s garbage", "1e9h"] {
            assert_eq!(parse_duration(wrong), Err(DurationError::Form), "{wrong}");
        }
        assert_eq!(["", "0s"].map(parse_duration), [Err(DurationError::Zero); 2]);
    }

    #[test]
    fn short_times_have_three_digits() {
        let shown = [7, 1_234, 56_789, 999_000, 999_700, 12_340_000].map(|us| short_time(Duration::from_micros(us)));
        assert_eq!(shown, ["7.00 µs", "1.23 ms", "56.8 ms", "999 ms", "1.00 s", "12.3 s"]);
    }

    #[test]
    fn short_sizes_have_three_digits() {
        let shown = [7.0, 1_234.0, 56_789.0, 123_456_789.0, 9.999e9, 5e12].map(short_bytes);
        assert_eq!(shown, ["7 B", "1.23 kB", "56.8 kB", "123 MB", "10.0 GB", "5.00 TB"]);
    }
}
