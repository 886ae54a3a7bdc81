use glooshot_api::{
    names::{ServiceName, ServicePort},
    scenario::UpstreamRule,
};

use super::*;

const UID: &str = "0a1b2c3d-0000-0000-0000-000000000000";

fn owner() -> Owner {
    Owner {
        namespace: "bookinfo".into(),
        name: "abort".into(),
        uid: "e-1".into(),
        kind: super::super::Holder::default(),
    }
}

fn settings() -> Settings {
    Settings {
        image: "glooshot.local/glooshot:test".into(),
        pull_secrets: vec!["registry".into()],
        namespace: "glooshot".into(),
        control_address: "glooshot-control.glooshot.svc:9443".into(),
        control_ca: "-----BEGIN CERTIFICATE-----".into(),
        replicas: 2,
    }
}

/// The proxies and the origin of a Service with these ports.
fn made(families: &[&str], listens: &[Listen]) -> (Value, Value) {
    made_with_tls(families, listens, &[])
}

/// The same, where TLS ends at the proxies.
fn made_with_tls(families: &[&str], listens: &[Listen], tls: &[TlsRule]) -> (Value, Value) {
    let ports: Vec<Value> =
        listens.iter().map(|it| json!({"port": it.service_port, "name": format!("p{}", it.service_port)})).collect();
    let service: Service = serde_json::from_value(json!({
        "metadata": {"namespace": "bookinfo", "name": "ratings", "uid": UID},
        "spec": {"selector": {"app": names::proxy(UID), "tier": names::proxy(UID)}, "ports": ports, "ipFamilies": families},
    }))
    .unwrap();
    let selector = BTreeMap::from([("app".to_owned(), "ratings".to_owned()), ("tier".to_owned(), "back".to_owned())]);
    let (owner, settings) = (owner(), settings());
    let parts = Parts { service: &service, selector: &selector, listens, tls, owner: &owner, settings: &settings };
    let deployment = parts.deployment([10, 96, 0, 7].into()).unwrap();
    (serde_json::to_value(deployment).unwrap(), serde_json::to_value(parts.origin().unwrap()).unwrap())
}

fn listen(number: u16, service_port: u16, names: &[&str]) -> Listen {
    Listen { number, names: names.iter().map(|name| (*name).to_owned()).collect(), service_port, also: vec![] }
}

#[test]
fn proxies_have_the_keys_of_the_selector_and_the_very_target_ports() {
    let (deployment, _) = made(&["IPv4"], &[listen(80, 8080, &[]), listen(9080, 9080, &["http", "web"])]);
    let template = &deployment["spec"]["template"];
    let proxy = names::proxy(UID);
    assert_eq!(template["metadata"]["labels"]["app"], proxy);
    assert_eq!(template["metadata"]["labels"]["tier"], proxy);
    assert_eq!(deployment["spec"]["replicas"], 2);
    let container = &template["spec"]["containers"][0];
    let ports: Vec<(&Value, u64)> = container["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["name"], it["containerPort"].as_u64().unwrap()))
        .collect();
    assert_eq!(ports, [(&json!("http"), 9080), (&json!("web"), 9080), (&Value::Null, 80), (&Value::Null, 9901)]);
    let sysctl = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]);
    assert_eq!(template["spec"]["securityContext"]["sysctls"], sysctl);
    let arguments: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(
        arguments[..5],
        [
            "proxy",
            "--route",
            "bookinfo/ratings:8080=0.0.0.0:80->10.96.0.7:8080",
            "--route",
            "bookinfo/ratings:9080=0.0.0.0:9080->10.96.0.7:9080"
        ]
    );
}

