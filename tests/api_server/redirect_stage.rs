//! A namespace in which a Service can be redirected without a node: pods are objects, and the proxies run in the test's process.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use glooshot::{
    api::{
        failure_condition::{OnNoData, TrafficMetric},
        names::{Destination, ServiceName, ServicePort},
        plan::{Disruption, Endpoint, FencingToken, MatchRule},
        quantity::{ComparisonOperator, Percent},
        scenario::{ConditionRule, FaultRule, Scenario, Threshold, TrafficRule, TriggerRule},
    },
    control::{
        client,
        server::{Authenticator, Bounds, Hub, Identity, Server, Unauthenticated},
    },
    paths::redirect::{Holder, Owner, Redirect, RedirectPath, Reign, Settings, names},
    pki::{CurrentCertificate, Pki, Rule},
    proxy::{Moment, Origin, Proxy, ProxyConfig, StaticRoute, plain_route},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::{oneshot, watch},
    time::{interval, timeout},
};

use crate::{control_plane::ControlPlane, kubectl::Kubectl};

const NAME: &str = "glooshot-control.glooshot.svc";
/// Between two looks of what stands for a kubelet.
const LOOK: Duration = Duration::from_millis(50);
/// For anything that the API server and a few local connections can do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who has which token.
#[derive(Clone, Debug, Default)]
struct Tokens(Arc<Mutex<HashMap<String, Identity>>>);

impl Authenticator for Tokens {
    async fn authenticate(&self, token: &str, _: IpAddr) -> Result<Identity, Unauthenticated> {
        let known = self.0.lock().unwrap().get(token).cloned();
        known.ok_or_else(|| Unauthenticated::Refused("nobody has this token".to_owned()))
    }
}

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
    _background: Background,
}

/// The controller's server and what stands for a kubelet, on a thread of their own: they go on while a test waits for kubectl.
struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.take();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

impl Background {
    fn start(kubeconfig: Kubeconfig, namespace: String, pki: &Pki) -> (Hub, SocketAddr, Self) {
        let (certificate, bundle) = (pki.certified_key().unwrap(), pki.bundle());
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let files = TempDir::new().unwrap();
            std::fs::write(files.path().join("ca.pem"), bundle).unwrap();
            runtime().block_on(async move {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let certificate = Arc::new(CurrentCertificate::new(certificate));
                let tokens = Tokens::default();
                let server = Server::start(listener, certificate, tokens.clone(), Bounds::default()).unwrap();
                started.send((server.hub(), server.address())).unwrap();
                let client = connect(kubeconfig).await;
                let controller = server.address().to_string();
                let kubelet = Kubelet { client, namespace, controller, files, tokens, proxies: HashMap::new() };
                tokio::select! {
                    () = kubelet.run() => {}
                    _dropped = stopped => {}
                }
            });
        });
        let (hub, address) = start.recv().unwrap();
        (hub, address, Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(kubeconfig: Kubeconfig) -> Client {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "a certificate is judged by the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl Stage {
    /// A new namespace of this name.
    pub fn new(control_plane: &ControlPlane, namespace: &str) -> Self {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let runtime = runtime();
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
        let pki = Pki::new(&[NAME.to_owned()], &Rule::default(), wall_clock()).unwrap();
        let fencing = FencingToken { lease_created: 1, transitions: 1 };
        let reign = Reign { fencing, until: Moment::now().plus(Duration::from_secs(3600)) };
        let (reign, reigns) = watch::channel(Some(reign));
        let (live, _) = watch::channel(Moment::now());
        let (hub, address, background) = Background::start(kubeconfig.clone(), namespace.to_owned(), &pki);
        let settings = Settings {
            image: "glooshot.local/glooshot:test".into(),
            pull_secrets: vec![],
            control_address: format!("{NAME}:{}", address.port()),
            control_ca: pki.bundle(),
            replicas: 2,
        };
        let client = runtime.block_on(connect(kubeconfig));
        let redirect = Redirect::new(client.clone(), hub.clone(), settings, reigns);
        let stage = Self {
            runtime,
            client,
            namespace: namespace.to_owned(),
            kubectl: Kubectl::new(control_plane.kubeconfig()),
            hub,
            reign,
            redirect,
            live,
            _background: background,
        };
        stage.furnish();
        stage
    }

    /// The namespace, a pod of the Service, and the endpoints that its origin will have.
    fn furnish(&self) {
        let namespace = &self.namespace;
        let objects = [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "ratings-v1", "namespace": namespace, "labels": {"app": "ratings", "version": "v1"}},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 9080}]}]},
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {
                    "name": "ratings-glooshot-1", "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": "ratings-glooshot"},
                },
                "ports": [{"name": "http", "port": 9080}],
                "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": true}}],
            }),
        ];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let made = self.kubectl.run_reading(&list.to_string(), ["create", "--filename=-"]);
        assert_eq!(made.code, Some(0), "{}", made.errors);
        self.runtime.block_on(make_ready(&self.client, namespace, "ratings-v1", "10.1.0.1"));
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
            settle: Duration::ZERO,
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

