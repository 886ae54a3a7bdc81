//! Every static rule: what is refused, where, and in which words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

use std::time::Duration;

use glooshot_api::{
    experiment::Experiment,
    names::{KnownPort, ServiceName, ServicePort},
    plan::{Disruption, HeaderRule, HeaderValueRule, MatchRule, TextMatch},
    scenario::{TlsRule, UpstreamRule},
    validate::{self, Violations},
};
use serde_json::{Value, json};

/// An experiment with this body, as the API server would hand it over.
fn experiment(body: Value) -> Experiment {
    serde_json::from_value(json!({
        "apiVersion": "glooshot.solo.io/v1", "kind": "Experiment", "metadata": {"name": "e", "namespace": "bookinfo"}, "spec": {"spec": body},
    }))
    .unwrap()
}

fn ratings(fault: Value) -> Value {
    json!({"destinationServices": [{"name": "ratings"}], "fault": fault})
}

fn with_fault(fault: Value) -> Value {
    json!({"faults": [ratings(fault)]})
}

fn with_match(matches: Value) -> Value {
    let mut fault = ratings(json!({"abort": {"httpStatus": 500}, "percentage": 5}));
    fault["match"] = matches;
    json!({ "faults": [fault] })
}

fn with_condition(condition: Value) -> Value {
    json!({ "failureConditions": [condition] })
}

fn with_prometheus(trigger: Value) -> Value {
    with_condition(json!({"trigger": {"prometheus": trigger}}))
}

fn with_traffic(trigger: Value) -> Value {
    with_condition(json!({"trigger": {"traffic": trigger}}))
}

fn with_tls(target: Value) -> Value {
    json!({ "tls": [target] })
}

fn lines(violations: &Violations) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}

/// Asserts that the body is refused for one reason only, at this path and with these words.
fn refused(body: Value, path: &str, words: &str) {
    let shown = body.to_string();
    let violations = validate::check(&experiment(body)).expect_err(&shown);
    let violations = lines(&violations);
    assert_eq!(violations.len(), 1, "{shown}: {violations:#?}");
    let (found, message) = violations[0].split_once(": ").unwrap();
    assert_eq!(found, format!("spec.spec.{path}"), "{message}");
    assert!(message.contains(words), "{message:?} lacks {words:?}");
}

#[test]
fn an_experiment_lasts_longer_than_nothing_and_at_most_an_hour() {
    refused(json!({"duration": "0s"}), "duration", "longer than 0");
    refused(json!({"duration": "1h1s"}), "duration", "3601s is too long; at most 3600s");
    validate::check(&experiment(json!({"duration": "1h"}))).unwrap();
}

#[test]
fn a_fault_says_whom_it_hits_what_it_does_and_how_often() {
    refused(
        json!({"faults": [{"fault": {"abort": {"httpStatus": 500}, "percentage": 5}}]}),
        "faults[0].destinationServices",
        "at least one service",
    );
    refused(
        json!({"faults": [{"destinationServices": [{"name": "ratings"}]}]}),
        "faults[0].fault",
        "is required, as in",
    );
    refused(with_fault(json!({"percentage": 5})), "faults[0].fault", "needs abort, delay or connection");
    let both = json!({"abort": {"httpStatus": 500}, "delay": {"duration": "1s"}, "percentage": 5});
    refused(with_fault(both), "faults[0].fault", "both abort and delay");
    let both = json!({"delay": {"duration": "1s"}, "connection": {"reset": true}, "percentage": 5});
    refused(with_fault(both), "faults[0].fault", "both delay and connection");
    let both = json!({"abort": {"httpStatus": 500}, "connection": {"reset": true}, "percentage": 5});
    refused(with_fault(both), "faults[0].fault", "both abort and connection");
    let twice = json!([{"name": "ratings"}, {"name": "ratings", "namespace": "bookinfo"}]);
    let fault = json!({"destinationServices": twice, "fault": {"abort": {"httpStatus": 500}, "percentage": 5}});
    refused(json!({ "faults": [fault] }), "faults[0].destinationServices[1]", "in this list already");
    let fault = json!({"destinationServices": [{"name": "Ratings_1"}], "fault": {"abort": {"httpStatus": 500}, "percentage": 5}});
    refused(json!({ "faults": [fault] }), "faults[0].destinationServices[0].name", "is not a name");
    let faults: Vec<Value> = (0..17).map(|_| ratings(json!({"abort": {"httpStatus": 500}, "percentage": 1}))).collect();
    refused(json!({ "faults": faults }), "faults", "has 17 entries; at most 16");
}

