//! What the two sides say: a message is a set of parts, each of which may be absent, and unknown ones are ignored.
//!
//! Times are durations, never moments. Every list and text has a bound, checked after decoding; frames have one before.

use std::time::Duration;

use glooshot_api::{
    names::ServiceName,
    plan::{FencingToken, MAX_CONDITIONS, MAX_FAULTS, MAX_SERVICES, Plan},
    status::InjectionStatus,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{MAX_TOKEN, link::Stamps};
use crate::proxy::{BUCKETS, Tally};

/// Bytes of one message of a controller at the most: the largest plan, with room.
pub(crate) const MAX_FROM_CONTROLLER: usize = 16 << 20;
/// Bytes of one message of a proxy at the most: sixteen whole histograms, with room.
pub(crate) const MAX_FROM_PROXY: usize = 384 << 10;
/// Callers that a proxy misses at the most: all that faults can name.
const MAX_CALLERS: usize = MAX_FAULTS * MAX_SERVICES;
/// Bytes of a name, a uid or a reason at the most.
const MAX_TEXT: usize = 512;

/// A plan of one leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanId {
    /// Whose it is.
    pub fencing: FencingToken,
    /// Its generation.
    pub generation: u64,
}

impl PlanId {
    /// Which plan this is.
    pub const fn of(plan: &Plan) -> Self {
        Self { fencing: plan.fencing, generation: plan.generation }
    }
}

/// A message of a controller.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FromController {
    pub(crate) stamp: u64,
    pub(crate) echo: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) renewal: Option<Renewal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) others: Option<OthersPart>,
}

/// A plan. Its text is decoded apart, so that one that is not understood can be refused by its name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanPart {
    pub(crate) id: PlanId,
    /// For how long it holds.
    pub(crate) holds: Duration,
    /// The receiver's own part of what the run may inject; all that the plan says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<u64>,
    /// A [`Plan`].
    pub(crate) plan: Box<RawValue>,
}

/// A plan that is in force still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Renewal {
    pub(crate) id: PlanId,
    /// For how long.
    pub(crate) holds: Duration,
}

/// What the other proxies of the Service count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OthersPart {
    /// Whose plan they obey.
    pub(crate) fencing: FencingToken,
    /// The Experiment's uid.
    pub(crate) uid: String,
    /// For each condition.
    pub(crate) sums: Vec<OthersSum>,
    /// How long ago the oldest part of any was counted.
    pub(crate) age: Duration,
}

/// The sum for one condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OthersSum {
    pub(crate) condition: u16,
    pub(crate) tally: Tally,
}

/// A message of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FromProxy {
    pub(crate) stamp: u64,
    pub(crate) echo: u64,
    /// A newer token of the sender, for when it is authenticated again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trip: Option<TripPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<StatePart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<CountsPart>,
}

/// What became of a plan, or of its renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Which plan.
    pub id: PlanId,
    /// Why it was refused; it is in force when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How a proxy is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StatePart {
    pub(crate) ready: bool,
    /// Faults are paused, because the others' sums are not fresh.
    pub(crate) paused: bool,
    /// Connections accepted since the start.
    pub(crate) accepted: u64,
    /// Callers that are named by a fault and have not come through.
    pub(crate) missing: Vec<ServiceName>,
}

/// What a proxy counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CountsPart {
    pub(crate) uid: String,
    pub(crate) conditions: Vec<ConditionPart>,
    pub(crate) injection: Vec<InjectionStatus>,
}

/// What a proxy counts of one condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConditionPart {
    pub(crate) condition: u16,
    pub(crate) tally: Tally,
    /// The buckets of the histogram that have changed since the message before, with what they hold now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies: Vec<(u16, u32)>,
}

/// A condition has tripped; the sender's faults are off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TripPart {
    pub(crate) uid: String,
    pub(crate) condition: u16,
    pub(crate) value: f64,
    /// From the request that crossed the threshold to this message, by the sender's clock.
    pub(crate) age: Duration,
}

/// Why a message is refused: the peer's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("a message is not of the protocol: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a message has {count} {what}; at most {limit} are accepted")]
    TooMany { what: &'static str, count: usize, limit: usize },
}

fn bounded(what: &'static str, count: usize, limit: usize) -> Result<(), MessageError> {
    if count > limit { Err(MessageError::TooMany { what, count, limit }) } else { Ok(()) }
}

/// A message that can be sent and received.
pub(crate) trait Message: Serialize + for<'de> Deserialize<'de> + Send {
    /// Bytes at the most.
    const LIMIT: usize;

    /// Its stamps.
    fn stamps(&self) -> Stamps;

    /// Puts stamps on it.
    fn stamp(&mut self, stamps: Stamps);

    /// Checks every bound that the types do not state.
    fn check(&self) -> Result<(), MessageError>;

    /// Reads one.
    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let message: Self = serde_json::from_slice(bytes)?;
        message.check()?;
        Ok(message)
    }

    /// Writes it.
    fn encode(&self) -> Result<Vec<u8>, MessageError> {
        Ok(serde_json::to_vec(self)?)
    }
}

impl Message for FromController {
    const LIMIT: usize = MAX_FROM_CONTROLLER;

    fn stamps(&self) -> Stamps {
        Stamps { stamp: self.stamp, echo: self.echo }
    }

    fn stamp(&mut self, Stamps { stamp, echo }: Stamps) {
        (self.stamp, self.echo) = (stamp, echo);
    }

    fn check(&self) -> Result<(), MessageError> {
        let Some(others) = &self.others else { return Ok(()) };
        bounded("sums", others.sums.len(), MAX_CONDITIONS)?;
        bounded("bytes of a uid", others.uid.len(), MAX_TEXT)
    }
}

impl Message for FromProxy {
    const LIMIT: usize = MAX_FROM_PROXY;

    fn stamps(&self) -> Stamps {
        Stamps { stamp: self.stamp, echo: self.echo }
    }

    fn stamp(&mut self, Stamps { stamp, echo }: Stamps) {
        (self.stamp, self.echo) = (stamp, echo);
    }

    fn check(&self) -> Result<(), MessageError> {
        bounded("bytes of a token", self.token.as_ref().map_or(0, String::len), MAX_TOKEN)?;
        if let Some(refused) = self.answer.as_ref().and_then(|answer| answer.refused.as_ref()) {
            bounded("bytes of a reason", refused.len(), MAX_TEXT)?;
        }
        if let Some(state) = &self.state {
            bounded("callers", state.missing.len(), MAX_CALLERS)?;
            for caller in &state.missing {
                bounded("bytes of a name", caller.namespace.len() + caller.name.len(), MAX_TEXT)?;
            }
        }
        if let Some(counts) = &self.counts {
            bounded("bytes of a uid", counts.uid.len(), MAX_TEXT)?;
            bounded("conditions", counts.conditions.len(), MAX_CONDITIONS)?;
            bounded("faults", counts.injection.len(), MAX_FAULTS)?;
            for condition in &counts.conditions {
                bounded("buckets", condition.latencies.len(), BUCKETS)?;
            }
        }
        self.trip.as_ref().map_or(Ok(()), |trip| bounded("bytes of a uid", trip.uid.len(), MAX_TEXT))
    }
}

impl Answer {
    /// The plan was refused; the reason is cut where it is too long to be sent.
    pub(crate) fn refused(id: PlanId, reason: &str) -> Self {
        let end = (0..=reason.len().min(MAX_TEXT)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        Self { id, refused: Some(reason.get(..end).unwrap_or_default().to_owned()) }
    }
}

#[cfg(test)]
mod tests;