async fn make_ready(client: &Client, namespace: &str, pod: &str, ip: &str) {
    let status = json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    api.patch_status(pod, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Stands for the controllers, the scheduler and the kubelet: makes the pods of our Deployments, and runs the proxies in them.
struct Kubelet {
    client: Client,
    namespace: String,
    controller: String,
    files: TempDir,
    tokens: Tokens,
    proxies: HashMap<String, (Proxy, client::Client)>,
}

impl Kubelet {
    async fn run(mut self) {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), &self.namespace);
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            let wanted = deployments.list(&ListParams::default()).await.unwrap().items;
            for deployment in &wanted {
                for index in 0..deployment.spec.as_ref().unwrap().replicas.unwrap() {
                    let name = format!("{}-{index}", deployment.name_any());
                    if !self.proxies.contains_key(&name) {
                        self.start(deployment, &name, index).await;
                    }
                }
            }
            let is_wanted = |pod: &str| wanted.iter().any(|it| pod.starts_with(&it.name_any()));
            let unwanted: Vec<String> = self.proxies.keys().filter(|pod| !is_wanted(pod)).cloned().collect();
            for pod in unwanted {
                self.proxies.remove(&pod);
                let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
                pods.delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
            }
            // Whoever connects to the Service connects to all of them here.
            for (proxy, _) in self.proxies.values() {
                let _counted = TcpStream::connect(proxy.listening()[0].1).await;
            }
        }
    }

    async fn start(&mut self, deployment: &Deployment, name: &str, index: i32) {
        let template = &deployment.spec.as_ref().unwrap().template;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": template.metadata.as_ref().unwrap().labels,
                "annotations": template.metadata.as_ref().unwrap().annotations,
            },
            "spec": template.spec,
        });
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let made = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let service =
            ServiceName { namespace: self.namespace.clone(), name: made.annotations()[names::SERVICE].clone() };
        let identity = Identity { service: service.clone(), pod: name.to_owned(), uid: made.uid().unwrap() };
        self.tokens.0.lock().unwrap().insert(name.to_owned(), identity);
        let token = self.files.path().join(name);
        std::fs::write(&token, name).unwrap();

        let port = ServicePort { service, port: 9080 };
        let nowhere = Endpoint { address: ([127, 0, 0, 1], 9).into(), subset: None };
        let origin = Origin { port: port.clone(), route: plain_route(port, vec![nowhere]) };
        let routes = vec![StaticRoute::plain(([127, 0, 0, 1], 0).into(), origin)];
        let proxy = Proxy::start(ProxyConfig { routes, workers: Some(1), ..ProxyConfig::default() }).unwrap();
        let settings = client::Settings {
            controllers: vec![self.controller.clone()],
            ca: self.files.path().join("ca.pem"),
            name: NAME.to_owned(),
            token,
        };
        let client = client::Client::start(settings, proxy.control()).unwrap();
        self.proxies.insert(name.to_owned(), (proxy, client));
        make_ready(&self.client, &self.namespace, name, &format!("10.2.0.{}", index + 1)).await;
    }
}
