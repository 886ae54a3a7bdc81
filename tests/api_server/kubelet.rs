//! What stands for controllers, scheduler, kubelet and kube-proxy where there is no node: pods are objects, and the proxies in them run in
//! the test's process.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use glooshot::{
    api::{
        names::{ServiceName, ServicePort},
        plan::Endpoint,
    },
    control::{
        client,
        server::{Authenticator, Identity, Unauthenticated},
    },
    paths::redirect::names,
    proxy::{Origin, Proxy, ProxyConfig, StaticRoute, plain_route},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::interval,
};

use crate::kubectl::Kubectl;

/// The name in the certificates of the controllers.
pub const CONTROL: &str = "glooshot-control.glooshot.svc";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// The address of the proxies' pods: the one that their calls come from.
const HERE: &str = "127.0.0.1";

/// Something that goes on, on a thread of its own, until this is dropped.
pub struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts what `work` makes there.
    pub fn start<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            runtime().block_on(async move {
                tokio::select! {
                    () = work() => {}
                    _dropped = stopped => {}
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
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

/// A runtime for one thread.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A client of the API server.
pub async fn connect(kubeconfig: Kubeconfig) -> Client {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Who has which token, for a control channel in the test's process.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<HashMap<String, Identity>>>);

impl Authenticator for Tokens {
    async fn authenticate(&self, token: &str, _: IpAddr) -> Result<Identity, Unauthenticated> {
        let known = self.0.lock().unwrap().get(token).cloned();
        known.ok_or_else(|| Unauthenticated::Refused("nobody has this token".to_owned()))
    }
}

/// Furnishes a namespace with the account that every pod has, a ready pod of the Service `ratings`, and the endpoints that its origin will have.
pub fn furnish(kubectl: &Kubectl, namespace: &str) {
    let objects = [
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
    let made = kubectl.run_reading(&list.to_string(), ["create", "--filename=-"]);
    assert_eq!(made.code, Some(0), "{}", made.errors);
    let ready = format!("--patch={}", ready("10.1.0.1"));
    kubectl.succeeds(["patch", "pod", "ratings-v1", "-n", namespace, "--subresource=status", &ready]);
}

/// The status of a pod that is ready.
fn ready(ip: &str) -> serde_json::Value {
    json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }})
}

/// Makes the pods of our Deployments in one namespace, and runs the proxies in them.
pub struct Kubelet {
    client: Client,
    namespace: String,
    controller: String,
    files: TempDir,
    tokens: Tokens,
    proxies: HashMap<String, (Proxy, client::Client)>,
}

impl Kubelet {
    /// Starts one. Its proxies call the controller at `HOST:PORT`, with tokens of the API server that are noted in `tokens` as well.
    pub fn start(kubeconfig: Kubeconfig, namespace: &str, controller: String, tokens: Tokens) -> Background {
        let namespace = namespace.to_owned();
        Background::start(move || async move {
            let (client, files) = (connect(kubeconfig).await, TempDir::new().unwrap());
            Self { client, namespace, controller, files, tokens, proxies: HashMap::new() }.run().await;
        })
    }

    async fn run(mut self) {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), &self.namespace);
        let ours = ListParams::default().labels(&format!("{}={}", names::MANAGED_BY, names::US));
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            let wanted = deployments.list(&ours).await.unwrap().items;
            for deployment in &wanted {
                for index in 0..deployment.spec.as_ref().unwrap().replicas.unwrap() {
                    let name = format!("{}-{index}", deployment.name_any());
                    if !self.proxies.contains_key(&name) {
                        self.run_pod(deployment, &name).await;
                    }
                }
            }
            let is_wanted = |pod: &str| wanted.iter().any(|it| pod.starts_with(&it.name_any()));
            let unwanted: Vec<String> = self.proxies.keys().filter(|pod| !is_wanted(pod)).cloned().collect();
            for pod in unwanted {
                self.proxies.remove(&pod);
                self.pods().delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
            }
            // Whoever connects to the Service connects to all of them here.
            for (proxy, _) in self.proxies.values() {
                let _counted = TcpStream::connect(proxy.listening()[0].1).await;
            }
        }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn run_pod(&mut self, deployment: &Deployment, name: &str) {
        let template = &deployment.spec.as_ref().unwrap().template;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": template.metadata.as_ref().unwrap().labels,
                "annotations": template.metadata.as_ref().unwrap().annotations,
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                    "name": format!("{}-5d8f7c9b6d", deployment.name_any()), "uid": deployment.uid(),
                }],
            },
            "spec": template.spec,
        });
        let made = self.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let service =
            ServiceName { namespace: self.namespace.clone(), name: made.annotations()[names::SERVICE].clone() };
        let token = self.token(&made).await;
        let identity = Identity { service: service.clone(), pod: name.to_owned(), uid: made.uid().unwrap() };
        self.tokens.0.lock().unwrap().insert(token.clone(), identity);

        let port = ServicePort { service, port: 9080 };
        let nowhere = Endpoint { address: ([127, 0, 0, 1], 9).into(), subset: None };
        let origin = Origin { port: port.clone(), route: plain_route(port, vec![nowhere]) };
        let routes = vec![StaticRoute::plain(([127, 0, 0, 1], 0).into(), origin)];
        let proxy = Proxy::start(ProxyConfig { routes, workers: Some(1), ..ProxyConfig::default() }).unwrap();
        let status = Patch::Merge(ready(HERE));
        self.pods().patch_status(name, &PatchParams::default(), &status).await.unwrap();
        let settings = client::Settings {
            controllers: vec![self.controller.clone()],
            ca: self.write(&format!("{name}.pem"), &made.annotations()[names::CONTROL_CA]),
            name: CONTROL.to_owned(),
            token: self.write(name, &token),
        };
        let client = client::Client::start(settings, proxy.control()).unwrap();
        self.proxies.insert(name.to_owned(), (proxy, client));
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The token that the kubelet would mount.
    async fn token(&self, pod: &Pod) -> String {
        let bound = BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(pod.name_any()),
            uid: pod.uid(),
        };
        let spec = TokenRequestSpec {
            audiences: vec![names::AUDIENCE.to_owned()],
            bound_object_ref: Some(bound),
            ..TokenRequestSpec::default()
        };
        let account = pod.spec.as_ref().unwrap().service_account_name.as_ref().unwrap();
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &self.namespace);
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token
    }
}
