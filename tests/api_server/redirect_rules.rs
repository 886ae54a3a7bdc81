//! A Service that a RoutingRule holds, with and without an Experiment on it, at the real API server.

use glooshot::{
    api::{
        names::ServicePort,
        plan::SubsetWeight,
        scenario::{Scenario, TlsRule, UpstreamRule},
    },
    engine::data_path::DataPath as _,
    paths::redirect::{Holder, Owner, Shares},
};
use serde_json::json;

use super::{control_plane::registered, redirect_stage::Stage};

fn owner(stage: &Stage) -> Owner {
    Owner { kind: Holder::RoutingRule, ..stage.owner("rule") }
}

fn shares(stage: &Stage) -> Shares {
    let port = ServicePort { service: stage.service_name(), port: 9080 };
    vec![(port, vec![SubsetWeight { subset: "v1".into(), weight: 1 }])]
}

fn scenario(stage: &Stage) -> Scenario {
    Scenario { faults: vec![], conditions: vec![], ..stage.scenario() }
}

#[test]
fn an_experiment_on_a_service_that_a_rule_holds_is_its_guest_and_leaves_it_as_it_is() {
    let stage = Stage::new(registered(), "redirect-rule");
    let original = json!({"app": "ratings"});
    stage.apply(&stage.manifest(&original, None), &[]);
    let rule = stage.redirect.rule_path(owner(&stage), &shares(&stage)).unwrap();
    assert!(stage.redirect.rule_path(stage.owner("other"), &shares(&stage)).is_err());
    stage.wait(rule.route(&scenario(&stage))).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], json!({"app": stage.proxy()}));
    let held = stage.service()["metadata"]["annotations"].clone();

    let path = stage.path("abort");
    stage.wait(path.route(&stage.scenario())).unwrap();
    assert_eq!(stage.service()["metadata"]["annotations"], held, "the Service is the rule's still");
    assert_eq!(stage.redirect.close_rule(&stage.uid("rule")).map(|guest| guest.name).as_deref(), Some("abort"));
    stage.wait(path.arm()).unwrap();
    // The rule holds its tongue: what it would say now has no faults.
    rule.renew().unwrap();
    stage.wait(path.disarm()).unwrap();
    stage.wait(path.restore()).unwrap();
    stage.wait(stage.redirect.release(&stage.uid("abort"))).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], json!({"app": stage.proxy()}));

    assert_eq!(stage.redirect.close_rule(&stage.uid("rule")), None);
    rule.renew().unwrap();
    stage.wait(rule.restore()).unwrap();
    stage.wait(stage.redirect.release(&stage.uid("rule"))).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], original);
    drop(rule);
    assert!(stage.redirect.rule_path(stage.owner("other"), &shares(&stage)).is_ok());
}

#[test]
fn a_rule_on_a_service_that_an_experiment_holds_is_refused_until_that_is_over() {
    let stage = Stage::new(registered(), "redirect-rule-late");
    stage.apply(&stage.manifest(&json!({"app": "ratings"}), None), &[]);
    let path = stage.path("abort");
    stage.wait(path.route(&stage.scenario())).unwrap();
    let rule = stage.redirect.rule_path(owner(&stage), &shares(&stage)).unwrap();
    let refused = stage.wait(rule.route(&scenario(&stage))).unwrap_err();
    assert!(refused.message.contains("the experiment redirect-rule-late/abort"), "{refused}");
    stage.wait(rule.restore()).unwrap();
    assert_eq!(stage.service()["spec"]["selector"], json!({"app": stage.proxy()}), "it is the experiment's");
    stage.wait(path.restore()).unwrap();
    stage.wait(stage.redirect.release(&stage.uid("abort"))).unwrap();
    drop(rule);
    let again = stage.redirect.rule_path(owner(&stage), &shares(&stage)).unwrap();
    stage.wait(again.route(&scenario(&stage))).unwrap();
    stage.wait(again.restore()).unwrap();
    stage.wait(stage.redirect.release(&stage.uid("rule"))).unwrap();
}

#[test]
fn an_experiment_that_wants_tls_to_end_is_no_guest_of_a_rule_whose_proxies_have_no_certificate() {
    let stage = Stage::new(registered(), "redirect-rule-tls");
    stage.apply(&stage.manifest(&json!({"app": "ratings"}), None), &[]);
    stage.kubectl.succeeds(["annotate", "namespace", &stage.namespace, "glooshot.solo.io/tls-secrets=ratings-tls"]);
    let rule = stage.redirect.rule_path(owner(&stage), &shares(&stage)).unwrap();
    stage.wait(rule.route(&scenario(&stage))).unwrap();
    let held = stage.service();

    let port = ServicePort { service: stage.service_name(), port: 9080 };
    let tls = TlsRule { port, certificate_secret: "ratings-tls".into(), upstream: UpstreamRule::Plaintext };
    let path = stage.path("abort");
    let refused = stage.wait(path.route(&Scenario { tls: vec![tls], ..stage.scenario() })).unwrap_err();
    for words in ["the routing rule redirect-rule-tls/rule holds this Service", "leave spec.spec.tls[0] out"] {
        assert!(refused.message.contains(words), "{refused}");
    }
    stage.wait(path.restore()).unwrap();
    assert_eq!(stage.service(), held);
    // What wants no certificate is welcome.
    let guest = stage.path("another");
    stage.wait(guest.route(&stage.scenario())).unwrap();
    stage.wait(guest.restore()).unwrap();
    stage.wait(rule.restore()).unwrap();
    stage.wait(stage.redirect.release(&stage.uid("rule"))).unwrap();
}
