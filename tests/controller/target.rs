//! A Service that a controller process redirects without a node, what is in its namespace, and the Experiment on it.

use std::{
    net::SocketAddr,
    process,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use http_body_util::BodyExt as _;
use kube::{Client, config::Kubeconfig};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    time::{interval, timeout},
};

use crate::{
    control_plane::ControlPlane,
    kubectl::comparable,
    kubelet::{Background, Kubelet, Tokens, connect, furnish, runtime},
    stage::{Controller, SOON, Stage, is_over},
};

/// Between two looks at the API server.
const LOOK: Duration = Duration::from_millis(50);
/// Everything that may be of ours or of the target's, but for the Experiment and what is a record of it.
const KINDS: [&str; 14] = [
    "api/v1/services",
    "api/v1/endpoints",
    "api/v1/pods",
    "api/v1/serviceaccounts",
    "api/v1/secrets",
    "api/v1/configmaps",
    "apis/apps/v1/deployments",
    "apis/apps/v1/replicasets",
    "apis/policy/v1/poddisruptionbudgets",
    "apis/discovery.k8s.io/v1/endpointslices",
    "apis/networking.k8s.io/v1/networkpolicies",
    "apis/rbac.authorization.k8s.io/v1/roles",
    "apis/rbac.authorization.k8s.io/v1/rolebindings",
    "apis/coordination.k8s.io/v1/leases",
];
/// What the Experiment is called.
pub const NAME: &str = "abort";

/// A stage with the Service `ratings`, whose proxies run in the test's process.
pub struct Target<'a> {
    pub stage: Stage<'a>,
    /// Where its controllers take the calls of the proxies.
    pub control: SocketAddr,
    runtime: Runtime,
    client: Client,
    _kubelet: Background,
}

impl<'a> Target<'a> {
    /// New namespaces of this name.
    pub fn new(control_plane: &'a ControlPlane, name: &str) -> Self {
        let stage = Stage::new(control_plane, name);
        furnish(&stage.kubectl, name);
        apply_service(&stage);
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
        let (control, runtime) = (address(), runtime());
        let client = runtime.block_on(connect(kubeconfig.clone()));
        let kubelet = Kubelet::start(kubeconfig, name, control.to_string(), Tokens::default());
        Self { stage, control, runtime, client, _kubelet: kubelet }
    }

    /// A controller of the Service that leads, whose own name is this.
    #[track_caller]
    pub fn controller(&self, name: &str) -> Controller {
        let controller = self.stage.controller_at(self.stage.kubeconfig(), name, &self.control.to_string(), &[]);
        controller.awaits_leading();
        controller
    }

    /// The owner of the Service applies it again.
    #[track_caller]
    pub fn is_applied_again(&self) {
        apply_service(&self.stage);
    }

    /// What the API server answers to a GET of this path; none if it knows no such thing.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.runtime.block_on(self.look(path))
    }

    async fn look(&self, path: &str) -> Option<Value> {
        let request = http::Request::get(format!("/{path}")).body(kube::client::Body::empty()).unwrap();
        let answer = self.client.send(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(matches!(status, 200 | 404), "{path}: {status} {}", String::from_utf8_lossy(&text));
        (status == 200).then(|| serde_json::from_slice(&text).unwrap())
    }

    /// Everything in the namespace, as far as it does not differ from one look to the next.
    pub fn world(&self) -> Vec<Value> {
        let namespace = &self.stage.namespace;
        let all = KINDS.iter().flat_map(|kind| {
            let (group, resource) = kind.rsplit_once('/').unwrap();
            let list = self.get(&format!("{group}/namespaces/{namespace}/{resource}")).unwrap();
            let items = list["items"].as_array().unwrap().clone();
            items.into_iter().map(move |item| json!({"kind": kind, "is": comparable(item)}))
        });
        all.collect()
    }

    /// What the Service selects.
    #[track_caller]
    pub fn selector(&self) -> Value {
        self.stage.get("service", "ratings").unwrap()["spec"]["selector"].clone()
    }

    /// Stores an Experiment of this name that only watches the Service: without faults it needs no traffic to succeed.
    pub fn watches(&self, name: &str, duration: &str, routing: &Value) {
        let service = json!({"name": "ratings", "namespace": self.stage.namespace});
        let trigger = json!({
            "service": service, "metric": "ErrorRate", "interval": "1s", "thresholdValue": 0.5, "comparisonOperator": ">",
        });
        let conditions = json!([{"name": "errors", "trigger": {"traffic": trigger}}]);
        let body = json!({"duration": duration, "routing": routing, "failureConditions": conditions});
        self.stage.apply(&self.stage.experiment(name, &json!({"spec": body})));
    }

    /// Breaks the Service for `duration`.
    pub fn breaks(&self, duration: &str) {
        self.breaks_routed(duration, &json!({"settle": "0s"}));
    }

    /// The same, routed like this.
    pub fn breaks_routed(&self, duration: &str, routing: &Value) {
        let target = json!({"name": "ratings", "namespace": self.stage.namespace});
        let mut experiment = self.stage.abort(NAME, &target, 100, duration);
        experiment["spec"]["spec"]["routing"] = routing.clone();
        self.stage.apply(&experiment);
    }

    /// The Experiment as it is now.
    pub fn experiment(&self) -> Option<Value> {
        self.get(&self.path())
    }

    fn path(&self) -> String {
        format!("apis/glooshot.solo.io/v1/namespaces/{}/experiments/{NAME}", self.stage.namespace)
    }

    /// What `probe` gives of the Experiment, as soon as it gives anything.
    #[track_caller]
    pub fn awaits<T>(&self, limit: Duration, what: &str, mut probe: impl FnMut(Option<&Value>) -> Option<T>) -> T {
        let path = self.path();
        let mut last = None;
        let looks = async {
            let mut look = interval(LOOK);
            loop {
                look.tick().await;
                last = self.look(&path).await;
                if let Some(found) = probe(last.as_ref()) {
                    return found;
                }
            }
        };
        let found = self.runtime.block_on(async { timeout(limit, looks).await });
        found.unwrap_or_else(|_| panic!("{}: not within {limit:?}: {what}: {last:#?}", self.stage.namespace))
    }

    /// Has it deleted, and waits until it is gone.
    #[track_caller]
    pub fn deletes_for_good(&self) {
        self.deletes();
        self.awaits(SOON, "it is gone", |it| it.is_none().then_some(()));
    }

    /// Asks for its deletion.
    pub fn deletes(&self) {
        let name = ["delete", "experiment", NAME, "--wait=false", "--ignore-not-found", "-n", &self.stage.namespace];
        self.stage.kubectl.succeeds(name);
    }
}

#[track_caller]
fn apply_service(stage: &Stage<'_>) {
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ratings", "namespace": stage.namespace},
        "spec": {"selector": {"app": "ratings"}, "ports": [{"name": "http", "port": 9080}]},
    }));
}

/// Whether it is over and holds nothing any more.
pub fn is_let_go(experiment: &Value) -> bool {
    is_over(experiment) && experiment["metadata"].get("finalizers").is_none()
}

/// An address of this machine that is no other test's: no other process has our number.
fn address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let [_, high, middle, low] = process::id().to_be_bytes();
    ([127, 32 + (high & 31), middle, low], NEXT.fetch_add(1, Ordering::Relaxed)).into()
}