#[test]
fn a_percentage_is_written_down_and_lies_above_0_up_to_100() {
    refused(with_fault(json!({"abort": {"httpStatus": 500}})), "faults[0].fault.percentage", "is required");
    for bad in [0.0, -1.0, 100.1, 250.0] {
        refused(
            with_fault(json!({"abort": {"httpStatus": 500}, "percentage": bad})),
            "faults[0].fault.percentage",
            "above 0 and at most 100",
        );
    }
    let mut nan = experiment(with_fault(json!({"abort": {"httpStatus": 500}, "percentage": 1})));
    nan.spec.spec.faults[0].fault.as_mut().unwrap().percentage = Some(f64::NAN);
    assert!(lines(&validate::check(&nan).unwrap_err())[0].contains("NaN is not a percentage"));
    for good in [0.001, 0.5, 33.3, 100.0] {
        validate::check(&experiment(with_fault(json!({"abort": {"httpStatus": 500}, "percentage": good})))).unwrap();
    }
}

#[test]
fn an_abort_answers_with_one_status_that_exists() {
    refused(with_fault(json!({"abort": {}, "percentage": 5})), "faults[0].fault.abort", "needs a status");
    let both = json!({"abort": {"httpStatus": 500, "grpcStatus": 14}, "percentage": 5});
    refused(with_fault(both), "faults[0].fault.abort", "both httpStatus and grpcStatus");
    for status in [-1, 0, 100, 199, 600, 70_000] {
        refused(
            with_fault(json!({"abort": {"httpStatus": status}, "percentage": 5})),
            "faults[0].fault.abort.httpStatus",
            "200 to 599",
        );
    }
    for status in [0, 17, 65_537] {
        refused(
            with_fault(json!({"abort": {"grpcStatus": status}, "percentage": 5})),
            "faults[0].fault.abort.grpcStatus",
            "1 to 16",
        );
    }
}

#[test]
fn a_delay_is_at_most_a_minute_and_its_jitter_at_most_the_delay() {
    refused(
        with_fault(json!({"delay": {"duration": "0s"}, "percentage": 5})),
        "faults[0].fault.delay.duration",
        "longer than 0, as in \"2s\"",
    );
    refused(
        with_fault(json!({"delay": {"duration": "61s"}, "percentage": 5})),
        "faults[0].fault.delay.duration",
        "at most 60s",
    );
    let jitter = json!({"delay": {"duration": "1s", "jitter": "1001ms"}, "percentage": 5});
    refused(with_fault(jitter), "faults[0].fault.delay.jitter", "not be longer than the delay");
    validate::check(&experiment(with_fault(json!({"delay": {"duration": "60s", "jitter": "60s"}, "percentage": 5}))))
        .unwrap();
}

#[test]
fn a_connection_is_reset_or_held_back_for_at_most_a_minute() {
    let with = |connection: Value| with_fault(json!({"connection": connection, "percentage": 5}));
    let at = |field: &str| format!("faults[0].fault.connection{field}");
    refused(with(json!({})), &at(""), "needs reset or delay, as in reset: true or");
    refused(with(json!({"reset": false})), &at(".reset"), "false does nothing");
    refused(with(json!({"reset": true, "delay": {"duration": "1s"}})), &at(""), "both reset and delay");
    refused(with(json!({"delay": {"duration": "0s"}})), &at(".delay.duration"), "longer than 0, as in \"2s\"");
    refused(with(json!({"delay": {"duration": "61s"}})), &at(".delay.duration"), "at most 60s");
    let jitter = json!({"delay": {"duration": "1s", "jitter": "1001ms"}});
    refused(with(jitter), &at(".delay.jitter"), "not be longer than the delay");
    for (connection, disruption) in [
        (json!({"reset": true}), Disruption::ResetConnection),
        (
            json!({"delay": {"duration": "60s", "jitter": "1s"}}),
            Disruption::DelayConnection { duration: Duration::from_secs(60), jitter: Duration::from_secs(1) },
        ),
    ] {
        let scenario = validate::validate(&experiment(with(connection)), &known(&[("bookinfo", "ratings")])).unwrap();
        assert_eq!(scenario.faults[0].disruption, disruption);
    }
}

