//! Lists, texts and numbers beyond their bounds: refused at the field, however deep it stands.

use serde_json::{Value, json};

use super::{
    cases::with,
    client::{ApiClient, causes},
    control_plane::registered,
};

/// A list as long as it may be, and what is refused with one item more.
fn lists() -> Vec<(&'static str, Value, usize, &'static str)> {
    let fault =
        json!({"destinationServices": [{"name": "r"}], "fault": {"abort": {"httpStatus": 500}, "percentage": 1}});
    let condition = json!({"trigger": {"webhookUrl": "http://checks.example.com/"}});
    let header = json!({"name": "x", "present": true});
    vec![
        ("/faults", fault, 16, "spec.spec.faults"),
        ("/failureConditions", condition, 16, "spec.spec.failureConditions"),
        ("/faults/0/destinationServices", json!({"name": "r"}), 32, "spec.spec.faults[0].destinationServices"),
        ("/faults/0/originServices", json!({"name": "r"}), 32, "spec.spec.faults[0].originServices"),
        ("/tls", json!({"service": {"name": "r"}, "certificateSecret": "s"}), 32, "spec.spec.tls"),
        ("/faults/0/match", header, 16, "spec.spec.faults[0].match.headers"),
    ]
}

/// An experiment with `count` times `item` at `pointer`.
fn with_list(pointer: &str, item: &Value, count: usize) -> Value {
    let list = vec![item.clone(); count];
    // A match is not in the example, so its headers come with it.
    if pointer.ends_with("/match") { with(pointer, json!({"headers": list})) } else { with(pointer, json!(list)) }
}

#[test]
fn a_list_may_be_as_long_as_its_bound_and_no_longer() {
    let client = ApiClient::of(registered());
    for (pointer, item, bound, field) in lists() {
        let longest = client.would_create(&with_list(pointer, &item, bound));
        assert!(longest.is_ok(), "{bound} at {pointer}: {longest:?}");
        let refused = client.would_create(&with_list(pointer, &item, bound + 1)).unwrap_err();
        let says = format!("must have at most {bound} items");
        assert!(
            causes(&refused).iter().any(|(at, message)| at == field && message.contains(&says)),
            "{} at {pointer}: {refused:?}",
            bound + 1
        );
    }
}

#[test]
fn a_text_may_be_as_long_as_its_bound_and_no_longer() {
    let client = ApiClient::of(registered());
    let query = |length: usize| {
        let trigger = json!({"trigger": {"prometheus": {"customQuery": "x".repeat(length), "thresholdValue": 1}}});
        client.would_create(&with("/failureConditions/0", trigger))
    };
    assert!(query(4096).is_ok());
    let refused = query(4097).unwrap_err();
    let field = "spec.spec.failureConditions[0].trigger.prometheus.customQuery";
    assert!(causes(&refused).iter().any(|(at, says)| at == field && says.contains("4096")), "{refused:?}");
}

#[test]
fn a_word_that_is_not_one_of_the_list_is_refused_with_the_list() {
    let refused = ApiClient::of(registered())
        .would_create(&with("/failureConditions/0/trigger/traffic/metric", json!("Latency")))
        .unwrap_err();
    let field = "spec.spec.failureConditions[0].trigger.traffic.metric";
    let told = causes(&refused).into_iter().find(|(at, _)| at == field).unwrap_or_else(|| panic!("{refused:?}"));
    assert!(told.1.contains("\"LatencyP99\""), "{told:?}");
}

#[test]
fn a_field_that_does_not_exist_is_refused_where_the_client_asks_for_strictness_as_kubectl_does() {
    let refused = ApiClient::of(registered()).would_create(&with("/durations", json!("1m"))).unwrap_err();
    assert_eq!(refused.code, 400);
    assert!(refused.message.contains("unknown field \"spec.spec.durations\""), "{}", refused.message);
}
