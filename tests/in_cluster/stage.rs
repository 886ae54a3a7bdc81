//! A bed with Glooshot in it, a service with two pods, and as many Services in front of it as there are experiments.

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
metadata: {name: ratings, namespace: bookinfo}
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
        readinessProbe: {httpGet: {path: /health, port: 9080}, periodSeconds: 1}
";

/// The cluster, its user, and what the user has in it.
#[derive(Debug)]
pub struct Stage {
    /// The cluster.
    pub bed: Bed,
}

/// How the owner of a Service applies it.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// `kubectl apply`.
    ClientSide,
    /// `kubectl apply --server-side`.
    ServerSide,
}

impl Owner {
    fn flags(self) -> &'static str {
        match self {
            Self::ClientSide => "",
            Self::ServerSide => "--server-side --field-manager=owner",
        }
    }
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
    owner: Owner,
}

impl Target {
    /// As its owner has written it.
    fn manifest(&self) -> String {
        manifest(&self.name)
    }
}

fn manifest(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: bookinfo}}, \
         spec: {{selector: {{app: ratings}}, ports: [{{name: http, port: 9080, targetPort: 9080}}]}}}}"
    )
}

impl Stage {
    /// Starts the cluster, installs Glooshot, and waits for the service.
    pub fn set() -> Self {
        let bed = Bed::start();
        bed.shell(
            "glooshot register
             # Nothing here asks a Prometheus.
             glooshot init --prometheus-url http://prometheus.invalid:9090
             kubectl create namespace bookinfo
             glooshot enable -n bookinfo",
        );
        let service = SERVICE.replace("IMAGE", "$GLOOSHOT_IMAGE");
        bed.shell(&format!("kubectl apply -f - <<END\n{service}\nEND\nkubectl rollout status -n bookinfo deployment/ratings --timeout=60s"));
        Self { bed }
    }

    /// A Service in front of the service, which answers.
    pub fn target(&self, name: &str, owner: Owner) -> Target {
        self.apply(&manifest(name), owner.flags());
        let service = self.bed.get(&format!("service -n bookinfo {name}"));
        let address = format!("{}:9080", service["spec"]["clusterIP"].as_str().unwrap()).parse().unwrap();
        let target = Target { name: name.to_owned(), address, before: lasting(service), owner };
        let traffic = Traffic::new_connections(address, 20);
        traffic.first(&Fate::Good, Instant::now(), PATIENCE);
        // Its requests from before may have failed.
        drop(traffic);
        target
    }

    /// The owner of the Service applies it again, unchanged; or somebody else does, with other flags.
    pub fn reapply(&self, target: &Target, flags: Option<&str>) {
        self.apply(&target.manifest(), flags.unwrap_or(target.owner.flags()));
    }

    fn apply(&self, manifest: &str, flags: &str) {
        self.bed.shell(&format!("kubectl apply {flags} -f - <<'END'\n{manifest}\nEND"));
    }

    /// Applies an Experiment on this target, named as it, that lasts so long; `more` is the rest of its inner spec.
    pub fn experiment(&self, target: &Target, seconds: u64, more: &str) {
        let name = &target.name;
        let spec = format!("    duration: {seconds}s\n    routing: {{settle: 0s}}\n{}", more.replace("TARGET", name));
        let head = format!(
            "apiVersion: glooshot.solo.io/v1\nkind: Experiment\nmetadata: {{name: {name}, namespace: bookinfo}}"
        );
        self.apply(&format!("{head}\nspec:\n  spec:\n{spec}"), "");
    }

    /// The status of the Experiment on this target.
    pub fn status(&self, target: &Target) -> Value {
        self.bed.get(&format!("exp -n bookinfo {}", target.name))["status"].clone()
    }

    /// Waits until the Experiment has a result and everything is put back; gives its status.
    #[track_caller]
    pub fn ended(&self, target: &Target, limit: Duration) -> Value {
        // A watch: to ask again and again would cost what is measured meanwhile.
        let seconds = limit.as_secs();
        self.shell(&format!(
            "kubectl wait -n bookinfo exp/{} --for=condition=Restored --timeout={seconds}s",
            target.name
        ));
        let status = self.status(target);
        assert!(status["result"]["timeFinished"].is_string(), "{}: {status:#}", target.name);
        status
    }

    /// The Service is as it was before.
    #[track_caller]
    pub fn assert_as_before(&self, target: &Target) {
        let now = lasting(self.bed.get(&format!("service -n bookinfo {}", target.name)));
        assert_eq!(now, target.before, "{}: the Service is not as it was", target.name);
    }

    /// A program of ours says or does something.
    pub fn shell(&self, commands: &str) -> String {
        self.bed.shell(commands)
    }
}

/// Every request is answered in the place of the service.
pub const ABORT: &str = "    faults:
    - destinationServices: [{name: TARGET, namespace: bookinfo}]
      fault: {abort: {httpStatus: 500}, percentage: 100}
";
/// Nothing is broken, and it is watched whether anything breaks.
pub const WATCH: &str = "    failureConditions:
    - name: errors
      trigger:
        traffic:
          service: {name: TARGET, namespace: bookinfo}
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
          service: {name: TARGET, namespace: bookinfo}
          metric: ErrorRate
          interval: 1s
          excludeInjected: false
          thresholdValue: 0.5
          comparisonOperator: '>'
";