#[test]
fn a_connection_fault_has_no_match_since_there_is_no_request_at_connect() {
    for matches in [json!({"methods": ["GET"]}), json!({"path": {"prefix": "/"}}), json!({})] {
        let mut fault = ratings(json!({"connection": {"reset": true}, "percentage": 5}));
        fault["match"] = matches;
        refused(
            json!({ "faults": [fault] }),
            "faults[0].match",
            "no request yet; leave it out, or choose by caller, as in",
        );
    }
    let mut by_caller = ratings(json!({"connection": {"reset": true}, "percentage": 5}));
    by_caller["originServices"] = json!([{"name": "reviews"}]);
    validate::check(&experiment(json!({ "faults": [by_caller] }))).unwrap();
}

#[test]
fn a_connection_fault_has_no_subset_since_no_endpoint_is_chosen_at_connect() {
    let ports = [KnownPort { subsets: vec!["v1".into(), "v4".into()], ..known(&[("bookinfo", "reviews")]).remove(0) }];
    let on = |names: Value, fault: Value| {
        let body = json!({"faults": [{"destinationServices": names, "fault": fault}]});
        validate::check(&experiment(body)).unwrap().resolve(&ports)
    };
    let upstreams = json!([{"name": "bookinfo-reviews-9080"}, {"name": "bookinfo-reviews-v4-9080"}]);
    let violations = on(upstreams.clone(), json!({"connection": {"reset": true}, "percentage": 5})).unwrap_err();
    assert_eq!(
        lines(&violations),
        [
            "spec.spec.faults[0].destinationServices[1]: names the subset v4 of bookinfo/reviews; a connection fault comes before an endpoint is chosen: name the whole service, as in {name: reviews, namespace: bookinfo}"
        ]
    );
    on(json!([{"name": "reviews"}]), json!({"connection": {"reset": true}, "percentage": 5})).unwrap();
    on(upstreams, json!({"abort": {"httpStatus": 500}, "percentage": 5})).unwrap();
}

#[test]
fn connections_and_the_requests_on_them_are_two_rolls_of_the_dice() {
    let fault = |what: &str, how: Value, percentage: f64| ratings(json!({what: how, "percentage": percentage}));
    let reset = |percentage| fault("connection", json!({"reset": true}), percentage);
    let hold = |percentage| fault("connection", json!({"delay": {"duration": "1s"}}), percentage);
    let abort = |percentage| fault("abort", json!({"httpStatus": 500}), percentage);
    validate::check(&experiment(json!({"faults": [reset(60.0), abort(60.0), hold(40.0), abort(40.0)]}))).unwrap();
    refused(
        json!({"faults": [reset(60.0), abort(60.0), hold(50.0)]}),
        "faults[2].fault.percentage",
        "on the same connections this makes 110%",
    );
    refused(
        json!({"faults": [abort(60.0), reset(60.0), abort(50.0)]}),
        "faults[2].fault.percentage",
        "on the same requests this makes 110%",
    );
}

