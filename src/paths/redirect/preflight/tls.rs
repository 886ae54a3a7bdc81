//! What is found where ports speak TLS, and where it is to end at the proxies.

use std::collections::BTreeSet;

use glooshot_api::{names::ServiceName, scenario::UpstreamRule};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;

use super::{
    super::{Holder, Owner, names, ports, tls},
    Findings, Reason, Seen, Wants,
};

pub(super) fn inspect(seen: &Seen, service: &Service, owner: &Owner, wants: &Wants, findings: &mut Findings) {
    unread(service, wants, findings);
    ends(service, owner, wants, findings);
    secrets(seen, service, wants, findings);
}

/// Ports whose requests cannot be seen.
fn unread(service: &Service, wants: &Wants, findings: &mut Findings) {
    let is_tls = |name: Option<&str>| {
        name.is_some_and(|name| ["https", "tls"].iter().any(|tls| name == *tls || name.starts_with(&format!("{tls}-"))))
    };
    for port in
        ports::ports(service).filter(|port| is_tls(port.app_protocol.as_deref()) || is_tls(port.name.as_deref()))
    {
        let number = u16::try_from(port.port).ok();
        if wants.tls.iter().any(|(_, rule)| Some(rule.port.port) == number) {
            continue;
        }
        let named = number.is_some_and(|number| wants.ports.contains(&number));
        let message = format!("port {} speaks TLS, which passes through untouched", port.port);
        if named && wants.requests {
            let name = service.name_any();
            findings.error(
                Reason::Tls,
                format!(
                    "{message}: its requests can be neither faulted nor measured; use faults on connections, or let it end at the \
                     proxies by an entry in spec.spec.tls, as in {{service: {{name: {name}, namespace: {}}}, port: {}, \
                     certificateSecret: {name}-tls}}",
                    service.namespace().unwrap_or_default(),
                    port.port
                ),
            );
        } else if wants.requests {
            findings.warn(Reason::Tls, message);
        }
    }
}

/// Whether TLS can end where it is to, and begin again behind.
fn ends(service: &Service, owner: &Owner, wants: &Wants, findings: &mut Findings) {
    let have: Vec<u16> = ports::ports(service)
        .filter(|port| ports::is_tcp(port))
        .filter_map(|port| u16::try_from(port.port).ok())
        .collect();
    for (path, rule) in &wants.tls {
        if owner.kind == Holder::RoutingRule {
            findings.error(
                Reason::Tls,
                format!(
                    "{owner} holds this Service, and its proxies have no certificate: leave {path} out, or delete the rule for as \
                     long as the experiment lasts"
                ),
            );
        }
        if !have.contains(&rule.port.port) {
            let known: Vec<String> = have.iter().map(ToString::to_string).collect();
            findings.error(
                Reason::UnknownPort,
                format!(
                    "{path}.port: the Service has no TCP port {}; it has {}, as in port: {}",
                    rule.port.port,
                    known.join(", "),
                    known.first().map_or("443", String::as_str)
                ),
            );
        }
        if let UpstreamRule::Tls { ca_config_map: None, server_name } = &rule.upstream
            && is_of_a_cluster(server_name)
        {
            let ServiceName { name, .. } = &rule.port.service;
            findings.error(
                Reason::Tls,
                format!(
                    "{path}.upstream: no authority that browsers trust signs a certificate for {server_name}, so that every request \
                     would fail: name the ConfigMap with the authority that has signed that of the pods, as in caConfigMap: {name}-ca, \
                     or, where they speak plain HTTP, write plaintext: true"
                ),
            );
        }
    }
}

/// Names that mean something in one cluster only.
fn is_of_a_cluster(server_name: &str) -> bool {
    !server_name.contains('.') || [".svc", ".cluster.local"].iter().any(|end| server_name.ends_with(end))
}

/// Whether the namespace lets proxies mount what they are to. Nobody else has checked that the author may read it.
fn secrets(seen: &Seen, service: &Service, wants: &Wants, findings: &mut Findings) {
    let annotation = seen.namespace.annotations.as_ref().and_then(|all| all.get(names::TLS_SECRETS));
    let allowed = tls::allowed(annotation.map_or("", String::as_str));
    let refused: Vec<String> = wants
        .tls
        .iter()
        .filter(|(_, rule)| !allowed.contains(rule.certificate_secret.as_str()))
        .map(|(path, rule)| format!("{} ({path}.certificateSecret)", rule.certificate_secret))
        .collect();
    if refused.is_empty() {
        return;
    }
    let namespace = service.namespace().unwrap_or_default();
    // What is no name of a Secret allows none, and has no place in a command that somebody will paste.
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let all: BTreeSet<&str> =
        allowed.into_iter().filter(is_name).chain(wants.secrets.iter().map(String::as_str)).collect();
    findings.error(
        Reason::SecretNotAllowed,
        format!(
            "namespace {namespace} does not let proxies mount the Secret {}; whoever answers for the namespace allows it by: \
             kubectl annotate namespace {namespace} --overwrite {}='{}'",
            refused.join(", "),
            names::TLS_SECRETS,
            Vec::from_iter(all).join(", ")
        ),
    );
}
