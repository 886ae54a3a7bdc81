//! Small numbers for the names of peers, so that a metric's key is a few integers and its labels are bounded.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use glooshot_api::names::ServiceName;

/// The number of a peer's name; [`UNKNOWN`] stands for one that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct IdentityId(u32);

/// A peer that is not known.
pub(crate) const UNKNOWN: IdentityId = IdentityId(0);

/// Names that are kept at the most; more are counted as unknown.
const MAX_IDENTITIES: usize = 10_000;

/// What a peer is called in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The service.
    pub(crate) service: ServiceName,
    /// The version.
    pub(crate) version: Option<String>,
}

/// All names that have been numbered. Written only when a plan is compiled.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    numbers: Mutex<HashMap<Identity, IdentityId>>,
}

impl Identities {
    /// The number of this name, a new one if it has none yet.
    pub(crate) fn id(&self, service: &ServiceName, version: Option<&str>) -> IdentityId {
        let identity = Identity { service: service.clone(), version: version.map(ToOwned::to_owned) };
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = numbers.get(&identity) {
            return *id;
        }
        if numbers.len() >= MAX_IDENTITIES {
            return UNKNOWN;
        }
        let id = IdentityId(u32::try_from(numbers.len() + 1).unwrap_or(0));
        numbers.insert(identity, id);
        id
    }

    /// All names by number, for a scrape.
    pub(crate) fn by_number(&self) -> HashMap<IdentityId, Identity> {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().map(|(identity, id)| (*id, identity.clone())).collect()
    }
}