#[test]
fn faults_on_the_same_requests_add_up_to_at_most_100() {
    let abort = |percentage: f64| ratings(json!({"abort": {"httpStatus": 500}, "percentage": percentage}));
    validate::check(&experiment(json!({"faults": [abort(33.3), abort(33.3), abort(33.4)]}))).unwrap();
    refused(json!({"faults": [abort(60.0), abort(50.0)]}), "faults[1].fault.percentage", "makes 110%");
    // Other requests: another origin, another match, another service.
    for (field, value) in [
        ("originServices", json!([{"name": "reviews"}])),
        ("match", json!({"methods": ["GET"]})),
        ("destinationServices", json!([{"name": "reviews"}])),
    ] {
        let mut other = abort(50.0);
        other[field] = value;
        validate::check(&experiment(json!({"faults": [abort(60.0), other]}))).unwrap();
    }
}

#[test]
fn two_names_of_one_service_count_as_one_once_they_are_known() {
    let body = json!({"faults": [
        {"destinationServices": [{"name": "ratings"}], "fault": {"abort": {"httpStatus": 500}, "percentage": 60}},
        {"destinationServices": [{"name": "bookinfo-ratings-9080"}], "fault": {"abort": {"httpStatus": 503}, "percentage": 60}},
    ]});
    let checked = validate::check(&experiment(body)).unwrap();
    let violations = checked.resolve(&known(&[("bookinfo", "ratings")])).unwrap_err();
    assert_eq!(lines(&violations).len(), 1);
    assert!(lines(&violations)[0].starts_with("spec.spec.faults[1].fault.percentage: "), "{violations}");
}

#[test]
fn a_match_is_written_so_that_it_can_match() {
    let at = |field: &str| format!("faults[0].match.{field}");
    refused(with_match(json!({"path": {}})), &at("path"), "has 0 of exact, prefix and regex");
    refused(with_match(json!({"path": {"exact": "/a", "regex": "/b"}})), &at("path"), "has 2 of exact");
    refused(with_match(json!({"path": {"prefix": "api/"}})), &at("path"), "write \"/api/\"");
    refused(with_match(json!({"path": {"exact": "/a?b=c"}})), &at("path"), "the query is not matched");
    refused(with_match(json!({"path": {"regex": "/a("}})), &at("path.regex"), "not a regular expression");
    refused(with_match(json!({"path": {"regex": "a".repeat(257)}})), &at("path.regex"), "at most 256");
    refused(with_match(json!({"methods": ["GET", "post"]})), &at("methods[1]"), "written in capitals");
    refused(with_match(json!({"methods": [""]})), &at("methods[0]"), "is not a method");
    refused(
        with_match(json!({"headers": [{"name": "x-user"}]})),
        &at("headers[0]"),
        "exactly one of exact, prefix, regex and present",
    );
    refused(
        with_match(json!({"headers": [{"name": "x", "exact": "a", "present": true}]})),
        &at("headers[0]"),
        "exactly one",
    );
    refused(
        with_match(json!({"headers": [{"name": "x user", "exact": "a"}]})),
        &at("headers[0].name"),
        "is not a header name",
    );
    refused(
        with_match(json!({"headers": [{"name": "x", "exact": "a\r\nb"}]})),
        &at("headers[0].exact"),
        "control characters",
    );
    refused(
        with_match(json!({"headers": [{"name": "x", "prefix": ""}]})),
        &at("headers[0].prefix"),
        "leave the match out",
    );
}

#[test]
fn a_match_is_handed_on_as_it_was_written_with_header_names_in_small_letters() {
    let body = with_match(json!({
        "path": {"regex": "/a|/b"}, "methods": ["GET"],
        "headers": [{"name": "X-User", "exact": "Jason"}, {"name": "x", "present": true}, {"name": "y", "present": false}],
    }));
    let scenario = validate::validate(&experiment(body), &known(&[("bookinfo", "ratings")])).unwrap();
    let header = |name: &str, value| HeaderRule { name: name.into(), value };
    assert_eq!(
        scenario.faults[0].matches,
        MatchRule {
            path: Some(TextMatch::Regex("/a|/b".into())),
            methods: vec!["GET".into()],
            headers: vec![
                header("x-user", HeaderValueRule::Text(TextMatch::Exact("Jason".into()))),
                header("x", HeaderValueRule::Present),
                header("y", HeaderValueRule::Absent),
            ],
        }
    );
}

