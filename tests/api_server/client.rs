//! Requests to the API server whose refusals are looked at: by field and message, not as text.

use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::control_plane::ControlPlane;

/// A client with its own runtime.
pub struct ApiClient {
    runtime: Runtime,
    client: Client,
}

impl ApiClient {
    /// As the administrator of `control_plane`.
    pub fn of(control_plane: &ControlPlane) -> Self {
        Self::with(control_plane, None)
    }

    /// As this user, by the administrator's right to be anybody.
    pub fn acting_as(control_plane: &ControlPlane, user: &str) -> Self {
        Self::with(control_plane, Some(user.to_owned()))
    }

    fn with(control_plane: &ControlPlane, user: Option<String>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
        let client = runtime.block_on(async {
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            config.auth_info.impersonate = user;
            Client::try_from(config).unwrap()
        });
        Self { runtime, client }
    }

    /// Sends `body` with `method` to `path`.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Value, Box<Status>> {
        let request = Request::builder().method(method).uri(path).header("Content-Type", kind);
        let request = request.body(body.to_string().into_bytes()).unwrap();
        match self.runtime.block_on(self.client.request::<Value>(request)) {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err(status),
            Err(other) => panic!("{method} {path}: {other}"),
        }
    }

    /// Whether the API server would store `object`: everything is done but the storing.
    pub fn would_create(&self, object: &Value) -> Result<Value, Box<Status>> {
        self.send(
            "POST",
            &format!("{}?dryRun=All&fieldValidation=Strict", collection(object)),
            "application/json",
            object,
        )
    }

    /// Stores `object`, and gives what is stored.
    #[track_caller]
    pub fn creates(&self, object: &Value) -> Value {
        self.send("POST", &collection(object), "application/json", object).unwrap()
    }

    /// Merges `patch` into a stored object, or into its subresource.
    pub fn patch(&self, object: &Value, subresource: &str, patch: &Value) -> Result<Value, Box<Status>> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("{}/{name}{subresource}", collection(object));
        self.send("PATCH", &path, "application/merge-patch+json", patch)
    }
}

/// The path of the collection that an object belongs to.
pub fn collection(object: &Value) -> String {
    let (group, plural) = match object["kind"].as_str().unwrap() {
        "Experiment" => ("apis/glooshot.solo.io/v1", "experiments"),
        "RoutingRule" => ("apis/glooshot.solo.io/v1", "routingrules"),
        "Report" => ("apis/glooshot.solo.io/v1", "reports"),
        "Mesh" => ("apis/glooshot.solo.io/v1", "meshes"),
        "Deployment" => ("apis/apps/v1", "deployments"),
        "StatefulSet" => ("apis/apps/v1", "statefulsets"),
        "DaemonSet" => ("apis/apps/v1", "daemonsets"),
        "PodDisruptionBudget" => ("apis/policy/v1", "poddisruptionbudgets"),
        "NetworkPolicy" => ("apis/networking.k8s.io/v1", "networkpolicies"),
        "ServiceAccount" => ("api/v1", "serviceaccounts"),
        "Service" => ("api/v1", "services"),
        other => panic!("{other} is not a kind of ours, nor one that the controller writes"),
    };
    format!("/{group}/namespaces/{}/{plural}", object["metadata"]["namespace"].as_str().unwrap())
}

/// Every refusal as the field that it names and what it says.
pub fn causes(status: &Status) -> Vec<(String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.map(|cause| (cause.field.clone(), cause.message.clone())).collect()
}
