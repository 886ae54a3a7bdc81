//! Stopping in order: clients go on being accepted until none comes any more, and only then the listeners close.
//!
//! Whoever routes to us hears late that we stop (a kube-proxy that lags, a client's resolver), and a listener that closes
//! resets what waits in its queue.

use std::time::Duration;

use super::clock::Moment;

/// Between two looks at the number of connections.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// For how long new connections are accepted while the proxy stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainRule {
    /// So long in any case: the time that those who route to us may need to hear of it.
    pub at_least: Duration,
    /// Until no connection has come for so long.
    pub quiet: Duration,
}

/// Watches connections come while the proxy stops.
#[derive(Debug)]
pub(crate) struct Quiet {
    rule: DrainRule,
    at_most: Duration,
    began: Moment,
    last: Moment,
    connections: u64,
}

impl Quiet {
    /// From now on; `connections` have come so far. It never takes longer than `at_most` behind the rule's least.
    pub(crate) fn begin(rule: DrainRule, at_most: Duration, now: Moment, connections: u64) -> Self {
        Self { rule, at_most: rule.at_least.saturating_add(at_most), began: now, last: now, connections }
    }

    /// Whether it is quiet now that this many connections have come.
    pub(crate) fn is_reached(&mut self, now: Moment, connections: u64) -> bool {
        if connections != self.connections {
            self.connections = connections;
            self.last = now;
        }
        let passed = now.since(self.began);
        passed >= self.at_most || (passed >= self.rule.at_least && now.since(self.last) >= self.rule.quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: DrainRule = DrainRule { at_least: Duration::from_secs(30), quiet: Duration::from_secs(5) };

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn it_is_quiet_when_no_connection_came_for_the_time_and_the_least_has_passed() {
        let mut quiet = Quiet::begin(RULE, Duration::from_secs(60), at(100), 7);
        assert!(!quiet.is_reached(at(129), 7));
        assert!(quiet.is_reached(at(130), 7));
    }

    #[test]
    fn each_connection_begins_the_quiet_anew() {
        let mut quiet = Quiet::begin(RULE, Duration::from_secs(60), at(100), 7);
        assert!(!quiet.is_reached(at(130), 8));
        assert!(!quiet.is_reached(at(134), 8));
        assert!(quiet.is_reached(at(135), 8));
    }

    #[test]
    fn callers_that_never_stop_coming_cannot_hold_it_for_ever() {
        let mut quiet = Quiet::begin(RULE, Duration::from_secs(60), at(100), 0);
        assert!((101..190).all(|second| !quiet.is_reached(at(second), second)));
        assert!(quiet.is_reached(at(190), 190));
    }
}
