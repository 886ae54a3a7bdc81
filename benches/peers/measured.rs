//! The figures of one measurement, and those of all rounds of a case.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::subject::Subject;

/// The answers that must have been judged, or else the latencies are void: ten of these are slower than the p99.
const LEAST_JUDGED: f64 = 1_000.0;

/// What one subject did under the load of one case in one round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Answers per second.
    pub rate: f64,
    /// Microseconds of processor time that the proxy used for each; 0 without one.
    pub cpu: f64,
    /// Latency in microseconds, in the open loop from when the request was due.
    pub p50: f64,
    pub p99: f64,
    /// The share of the answers that those are of; `None` in the closed loop, where they are of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<f64>,
    /// The most memory of the proxy, in MiB.
    pub memory: f64,
    /// Share of its core that the proxy used.
    pub proxy_core: f64,
    /// Share of their core that the client and the service used.
    pub client_core: f64,
}

impl Measured {
    /// Whether the machine stood still so much that the latencies say nothing. A measurement lasts a second.
    pub fn is_void(&self) -> bool {
        self.judged.is_some_and(|judged| judged * self.rate < LEAST_JUDGED)
    }

    /// The median latency; not a number where it is void.
    pub fn p50(&self) -> f64 {
        if self.is_void() { f64::NAN } else { self.p50 }
    }

    /// The latency that one in a hundred exceeds; not a number where it is void.
    pub fn p99(&self) -> f64 {
        if self.is_void() { f64::NAN } else { self.p99 }
    }
}

/// All rounds of a case: the figures at the same place belong to the same round.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseResult {
    /// When it was measured, UTC.
    pub date: String,
    pub machine: Value,
    /// What was measured.
    pub versions: BTreeMap<String, String>,
    /// Requests per second, where the load is an open loop.
    pub rate: Option<f64>,
    pub rounds: BTreeMap<Subject, Vec<Measured>>,
}

/// A figure of a measurement.
pub type Figure = fn(&Measured) -> f64;

impl CaseResult {
    /// A figure of a subject in all rounds; `None` where it did not take part.
    pub fn all(&self, subject: Subject, figure: Figure) -> Option<Vec<f64>> {
        let rounds = self.rounds.get(&subject).filter(|rounds| !rounds.is_empty())?;
        Some(rounds.iter().map(figure).collect())
    }

    /// A figure of one subject combined with that of another in the same round.
    pub fn paired(
        &self,
        (one, other): (Subject, Subject),
        figure: Figure,
        combine: fn(f64, f64) -> f64,
    ) -> Option<Vec<f64>> {
        let (one, other) = (self.all(one, figure)?, self.all(other, figure)?);
        Some(one.into_iter().zip(other).map(|(one, other)| combine(one, other)).collect())
    }

    /// Ratios of a figure of one subject to that of another in the same round.
    pub fn ratios(&self, pair: (Subject, Subject), figure: Figure) -> Option<Vec<f64>> {
        self.paired(pair, figure, |one, other| one / other)
    }

    /// How many rounds there are.
    pub fn count(&self) -> usize {
        self.rounds.values().map(Vec::len).min().unwrap_or_default()
    }
}
