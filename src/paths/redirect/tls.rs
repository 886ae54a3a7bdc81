//! What ends TLS at the proxies of a Service: the files that the kubelet mounts for them, and the options that name these. Pure.
//!
//! No controller ever reads a Secret: it only names it. What a proxy may mount is said by its namespace and kept by the admission
//! policy `glooshot-proxies`, which knows the names and paths below.

use std::collections::BTreeSet;

use glooshot_api::scenario::{TlsRule, UpstreamRule};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// What each volume is mounted under, by its name.
const FILES: &str = "/var/run/glooshot-tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";

/// The Secrets that the annotation of a namespace names.
pub(super) fn allowed(annotation: &str) -> BTreeSet<&str> {
    annotation.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// The volumes of a proxy's pod.
pub(super) fn volumes(rules: &[TlsRule]) -> Vec<Value> {
    let items = |keys: &[&str]| keys.iter().map(|key| json!({"key": key, "path": key})).collect::<Vec<_>>();
    let all = rules.iter().flat_map(|rule| {
        // All of a pod's processes are one proxy, whose user is nobody else's.
        let secret = json!({
            "name": certificate(rule),
            "secret": {"secretName": rule.certificate_secret, "defaultMode": 0o444, "items": items(&[CERTIFICATE, KEY])},
        });
        let config_map = config_map(rule).map(|name| {
            let config_map = json!({"name": name, "defaultMode": 0o444, "items": items(&[AUTHORITY])});
            json!({"name": authority(rule), "configMap": config_map})
        });
        [Some(secret), config_map].into_iter().flatten()
    });
    all.collect()
}

/// Where its container has them.
pub(super) fn mounts(rules: &[TlsRule]) -> Vec<Value> {
    let names = rules.iter().flat_map(|rule| [Some(certificate(rule)), config_map(rule).map(|_| authority(rule))]);
    let mount = |name: String| json!({"name": name, "mountPath": format!("{FILES}/{name}"), "readOnly": true});
    names.flatten().map(mount).collect()
}

/// The options of `glooshot proxy`.
pub(super) fn options(rules: &[TlsRule]) -> Vec<String> {
    let options = rules.iter().flat_map(|rule| {
        let (port, files) = (&rule.port, format!("{FILES}/{}", certificate(rule)));
        let upstream = match &rule.upstream {
            UpstreamRule::Plaintext => "plaintext".to_owned(),
            UpstreamRule::Tls { ca_config_map: None, server_name } => format!("name={server_name}"),
            UpstreamRule::Tls { ca_config_map: Some(_), server_name } => {
                format!("ca={FILES}/{}/{AUTHORITY},name={server_name}", authority(rule))
            }
        };
        [
            ("--tls", format!("{port}={files}/{CERTIFICATE},{files}/{KEY}")),
            ("--upstream-tls", format!("{port}={upstream}")),
        ]
    });
    options.flat_map(|(option, value)| [option.to_owned(), value]).collect()
}

/// What a pod of ours has to wait for until it can start: in words, since Kubernetes tells of it in events only, which we do not read.
pub(super) fn awaited(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let named = volumes.filter_map(|volume| {
        let secret = volume.secret.as_ref().and_then(|it| it.secret_name.as_ref());
        let config_map = volume.config_map.as_ref().map(|it| &it.name);
        let secret = secret.map(|name| format!("Secret {name} with {CERTIFICATE} and {KEY}"));
        secret.or_else(|| config_map.map(|name| format!("ConfigMap {name} with {AUTHORITY}")))
    });
    let named: BTreeSet<String> = named.collect();
    if named.is_empty() {
        return None;
    }
    Some(format!("it waits for its volumes: is there a {}?", Vec::from_iter(named).join(", and a ")))
}

fn certificate(rule: &TlsRule) -> String {
    format!("certificate-{}", rule.port.port)
}

fn authority(rule: &TlsRule) -> String {
    format!("authority-{}", rule.port.port)
}

fn config_map(rule: &TlsRule) -> Option<&String> {
    match &rule.upstream {
        UpstreamRule::Plaintext => None,
        UpstreamRule::Tls { ca_config_map, .. } => ca_config_map.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_a_namespace_are_a_list_with_commas() {
        for (annotation, names) in
            [("", vec![]), ("ratings-tls", vec!["ratings-tls"]), (" b,a ,, c.d ", vec!["a", "b", "c.d"])]
        {
            assert_eq!(Vec::from_iter(allowed(annotation)), names, "{annotation:?}");
        }
    }

    #[test]
    fn what_a_pod_waits_for_is_told_by_name() {
        let pod = |volumes: Value| {
            serde_json::from_value::<Pod>(json!({"spec": {"containers": [], "volumes": volumes}})).unwrap()
        };
        assert_eq!(awaited(&pod(json!([{"name": "control", "projected": {"sources": []}}]))), None);
        let volumes = json!([
            {"name": "certificate-443", "secret": {"secretName": "ratings-tls"}},
            {"name": "authority-443", "configMap": {"name": "ratings-ca"}},
        ]);
        let told = awaited(&pod(volumes)).unwrap();
        assert_eq!(
            told,
            "it waits for its volumes: is there a ConfigMap ratings-ca with ca.crt, and a Secret ratings-tls with tls.crt and tls.key?"
        );
    }
}
