use glooshot_api::{names::Destination, plan::Plan, scenario::TriggerRule};
use serde_json::{Value, json};

use super::*;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn name(name: &str) -> ServiceName {
    ServiceName { namespace: "bookinfo".into(), name: name.into() }
}

fn service() -> Service {
    from(json!({
        "metadata": {"namespace": "bookinfo", "name": "reviews", "uid": "s-1"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 9080}], "ipFamilies": ["IPv4", "IPv6"]},
    }))
}

fn pod(name: &str, labels: &Value, ip: &str) -> std::sync::Arc<Pod> {
    std::sync::Arc::new(from(json!({
        "metadata": {"namespace": "bookinfo", "name": name, "labels": labels},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}]},
    })))
}

fn slice(family: &str, port: &str, endpoints: &Value) -> std::sync::Arc<EndpointSlice> {
    let slice = json!({"addressType": family, "ports": [{"name": port, "port": 9080}], "endpoints": endpoints});
    std::sync::Arc::new(from(json!(slice)))
}

fn endpoints_of(slices: &[std::sync::Arc<EndpointSlice>]) -> Vec<(String, Option<String>)> {
    let selector = BTreeMap::from([("app".to_owned(), "reviews".to_owned())]);
    let pods = [
        pod("v1", &json!({"app": "reviews", "version": "v1"}), "10.0.0.1"),
        pod("plain", &json!({"app": "reviews"}), "10.0.0.2"),
    ];
    let listens = [Listen { number: 9080, names: vec![], service_port: 80, also: vec![] }];
    let routes = routes(&service(), &selector, &listens, slices, &pods);
    assert_eq!((routes.len(), routes[0].port.port), (1, 80));
    routes[0].endpoints.iter().map(|it| (it.address.to_string(), it.subset.clone())).collect()
}

#[test]
fn endpoints_are_the_ready_addresses_of_the_first_family_with_the_subset_of_their_pod() {
    let of = |ip: &str, pod: &str, ready: Value| json!({"addresses": [ip], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}});
    let v4 = slice(
        "IPv4",
        "http",
        &json!([
            of("10.0.0.1", "v1", json!(true)),
            of("10.0.0.2", "plain", Value::Null),
            of("10.0.0.3", "stops", json!(false)),
        ]),
    );
    let v6 = slice("IPv6", "http", &json!([of("fd00::1", "v1", json!(true))]));
    let other = slice("IPv4", "metrics", &json!([of("10.0.0.9", "v1", json!(true))]));
    let expected = [("10.0.0.1:9080".to_owned(), Some("v1".to_owned())), ("10.0.0.2:9080".to_owned(), None)];
    assert_eq!(endpoints_of(&[v4, v6, other]), expected);
    assert_eq!(endpoints_of(&[]), []);
}

#[test]
fn a_caller_is_known_by_the_service_that_a_fault_names_or_else_by_its_application() {
    let callers =
        [Caller { service: name("front"), selector: BTreeMap::from([("role".to_owned(), "front".to_owned())]) }];
    let mut on_the_node = pod("node", &json!({"app": "agent"}), "192.0.2.1");
    std::sync::Arc::make_mut(&mut on_the_node).spec = Some(from(json!({"containers": [], "hostNetwork": true})));
    let pods = [
        pod("a", &json!({"app": "productpage", "role": "front", "version": "v1"}), "10.0.0.1"),
        pod("b", &json!({"app": "reviews", "version": "v2"}), "10.0.0.2"),
        pod("c", &json!({"role": "nameless"}), "10.0.0.3"),
        pod("proxy", &json!({"app": "glooshot-1", "app.kubernetes.io/managed-by": "glooshot"}), "10.0.0.4"),
        pod("d", &json!({"app": "one"}), "10.0.0.5"),
        pod("e", &json!({"app": "other"}), "10.0.0.5"),
        on_the_node,
    ];
    let sources = sources(&callers, &pods);
    let told: Vec<(String, String, Option<&str>)> =
        sources.iter().map(|it| (it.address.to_string(), it.service.name.clone(), it.version.as_deref())).collect();
    assert_eq!(
        told,
        [("10.0.0.1".into(), "front".into(), Some("v1")), ("10.0.0.2".into(), "reviews".into(), Some("v2"))]
    );
}

/// A scenario with a fault on `ratings` from `reviews`, one on `details` from `front`, and a condition on each of two Services.
fn scenario() -> Scenario {
    use glooshot_api::{
        experiment::{NetworkPolicyMode, Reconnect},
        failure_condition::{OnNoData, TrafficMetric},
        plan::{Disruption, MatchRule},
        quantity::{ComparisonOperator, Percent},
        scenario::{ConditionRule, FaultRule, Threshold, TrafficRule},
    };
    let to = |service: &str| Destination { service: name(service), port: None, subset: None };
    let fault = |origin: &str, destination: &str| FaultRule {
        origins: vec![name(origin)],
        destinations: vec![to(destination)],
        matches: MatchRule::default(),
        percentage: Percent::try_from(50.0).unwrap(),
        disruption: Disruption::AbortHttp(500),
    };
    let condition = |service: &str| ConditionRule {
        name: None,
        on_no_data: OnNoData::Ignore,
        trigger: TriggerRule::Traffic(TrafficRule {
            service: to(service),
            metric: TrafficMetric::ErrorRate,
            interval: std::time::Duration::from_secs(5),
            min_requests: 10,
            exclude_injected: true,
            threshold: Threshold { value: 0.1, operator: ComparisonOperator::Greater },
        }),
    };
    Scenario {
        experiment: name("abort"),
        duration: std::time::Duration::from_secs(60),
        faults: vec![fault("reviews", "ratings"), fault("front", "details")],
        conditions: vec![condition("productpage"), condition("ratings")],
        max_injected: Some(7),
        max_concurrent_delays: 100,
        min_injected: 1,
        network_policy: NetworkPolicyMode::Refuse,
        settle: std::time::Duration::ZERO,
        reconnect: Reconnect::None,
    }
}

#[test]
fn what_is_broken_and_what_is_measured_has_to_be_redirected() {
    assert_eq!(Vec::from_iter(scenario().services()), [name("details"), name("productpage"), name("ratings")]);
}

#[test]
fn a_service_misses_only_the_callers_of_its_own_faults() {
    let scenario = scenario();
    assert_eq!(callers(&scenario, &name("ratings")), BTreeSet::from([name("reviews")]));
    assert_eq!(callers(&scenario, &name("productpage")), BTreeSet::new());
}

#[test]
fn faults_keep_their_places_and_conditions_go_to_the_service_that_they_measure() {
    let scenario = scenario();
    let planned = experiment(&scenario, "e-1", &name("ratings"), true, Some(3));
    assert_eq!((planned.faults.len(), planned.uid.as_str(), planned.armed), (2, "e-1", true));
    assert_eq!(planned.conditions.iter().map(|it| (it.index, it.shared)).collect::<Vec<_>>(), [(1, true)]);
    assert_eq!(planned.max_injected, Some(3));
    assert_eq!(Plan { experiment: Some(planned), ..Plan::default() }.check(), Ok(()));
    assert!(experiment(&scenario, "e-1", &name("details"), true, None).conditions.is_empty());
}

#[test]
fn shares_add_up_to_the_whole() {
    for (total, count) in [(0, 3), (7, 3), (2, 5), (9, 1), (u64::MAX, 4)] {
        let sum: u64 = (0..count).map(|index| share(total, index, count)).sum();
        assert_eq!(sum, total, "{total} among {count}");
    }
}
