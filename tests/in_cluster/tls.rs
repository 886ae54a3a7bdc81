//! TLS that ends at the proxies of a Service, and begins again behind them.

use std::time::{Duration, Instant};

use super::{
    certificates::{Authority, Files},
    stage::{ABORT, PATIENCE, Stage, Target},
    traffic::{Fate, Traffic},
};
use crate::harness::patience::let_pass;

/// What the certificate of the service is for.
const NAME: &str = "secure.shop.svc";
/// A service of two pods that speaks TLS alone: another proxy ends it there, before one that does not.
const SERVICE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: secure}
spec:
  replicas: 2
  selector: {matchLabels: {app: secure}}
  template:
    metadata: {labels: {app: secure}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 15
      containers:
      - name: secure
        image: $GLOOSHOT_IMAGE
        args:
        - proxy
        - --route=inside/secure:443=0.0.0.0:8443->PLAIN
        - --tls=inside/secure:443=/tls/tls.crt,/tls/tls.key
        - --upstream-tls=inside/secure:443=plaintext
        - --listen-metrics=0.0.0.0:9901
        resources: {requests: {cpu: 100m}}
        readinessProbe: {httpGet: {path: /readyz, port: 9901}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 6}
        volumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]
      volumes: [{name: tls, secret: {secretName: secure-tls}}]
---
apiVersion: v1
kind: Service
metadata: {name: secure}
spec: {selector: {app: secure}, ports: [{name: https, port: 443, targetPort: 8443}]}
";
/// How long faults are on.
const SECONDS: u64 = 10;

/// Half of all requests inside TLS are answered in the place of the service, where its namespace lets the proxies have the certificate;
/// a certificate that is not there is told by name.
pub fn ends_at_the_proxies(stage: &Stage<'_>) {
    let plain = stage.target("behind-tls");
    let authority = Authority::new();
    let files = Files::with(&authority.issue(NAME));
    let (certificate, key, ca) = (files.certificate(), files.key(), authority.file());
    let service = SERVICE.replace("PLAIN", &plain.address.to_string());
    stage.shell(&format!(
        "kubectl create secret tls -n shop secure-tls --cert={certificate} --key={key}
         kubectl create configmap -n shop secure-ca --from-file=ca.crt={ca}
         kubectl apply -n shop -f - <<END\n{service}\nEND
         kubectl rollout status -n shop deployment/secure --timeout=90s"
    ));
    let target = stage.found("secure");
    let traffic = Traffic::new_sessions(target.address, &authority, NAME, 50);
    traffic.first(&Fate::Good, Instant::now(), PATIENCE);

    // Its requests from before may have failed.
    drop(traffic);
    let command = refusal(stage, &target);
    stage.shell(&format!("{command}\nkubectl delete exp -n shop {} --timeout=90s", target.name));
    let traffic = Traffic::new_sessions(target.address, &authority, NAME, 50);
    let spec = experiment("secure-tls", "{caConfigMap: secure-ca}");
    stage.experiment(&target, SECONDS, &spec);
    let status = stage.ended(&target, PATIENCE);
    assert_eq!(status["result"]["state"], "Succeeded", "{status:#}");
    let_pass(Duration::from_secs(1));
    let log = traffic.finish();
    log.assert_none_failed();
    let injected = log.count(&Fate::Injected);
    let injection = &status["injection"][0];
    eprintln!("  {} requests inside TLS, {injected} answered with 500; {injection}", log.0.len());
    assert_eq!(injection["aborted"], injected, "{status:#}");
    // A share of one half in some 500 requests is never so far from it.
    let requests = injection["requests"].as_u64().unwrap() as f64;
    assert!((0.35..0.65).contains(&(injected as f64 / requests)), "{injection}");
    stage.assert_as_before(&target);

    stage.shell("kubectl annotate namespace shop --overwrite glooshot.solo.io/tls-secrets='missing-tls, secure-tls'");
    stage.experiment(&plain, SECONDS, &experiment("missing-tls", "{plaintext: true}"));
    stage.shell(&format!(
        "end=$((SECONDS + {}))
         until kubectl get exp -n shop {} -o json | grep 'Secret missing-tls with tls.crt and tls.key'; do
           [ $SECONDS -lt $end ]; sleep 0.5
         done
         kubectl delete exp -n shop {} --timeout=90s",
        PATIENCE.as_secs(),
        plain.name,
        plain.name
    ));
    stage.assert_as_before(&plain);
}

fn experiment(secret: &str, upstream: &str) -> String {
    let faults = ABORT.replace("percentage: 100", "percentage: 50");
    format!("{faults}    tls:\n    - {{service: {{TARGET}}, certificateSecret: {secret}, upstream: {upstream}}}\n")
}

/// Nothing is changed for a certificate that the namespace does not name; gives the command that makes it do so.
fn refusal(stage: &Stage<'_>, target: &Target) -> String {
    stage.experiment(target, SECONDS, &experiment("secure-tls", "{caConfigMap: secure-ca}"));
    let status = stage.ended(target, PATIENCE);
    let why = status["result"]["failureReport"]["message"].as_str().unwrap_or_else(|| panic!("{status:#}"));
    assert!(why.contains("SecretNotAllowed"), "{why}");
    stage.assert_as_before(target);
    let (_, command) = why.split_once("kubectl annotate").unwrap_or_else(|| panic!("{why}"));
    format!("kubectl annotate{command}")
}
