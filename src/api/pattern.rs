//! Regular expressions that an author writes: bounded in size, and anchored at both ends.

use regex::bytes::{Regex, RegexBuilder};

/// The most memory that one compiled pattern may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// The longest pattern, in bytes.
pub const MAX_LENGTH: usize = 256;

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is too long to be compiled safely.
    #[error("the pattern has {0} bytes; at most {MAX_LENGTH} are accepted")]
    TooLong(usize),
    /// It is not a regular expression, or too large a one.
    #[error("not a regular expression in RE2 syntax: {0}; write for example /api/v[12]/.*")]
    Syntax(String),
}

/// Compiles a pattern so that it matches the whole of a text, as a fault's `regex` does.
///
/// # Errors
/// When the pattern is not a regular expression or is too large.
pub fn whole(pattern: &str) -> Result<Regex, PatternError> {
    if pattern.len() > MAX_LENGTH {
        return Err(PatternError::TooLong(pattern.len()));
    }
    // On its own first: `a)|(b` would only become a regular expression between the anchors.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| PatternError::Syntax(error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_text_or_not_at_all() {
        let pattern = whole("a|bc").unwrap();
        assert!(pattern.is_match(b"a") && pattern.is_match(b"bc"));
        for text in ["ab", "xa", "abc", "bcd", "bc\n"] {
            assert!(!pattern.is_match(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_cannot_break_out_of_its_anchors() {
        assert!(matches!(whole("a)|(b"), Err(PatternError::Syntax(_))));
        assert!(matches!(whole("(?x) a # the anchor is in this comment"), Err(PatternError::Syntax(_))));
    }

    #[test]
    fn a_pattern_that_would_take_much_memory_is_refused() {
        assert!(matches!(whole(r"(\w{100}){100}"), Err(PatternError::Syntax(_))));
        assert_eq!(whole(&"a".repeat(257)).unwrap_err(), PatternError::TooLong(257));
    }
}
