use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;

use super::{
    super::{
        Owner, Settings,
        objects::pod_labels,
        ports::{Listen, listens},
    },
    *,
};

const UID: &str = "0a1b2c3d-0000-0000-0000-000000000000";

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(number: u16) -> Pod {
    from(json!({
        "metadata": {"labels": {"app": "ratings"}},
        "spec": {"containers": [{"name": "c", "ports": [
            {"name": "http", "containerPort": number}, {"name": "web", "containerPort": 9080},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        ]}]},
    }))
}

/// What is made for a Service whose one port leads to this target, as specifications: on the proxies, and on the pods.
fn made(target: &Value, pods: &[Pod], policies: &Value) -> (Value, Value) {
    let service: Service = from(json!({
        "metadata": {"namespace": "bookinfo", "name": "ratings", "uid": UID},
        "spec": {"selector": {"app": "ratings"}, "ports": [{"port": 80, "targetPort": target}]},
    }));
    let pods: Vec<&Pod> = pods.iter().collect();
    let listens: Vec<Listen> = listens(&service, &pods).unwrap();
    let owner = Owner {
        namespace: "bookinfo".into(),
        name: "abort".into(),
        uid: "e-1".into(),
        kind: super::super::Holder::default(),
    };
    let settings = Settings {
        image: "glooshot.local/glooshot:test".into(),
        pull_secrets: vec![],
        namespace: "chaos".into(),
        control_address: "glooshot-control.chaos.svc:9443".into(),
        control_ca: String::new(),
        replicas: 2,
    };
    let selector = service.spec.as_ref().unwrap().selector.clone().unwrap();
    let parts = Parts {
        service: &service,
        selector: &selector,
        listens: &listens,
        tls: &[],
        owner: &owner,
        settings: &settings,
    };
    let policies: Vec<NetworkPolicy> = from(policies.clone());
    let isolation = Isolation::of(&policies, &service, &pods, &pod_labels(UID, &selector));
    let mirror = parts.mirror(&isolation, &pods).unwrap();
    for (policy, name) in [(&mirror.proxies, names::proxy(UID)), (&mirror.pods, names::let_in(UID))] {
        let Some(policy) = policy else { continue };
        assert_eq!((policy.name_any(), policy.namespace().as_deref()), (name, Some("bookinfo")));
        assert_eq!((policy.labels()[MANAGED_BY].as_str(), policy.labels()[SERVICE_UID].as_str()), (US, UID));
        assert_eq!(policy.labels()[names::EXPERIMENT_UID], "e-1");
        assert_eq!(
            (policy.owner_references()[0].kind.as_str(), policy.owner_references()[0].uid.as_str()),
            ("Service", UID)
        );
    }
    let spec = |policy: Option<NetworkPolicy>| json!(policy.map(|policy| policy.spec.unwrap()));
    (spec(mirror.proxies), spec(mirror.pods))
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

/// By the labels of our proxies of this Service.
fn proxies() -> Value {
    json!({"matchLabels": {MANAGED_BY: US, SERVICE_UID: UID}})
}

fn ratings() -> Value {
    json!({"matchLabels": {"app": "ratings"}})
}

fn client(name: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"client": name}}})
}

fn tcp(port: u16) -> Value {
    json!({"protocol": "TCP", "port": port})
}

/// The policy on the pods, which lets the proxies in.
fn let_in(selector: &Value, port: &Value) -> Value {
    let port = json!({"protocol": "TCP", "port": port});
    json!({
        "podSelector": selector, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": proxies()}], "ports": [port]}],
    })
}

/// The policy on the proxies, which lets in by these rules.
fn on_proxies(ingress: &Value) -> Value {
    json!({"podSelector": proxies(), "policyTypes": ["Ingress"], "ingress": ingress})
}