#[test]
fn a_condition_has_one_trigger_and_a_name_of_its_own() {
    refused(with_condition(json!({})), "failureConditions[0].trigger", "is required");
    refused(with_condition(json!({"trigger": {}})), "failureConditions[0].trigger", "is empty");
    let two = json!({"trigger": {"webhookUrl": "http://a/", "prometheus": {"customQuery": "up"}}});
    refused(with_condition(two), "failureConditions[0].trigger", "more than one");
    let named = |name: &str| json!({"name": name, "trigger": {"webhookUrl": "http://a/"}});
    refused(
        json!({"failureConditions": [named("a"), named("b"), named("a")]}),
        "failureConditions[2].name",
        "has the name \"a\"",
    );
    for name in ["", " a", "a\nb", "a".repeat(254).as_str()] {
        refused(with_condition(named(name)), "failureConditions[0].name", "1 to 253 printable characters");
    }
}

#[test]
fn a_prometheus_trigger_has_one_query_and_a_threshold_that_can_be_crossed() {
    let at = |field: &str| format!("failureConditions[0].trigger.prometheus{field}");
    refused(with_prometheus(json!({"thresholdValue": 1})), &at(""), "needs customQuery or successRate");
    refused(with_prometheus(json!({"customQuery": " \n"})), &at(".customQuery"), "must not be blank");
    let both = json!({"customQuery": "up", "successRate": {"service": {"name": "r"}}, "thresholdValue": 0.9});
    refused(with_prometheus(both), &at(""), "both customQuery and successRate");
    refused(
        with_prometheus(json!({"successRate": {}, "thresholdValue": 0.9})),
        &at(".successRate.service"),
        "is required",
    );
    let rate = |interval: &str, threshold: f64| json!({"successRate": {"service": {"name": "r"}, "interval": interval}, "thresholdValue": threshold});
    refused(with_prometheus(rate("0s", 0.9)), &at(".successRate.interval"), "longer than 0");
    refused(with_prometheus(rate("1500us", 0.9)), &at(".successRate.interval"), "no unit below a millisecond");
    refused(with_prometheus(rate("1m", 95.0)), &at(".thresholdValue"), "a share from 0 to 1");
    refused(with_prometheus(rate("1m", 0.0)), &at(".thresholdValue"), "can never trip");
    let injection = json!({"successRate": {"service": {"name": "r\"} or up"}}, "thresholdValue": 0.9});
    refused(with_prometheus(injection), &at(".successRate.service.name"), "is not a name");
    let mut infinite = experiment(with_prometheus(json!({"customQuery": "up"})));
    infinite.spec.spec.failure_conditions[0].trigger.as_mut().unwrap().prometheus.as_mut().unwrap().threshold_value =
        f64::INFINITY;
    assert!(lines(&validate::check(&infinite).unwrap_err())[0].contains("inf compares with nothing"));
}

#[test]
fn a_webhook_is_an_absolute_url_without_secrets() {
    for (url, words) in [
        ("/healthy", "must begin with http"),
        ("ftp://example.com/", "must begin with http"),
        ("http://", "is not a URL"),
        ("http://user:password@example.com/", "must not carry a user name or password"),
        ("http://example.com/#top", "must not have a fragment"),
        ("http://exa mple.com/", "is not a URL"),
    ] {
        refused(
            with_condition(json!({"trigger": {"webhookUrl": url}})),
            "failureConditions[0].trigger.webhookUrl",
            words,
        );
    }
    for url in ["http://example.com", "https://[::1]:8443/healthy?deep=true", "http://10.0.0.1/"] {
        validate::check(&experiment(with_condition(json!({"trigger": {"webhookUrl": url}})))).unwrap();
    }
    let on_no_data = json!({"onNoData": "Fail", "trigger": {"webhookUrl": "http://a/"}});
    refused(with_condition(on_no_data), "failureConditions[0].onNoData", "answers or it fails");
}

