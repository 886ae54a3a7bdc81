//! Percentages of faults on the very same requests, or the very same connections: together they are at most all of them.

use crate::{
    names::{Destination, ServiceName},
    plan::{MatchRule, PlannedFault},
    quantity::Percent,
    scenario::FaultRule,
};

/// Which share of which requests, or of which connections, a fault asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<'a> {
    origins: &'a [ServiceName],
    destinations: &'a [Destination],
    matches: &'a MatchRule,
    percentage: Percent,
    /// Connections and the requests on them are two rolls of the dice.
    of_connections: bool,
}

/// A fault with which the faults before it, and it, ask for more than all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Excess {
    /// Its place among the faults.
    pub(crate) fault: usize,
    /// What they add up to, in percent.
    pub(crate) sum: f64,
    /// Of what.
    pub(crate) what: &'static str,
}

impl<'a> From<&'a FaultRule> for Share<'a> {
    fn from(rule: &'a FaultRule) -> Self {
        let FaultRule { origins, destinations, matches, percentage, disruption } = rule;
        Self { origins, destinations, matches, percentage: *percentage, of_connections: disruption.is_of_connections() }
    }
}

impl<'a> From<&'a PlannedFault> for Share<'a> {
    fn from(fault: &'a PlannedFault) -> Self {
        let PlannedFault { origins, destinations, matches, percentage, disruption } = fault;
        Self { origins, destinations, matches, percentage: *percentage, of_connections: disruption.is_of_connections() }
    }
}

/// Every excess. A fault that is not known leaves its place empty.
pub(crate) fn excesses<'a>(shares: &'a [Option<Share<'a>>]) -> impl Iterator<Item = Excess> + 'a {
    shares.iter().enumerate().filter_map(|(fault, share)| {
        let share = share.as_ref()?;
        let same = |other: &&Share<'_>| share.is_of_the_same(other);
        let before: f64 = shares.iter().take(fault).flatten().filter(same).map(|other| other.percentage.get()).sum();
        let sum = before + share.percentage.get();
        let what = if share.of_connections { "connections" } else { "requests" };
        // Shares such as 33.3 + 33.3 + 33.4 may miss 100 by a rounding.
        (before > 0.0 && sum > 100.0 + 1e-9).then_some(Excess { fault, sum, what })
    })
}

impl Share<'_> {
    /// Whether both are of the very same requests, as far as what was written tells: two matches may still overlap.
    fn is_of_the_same(&self, other: &Self) -> bool {
        self.of_connections == other.of_connections
            && self.matches == other.matches
            && same_set(self.origins, other.origins)
            && self.destinations.iter().any(|a| other.destinations.iter().any(|b| overlap(a, b)))
    }
}

/// Whether two lists name the same, in any order.
fn same_set<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().all(|item| b.contains(item))
}

/// Whether some request goes to both.
fn overlap(a: &Destination, b: &Destination) -> bool {
    let either = |a: bool, b: bool, same: bool| a || b || same;
    a.service == b.service
        && either(a.port.is_none(), b.port.is_none(), a.port == b.port)
        && either(a.subset.is_none(), b.subset.is_none(), a.subset == b.subset)
}