#[test]
fn proxies_are_spread_over_nodes_also_where_nodes_have_no_zone() {
    let (deployment, _) = made(&["IPv4"], &[listen(80, 8080, &[])]);
    let (spec, mine) = (&deployment["spec"]["template"]["spec"], json!({"matchLabels": {SERVICE_UID: UID}}));
    let constraints = spec["topologySpreadConstraints"].as_array().unwrap();
    assert_eq!(constraints.len(), 1, "a node without the key of any of them counts for none");
    assert_eq!(constraints[0]["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(constraints[0]["labelSelector"], mine);
    let apart = &spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(apart["podAffinityTerm"], json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": mine}));
}

#[test]
fn proxies_have_no_right_and_no_privilege() {
    let (deployment, _) = made(&["IPv4"], &[listen(9080, 9080, &[])]);
    let spec = &deployment["spec"]["template"]["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["sysctls"], Value::Null, "without a port below 1024 nothing is changed");
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &spec["containers"][0];
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    for bound in ["requests", "limits"] {
        assert!(
            container["resources"][bound]["memory"].is_string() && container["resources"][bound]["cpu"].is_string()
        );
    }
    let volumes = spec["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    assert_eq!(volumes[0]["projected"]["sources"][0]["serviceAccountToken"]["audience"], AUDIENCE);
}

#[test]
fn certificates_are_mounted_key_by_key_and_named_to_the_proxies() {
    let rule = |port: u16, upstream: UpstreamRule| TlsRule {
        port: ServicePort { service: ServiceName { namespace: "bookinfo".into(), name: "ratings".into() }, port },
        certificate_secret: format!("ratings-{port}"),
        upstream,
    };
    let checked = |ca: Option<&str>| UpstreamRule::Tls {
        ca_config_map: ca.map(str::to_owned),
        server_name: "ratings.test".to_owned(),
    };
    let rules = [rule(443, checked(Some("ratings-ca"))), rule(444, UpstreamRule::Plaintext), rule(445, checked(None))];
    let listens = [443, 444, 445].map(|port| listen(port + 8000, port, &[]));
    let (deployment, _) = made_with_tls(&["IPv4"], &listens, &rules);
    let spec = &deployment["spec"]["template"]["spec"];
    let secret = |port: u16| {
        json!({"name": format!("certificate-{port}"), "secret": {
            "secretName": format!("ratings-{port}"), "defaultMode": 0o444,
            "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
        }})
    };
    let authority = json!({"name": "authority-443", "configMap": {
        "name": "ratings-ca", "defaultMode": 0o444, "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }});
    let volumes = spec["volumes"].as_array().unwrap();
    assert_eq!(volumes[1..], [secret(443), authority, secret(444), secret(445)]);
    let container = &spec["containers"][0];
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounted: Vec<(&Value, &Value)> = mounts.iter().map(|mount| (&mount["name"], &mount["mountPath"])).collect();
    assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "{mounts:?}");
    let names = ["certificate-443", "authority-443", "certificate-444", "certificate-445"];
    for (name, (volume, path)) in names.iter().zip(&mounted[1..]) {
        assert_eq!(
            (volume.as_str(), path.as_str()),
            (Some(*name), Some(format!("/var/run/glooshot-tls/{name}").as_str()))
        );
    }
    assert_eq!(mounted.len(), 1 + names.len());
    let arguments: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let files = "/var/run/glooshot-tls";
    let pair = |port: u16| {
        let own = format!("{files}/certificate-{port}");
        format!("bookinfo/ratings:{port}={own}/tls.crt,{own}/tls.key")
    };
    let expected = [
        ("--tls", pair(443)),
        ("--upstream-tls", format!("bookinfo/ratings:443=ca={files}/authority-443/ca.crt,name=ratings.test")),
        ("--tls", pair(444)),
        ("--upstream-tls", "bookinfo/ratings:444=plaintext".to_owned()),
        ("--tls", pair(445)),
        ("--upstream-tls", "bookinfo/ratings:445=name=ratings.test".to_owned()),
    ];
    for ((option, value), given) in expected.iter().zip(arguments[7..].chunks(2)) {
        assert_eq!(given, [*option, value.as_str()]);
    }
    assert_eq!(arguments.last(), Some(&"--control-token=/var/run/glooshot/token"), "{arguments:?}");
}

#[test]
fn metrics_are_served_where_the_service_does_not_listen() {
    let (deployment, _) = made(&["IPv4"], &[listen(9901, 80, &[]), listen(9902, 81, &[])]);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["port"], 9903);
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"], "9903");
}

#[test]
fn a_service_of_two_families_is_listened_for_in_both() {
    let (deployment, _) = made(&["IPv4", "IPv6"], &[listen(9080, 9080, &[])]);
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(arguments.contains("bookinfo/ratings:9080=[::]:9080->"), "{arguments}");
}

#[test]
fn the_origin_selects_the_real_pods_and_goes_with_its_service() {
    let (_, origin) = made(&["IPv4"], &[listen(9080, 9080, &[])]);
    assert_eq!(origin["spec"]["selector"], json!({"app": "ratings", "tier": "back"}));
    assert_eq!(origin["spec"]["type"], "ClusterIP");
    let owners = origin["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!((&owners[0]["uid"], &owners[0]["blockOwnerDeletion"]), (&json!(UID), &json!(false)));
    assert_eq!(origin["metadata"]["labels"][EXPERIMENT_UID], "e-1");
    assert_eq!(origin["metadata"]["annotations"][EXPERIMENT], "bookinfo/abort");
}
