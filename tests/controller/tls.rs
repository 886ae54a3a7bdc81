//! `tls[]`: what the proxies of a Service are given so that TLS ends at them, and who has to allow it.

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    stage::{SOON, state},
    target::{NAME, Target, is_let_go},
};

/// An Experiment that breaks every request inside TLS.
fn breaks_inside_tls(target: &Target<'_>) {
    let service = json!({"name": "ratings", "namespace": target.stage.namespace});
    let mut experiment = target.stage.abort(NAME, &service, 100, "1m");
    let upstream = json!({"caConfigMap": "ratings-ca"});
    experiment["spec"]["spec"]["tls"] =
        json!([{"service": service, "certificateSecret": "ratings-tls", "upstream": upstream}]);
    target.stage.apply(&experiment);
}

/// The Deployment of the proxies.
fn proxies(target: &Target<'_>) -> Option<Value> {
    let list = target.get(&format!("apis/apps/v1/namespaces/{}/deployments", target.stage.namespace));
    list.unwrap()["items"].as_array().unwrap().first().cloned()
}

fn is_gone(target: &Target<'_>) {
    target.deletes_for_good();
}

#[test]
fn a_certificate_that_its_namespace_does_not_allow_is_refused_with_the_command_that_allows_it() {
    let target = Target::new(registered(), "tls-allowed");
    let _controller = target.controller("one");
    let start = target.world();
    breaks_inside_tls(&target);
    let over = target.awaits(SOON, "it is over", |it| it.filter(|it| is_let_go(it)).cloned());
    assert_eq!(state(&over), Some("Inconclusive"));
    let why = over["status"]["result"]["failureReport"]["message"].as_str().unwrap();
    assert!(why.contains("SecretNotAllowed") && why.contains("spec.spec.tls[0].certificateSecret"), "{why}");
    assert_eq!(target.world(), start);
    is_gone(&target);

    let (_, command) = why.split_once("kubectl annotate ").unwrap_or_else(|| panic!("{why}"));
    let (arguments, secrets) = command.trim_end_matches('\'').split_once('\'').unwrap();
    let annotation = format!("{}{secrets}", arguments.split(' ').next_back().unwrap());
    let (_, words) = arguments.split_once(' ').unwrap();
    let namespace = words.split(' ').next().unwrap();
    assert_eq!(arguments, format!("namespace {namespace} --overwrite glooshot.solo.io/tls-secrets="));
    target.stage.kubectl.succeeds(["annotate", "namespace", namespace, "--overwrite", &annotation]);

    breaks_inside_tls(&target);
    target.awaits(SOON, "its faults are on", |it| (state(it?) == Some("Started")).then_some(()));
    let made = proxies(&target).unwrap();
    let pod = &made["spec"]["template"]["spec"];
    let volumes: Vec<&Value> = pod["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    assert_eq!(volumes, ["control", "certificate-9080", "authority-9080"], "{made:#}");
    assert_eq!(pod["volumes"][1]["secret"]["secretName"], "ratings-tls");
    assert_eq!(pod["volumes"][2]["configMap"]["name"], "ratings-ca");
    let arguments = pod["containers"][0]["args"].to_string();
    let checked = format!("ratings:9080=ca=/var/run/glooshot-tls/authority-9080/ca.crt,name=ratings.{namespace}.svc");
    assert!(arguments.contains(&checked), "{arguments}");
    is_gone(&target);
    assert_eq!(proxies(&target), None);
}
