//! The wall clock: for timestamps in results and reports, never for deadlines.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// The time of day.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The same as certificates are judged by it.
pub(crate) fn certificates() -> SystemTime {
    now().into()
}

/// RFC 3339, UTC, always nine digits of a second: `2019-06-10T16:08:39.869280871Z`.
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// Between two times of day; nothing if the second is earlier.
pub(crate) fn between(first: Timestamp, second: Timestamp) -> Duration {
    Duration::try_from(second.duration_since(first)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_timestamp_always_has_nine_digits_of_a_second() {
        let at = |nanoseconds| rfc3339(Timestamp::from_nanosecond(nanoseconds).unwrap());
        assert_eq!(at(1_560_182_919_869_280_871), "2019-06-10T16:08:39.869280871Z");
        assert_eq!(at(1_560_182_919_000_000_000), "2019-06-10T16:08:39.000000000Z");
    }
}