#[test]
fn a_traffic_condition_has_a_window_and_a_threshold_in_the_metrics_range() {
    let at = |field: &str| format!("failureConditions[0].trigger.traffic.{field}");
    let traffic = |metric: &str, threshold: f64, field: &str, value: Value| {
        with_traffic(
            json!({"service": {"name": "r"}, "metric": metric, "thresholdValue": threshold, "comparisonOperator": ">", field: value}),
        )
    };
    refused(traffic("ErrorRate", 0.1, "interval", json!("0s")), &at("interval"), "longer than 0, as in \"5s\"");
    refused(traffic("ErrorRate", 0.1, "interval", json!("601s")), &at("interval"), "too long");
    refused(traffic("ErrorRate", 0.1, "minRequests", json!(0)), &at("minRequests"), "at least 1");
    refused(traffic("RequestRate", 1.0, "minRequests", json!(5)), &at("minRequests"), "does not apply to RequestRate");
    refused(traffic("ErrorRate", 5.0, "minRequests", json!(5)), &at("thresholdValue"), "a share from 0 to 1");
    refused(traffic("ErrorRate", 1.0, "minRequests", json!(5)), &at("thresholdValue"), "it is never > 1");
    refused(traffic("LatencyP50", -0.1, "minRequests", json!(5)), &at("thresholdValue"), "never negative");
    let default_operator = json!({"service": {"name": "r"}, "metric": "ErrorRate", "thresholdValue": 0});
    refused(
        with_traffic(default_operator),
        &at("thresholdValue"),
        "the operator is < unless comparisonOperator says otherwise",
    );
    let mut short = with_traffic(json!({"service": {"name": "r"}, "metric": "ErrorRate", "thresholdValue": 0.1}));
    short["duration"] = json!("5s");
    refused(short, &at("interval"), "the window of 5s is not shorter than the experiment, which takes 5s");
}

#[test]
fn limits_routing_and_tls_stay_in_their_ranges() {
    refused(json!({"limits": {"maxInjected": 0}}), "limits.maxInjected", "at least 1");
    refused(json!({"limits": {"maxConcurrentDelays": 0}}), "limits.maxConcurrentDelays", "from 1 to 100000");
    refused(json!({"limits": {"minInjected": 0}}), "limits.minInjected", "at least 1");
    refused(json!({"limits": {"minInjected": 11, "maxInjected": 10}}), "limits.minInjected", "can never be reached");
    refused(json!({"routing": {"settle": "301s"}}), "routing.settle", "at most 300s");
    refused(json!({"routing": {"keepRouted": "2h"}}), "routing.keepRouted", "at most 3600s");
    let tls = |field: &str, value: Value| {
        let mut target = json!({"service": {"name": "r"}, "certificateSecret": "r-tls"});
        target[field] = value;
        target
    };
    refused(with_tls(tls("port", json!(0))), "tls[0].port", "1 to 65535");
    refused(with_tls(tls("certificateSecret", json!("R TLS"))), "tls[0].certificateSecret", "is not a name");
    let plaintext = json!({"plaintext": true, "serverName": "r"});
    refused(with_tls(tls("upstream", plaintext)), "tls[0].upstream.plaintext", "no certificate to check");
    let name = json!({"serverName": "R"});
    refused(with_tls(tls("upstream", name)), "tls[0].upstream.serverName", "as in ratings.bookinfo.svc");
    let twice = json!([tls("port", json!(443)), tls("port", json!(443))]);
    refused(json!({ "tls": twice }), "tls[1]", "another entry");
    refused(json!({"targetMesh": {"name": "a b"}}), "targetMesh.name", "is not a name");
}

