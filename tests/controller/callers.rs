//! Who may call the control channel: a pod of our own proxy with a token of its own, and nobody else.

use std::fs;

use glooshot::paths::redirect::names;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    control_plane::registered,
    stage::{Controller, Stage},
};
use crate::harness::{Glooshot, Setup, eventually, upstream::Upstream};

/// The name that the certificate is for.
const NAME: &str = "glooshot-control.glooshot.svc";

/// A Service, and a pod of our proxy for it, as far as an API server without nodes has one.
struct Proxied<'a> {
    stage: &'a Stage<'a>,
    account: String,
    files: TempDir,
}

impl<'a> Proxied<'a> {
    fn new(stage: &'a Stage<'a>) -> Self {
        let (namespace, files) = (&stage.namespace, TempDir::new().unwrap());
        stage.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ratings", "namespace": namespace},
            "spec": {"selector": {"app": "ratings"}, "ports": [{"port": 9080}]},
        }));
        let uid = stage.get("service", "ratings").unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
        let account = names::proxy(&uid);
        stage.kubectl.succeeds(["create", "serviceaccount", &account, "-n", namespace]);
        let proxied = Self { stage, account, files };
        proxied.pod("proxy", &uid, "127.0.0.1");
        proxied.pod("moved", &uid, "127.0.0.9");
        proxied.pod("of-another-service", "0000", "127.0.0.1");
        proxied
    }

    /// A pod of our proxy for the Service with this uid.
    fn pod(&self, name: &str, service_uid: &str, address: &str) {
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{}-6d4b75cb6d", self.account),
            "uid": "00000000-0000-0000-0000-000000000000", "controller": true,
        });
        self.stage.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": self.stage.namespace, "ownerReferences": [owner],
                "labels": {names::MANAGED_BY: names::US, names::SERVICE_UID: service_uid},
                "annotations": {names::SERVICE: "ratings"},
            },
            "spec": {"serviceAccountName": self.account, "containers": [{"name": "proxy", "image": "none"}]},
        }));
        let status = format!("--patch={}", json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}}));
        let namespace = &self.stage.namespace;
        self.stage.kubectl.succeeds(["patch", "pod", name, "-n", namespace, "--subresource=status", &status]);
    }

    /// A token of a pod, for an audience.
    fn token(&self, pod: &str, audience: &str) -> String {
        let audience = format!("--audience={audience}");
        let name = format!("--bound-object-name={pod}");
        let bound = ["--bound-object-kind=Pod", &name, &audience];
        let token = ["create", "token", &self.account, "-n", &self.stage.namespace];
        self.stage.kubectl.succeeds(token.into_iter().chain(bound)).trim_end().to_owned()
    }

    /// A proxy with this token that calls these controllers.
    fn calls(&self, controllers: &[&Controller], token: &str, upstream: &Upstream) -> Glooshot {
        let secret = ["get", "secret", "glooshot-control-ca", "-n", &self.stage.system, "-o=json"];
        let secret: Value = serde_json::from_str(&self.stage.kubectl.succeeds(secret)).unwrap();
        let stored = decoded(secret["data"]["pki.json"].as_str().unwrap());
        let pki = glooshot::pki::Pki::parse(&stored).unwrap();
        let file = |name: &str, content: &str| {
            let path = self.files.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let mut setup = Setup::proxy().to(upstream.address());
        for controller in controllers {
            setup = setup.with(["--control", &controller.control.to_string()]);
        }
        let (ca, token) = (file("ca.crt", &pki.bundle()), file(&format!("token-{}", token.len()), token));
        setup.with(["--control-ca", &ca, "--control-name", NAME, "--control-token", &token]).start()
    }
}

fn decoded(text: &str) -> Vec<u8> {
    serde_json::from_value::<k8s_openapi::ByteString>(json!(text)).unwrap().0
}

fn connected(proxy: &Glooshot) -> f64 {
    proxy.metrics().sum("glooshot_proxy_controllers_connected", &[])
}

#[test]
fn a_pod_of_our_proxy_is_heard_by_every_replica_whichever_made_the_certificates() {
    let stage = Stage::new(registered(), "heard");
    let proxied = Proxied::new(&stage);
    let controllers = std::thread::scope(|scope| {
        let starts = ["one", "two", "three"].map(|name| scope.spawn(|| stage.controller(name)));
        starts.map(|start| start.join().unwrap())
    });
    let upstream = Upstream::ok();
    let all: Vec<&Controller> = controllers.iter().collect();
    let proxy = proxied.calls(&all, &proxied.token("proxy", names::AUDIENCE), &upstream);
    eventually("all three have taken it for what it is", || (connected(&proxy) == 3.0).then_some(()));
}

#[test]
fn a_token_of_another_pod_audience_or_address_is_refused() {
    let stage = Stage::new(registered(), "strangers");
    let proxied = Proxied::new(&stage);
    let controller = stage.controller("one");
    let upstream = Upstream::ok();
    let ours = names::AUDIENCE;
    let namespace = &stage.namespace;
    stage.kubectl.succeeds(["create", "serviceaccount", "other", "-n", namespace]);
    let audience = format!("--audience={ours}");
    let unbound = stage.kubectl.succeeds(["create", "token", &proxied.account, "-n", namespace, &audience]);
    let strangers = [
        ("for another audience", proxied.token("proxy", "https://kubernetes.default.svc")),
        ("bound to no pod", unbound.trim_end().to_owned()),
        ("of a pod at another address", proxied.token("moved", ours)),
        ("of a pod for another Service", proxied.token("of-another-service", ours)),
        ("no token at all", "x".repeat(40)),
    ];
    for (what, token) in strangers {
        let before = controller.metric("glooshot_controller_proxies_refused_total");
        let proxy = proxied.calls(&[&controller], &token, &upstream);
        eventually(&format!("a token {what} is refused"), || {
            (controller.metric("glooshot_controller_proxies_refused_total") > before).then_some(())
        });
        assert_eq!(connected(&proxy), 0.0, "{what}");
    }
    let proxy = proxied.calls(&[&controller], &proxied.token("proxy", ours), &upstream);
    eventually("the right one is heard", || (connected(&proxy) == 1.0).then_some(()));
}
