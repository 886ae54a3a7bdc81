//! A namespace in which a Service can be redirected without a node, by a data path in the test's process.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use glooshot::{
    api::{
        experiment::{NetworkPolicyMode, Reconnect},
        failure_condition::{OnNoData, TrafficMetric},
        names::{Destination, ServiceName},
        plan::{Disruption, FencingToken, MatchRule},
        quantity::{ComparisonOperator, Percent},
        scenario::{ConditionRule, FaultRule, Scenario, Threshold, TrafficRule, TriggerRule},
    },
    control::server::{Bounds, Hub, Server},
    paths::redirect::{Holder, Owner, Redirect, RedirectPath, Reign, Settings, names},
    pki::{CurrentCertificate, Pki, Rule},
    proxy::Moment,
};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, config::Kubeconfig};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::watch,
    time::{interval, timeout},
};

use crate::{
    control_plane::ControlPlane,
    kubectl::Kubectl,
    kubelet::{Background, CONTROL, Kubelet, Tokens, connect, furnish, runtime},
};

/// Between two times that a waiting test says that the Experiment is there.
const LOOK: Duration = Duration::from_millis(50);
/// For anything that the API server and a few local connections can do.
const PATIENCE: Duration = Duration::from_secs(30);

/// One namespace, with the Service `ratings` and one ready pod of it.
pub struct Stage {
    pub runtime: Runtime,
    pub client: Client,
    pub namespace: String,
    pub kubectl: Kubectl,
    pub hub: Hub,
    pub reign: watch::Sender<Option<Reign>>,
    pub redirect: Redirect,
    live: watch::Sender<Moment>,
    _kubelet: Background,
    _server: Background,
}

/// The controller's server, on a thread of its own: it goes on while a test waits for kubectl.
fn serve(pki: &Pki, tokens: Tokens) -> (Hub, SocketAddr, Background) {
    let certificate = Arc::new(CurrentCertificate::new(pki.certified_key().unwrap()));
    let (started, start) = mpsc::sync_channel(1);
    let background = Background::start(move || async move {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Server::start(listener, certificate, tokens, Bounds::default()).unwrap();
        started.send((server.hub(), server.address())).unwrap();
        std::future::pending::<()>().await;
    });
    let (hub, address) = start.recv().unwrap();
    (hub, address, background)
}

