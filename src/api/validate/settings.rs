//! The rules of `limits` and `routing`.

use std::time::Duration;

use super::{
    BODY, DEFAULT_MAX_CONCURRENT_DELAYS, DEFAULT_SETTLE, MAX_CONCURRENT_DELAYS, MAX_KEEP_ROUTED, MAX_SETTLE, Pass,
    Range,
};
use crate::{
    experiment::{Limits, NetworkPolicyMode, Reconnect, Routing},
    quantity::GoDuration,
};

/// `limits` with its defaults.
pub(super) struct LimitRules {
    pub(super) max_injected: Option<u64>,
    pub(super) max_concurrent_delays: u32,
    pub(super) min_injected: u64,
}

/// `routing` with its defaults.
pub(super) struct RoutingRules {
    pub(super) settle: Duration,
    pub(super) reconnect: Reconnect,
    pub(super) keep_routed: Duration,
    pub(super) network_policy: NetworkPolicyMode,
}

impl Pass<'_> {
    /// `limits`; a control experiment, which has no faults, need not inject any.
    pub(super) fn limits(&mut self, limits: Option<&Limits>, control: bool) -> LimitRules {
        let given = limits.cloned().unwrap_or_default();
        let path = format!("{BODY}.limits");
        if given.max_injected == Some(0) {
            self.report(
                format!("{path}.maxInjected"),
                "must be at least 1, as in maxInjected: 100; a control experiment has no faults at all",
            );
        }
        if given.max_concurrent_delays.is_some_and(|delays| !(1..=MAX_CONCURRENT_DELAYS).contains(&delays)) {
            let message = format!("must be from 1 to {MAX_CONCURRENT_DELAYS}, as in maxConcurrentDelays: 100");
            self.report(format!("{path}.maxConcurrentDelays"), message);
        }
        if given.min_injected == Some(0) {
            self.report(
                format!("{path}.minInjected"),
                "must be at least 1: an experiment that injects nothing proves nothing",
            );
        }
        if let (Some(min), Some(max)) = (given.min_injected, given.max_injected)
            && min > max
        {
            let message = format!("{min} can never be reached: maxInjected allows {max}");
            self.report(format!("{path}.minInjected"), message);
        }
        LimitRules {
            max_injected: given.max_injected,
            max_concurrent_delays: given.max_concurrent_delays.unwrap_or(DEFAULT_MAX_CONCURRENT_DELAYS),
            min_injected: if control { 0 } else { given.min_injected.unwrap_or(1) },
        }
    }

    /// `routing`.
    pub(super) fn routing(&mut self, routing: Option<&Routing>) -> RoutingRules {
        let path = format!("{BODY}.routing");
        let mut within = |field: &str, given: Option<GoDuration>, default, longest| {
            self.duration(&format!("{path}.{field}"), given, default, Range::from_zero(longest))
        };
        let given = routing.cloned().unwrap_or_default();
        RoutingRules {
            keep_routed: within("keepRouted", given.keep_routed, Duration::ZERO, MAX_KEEP_ROUTED),
            settle: within("settle", given.settle, DEFAULT_SETTLE, MAX_SETTLE),
            reconnect: given.reconnect.unwrap_or_default(),
            network_policy: given.network_policy.unwrap_or_default(),
        }
    }
}
