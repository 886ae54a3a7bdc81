//! A Service in a namespace that NetworkPolicies close: with `routing.networkPolicy: Mirror` those who may call it go on and meet the
//! faults, and nobody gets in who could not before.

use std::{thread, time::Duration};

use serde_json::Value;

use super::{
    stage::{ABORT, PATIENCE, Stage, Target, WATCH},
    traffic::Fate,
};
use crate::harness::patience::within;

const NAMESPACE: &str = "isolated";
/// For the faults.
const FAULTS: Duration = Duration::from_secs(10);
/// Requests until the proxies have drained.
const LONG_ENOUGH: &str = "--rate=20 --duration=75s --timeout=5s";

/// Nobody is let in anywhere or out, but for clients to the service; and a pod that is a client, and one that is none and may call whom it
/// likes.
const OBJECTS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: calls}
spec:
  podSelector: {matchExpressions: [{key: client, operator: Exists}]}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: clients}
spec:
  podSelector: {matchLabels: {app: ratings}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {client: ratings}}}], ports: [{port: 9080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {client: ratings}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: localhost/glooshot-pod:1}]
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, labels: {client: reviews}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: stranger, image: localhost/glooshot-pod:1}]
";
/// A client that can ask all the time; what it serves itself nobody asks for.
const LOAD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: load, labels: {client: ratings}}
spec:
  automountServiceAccountToken: false
  containers:
  - name: load
    image: $GLOOSHOT_IMAGE
    args: [bookinfo, details, --listen=0.0.0.0:9080]
    resources: {requests: {cpu: 100m}}
";