/// A fault on `shop` and one on `cart`, with these entries of `tls`, where `shop` has two ports, `cart` one, and `other` is no target.
fn with_known_tls(entries: Value) -> Result<Vec<TlsRule>, Violations> {
    let known = |name: &str, port: u16| KnownPort {
        port: ServicePort { service: ServiceName { namespace: "bookinfo".into(), name: name.into() }, port },
        subsets: vec!["v1".into()],
    };
    let ports = [known("shop", 443), known("shop", 8443), known("cart", 8443), known("other", 443)];
    let targets = json!([{"name": "shop"}, {"name": "cart"}]);
    let fault = json!({"destinationServices": targets, "fault": {"abort": {"httpStatus": 500}, "percentage": 50}});
    let scenario = validate::validate(&experiment(json!({"faults": [fault], "tls": entries})), &ports)?;
    Ok(scenario.tls)
}

#[test]
fn tls_ends_for_ports_of_targets_and_is_checked_behind_unless_it_is_said_otherwise() {
    let rules = with_known_tls(json!([
        {"service": {"name": "cart"}, "certificateSecret": "a"},
        {"service": {"name": "bookinfo-shop-443"}, "certificateSecret": "b", "upstream": {"plaintext": true}},
        {"service": {"name": "shop"}, "port": 8443, "certificateSecret": "c",
         "upstream": {"caConfigMap": "shop-ca", "serverName": "shop.test"}},
        // Whether a Service has a port is for those to say who see it now.
        {"service": {"name": "cart"}, "port": 9999, "certificateSecret": "d", "upstream": {"plaintext": false}},
    ]))
    .unwrap();
    let told: Vec<(String, &str)> =
        rules.iter().map(|rule| (rule.port.to_string(), rule.certificate_secret.as_str())).collect();
    let expected = [("cart:8443", "a"), ("shop:443", "b"), ("shop:8443", "c"), ("cart:9999", "d")];
    assert_eq!(told, expected.map(|(port, secret)| (format!("bookinfo/{port}"), secret)));
    let checked = |ca: Option<&str>, name: &str| UpstreamRule::Tls {
        ca_config_map: ca.map(str::to_owned),
        server_name: name.to_owned(),
    };
    let upstreams: Vec<UpstreamRule> = rules.into_iter().map(|rule| rule.upstream).collect();
    let by_default = checked(None, "cart.bookinfo.svc");
    assert_eq!(
        upstreams,
        [by_default.clone(), UpstreamRule::Plaintext, checked(Some("shop-ca"), "shop.test"), by_default]
    );
}

