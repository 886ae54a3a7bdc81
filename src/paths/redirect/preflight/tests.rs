use glooshot_api::{
    names::{ServiceName, ServicePort},
    scenario::UpstreamRule,
};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::{
    super::{Holder, names},
    *,
};

fn owner() -> Owner {
    Owner { namespace: "bookinfo".into(), name: "abort".into(), uid: "e-1".into(), kind: Holder::default() }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A Service that can be redirected, and what is around it, as one value that a case changes.
fn world() -> Value {
    json!({
        "service": {
            "metadata": {"namespace": "bookinfo", "name": "ratings", "uid": "s-1"},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "selector": {"app": "ratings"}, "ports": [{"port": 9080}]},
        },
        "origin": null,
        "namespace": {},
        "pods": [{
            "metadata": {
                "namespace": "bookinfo", "name": "ratings-5d-x", "labels": {"app": "ratings"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "ratings-5d", "uid": "r"}],
            },
            "spec": {"containers": [{"name": "ratings", "ports": [{"name": "http", "containerPort": 9080}]}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }],
        "policies": [], "quotas": [], "autoscalers": [], "monitors": [],
        // Who keeps the pods, where they are to be restarted: Deployments, and what else would not replace them.
        "deployments": [], "others": [],
    })
}

fn found(world: &Value, wants: &Wants) -> Vec<(Severity, Reason)> {
    let findings = findings(world, wants, &owner());
    findings.into_iter().map(|finding| (finding.severity, finding.reason)).collect()
}

fn findings(world: &Value, wants: &Wants, owner: &Owner) -> Vec<Finding> {
    let deployments = from::<Vec<Deployment>>(world["deployments"].clone()).into_iter();
    let others = from::<Vec<String>>(world["others"].clone()).into_iter();
    let keepers = deployments.map(|it| Keeper::Workload((&it).into())).chain(others.map(Keeper::Nobody));
    let seen = Seen {
        keepers: keepers.collect(),
        service: from(world["service"].clone()),
        origin: from(world["origin"].clone()),
        namespace: from(world["namespace"].clone()),
        pods: from(world["pods"].clone()),
        network_policies: from(world["policies"].clone()),
        policies_elsewhere: Vec::new(),
        quotas: from(world["quotas"].clone()),
        autoscalers: from(world["autoscalers"].clone()),
        service_monitors: from(world["monitors"].clone()),
    };
    let findings = inspect(&seen, "bookinfo", "ratings", owner, wants);
    for finding in &findings {
        assert!(finding.message.len() > 20, "{finding}");
    }
    findings
}

/// A fault on the requests to port 9080.
fn wants() -> Wants {
    Wants { ports: vec![9080], requests: true, ..Wants::default() }
}

#[test]
fn an_ordinary_service_has_no_findings() {
    assert_eq!(found(&world(), &wants()), []);
}

/// What is the case, where it is in the world, and what is found.
type Case = (&'static str, &'static str, Value, Vec<(Severity, Reason)>);

#[test]
fn everything_that_stands_against_a_redirection_is_found() {
    use Reason::*;
    use Severity::{Error, Warning};
    let annotation = |experiment: &str| {
        json!({names::REDIRECT: json!({
            "selector": {"app": "ratings"}, "serviceUid": "s-1", "deadline": "2026-01-01T00:00:00Z",
            "experiment": {"namespace": "other", "name": "first", "uid": experiment},
        }).to_string()})
    };
    let origin = |labels: Value| json!({"metadata": {"name": "ratings-glooshot", "labels": labels, "annotations": {names::EXPERIMENT: "other/first"}}});
    let isolating = |selector: Value, types: Value| json!([{"metadata": {"name": "deny"}, "spec": {"podSelector": selector, "policyTypes": types}}]);
    let quota = |key: &str, hard: &str, used: &str| json!([{"metadata": {"name": "q"}, "status": {"hard": {key: hard}, "used": {key: used}}}]);
    let scales = |metrics: Value| {
        json!([{"metadata": {"name": "h"}, "spec": {
            "maxReplicas": 3, "metrics": metrics,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ratings"},
        }}])
    };
    let per_second = json!({"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "10"}});
    let monitor = |spec: Value| {
        json!([{"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
                "metadata": {"name": "m", "namespace": "bookinfo"}, "spec": spec}])
    };
    let cases: Vec<Case> = vec![
        ("no such Service", "/service", Value::Null, vec![(Error, NotFound)]),
        (
            "a protected namespace",
            "/service/metadata/namespace",
            json!("kube-system"),
            vec![(Error, ProtectedNamespace)],
        ),
        (
            "being deleted",
            "/service/metadata/deletionTimestamp",
            json!("2026-01-01T00:00:00Z"),
            vec![(Error, BeingDeleted)],
        ),
        ("our own origin", "/service/metadata/labels", json!({names::MANAGED_BY: names::US}), vec![(Error, OwnObject)]),
        ("headless", "/service/spec/clusterIP", json!("None"), vec![(Error, Headless)]),
        ("a name for something outside", "/service/spec/type", json!("ExternalName"), vec![(Error, ExternalName)]),
        ("without a selector", "/service/spec/selector", Value::Null, vec![(Error, NoSelector)]),
        (
            "by a hash that changes",
            "/service/spec/selector",
            json!({"app": "ratings", "pod-template-hash": "5d"}),
            vec![(Error, ControllerKey), (Error, NoReadyPods)],
        ),
        (
            "by a key of ours",
            "/service/spec/selector",
            json!({"app.kubernetes.io/managed-by": "Helm"}),
            vec![(Error, ReservedKey), (Error, NoReadyPods)],
        ),
        ("UDP", "/service/spec/ports", json!([{"port": 9080}, {"port": 53, "protocol": "UDP"}]), vec![(Error, NotTcp)]),
        (
            "a name that no pod has",
            "/service/spec/ports",
            json!([{"port": 80, "targetPort": "web"}]),
            vec![(Error, UnknownTargetPort)],
        ),
        (
            "two ports that lead to one",
            "/service/spec/ports",
            json!([{"port": 9080}, {"port": 80, "targetPort": "http"}]),
            vec![(Warning, SharedTargetPort)],
        ),
        (
            "two ports that lead to one, and a fault on the second",
            "/service/spec/ports",
            json!([{"port": 80, "targetPort": "http"}, {"port": 9080}]),
            vec![(Error, SharedTargetPort)],
        ),
        (
            "owned by a controller",
            "/service/metadata/ownerReferences",
            json!([{"apiVersion": "serving.knative.dev/v1", "kind": "Route", "name": "r", "uid": "u", "controller": true}]),
            vec![(Error, OwnedByController)],
        ),
        (
            "of a rollout tool",
            "/service/metadata/annotations",
            json!({"argo-rollouts.argoproj.io/managed-by-rollouts": "r"}),
            vec![(Error, RolloutTool)],
        ),
        ("local traffic", "/service/spec/internalTrafficPolicy", json!("Local"), vec![(Error, LocalTrafficPolicy)]),
        (
            "local traffic from outside",
            "/service/spec/externalTrafficPolicy",
            json!("Local"),
            vec![(Error, LocalTrafficPolicy)],
        ),
        ("session affinity", "/service/spec/sessionAffinity", json!("ClientIP"), vec![(Warning, SessionAffinity)]),
        ("a load balancer", "/service/spec/type", json!("LoadBalancer"), vec![(Warning, LoadBalancer)]),
        (
            "one that dials pods",
            "/service/metadata/annotations",
            json!({"cloud.google.com/neg": "{}"}),
            vec![(Warning, LoadBalancer)],
        ),
        ("no ready pod", "/pods/0/status", json!({}), vec![(Error, NoReadyPods)]),
        ("a sidecar", "/pods/0/spec/containers/0/name", json!("istio-proxy"), vec![(Error, MeshedPods)]),
        (
            "an ambient mesh",
            "/namespace/labels",
            json!({"istio.io/dataplane-mode": "ambient"}),
            vec![(Error, MeshedPods)],
        ),
        (
            "a policy on the pods",
            "/policies",
            isolating(json!({"matchLabels": {"app": "ratings"}}), json!(["Ingress"])),
            vec![(Error, NetworkPolicy)],
        ),
        (
            "a policy on all pods",
            "/policies",
            isolating(json!({}), json!(["Ingress"])),
            vec![(Error, NetworkPolicy), (Error, NetworkPolicy)],
        ),
        (
            "a policy on what leaves all pods",
            "/policies",
            isolating(json!({}), json!(["Egress"])),
            vec![(Error, NetworkPolicy)],
        ),
        (
            "a policy on others",
            "/policies",
            isolating(json!({"matchLabels": {"app": "reviews"}}), json!(["Ingress"])),
            vec![],
        ),
        (
            "a policy that leaves the proxies out",
            "/policies",
            isolating(
                json!({"matchExpressions": [
                    {"key": "app.kubernetes.io/managed-by", "operator": "NotIn", "values": ["glooshot"]},
                    {"key": "app", "operator": "In", "values": ["reviews"]},
                ]}),
                json!(["Ingress"]),
            ),
            vec![],
        ),
        ("a full quota", "/quotas", quota("pods", "10", "8"), vec![(Error, Quota)]),
        ("a full quota of memory", "/quotas", quota("limits.memory", "1Gi", "512Mi"), vec![(Error, Quota)]),
        ("a quota with room", "/quotas", quota("requests.cpu", "1", "700m"), vec![]),
        (
            "an autoscaler by requests",
            "/autoscalers",
            scales(json!([{"type": "Pods", "pods": per_second}])),
            vec![(Warning, RequestAutoscaler)],
        ),
        (
            "an autoscaler by processor time",
            "/autoscalers",
            scales(
                json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
            ),
            vec![],
        ),
        (
            "a monitor of all Services here",
            "/monitors",
            monitor(json!({"selector": {}})),
            vec![(Warning, ServiceMonitor)],
        ),
        (
            "a monitor of another namespace",
            "/monitors",
            monitor(json!({"selector": {}, "namespaceSelector": {"matchNames": ["shop"]}})),
            vec![],
        ),
        (
            "a broken annotation",
            "/service/metadata/annotations",
            json!({names::REDIRECT: "{}"}),
            vec![(Error, BrokenAnnotation)],
        ),
        ("another experiment", "/service/metadata/annotations", annotation("e-2"), vec![(Error, AlreadyRedirected)]),
        ("this experiment", "/service/metadata/annotations", annotation("e-1"), vec![]),
        ("a Service in the origin's place", "/origin", origin(json!({})), vec![(Error, OriginNameTaken)]),
        (
            "the origin of another experiment",
            "/origin",
            origin(json!({names::MANAGED_BY: names::US, names::EXPERIMENT_UID: "e-2"})),
            vec![(Error, AlreadyRedirected)],
        ),
        (
            "the origin of this experiment",
            "/origin",
            origin(json!({names::MANAGED_BY: names::US, names::EXPERIMENT_UID: "e-1"})),
            vec![],
        ),
        ("TLS", "/service/spec/ports", json!([{"port": 9080, "name": "https"}]), vec![(Error, Tls)]),
        (
            "TLS beside",
            "/service/spec/ports",
            json!([{"port": 9080}, {"port": 9443, "name": "https-admin"}]),
            vec![(Warning, Tls)],
        ),
        (
            "a workload that replaces no pod",
            "/deployments",
            json!([{"metadata": {"name": "ratings"}, "spec": {"paused": true, "selector": {}, "template": {}}}]),
            vec![(Error, NotRestartable)],
        ),
        ("a pod that nobody would replace", "/others", json!(["nobody keeps pod p"]), vec![(Error, NotRestartable)]),
        (
            "a workload that has no pod for a while",
            "/deployments",
            json!([{
                "metadata": {"name": "ratings"},
                "spec": {"strategy": {"type": "Recreate"}, "selector": {}, "template": {}},
            }]),
            vec![(Warning, RestartGap)],
        ),
    ];
    let wants = wants();
    for (case, at, value, expected) in cases {
        let mut world = world();
        let (parent, key) = at.rsplit_once('/').unwrap();
        match world.pointer_mut(at) {
            Some(place) => *place = value,
            None => world.pointer_mut(parent).unwrap()[key] = value,
        }
        // What is in another namespace is no longer around.
        assert_eq!(found(&world, &wants), expected, "{case}");
    }
}

#[test]
fn a_run_that_has_redirected_a_service_goes_on_while_none_of_its_pods_is_ready() {
    let mut world = world();
    let ours = names::proxy("s-1");
    world["service"]["spec"]["ports"][0]["targetPort"] = json!("http");
    world["service"]["spec"]["selector"]["app"] = json!(ours);
    let redirected_by = |experiment: Owner| {
        json!({names::REDIRECT: json!({
            "selector": {"app": "ratings"}, "serviceUid": "s-1", "deadline": "2026-01-01T00:00:00Z", "experiment": experiment,
        }).to_string()})
    };
    world["service"]["metadata"]["annotations"] = redirected_by(owner());
    let mut proxy = world["pods"][0].clone();
    proxy["metadata"]["labels"]["app"] = json!(ours);
    world["pods"][0]["status"] = json!({});
    assert_eq!(found(&world, &Wants::default()), [(Severity::Error, Reason::NoReadyPods)], "the proxies are away, too");
    world["pods"].as_array_mut().unwrap().push(proxy);
    assert_eq!(found(&world, &Wants::default()), []);
    world["service"]["metadata"]["annotations"] = redirected_by(Owner { uid: "e-2".into(), ..owner() });
    let of_another = [Reason::NoReadyPods, Reason::AlreadyRedirected].map(|reason| (Severity::Error, reason));
    assert_eq!(found(&world, &Wants::default()), of_another);
}

#[test]
fn the_first_experiment_is_named_to_the_second() {
    let mut world = world();
    world["origin"] = json!({"metadata": {
        "name": "ratings-glooshot", "labels": {names::MANAGED_BY: names::US, names::EXPERIMENT_UID: "e-2"},
        "annotations": {names::EXPERIMENT: "other/first"},
    }});
    let seen = Seen {
        service: from(world["service"].clone()),
        origin: from(world["origin"].clone()),
        pods: from(world["pods"].clone()),
        ..Seen::default()
    };
    let findings = inspect(&seen, "bookinfo", "ratings", &owner(), &Wants::default());
    assert!(findings[0].message.contains("other/first"), "{findings:?}");
}

/// A Service that speaks TLS, in a namespace that lets proxies mount `other` and `ratings-tls`.
fn tls_world() -> Value {
    let mut world = world();
    world["service"]["spec"]["ports"] = json!([{"port": 9080, "name": "https"}]);
    world["namespace"]["annotations"] = json!({names::TLS_SECRETS: "other, ratings-tls"});
    world
}

/// A fault on its requests, whose TLS is to end at the proxies with this Secret.
fn wants_tls(port: u16, secret: &str, upstream: UpstreamRule) -> Wants {
    let service = ServiceName { namespace: "bookinfo".into(), name: "ratings".into() };
    let rule = TlsRule { port: ServicePort { service, port }, certificate_secret: secret.into(), upstream };
    let secrets = [secret.to_owned(), "beside-tls".to_owned()];
    Wants { tls: vec![("spec.spec.tls[0]".into(), rule)], secrets: secrets.into(), ..wants() }
}

#[test]
fn tls_ends_at_the_proxies_where_it_can_and_where_the_namespace_allows_it() {
    use Reason::*;
    let checked = |ca: Option<&str>, name: &str| UpstreamRule::Tls {
        ca_config_map: ca.map(str::to_owned),
        server_name: name.to_owned(),
    };
    let by_ca = || checked(Some("ratings-ca"), "ratings.bookinfo.svc");
    let cases = [
        ("by an authority of the cluster", wants_tls(9080, "ratings-tls", by_ca()), None),
        ("plain", wants_tls(9080, "other", UpstreamRule::Plaintext), None),
        ("by an authority that browsers trust", wants_tls(9080, "other", checked(None, "ratings.example.com")), None),
        (
            "by nobody",
            wants_tls(9080, "other", checked(None, "ratings.bookinfo.svc")),
            Some((Tls, "spec.spec.tls[0].upstream: no authority that browsers trust signs")),
        ),
        (
            "by nobody, under a short name",
            wants_tls(9080, "other", checked(None, "ratings")),
            Some((Tls, "as in caConfigMap: ratings-ca")),
        ),
        (
            "no such port",
            Wants { ports: vec![], requests: false, ..wants_tls(443, "other", by_ca()) },
            Some((
                UnknownPort,
                "spec.spec.tls[0].port: the Service has no TCP port 443; it has 9080, as in port: 9080",
            )),
        ),
        (
            "a Secret that is not allowed",
            wants_tls(9080, "more-tls", by_ca()),
            Some((
                SecretNotAllowed,
                "kubectl annotate namespace bookinfo --overwrite glooshot.solo.io/tls-secrets='beside-tls, more-tls, other, ratings-tls'",
            )),
        ),
    ];
    for (case, wants, expected) in cases {
        let findings = findings(&tls_world(), &wants, &owner());
        let told: Vec<(Reason, &str)> =
            findings.iter().map(|finding| (finding.reason, finding.message.as_str())).collect();
        match (expected, told.as_slice()) {
            (None, []) => {}
            (Some((reason, words)), [(found, message)]) if reason == *found && message.contains(words) => {}
            _ => panic!("{case}: {findings:#?}"),
        }
    }
}

#[test]
fn what_is_written_in_an_annotation_is_never_pasted_into_a_shell_unless_it_is_a_name() {
    let mut world = tls_world();
    world["namespace"]["annotations"] = json!({names::TLS_SECRETS: "'; reboot; ', other"});
    let findings = findings(&world, &wants_tls(9080, "ratings-tls", UpstreamRule::Plaintext), &owner());
    assert!(findings[0].message.ends_with("='beside-tls, other, ratings-tls'"), "{findings:?}");
}

#[test]
fn the_proxies_of_a_routing_rule_have_no_certificate() {
    let rule = Owner { kind: Holder::RoutingRule, ..owner() };
    let findings = findings(&tls_world(), &wants_tls(9080, "other", UpstreamRule::Plaintext), &rule);
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    assert_eq!((finding.severity, finding.reason), (Severity::Error, Reason::Tls));
    assert!(finding.message.contains("the routing rule bookinfo/abort holds this Service"), "{finding}");
}
