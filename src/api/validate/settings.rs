//! The rules of `limits`, `routing` and `tls`.

use std::{collections::HashSet, time::Duration};

use super::{
    BODY, DEFAULT_MAX_CONCURRENT_DELAYS, DEFAULT_SETTLE, MAX_CONCURRENT_DELAYS, MAX_KEEP_ROUTED, MAX_SETTLE, Pass,
    Range, syntax,
};
use crate::{
    experiment::{Limits, NetworkPolicyMode, Reconnect, Routing, TlsTarget},
    plan::MAX_SERVICES,
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

    /// `tls`: each port once, names that can be names.
    pub(super) fn tls(&mut self, targets: &[TlsTarget]) {
        self.bounded(&format!("{BODY}.tls"), targets.len(), MAX_SERVICES);
        let mut seen = HashSet::new();
        for (i, target) in targets.iter().enumerate() {
            let path = format!("{BODY}.tls[{i}]");
            let service = self.destination(&format!("{path}.service"), &target.service);
            if target.port == Some(0) {
                self.report(format!("{path}.port"), "must be from 1 to 65535, as in port: 443");
            }
            if service.is_some_and(|service| !seen.insert((service, target.port))) {
                self.report(path.as_str(), "another entry is for the same service and port");
            }
            self.object_name(&format!("{path}.certificateSecret"), Some(&target.certificate_secret), "ratings-tls");
            let Some(upstream) = &target.upstream else { continue };
            self.object_name(&format!("{path}.upstream.caConfigMap"), upstream.ca_config_map.as_ref(), "ratings-ca");
            let name = upstream.server_name.as_ref();
            self.object_name(&format!("{path}.upstream.serverName"), name, "ratings.bookinfo.svc");
            if upstream.plaintext == Some(true) && (upstream.ca_config_map.is_some() || upstream.server_name.is_some())
            {
                let message = "excludes caConfigMap and serverName: plain HTTP has no certificate to check";
                self.report(format!("{path}.upstream.plaintext"), message);
            }
        }
    }

    fn object_name(&mut self, path: &str, name: Option<&String>, example: &str) {
        if let Some(name) = name.filter(|name| !syntax::is_subdomain(name)) {
            let message =
                format!("{name:?} is not a name: small letters, digits, \"-\" and \".\" only, as in {example}");
            self.report(path, message);
        }
    }
}
