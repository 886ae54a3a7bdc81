//! A namespace with a service of two pods, and as many Services in front of it as there are experiments.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    bed::Bed,
    traffic::{Fate, Traffic},
    tutorial::lasting,
};

/// For whatever has to become so on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The service.
const SERVICE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: ratings}
spec:
  replicas: 2
  selector: {matchLabels: {app: ratings}}
  template:
    metadata: {labels: {app: ratings}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 15
      containers:
      - name: ratings
        image: IMAGE
        args: [bookinfo, ratings, --listen=0.0.0.0:9080]
        # Pods that go away still serve until everybody has heard of it, as is usual where a roll-out must not cost a request: one that
        # ends at once breaks off what it is at, with proxies of ours and without.
        lifecycle: {preStop: {sleep: {seconds: 5}}}
        # Without a request it would be served last of all pods: on a busy machine that looks like requests that are lost.
        resources: {requests: {cpu: 100m}}
        readinessProbe: {httpGet: {path: /health, port: 9080}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 6}
";

/// The cluster, its user, and what the user has in it.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The cluster.
    pub bed: &'a Bed,
    namespace: &'static str,
}

/// How the owner of a Service applies it, or somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `kubectl apply`.
    ClientSide,
    /// `kubectl apply --server-side`.
    ServerSide,
    /// `helm upgrade --install` of a chart with nothing else in it.
    Helm,
    /// `kubectl apply --server-side` of a manager who never had it, by force.
    AnotherByForce,
}

/// Whether the manifest of a Service says to which port of the pods it leads; one that does not means its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// It does.
    Written,
    /// It does not.
    Implied,
}

/// A Service that experiments redirect.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: SocketAddr,
    /// As it was before all experiments, without what any write changes.
    pub before: Value,
    namespace: &'static str,
}

impl Target {
    /// What `kubectl get pods` lists its proxies by.
    pub fn proxies(&self) -> String {
        let uid = self.before["metadata"]["uid"].as_str().unwrap();
        format!("-n {} -l glooshot.solo.io/service-uid={uid}", self.namespace)
    }
}

fn manifest(name: &str, target_port: TargetPort) -> String {
    let target_port = if target_port == TargetPort::Written { ", targetPort: 9080" } else { "" };
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, \
         spec: {{selector: {{app: ratings}}, ports: [{{name: http, port: 9080{target_port}}}]}}}}"
    )
}

/// Glooshot in a cluster where the tutorial has not brought it.
pub fn install(bed: &Bed) {
    // Nothing in a scene asks a Prometheus.
    bed.shell("glooshot register\nglooshot init --prometheus-url http://prometheus.invalid:9090");
}

impl<'a> Stage<'a> {
    /// In a cluster with Glooshot in it: makes a namespace, and waits for the service in it.
    pub fn set(bed: &'a Bed, namespace: &'static str) -> Self {
        let service = SERVICE.replace("IMAGE", "$GLOOSHOT_IMAGE");
        bed.shell(&format!(
            "kubectl create namespace {namespace}
             glooshot enable -n {namespace}
             kubectl apply -n {namespace} -f - <<END\n{service}\nEND
             kubectl rollout status -n {namespace} deployment/ratings --timeout=90s"
        ));
        Self { bed, namespace }
    }

    /// A Service in front of the service, which answers.
    pub fn target(&self, name: &str) -> Target {
        self.target_of(name, Owner::ClientSide, TargetPort::Written)
    }

    /// One that is applied like this.
    pub fn target_of(&self, name: &str, owner: Owner, target_port: TargetPort) -> Target {
        self.apply_service(name, owner, target_port);
        let target = self.found(name);
        let traffic = Traffic::new_connections(target.address, 20);
        traffic.first(&Fate::Good, Instant::now(), PATIENCE);
        // Its requests from before may have failed.
        drop(traffic);
        target
    }

    /// A Service that is there, by its first port.
    pub fn found(&self, name: &str) -> Target {
        let service = self.bed.get(&format!("service -n {} {name}", self.namespace));
        let (ip, port) = (service["spec"]["clusterIP"].as_str().unwrap(), &service["spec"]["ports"][0]["port"]);
        let address = format!("{ip}:{port}").parse().unwrap();
        Target { name: name.to_owned(), address, before: lasting(service), namespace: self.namespace }
    }

