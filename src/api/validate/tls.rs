//! The rules of `tls`.

use std::collections::{BTreeSet, HashSet};

use super::{BODY, Names, Pass, syntax};
use crate::{
    experiment::{TlsTarget, TlsUpstream},
    names::{ServiceName, ServicePort},
    plan::MAX_SERVICES,
    scenario::{TlsRule, UpstreamRule},
};

impl Pass<'_> {
    /// `tls`: each port of a target once, and names that can be names. `targets` are the Services that go through a data path, where
    /// they are known.
    ///
    /// Entries with violations are left out, which is no matter, since then nothing is run; so are all where names are taken as written.
    pub(super) fn tls(&mut self, entries: &[TlsTarget], targets: Option<&BTreeSet<ServiceName>>) -> Vec<TlsRule> {
        self.bounded(&format!("{BODY}.tls"), entries.len(), MAX_SERVICES);
        let mut seen = HashSet::new();
        let mut rules = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let path = format!("{BODY}.tls[{i}]");
            let at = self.tls_port(&path, entry, targets);
            if at.as_ref().is_some_and(|at| !seen.insert(at.clone())) {
                self.report(path.as_str(), "another entry is for the same service and port; leave one of them out");
            }
            let secret = format!("{path}.certificateSecret");
            self.object_name(&secret, Some(&entry.certificate_secret), "ratings-tls");
            self.tls_upstream(&format!("{path}.upstream"), entry.upstream.as_ref());
            if let Some((service, Some(port))) = at {
                let upstream = upstream(&service, entry.upstream.clone().unwrap_or_default());
                let certificate_secret = entry.certificate_secret.clone();
                rules.push(TlsRule { port: ServicePort { service, port }, certificate_secret, upstream });
            }
        }
        rules
    }

    /// The Service and its port; without a port where nothing is known of the Service.
    fn tls_port(
        &mut self,
        path: &str,
        entry: &TlsTarget,
        targets: Option<&BTreeSet<ServiceName>>,
    ) -> Option<(ServiceName, Option<u16>)> {
        let at = format!("{path}.service");
        let destination = self.destination(&at, &entry.service);
        if entry.port == Some(0) {
            self.report(format!("{path}.port"), "must be from 1 to 65535, as in port: 443");
            return None;
        }
        let destination = destination?;
        let service = destination.service;
        let Names::Known { ports, .. } = self.names else { return Some((service, entry.port)) };
        let ServiceName { namespace, name } = &service;
        if let Some(subset) = destination.subset {
            let message = format!(
                "names the subset {subset} of {service}; TLS ends before an endpoint is chosen: name the whole service, as in {{name: {name}, namespace: {namespace}}}"
            );
            self.report(at, message);
            return None;
        }
        if let Some(targets) = targets.filter(|targets| !targets.contains(&service)) {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            let targets = if targets.is_empty() { "none".to_owned() } else { targets.join(", ") };
            let message = format!(
                "{service} is no target: no fault and no traffic condition names it; leave the entry out, or name a target (there is {targets})"
            );
            self.report(at, message);
            return None;
        }
        let port = match (entry.port, destination.port) {
            (Some(written), Some(named)) if written != named => {
                let message =
                    format!("{written} is not the port that service names; leave it out, or write port: {named}");
                self.report(format!("{path}.port"), message);
                return None;
            }
            (Some(port), _) | (None, Some(port)) => port,
            (None, None) => {
                let all: Vec<u16> =
                    ports.iter().map(|it| &it.port).filter(|it| it.service == service).map(|it| it.port).collect();
                if let [only] = all.as_slice() {
                    *only
                } else {
                    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                    let message = format!(
                        "is required, since {service} has several ports ({}), as in port: {}",
                        all.join(", "),
                        all.first().map_or("443", String::as_str)
                    );
                    self.report(format!("{path}.port"), message);
                    return None;
                }
            }
        };
        Some((service, Some(port)))
    }

    fn tls_upstream(&mut self, path: &str, upstream: Option<&TlsUpstream>) {
        let Some(upstream) = upstream else { return };
        self.object_name(&format!("{path}.caConfigMap"), upstream.ca_config_map.as_ref(), "ratings-ca");
        self.object_name(&format!("{path}.serverName"), upstream.server_name.as_ref(), "ratings.bookinfo.svc");
        if upstream.plaintext == Some(true) && (upstream.ca_config_map.is_some() || upstream.server_name.is_some()) {
            let message = "excludes caConfigMap and serverName: plain HTTP has no certificate to check";
            self.report(format!("{path}.plaintext"), message);
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

/// How the pods are spoken to. Who says nothing gets TLS that is checked, never TLS that is not.
fn upstream(service: &ServiceName, written: TlsUpstream) -> UpstreamRule {
    if written.plaintext == Some(true) {
        return UpstreamRule::Plaintext;
    }
    let server_name = written.server_name.unwrap_or_else(|| service.dns_name());
    UpstreamRule::Tls { ca_config_map: written.ca_config_map, server_name }
}