#[allow(clippy::disallowed_methods, reason = "a certificate is judged by the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl Stage {
    /// A new namespace of this name.
    pub fn new(control_plane: &ControlPlane, namespace: &str) -> Self {
        let runtime = runtime();
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
        let client = runtime.block_on(connect(kubeconfig.clone()));
        let pki = Pki::new(&[CONTROL.to_owned()], &Rule::default(), wall_clock()).unwrap();
        let fencing = FencingToken { lease_created: 1, transitions: 1 };
        let reign = Reign { fencing, until: Moment::now().plus(Duration::from_secs(3600)) };
        let (reign, reigns) = watch::channel(Some(reign));
        let (live, _) = watch::channel(Moment::now());
        let (tokens, kubectl) = (Tokens::default(), Kubectl::new(control_plane.kubeconfig()));
        kubectl.succeeds(["create", "namespace", namespace]);
        furnish(&kubectl, namespace);
        let (hub, address, server) = serve(&pki, tokens.clone());
        let settings = Settings {
            image: "glooshot.local/glooshot:test".into(),
            pull_secrets: vec![],
            namespace: "glooshot".into(),
            control_address: format!("{CONTROL}:{}", address.port()),
            control_ca: pki.bundle(),
            replicas: 2,
        };
        let redirect = Redirect::new(client.clone(), hub.clone(), settings, reigns);
        let kubelet = Kubelet::start(kubeconfig, namespace, address.to_string(), tokens);
        Self {
            runtime,
            client,
            namespace: namespace.to_owned(),
            kubectl,
            hub,
            reign,
            redirect,
            live,
            _kubelet: kubelet,
            _server: server,
        }
    }

    /// The Service's manifest, as its owner keeps it.
    pub fn manifest(&self, selector: &Value, target_port: Option<&Value>) -> Value {
        let mut port = json!({"name": "http", "port": 9080});
        if let Some(target) = target_port {
            port["targetPort"] = target.clone();
        }
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "ratings", "namespace": self.namespace, "labels": {"app": "ratings"}},
            "spec": {"selector": selector, "ports": [port]},
        })
    }

    /// Applies a manifest as the owner does.
    #[track_caller]
    pub fn apply(&self, manifest: &Value, how: &[&str]) {
        let arguments = ["apply", "--filename=-"].iter().chain(how).copied();
        let applied = self.kubectl.run_reading(&manifest.to_string(), arguments);
        assert_eq!(applied.code, Some(0), "{how:?}: {}", applied.errors);
    }

    /// The Service as it is, with everything that the API server remembers.
    pub fn service(&self) -> Value {
        let api = Api::<Service>::namespaced(self.client.clone(), &self.namespace);
        serde_json::to_value(self.runtime.block_on(api.get("ratings")).unwrap()).unwrap()
    }

    pub fn service_name(&self) -> ServiceName {
        ServiceName { namespace: self.namespace.clone(), name: "ratings".into() }
    }

    /// The value of each label that the Service selects by while it is redirected.
    pub fn proxy(&self) -> String {
        names::proxy(self.service()["metadata"]["uid"].as_str().unwrap())
    }

    pub fn owner(&self, name: &str) -> Owner {
        Owner { namespace: self.namespace.clone(), name: name.into(), uid: self.uid(name), kind: Holder::Experiment }
    }

    /// The uid of the experiment or rule with this name: one of its own in each namespace, as in a cluster, since a release goes
    /// through all of them.
    pub fn uid(&self, name: &str) -> String {
        format!("uid-{}-{name}", self.namespace)
    }

    /// The path of a run of the experiment with this name.
    pub fn path(&self, name: &str) -> RedirectPath {
        let deadline = "2030-01-01T00:00:00Z".parse().unwrap();
        self.redirect.path(self.owner(name), deadline, self.live.subscribe())
    }

    /// Aborts all requests to the Service, until more than half of the rest fail.
    pub fn scenario(&self) -> Scenario {
        let service = Destination { service: self.service_name(), port: None, subset: None };
        let fault = FaultRule {
            origins: vec![],
            destinations: vec![service.clone()],
            matches: MatchRule::default(),
            percentage: Percent::try_from(100.0).unwrap(),
            disruption: Disruption::AbortHttp(500),
        };
        let condition = TrafficRule {
            service,
            metric: TrafficMetric::ErrorRate,
            interval: Duration::from_secs(1),
            min_requests: 1,
            exclude_injected: true,
            threshold: Threshold { value: 0.5, operator: ComparisonOperator::Greater },
        };
        let trigger = TriggerRule::Traffic(condition);
        Scenario {
            experiment: ServiceName { namespace: self.namespace.clone(), name: "abort".into() },
            duration: Duration::from_secs(60),
            faults: vec![fault],
            conditions: vec![ConditionRule { name: None, on_no_data: OnNoData::Ignore, trigger }],
            max_injected: None,
            max_concurrent_delays: 10,
            min_injected: 1,
            network_policy: NetworkPolicyMode::Refuse,
            settle: Duration::ZERO,
            reconnect: Reconnect::None,
        }
    }

    /// Waits for what a future gives.
    #[track_caller]
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        // As a controller does that sees the Experiment all the time.
        let alive = async {
            let mut look = interval(LOOK);
            loop {
                look.tick().await;
                self.live.send_replace(Moment::now());
            }
        };
        let done = self.runtime.block_on(async {
            tokio::select! {
                done = timeout(PATIENCE, future) => done,
                () = alive => std::future::pending().await,
            }
        });
        done.unwrap_or_else(|_| panic!("{}: not in time", self.namespace))
    }
}
