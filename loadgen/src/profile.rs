//! How a rate goes over time, and the arithmetic that turns it into due times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::config::MAX_RATE_PER_SECOND;
use crate::units::{DurationError, parse_duration};

/// Most pieces of one profile; each step of a staircase is a piece.
pub const MAX_PIECES: usize = 1_000;

/// Share of a count by which rounding may miss a whole number.
const ROUNDING: f64 = 1e-12;

/// A rate as a function of time: constant pieces and ramps, one after the other.
///
/// It is read from text such as `100..5000 for 30s, 5000 for 1m, 5000..1000 in 4 steps for 2m`.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pieces: Vec<Piece>,
    text: String,
}

/// A part of a profile in which the rate is a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    /// Seconds from the start of the profile.
    begin: f64,
    /// Requests that are due before it.
    before: f64,
    /// Length in seconds; infinite in a constant profile.
    seconds: f64,
    /// Requests per second at its begin.
    from: f64,
    /// Requests per second at its end.
    to: f64,
}

/// The text is no profile.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// A part has another form.
    #[error(
        "{part:?} is no part of a profile; write parts such as '100 for 30s', '100..5000 for 1m' or \
         '1000..5000 in 5 steps for 2m', with commas between them"
    )]
    Form {
        /// The part as given.
        part: String,
    },
    /// The length of a part is wrong.
    #[error("the length of {part:?} is wrong: {problem}")]
    Length {
        /// The part as given.
        part: String,
        /// What is wrong with it.
        problem: DurationError,
    },
    /// A rate is negative or too high.
    #[error("{rate} in {part:?} is no rate; it must be from 0 to 1000000 requests per second, for example 500")]
    Rate {
        /// The rate as given.
        rate: String,
        /// The part in which it stands.
        part: String,
    },
    /// The profile is too long to be held.
    #[error("the profile has more than 1000 parts and steps")]
    Pieces,
    /// No request is ever due.
    #[error("the rate is 0 all the time; give at least one part a rate above 0, for example '100 for 30s'")]
    Nothing,
}

impl Profile {
    /// The same rate for ever.
    #[must_use]
    pub fn constant(rate_per_second: f64) -> Self {
        let piece =
            Piece { begin: 0.0, before: 0.0, seconds: f64::INFINITY, from: rate_per_second, to: rate_per_second };
        Self { pieces: vec![piece], text: format!("{rate_per_second}/s") }
    }