    /// Somebody applies a Service, for the first time or again.
    pub fn apply_service(&self, name: &str, owner: Owner, target_port: TargetPort) {
        let flags = match owner {
            Owner::ClientSide => "",
            Owner::ServerSide => "--server-side --field-manager=owner",
            Owner::AnotherByForce => "--server-side --force-conflicts --field-manager=another",
            Owner::Helm => {
                let value = if target_port == TargetPort::Written { "--set targetPort=9080" } else { "" };
                let chart = "tests/in_cluster/chart";
                self.shell(&format!("helm upgrade --install -n {} {name} {chart} {value}", self.namespace));
                return;
            }
        };
        self.apply(&manifest(name, target_port), flags);
    }

    fn apply(&self, manifest: &str, flags: &str) {
        self.bed.shell(&format!("kubectl apply -n {} {flags} -f - <<'END'\n{manifest}\nEND", self.namespace));
    }

    /// Applies an Experiment on this target, named as it, that lasts so long; `more` is the rest of its inner spec.
    pub fn experiment(&self, target: &Target, seconds: u64, more: &str) {
        self.experiment_routed(target, seconds, "settle: 0s", more);
    }

    /// The same, routed like this.
    pub fn experiment_routed(&self, target: &Target, seconds: u64, routing: &str, more: &str) {
        let name = &target.name;
        let spec = format!(
            "    duration: {seconds}s\n    routing: {{{routing}}}\n{}",
            more.replace("{TARGET}", &format!("{{name: {name}, namespace: {}}}", self.namespace))
        );
        let head = format!("apiVersion: glooshot.solo.io/v1\nkind: Experiment\nmetadata: {{name: {name}}}");
        self.apply(&format!("{head}\nspec:\n  spec:\n{spec}"), "");
    }

    /// The status of the Experiment on this target.
    pub fn status(&self, target: &Target) -> Value {
        self.bed.get(&format!("exp -n {} {}", self.namespace, target.name))["status"].clone()
    }

    /// The Service on this target.
    pub fn service(&self, target: &Target) -> Value {
        self.bed.get(&format!("service -n {} {}", self.namespace, target.name))
    }

    /// Waits until the Service selects the proxies.
    #[track_caller]
    pub fn selects_proxies(&self, target: &Target) {
        self.selects(target, "!=");
    }

    /// Waits until the Service selects the real pods.
    #[track_caller]
    pub fn is_put_back(&self, target: &Target) {
        self.selects(target, "=");
    }

    /// Looks seldom: each look costs what is measured meanwhile.
    #[track_caller]
    fn selects(&self, target: &Target, how: &str) {
        let get = format!("kubectl get service -n {} {}", self.namespace, target.name);
        let (app, seconds) = ("-o jsonpath={.spec.selector.app}", PATIENCE.as_secs());
        self.shell(&format!(
            "end=$((SECONDS + {seconds}))
             until [ \"$({get} {app})\" {how} ratings ]; do [ $SECONDS -lt $end ]; sleep 0.3; done"
        ));
    }

    /// Waits until the Experiment has a result and everything is put back; gives its status.
    #[track_caller]
    pub fn ended(&self, target: &Target, limit: Duration) -> Value {
        // A watch: to ask again and again would cost what is measured meanwhile.
        let seconds = limit.as_secs();
        self.shell(&format!(
            "kubectl wait -n {} exp/{} --for=condition=Restored --timeout={seconds}s",
            self.namespace, target.name
        ));
        let status = self.status(target);
        assert!(status["result"]["timeFinished"].is_string(), "{}: {status:#}", target.name);
        status
    }

    /// The Service is as it was before.
    #[track_caller]
    pub fn assert_as_before(&self, target: &Target) {
        let now = lasting(self.service(target));
        assert_eq!(now, target.before, "{}: the Service is not as it was", target.name);
    }

    /// A program of ours says or does something.
    pub fn shell(&self, commands: &str) -> String {
        self.bed.shell(commands)
    }
}

/// Every request is answered in the place of the service.
pub const ABORT: &str = "    faults:
    - destinationServices: [{TARGET}]
      fault: {abort: {httpStatus: 500}, percentage: 100}
";
/// Nothing is broken, and it is watched whether anything breaks.
pub const WATCH: &str = "    failureConditions:
    - name: errors
      trigger:
        traffic:
          service: {TARGET}
          metric: ErrorRate
          interval: 2s
          thresholdValue: 0.5
          comparisonOperator: '>'
";
/// Every request is answered in the place of the service, until more than half of a second's are.
pub const TRIP: &str = "    failureConditions:
    - name: errors
      trigger:
        traffic:
          service: {TARGET}
          metric: ErrorRate
          interval: 1s
          excludeInjected: false
          thresholdValue: 0.5
          comparisonOperator: '>'
";
