//! Which version of the channel is spoken: the highest that both sides understand.

use std::{fmt, str::FromStr};

/// The versions that one side understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    oldest: u16,
    newest: u16,
}

/// What this build understands: its own version, and the one before it where there was one.
pub(crate) const OURS: Versions = Versions { oldest: 1, newest: 1 };

impl Versions {
    /// The version to speak with a peer that understands `other`; `None` if there is none.
    pub(crate) fn agree(self, other: Self) -> Option<u16> {
        let best = self.newest.min(other.newest);
        (best >= self.oldest && best >= other.oldest).then_some(best)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.oldest, self.newest)
    }
}

impl FromStr for Versions {
    type Err = ();

    /// Reads `OLDEST-NEWEST`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (oldest, newest) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.parse::<u16>().map_err(drop);
        let versions = Self { oldest: number(oldest)?, newest: number(newest)? };
        if versions.oldest > versions.newest { Err(()) } else { Ok(versions) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_understands_itself_and_the_one_before() {
        let of = |version: u16| Versions { oldest: version - 1, newest: version };
        let table = [(5, 5, Some(5)), (5, 4, Some(4)), (4, 5, Some(4)), (5, 3, None), (3, 5, None), (9, 1, None)];
        for (own, other, expected) in table {
            assert_eq!(of(own).agree(of(other)), expected, "{own} with {other}");
        }
    }

    #[test]
    fn they_are_written_as_a_range() {
        assert_eq!(OURS.to_string().parse(), Ok(OURS));
        for text in ["", "1", "1-", "-1", "2-1", "1-2-3", "1-70000", "a-b", " 1-1"] {
            assert_eq!(text.parse::<Versions>(), Err(()), "{text}");
        }
    }
}