#[test]
fn proxies_let_in_whom_the_pods_let_in_and_the_pods_let_in_the_proxies() {
    let on = |selector: Value, ingress: Value| json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": ingress});
    let deny_all = || policy("deny", &on(json!({}), json!([])));
    let anywhere = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
    let monitoring = json!({"namespaceSelector": {"matchLabels": {"team": "monitoring"}}});
    let not_ours = json!({"matchExpressions": [{"key": MANAGED_BY, "operator": "NotIn", "values": [US]}]});
    let cases = [
        ("no policy", json!([]), Value::Null, Value::Null),
        (
            "one on others",
            json!([policy("x", &on(json!({"matchLabels": {"app": "reviews"}}), json!([{}])))]),
            Value::Null,
            Value::Null,
        ),
        (
            "one by label",
            json!([policy("clients", &on(ratings(), json!([{"from": [client("a")], "ports": [tcp(9080)]}])))]),
            on_proxies(&json!([{"from": [client("a")], "ports": [tcp(9080)]}])),
            let_in(&ratings(), &json!(9080)),
        ),
        (
            "nobody in the whole namespace",
            json!([deny_all()]),
            on_proxies(&json!([])),
            let_in(&ratings(), &json!(9080)),
        ),
        (
            "nobody but by several others",
            json!([
                deny_all(),
                policy("a", &on(ratings(), json!([{"from": [client("a"), anywhere], "ports": [tcp(9080)]}]))),
                policy(
                    "b",
                    &on(ratings(), json!([{"from": [client("b")]}, {"from": [monitoring], "ports": [tcp(9090)]}]))
                ),
            ]),
            on_proxies(&json!([
                {"from": [client("a"), anywhere], "ports": [tcp(9080)]}, {"from": [client("b")]},
                {"from": [monitoring], "ports": [tcp(9090)]},
            ])),
            let_in(&ratings(), &json!(9080)),
        ),
        (
            "nobody, by one that leaves the proxies out",
            json!([policy("x", &on(not_ours.clone(), json!([])))]),
            on_proxies(&json!([])),
            let_in(
                &json!({"matchLabels": {"app": "ratings"}, "matchExpressions": not_ours["matchExpressions"]}),
                &json!(9080),
            ),
        ),
        (
            "everybody, by one that is about more pods than the Service's",
            json!([policy(
                "v1",
                &on(json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), json!([{}]))
            )]),
            on_proxies(&json!([{}])),
            let_in(
                &json!({"matchLabels": {"app": "ratings"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}),
                &json!(9080),
            ),
        ),
        (
            "the proxies alone",
            json!([policy(
                "x",
                &on(
                    json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["ratings"]}]}),
                    json!([])
                )
            )]),
            on_proxies(&json!([{"ports": [tcp(9080)]}])),
            Value::Null,
        ),
    ];
    for (case, policies, on_proxies, on_pods) in cases {
        let (proxies, pods) = made(&json!(9080), &[pod(8080)], &policies);
        assert_eq!(proxies, on_proxies, "{case}");
        assert_eq!(pods, on_pods, "{case}");
    }
}

#[test]
fn a_port_that_is_named_is_named_at_the_proxies_or_has_its_number_there() {
    let by = |port: Value| {
        json!([policy("x", &json!({"podSelector": ratings(), "ingress": [{"from": [client("a")], "ports": [port]}]}))])
    };
    let one = |port: Value| on_proxies(&json!([{"from": [client("a")], "ports": [port]}]));
    let named = |name: &str| json!({"protocol": "TCP", "port": name});
    let cases = [
        ("the name by which the Service finds it", json!("http"), named("http"), vec![8080], one(named("http"))),
        ("another name", json!(9080), named("web"), vec![8080], one(tcp(9080))),
        ("no protocol", json!(9080), json!({"port": "web"}), vec![8080], one(json!({"port": 9080}))),
        ("a name with two numbers", json!(9080), named("http"), vec![8080, 8081], on_proxies(&json!([]))),
        ("a name that no pod has", json!(9080), named("grpc"), vec![8080], on_proxies(&json!([]))),
        ("a name of UDP", json!(9080), named("dns"), vec![8080], on_proxies(&json!([]))),
        (
            "a range",
            json!(9080),
            json!({"protocol": "TCP", "port": 9000, "endPort": 9100}),
            vec![8080],
            one(json!({"protocol": "TCP", "port": 9000, "endPort": 9100})),
        ),
    ];
    for (case, target, port, numbers, expected) in cases {
        let pods: Vec<Pod> = numbers.into_iter().map(pod).collect();
        let (proxies, _) = made(&target, &pods, &by(port));
        assert_eq!(proxies, expected, "{case}");
    }
    let (_, pods) = made(&json!("http"), &[pod(8080)], &by(named("http")));
    assert_eq!(pods, let_in(&ratings(), &json!("http")), "each pod has a number of its own for it");
}

#[test]
fn proxies_that_may_not_reach_everybody_reach_the_pods_the_controllers_and_name_servers() {
    let no_egress = policy("out", &json!({"podSelector": {}, "policyTypes": ["Egress"]}));
    let egress = json!([
        {"to": [{"podSelector": ratings()}], "ports": [tcp(9080)]},
        {
            "to": [{
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "chaos"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "glooshot-controller"}},
            }],
            "ports": [tcp(9443)],
        },
        {"ports": [{"protocol": "UDP", "port": 53}, tcp(53)]},
    ]);
    let (proxies_only, pods) = made(&json!(9080), &[pod(8080)], &json!([no_egress]));
    let expected = json!({"podSelector": proxies(), "policyTypes": ["Egress"], "egress": egress});
    assert_eq!((proxies_only, pods), (expected, Value::Null));

    let both = policy("both", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let (proxies_both, pods) = made(&json!(9080), &[pod(8080)], &json!([both]));
    let expected =
        json!({"podSelector": proxies(), "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": egress});
    assert_eq!((proxies_both, pods), (expected, let_in(&ratings(), &json!(9080))));
}
