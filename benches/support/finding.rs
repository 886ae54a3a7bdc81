//! What was found beside what was asked for.

use std::fmt;

/// A figure, and its bar where it has one.
#[derive(Debug)]
pub struct Finding {
    what: String,
    value: String,
    bar: Option<String>,
    holds: bool,
}

impl Finding {
    /// A figure that must satisfy its bar.
    pub fn judged(what: impl Into<String>, value: String, bar: impl Into<String>, holds: bool) -> Self {
        Self { what: what.into(), value, bar: Some(bar.into()), holds }
    }

    /// A figure that is only shown.
    pub fn shown(what: impl Into<String>, value: String) -> Self {
        Self { what: what.into(), value, bar: None, holds: true }
    }

    /// Whether its bar holds.
    pub fn holds(&self) -> bool {
        self.holds
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<28} {:<44}", self.what, self.value)?;
        match &self.bar {
            Some(bar) => write!(f, " bar {bar}: {}", if self.holds { "holds" } else { "BROKEN" }),
            None => Ok(()),
        }
    }
}