    /// Its length; `None` if it has no end.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        let last = self.pieces.last()?;
        Duration::try_from_secs_f64(last.begin + last.seconds).ok()
    }

    /// Requests that are due in the first `seconds`: the integral of the rate. It rises with `seconds`.
    #[must_use]
    pub fn due_within(&self, seconds: f64) -> f64 {
        let index = self.pieces.partition_point(|piece| piece.begin <= seconds).saturating_sub(1);
        self.pieces.get(index).map_or(0.0, |piece| piece.due_within(seconds))
    }

    /// The whole number of requests at regular distances that are due before `seconds`.
    #[must_use]
    pub fn count_within(&self, seconds: f64) -> u64 {
        (self.due_within(seconds) * (1.0 - ROUNDING)).ceil() as u64
    }

    /// The inverse of [`due_within`](Self::due_within): seconds until `position` requests are due; `None` if
    /// there never are so many.
    #[must_use]
    pub fn when(&self, position: f64) -> Option<f64> {
        let index = self.pieces.partition_point(|piece| piece.before <= position).saturating_sub(1);
        self.pieces.get(index)?.when(position)
    }

    /// Requests per second after `seconds`; 0 behind the end.
    #[must_use]
    pub fn rate_at(&self, seconds: f64) -> f64 {
        let index = self.pieces.partition_point(|piece| piece.begin <= seconds).checked_sub(1);
        index.and_then(|index| self.pieces.get(index)).map_or(0.0, |piece| piece.rate_at(seconds - piece.begin))
    }

    /// Whether every rate is one that can be driven.
    pub(crate) fn is_possible(&self) -> bool {
        let possible = |rate: f64| (0.0..=MAX_RATE_PER_SECOND).contains(&rate);
        self.pieces.iter().all(|piece| possible(piece.from) && possible(piece.to))
            && self.pieces.iter().any(|piece| piece.total() > 0.0)
    }

    fn append(&mut self, seconds: f64, from: f64, to: f64) -> Result<(), ProfileError> {
        if self.pieces.len() >= MAX_PIECES {
            return Err(ProfileError::Pieces);
        }
        let (begin, before) = match self.pieces.last() {
            Some(last) => (last.begin + last.seconds, last.before + last.total()),
            None => (0.0, 0.0),
        };
        self.pieces.push(Piece { begin, before, seconds, from, to });
        Ok(())
    }

    /// Adds what one part of the text says.
    fn append_part(&mut self, part: &str) -> Result<(), ProfileError> {
        let form = || ProfileError::Form { part: part.to_owned() };
        let (rates, length) = part.split_once(" for ").ok_or_else(form)?;
        let length = parse_duration(length.trim())
            .map_err(|problem| ProfileError::Length { part: part.to_owned(), problem })?
            .as_secs_f64();
        let (rates, steps) = match rates.split_once(" in ") {
            Some((rates, steps)) => (rates, Some(steps.trim().strip_suffix(" steps").ok_or_else(form)?)),
            None => (rates, None),
        };
        let rate = |text: &str| parse_rate(text.trim(), part);
        let (from, to) = match rates.split_once("..") {
            Some((from, to)) => (rate(from)?, rate(to)?),
            None if steps.is_some() => return Err(form()),
            None => (rate(rates)?, rate(rates)?),
        };
        match steps {
            None => self.append(length, from, to),
            Some(steps) => {
                let steps: u32 = steps.trim().parse().ok().filter(|steps| *steps >= 2).ok_or_else(form)?;
                let rise = (to - from) / f64::from(steps - 1);
                (0..steps).try_for_each(|step| {
                    let rate = from + rise * f64::from(step);
                    self.append(length / f64::from(steps), rate, rate)
                })
            }
        }
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let mut profile = Self { pieces: Vec::new(), text: text.trim().to_owned() };
        for part in text.split(',') {
            profile.append_part(part.trim())?;
        }
        if profile.is_possible() { Ok(profile) } else { Err(ProfileError::Nothing) }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_rate(text: &str, part: &str) -> Result<f64, ProfileError> {
    let wrong = || ProfileError::Rate { rate: text.to_owned(), part: part.to_owned() };
    let rate: f64 = text.trim_end_matches("/s").parse().map_err(|_| wrong())?;
    if (0.0..=MAX_RATE_PER_SECOND).contains(&rate) { Ok(rate) } else { Err(wrong()) }
}

impl Piece {
    /// Requests per second that the rate rises in a second.
    fn rise(&self) -> f64 {
        (self.to - self.from) / self.seconds
    }

    fn rate_at(&self, seconds: f64) -> f64 {
        if seconds > self.seconds { 0.0 } else { self.from + self.rise() * seconds }
    }

    /// Requests that are due in it.
    fn total(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds
    }

    fn due_within(&self, seconds: f64) -> f64 {
        let inside = (seconds - self.begin).clamp(0.0, self.seconds);
        self.before + inside * (self.from + self.rise() * inside / 2.0)
    }

    /// Solves `from * t + rise * t² / 2 = n` for t, in the form that is exact for small rises as well.
    fn when(&self, position: f64) -> Option<f64> {
        let inside = position - self.before;
        if inside >= self.total() {
            return None;
        }
        if inside <= 0.0 {
            return Some(self.begin);
        }
        let root = (self.from * self.from + 2.0 * self.rise() * inside).max(0.0).sqrt();
        Some(self.begin + (2.0 * inside / (self.from + root)).min(self.seconds))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const EXAMPLE: &str = "0..1000 for 10s, 1000 for 5s, 1000..200 in 5 steps for 10s, 0 for 2s, 300 for 1s";

    fn profile(text: &str) -> Profile {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-6 * right.abs().max(1.0)
    }

    #[test]
    fn a_profile_lasts_as_long_as_its_parts() {
        assert_eq!(profile(EXAMPLE).duration(), Some(Duration::from_secs(28)));
        assert_eq!(Profile::constant(5.0).duration(), None);
    }

    #[test]
    fn a_ramp_is_due_as_often_as_the_area_below_it() {
        let profile = profile(EXAMPLE);
        for (seconds, due) in [(0.0, 0.0), (5.0, 1250.0), (10.0, 5000.0), (12.0, 7000.0), (25.0, 16_000.0)] {
            assert!(close(profile.due_within(seconds), due), "{seconds}: {}", profile.due_within(seconds));
        }
        assert!(close(profile.due_within(99.0), 16_300.0));
    }

    #[test]
    fn the_due_time_of_a_position_is_the_inverse_of_the_area() {
        for text in [EXAMPLE, "5..5 for 9s", "1000..0 for 1m", "0.001..1000000 for 3s"] {
            let profile = profile(text);
            let total = profile.due_within(f64::MAX);
            for step in 0..1000 {
                let position = total * f64::from(step) / 1000.0;
                let when = profile.when(position).unwrap();
                assert!(close(profile.due_within(when), position), "{text}: {position} at {when}");
            }
            assert_eq!(profile.when(total * (1.0 + 1e-9)), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_due_while_the_rate_is_zero() {
        let profile = profile(EXAMPLE);
        assert!(close(profile.due_within(25.0), profile.due_within(27.0)));
        assert!(profile.when(16_000.1).unwrap() > 27.0);
    }

    #[test]
    fn steps_have_the_rates_between_and_including_both_ends() {
        let profile = profile("100..500 in 5 steps for 50s");
        let rates = [0.0, 9.0, 11.0, 21.0, 31.0, 41.0, 49.0, 51.0].map(|seconds| profile.rate_at(seconds));
        assert_eq!(rates, [100.0, 100.0, 200.0, 300.0, 400.0, 500.0, 500.0, 0.0]);
    }

    #[test]
    fn whole_numbers_of_requests_are_not_missed_by_rounding() {
        assert_eq!(Profile::constant(1.1).count_within(10.0), 11);
        assert_eq!(Profile::constant(10.0).count_within(0.25), 3);
        assert_eq!(profile("0..10 for 10s").count_within(10.0), 50);
    }

    #[test]
    fn what_is_no_profile_is_refused_with_an_example() {
        for (text, said) in [
            ("100", "'100 for 30s'"),
            ("", "no part of a profile"),
            ("100 for 30", "30s, 1m30s"),
            ("-1 for 3s", "-1 in"),
            ("2000000 for 3s", "from 0 to 1000000"),
            ("x..5 for 3s", "x in"),
            ("5 in 3 steps for 3s", "1000..5000 in 5 steps"),
            ("1..5 in 1 steps for 3s", "1000..5000 in 5 steps"),
            ("1..5 in five steps for 3s", "1000..5000 in 5 steps"),
            ("1..5 in 1001 steps for 3s", "more than 1000"),
            ("0 for 3s, 0..0 for 1m", "0 all the time"),
            ("1 for 3s,", "\"\""),
        ] {
            let error = text.parse::<Profile>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
