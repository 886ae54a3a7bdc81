//! The Deployment behind a test's Service where no controller of workloads runs: its pods are made, replaced and ended by the test.

use std::time::Duration;

use glooshot::paths::redirect::names;
use serde_json::{Value, json};

use crate::{harness::patience::within, stage::Stage};

/// The annotation of its pod template.
const MARK: &str = names::RESTARTED_FOR;

/// What routes an Experiment that restarts it.
pub fn restarting() -> Value {
    json!({"settle": "0s", "reconnect": "RestartTargets"})
}

/// The Deployment `ratings`, which keeps the pod that every such namespace is furnished with.
#[derive(Debug)]
pub struct Workload<'a>(&'a Stage<'a>);

impl<'a> Workload<'a> {
    /// Applied server side by its owner.
    #[track_caller]
    pub fn behind(stage: &'a Stage<'a>) -> Self {
        let workload = Self(stage);
        workload.apply(None);
        let owner = workload.set("ratings-1");
        workload.patch("pod", "ratings-v1", &[], &json!({"metadata": {"ownerReferences": owner}}));
        workload.is_rolled_out();
        workload
    }

    /// Its owner applies it, without force, with or without an annotation of the owner's own in the template.
    #[track_caller]
    pub fn apply(&self, annotation: Option<&str>) {
        let mut deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ratings", "namespace": self.0.namespace},
            "spec": {
                "replicas": 1, "selector": {"matchLabels": {"app": "ratings"}},
                "template": {
                    "metadata": {"labels": {"app": "ratings", "version": "v1"}},
                    "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 9080}]}]},
                },
            },
        });
        if let Some(value) = annotation {
            deployment["spec"]["template"]["metadata"]["annotations"] = json!({"owner.test/note": value});
        }
        let how = ["apply", "--server-side", "--field-manager=owner", "--filename=-"];
        let applied = self.0.kubectl.run_reading(&deployment.to_string(), how);
        assert_eq!(applied.code, Some(0), "{}", applied.errors);
    }

    /// The Deployment as it is.
    #[track_caller]
    pub fn now(&self) -> Value {
        self.0.get("deployment", "ratings").unwrap()
    }

    /// For which Experiment it was restarted last, by its uid.
    #[track_caller]
    pub fn restarted_for(&self) -> Option<String> {
        let annotations = &self.now()["spec"]["template"]["metadata"]["annotations"];
        annotations[MARK].as_str().map(str::to_owned)
    }

    /// Waits until it is restarted; gives the uid of the Experiment.
    #[track_caller]
    pub fn awaits_restart(&self, limit: Duration) -> String {
        within(limit, "the workload is restarted", || self.restarted_for())
    }

    /// Replaces its pod by one of its latest template, as Kubernetes does.
    #[track_caller]
    pub fn rolls_out(&self) {
        let (namespace, template) = (&self.0.namespace, self.now()["spec"]["template"].clone());
        self.0.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "ratings-v2", "namespace": namespace,
                "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
                "ownerReferences": self.set("ratings-2"),
            },
            "spec": template["spec"],
        }));
        let status = json!({"status": {
            "phase": "Running", "podIP": "10.1.0.2", "podIPs": [{"ip": "10.1.0.2"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        self.patch("pod", "ratings-v2", &["--subresource=status"], &status);
        self.0.kubectl.succeeds(["delete", "pod", "ratings-v1", "-n", namespace, "--grace-period=0", "--force"]);
        self.is_rolled_out();
    }

    /// What its controller says when all is done.
    fn is_rolled_out(&self) {
        let generation = &self.now()["metadata"]["generation"];
        let status = json!({"status": {
            "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        }});
        self.patch("deployment", "ratings", &["--subresource=status"], &status);
    }

    /// A ReplicaSet of it; gives what a pod says that it keeps.
    fn set(&self, set: &str) -> Value {
        let (namespace, deployment) = (&self.0.namespace, self.now());
        let owner = |kind: &str, name: &str, object: &Value| {
            let uid = &object["metadata"]["uid"];
            json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
        };
        self.0.apply(&json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": set, "namespace": namespace, "ownerReferences": owner("Deployment", "ratings", &deployment),
            },
            "spec": {
                "replicas": 1, "selector": {"matchLabels": {"app": "ratings"}},
                "template": {"metadata": {"labels": {"app": "ratings"}}, "spec": deployment["spec"]["template"]["spec"]},
            },
        }));
        owner("ReplicaSet", set, &self.0.get("replicaset", set).unwrap())
    }

    fn patch(&self, kind: &str, name: &str, more: &[&str], patch: &Value) {
        let patch = format!("--patch={patch}");
        let arguments = ["patch", kind, name, "-n", &self.0.namespace, "--type=merge", &patch];
        self.0.kubectl.succeeds(arguments.iter().chain(more).copied());
    }
}