#[test]
fn an_entry_of_tls_that_ends_nothing_is_told_with_what_to_write() {
    let entry = |service: &str, port: Option<u16>| json!({"service": {"name": service}, "port": port, "certificateSecret": "s"});
    let cases = [
        (json!([entry("other", Some(443))]), "service", "bookinfo/other is no target"),
        (json!([entry("other", Some(443))]), "service", "there is bookinfo/cart, bookinfo/shop"),
        (json!([entry("bookinfo-shop-v1-443", None)]), "service", "as in {name: shop, namespace: bookinfo}"),
        (json!([entry("bookinfo-shop-443", Some(8443))]), "port", "write port: 443"),
        (json!([entry("shop", None)]), "port", "has several ports (443, 8443), as in port: 443"),
        (json!([entry("missing", Some(443))]), "service", "is neither an upstream nor a Service"),
    ];
    for (entries, field, words) in cases {
        let violations = lines(&with_known_tls(entries.clone()).unwrap_err());
        assert_eq!(violations.len(), 1, "{entries}: {violations:#?}");
        let message = violations[0].strip_prefix(&format!("spec.spec.tls[0].{field}: "));
        assert!(message.is_some_and(|message| message.contains(words)), "{entries}: {violations:?}");
    }
    let twice = json!([entry("bookinfo-shop-443", None), entry("shop", Some(443))]);
    assert!(lines(&with_known_tls(twice).unwrap_err())[0].starts_with("spec.spec.tls[1]: another entry"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let violations = validate::check(&experiment(json!({
        "duration": "2h",
        "faults": [{"fault": {"abort": {"httpStatus": 99}, "percentage": 101}}, ratings(json!({"percentage": 5}))],
        "failureConditions": [{"trigger": {}}],
        "limits": {"maxInjected": 0},
    })))
    .unwrap_err();
    let paths: Vec<&str> = violations.iter().map(|violation| violation.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.spec.duration",
            "spec.spec.faults[0].destinationServices",
            "spec.spec.faults[0].fault.percentage",
            "spec.spec.faults[0].fault.abort.httpStatus",
            "spec.spec.faults[1].fault",
            "spec.spec.failureConditions[0].trigger",
            "spec.spec.limits.maxInjected",
        ]
    );
}

#[test]
fn an_experiment_needs_a_name() {
    let mut nameless = experiment(json!({}));
    nameless.metadata.name = None;
    assert_eq!(
        lines(&validate::check(&nameless).unwrap_err()),
        ["metadata.name: is required, as in name: abort-ratings"]
    );
    nameless.metadata.generate_name = Some("abort-".into());
    validate::check(&nameless).unwrap();
}

fn known(services: &[(&str, &str)]) -> Vec<KnownPort> {
    let service = |(namespace, name): &(&str, &str)| KnownPort {
        port: ServicePort { service: ServiceName { namespace: (*namespace).into(), name: (*name).into() }, port: 9080 },
        subsets: vec!["v1".into()],
    };
    services.iter().map(service).collect()
}

#[test]
fn a_name_that_means_nothing_is_refused_with_the_nearest_ones() {
    let body = json!({"faults": [{"destinationServices": [{"name": "bookinfo-rating-9080", "namespace": "glooshot"}], "fault": {"abort": {"httpStatus": 500}, "percentage": 5}}]});
    let violations =
        validate::validate(&experiment(body), &known(&[("bookinfo", "ratings"), ("bookinfo", "details")])).unwrap_err();
    let [line] = lines(&violations).try_into().unwrap();
    assert!(
        line.starts_with("spec.spec.faults[0].destinationServices[0]: glooshot/bookinfo-rating-9080 is neither"),
        "{line}"
    );
    assert!(line.contains("known are bookinfo-ratings-9080, "), "{line}");
}

#[test]
fn an_origin_is_a_target_or_a_known_caller_as_a_whole() {
    let body = |origin: Value| {
        let mut fault = ratings(json!({"abort": {"httpStatus": 500}, "percentage": 5}));
        fault["originServices"] = json!([origin]);
        validate::check(&experiment(json!({ "faults": [fault] }))).unwrap()
    };
    let ports = known(&[("bookinfo", "ratings"), ("bookinfo", "reviews")]);
    let page = ServiceName { namespace: "bookinfo".into(), name: "productpage".into() };
    let scenario = body(json!({"name": "bookinfo-reviews-9080"})).resolve(&ports).unwrap();
    assert_eq!(scenario.faults[0].origins, [ServiceName { namespace: "bookinfo".into(), name: "reviews".into() }]);
    let scenario =
        body(json!({"name": "productpage"})).resolve_with_callers(&ports, std::slice::from_ref(&page)).unwrap();
    assert_eq!(scenario.faults[0].origins, [page]);
    assert!(
        lines(&body(json!({"name": "productpage"})).resolve(&ports).unwrap_err())[0]
            .contains("originServices[0]: bookinfo/productpage is neither")
    );
    let subset = body(json!({"name": "bookinfo-reviews-v1-9080"})).resolve(&ports).unwrap_err();
    assert!(lines(&subset)[0].contains("an origin is a whole service"), "{subset}");
}

#[test]
fn a_service_without_a_namespace_is_the_one_beside_the_experiment() {
    let checked =
        validate::check(&experiment(with_fault(json!({"abort": {"httpStatus": 500}, "percentage": 5})))).unwrap();
    let scenario = checked.resolve(&known(&[("staging", "ratings"), ("bookinfo", "ratings")])).unwrap();
    assert_eq!(scenario.faults[0].destinations[0].service.to_string(), "bookinfo/ratings");
    let elsewhere = checked.resolve(&known(&[("production", "ratings")])).unwrap_err();
    assert!(lines(&elsewhere)[0].contains("bookinfo/ratings is neither an upstream nor a Service"), "{elsewhere}");
}