/// Asks from that client, each time over a connection of its own; gives what became of it.
fn load(stage: &Stage<'_>, address: &str, how: &str) -> Value {
    let loadgen =
        format!("/glooshot-loadgen http://{address}/ratings/7 --header='Connection: close' --output=json {how}");
    let said = stage.shell(&format!("kubectl exec -n {NAMESPACE} load -- {loadgen} 2>/dev/null || true"));
    said.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

fn count(load: &Value, status: &str) -> u64 {
    load["statuses"][status].as_u64().unwrap_or(0)
}

/// What a pod gets from there.
fn asks(stage: &Stage<'_>, pod: &str, address: &str) -> Fate {
    let get = format!("kubectl exec -n {NAMESPACE} {pod} -- /pod get http://{address}/ratings/7");
    let said = stage.shell(&format!("{get} 2>&1 || true"));
    match said {
        said if said.contains("500 Internal Server Error") => Fate::Injected,
        said if said.contains("\"ratings\"") => Fate::Good,
        said => Fate::Failed(said),
    }
}

/// Waits until that is what it gets.
#[track_caller]
fn awaits(stage: &Stage<'_>, pod: &str, address: &str, wanted: impl Fn(&Fate) -> bool) {
    within(PATIENCE, &format!("{pod} gets from {address} what it should"), || {
        wanted(&asks(stage, pod, address)).then_some(())
    });
}

fn is_shut_out(fate: &Fate) -> bool {
    matches!(fate, Fate::Failed(why) if why.contains("deadline exceeded") || why.contains("connect: "))
}

/// The addresses of pods, with the port of the service.
fn addresses(stage: &Stage<'_>, labels: &str) -> Vec<String> {
    let pods = stage.bed.get(&format!("pods -n {NAMESPACE} -l {labels}"));
    let addresses = pods["items"].as_array().unwrap().iter().map(|pod| pod["status"]["podIP"].as_str().unwrap());
    addresses.map(|address| format!("{address}:9080")).collect()
}

/// A namespace whose pods let nobody in, but for one kind of client to one service, for a whole run.
pub fn with_mirror(shop: &Stage<'_>) {
    let stage = Stage::set(shop.bed, NAMESPACE);
    let [target, quiet] = ["ratings", "quiet"].map(|name| stage.target(name));
    let service = target.address.to_string();
    stage.shell(&format!(
        "kubectl apply -n {NAMESPACE} -f - <<'END'\n{OBJECTS}\nEND
         kubectl wait -n {NAMESPACE} pod/client pod/stranger --for=condition=Ready --timeout=60s"
    ));
    let policies = || stage.shell(&format!("kubectl get networkpolicies -n {NAMESPACE} -o name"));
    let before = policies();
    awaits(&stage, "stranger", &service, is_shut_out);
    awaits(&stage, "client", &service, |fate| *fate == Fate::Good);
    stage.shell(&format!(
        "kubectl apply -n {NAMESPACE} -f - <<END\n{LOAD}\nEND
         kubectl wait -n {NAMESPACE} pod/load --for=condition=Ready --timeout=60s"
    ));
    within(PATIENCE, "the policies know of the last client", || {
        (count(&load(&stage, &service, "--count=1"), "200") == 1).then_some(())
    });
    // Another Service of the same pods, which nobody calls while it is redirected: neither stands in the way of the other.
    stage.experiment_routed(&quiet, 5, "settle: 0s, networkPolicy: Mirror", WATCH);
    let load = thread::scope(|scope| {
        let asking = scope.spawn(|| load(&stage, &service, LONG_ENOUGH));
        redirected(&stage, &target, &service);
        let status = stage.ended(&quiet, PATIENCE);
        assert_eq!(status["result"]["state"], "Succeeded", "{status:#}");
        // The controllers are strangers as well.
        let said = stage.shell("kubectl logs -n glooshot -l app.kubernetes.io/name=glooshot-controller --tail=-1");
        assert!(said.contains(&format!("Service {NAMESPACE}/quiet selects the proxies; no caller has come")), "{said}");
        // Its proxies have drained when it is gone.
        stage.shell(&format!("kubectl delete exp -n {NAMESPACE} quiet --timeout=90s"));
        stage.assert_as_before(&quiet);
        assert_eq!(policies(), before);
        asking.join().unwrap()
    });
    eprintln!("  {} requests of a client: {} {}", load["started"], load["statuses"], load["errors"]);
    let (good, injected) = (count(&load, "200"), count(&load, "500"));
    assert_eq!(good + injected, load["started"].as_u64().unwrap(), "{}", load["errors"]);
    assert!(good > 0 && injected > 0, "{}", load["statuses"]);
}

/// A whole run, from its Experiment's creation until everything of it is gone.
fn redirected(stage: &Stage<'_>, target: &Target, service: &String) {
    stage.experiment_routed(target, FAULTS.as_secs(), "settle: 1s, networkPolicy: Mirror", ABORT);
    awaits(stage, "client", service, |fate| *fate == Fate::Injected);
    let uid = target.before["metadata"]["uid"].as_str().unwrap();
    let proxies = addresses(stage, &format!("glooshot.solo.io/service-uid={uid}"));
    let pods = addresses(stage, "app=ratings");
    assert_eq!((proxies.len(), pods.len()), (2, 2), "{proxies:?} {pods:?}");
    for address in [service].into_iter().chain(&proxies).chain(&pods) {
        let fate = asks(stage, "stranger", address);
        assert!(is_shut_out(&fate), "a stranger reaches {address}: {fate:?}");
    }
    let ours = format!("kubectl get networkpolicies -n {NAMESPACE} -l glooshot.solo.io/service-uid={uid} -o name");
    assert_eq!(stage.shell(&ours).lines().count(), 2);
    let status = stage.ended(target, PATIENCE);
    assert_eq!(status["result"]["state"], "Succeeded", "{status:#}");

    stage.shell(&format!("kubectl delete exp -n {NAMESPACE} ratings --timeout=90s"));
    stage.assert_as_before(target);
    awaits(stage, "client", service, |fate| *fate == Fate::Good);
    for address in [service].into_iter().chain(&pods) {
        let fate = asks(stage, "stranger", address);
        assert!(is_shut_out(&fate), "a stranger reaches {address}: {fate:?}");
    }
}
