//! A namespace with Experiments, controllers that see nothing else, and kubectl.

use std::{net::SocketAddr, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    control_plane::ControlPlane,
    harness::{eventually, metrics::Metrics, patience::within},
    kubectl::Kubectl,
    program::{GLOOSHOT, Program},
};

/// From a start to readiness, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(30);

/// One test's part of a cluster.
#[derive(Debug)]
pub struct Stage<'a> {
    control_plane: &'a ControlPlane,
    /// The namespace of its Experiments.
    pub namespace: String,
    /// The namespace of its controllers.
    pub system: String,
    /// As its administrator.
    pub kubectl: Kubectl,
}

impl<'a> Stage<'a> {
    /// New namespaces of this name.
    #[track_caller]
    pub fn new(control_plane: &'a ControlPlane, name: &str) -> Self {
        let kubectl = Kubectl::new(control_plane.kubeconfig());
        let (namespace, system) = (name.to_owned(), format!("{name}-system"));
        for namespace in [&namespace, &system] {
            kubectl.succeeds(["create", "namespace", namespace]);
        }
        Self { control_plane, namespace, system, kubectl }
    }

    /// A kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> &Path {
        self.control_plane.kubeconfig()
    }

    /// A controller that is ready.
    #[track_caller]
    pub fn controller(&self, name: &str) -> Controller {
        self.controller_with(name, &[])
    }

    /// The same, with more arguments.
    #[track_caller]
    pub fn controller_with(&self, name: &str, more: &[&str]) -> Controller {
        self.controller_at(self.kubeconfig(), name, "127.0.0.1:0", more)
    }

    /// The same, with the cluster of this kubeconfig, and at this address for proxies.
    #[track_caller]
    pub fn controller_at(&self, kubeconfig: &Path, name: &str, control: &str, more: &[&str]) -> Controller {
        let mut arguments = vec!["controller", "--kubeconfig", kubeconfig.to_str().unwrap(), "--name", name];
        arguments.extend(["--namespace", &self.system, "--watch-namespace", &self.namespace, "--proxy-image", "none"]);
        arguments.extend(["--listen-control", control, "--listen-metrics", "127.0.0.1:0"]);
        arguments.extend(more);
        Controller::start(&arguments)
    }

    /// Stores an Experiment without faults.
    #[track_caller]
    pub fn create(&self, name: &str, duration: &str, settle: &str) {
        let spec = json!({"spec": {"duration": duration, "routing": {"settle": settle}}});
        self.apply(&self.experiment(name, &spec));
    }

    /// An Experiment with this spec.
    pub fn experiment(&self, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "glooshot.solo.io/v1", "kind": "Experiment",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        })
    }

    /// One that aborts a percentage of the requests to a service or an upstream, through our own proxy and at once.
    pub fn abort(&self, name: &str, target: &Value, percentage: u8, duration: &str) -> Value {
        let fault = json!({
            "destinationServices": [target],
            "fault": {"abort": {"httpStatus": 500}, "percentage": percentage},
        });
        let body = json!({
            "targetMesh": {"name": "glooshot-proxy", "namespace": self.system},
            "duration": duration, "routing": {"settle": "0s"}, "faults": [fault],
        });
        self.experiment(name, &json!({"spec": body}))
    }

    /// Stores an object.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        let ended = self.kubectl.run_reading(&object.to_string(), ["apply", "--filename=-"]);
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
    }

    /// The operator's switch: halted, or not any more.
    #[track_caller]
    pub fn halts(&self, halted: bool) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "glooshot-halt", "namespace": self.system},
            "data": {"halted": halted.to_string(), "reason": "incident 7"},
        }));
    }

    /// An object of the test's namespace, if it is there.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let ended = self.kubectl.run(["get", kind, name, "-n", &self.namespace, "-o=json", "--ignore-not-found"]);
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        serde_json::from_str(&ended.output).ok()
    }

    /// The result's state of an Experiment.
    pub fn state(&self, name: &str) -> Option<String> {
        Some(state(&self.get("experiment", name)?)?.to_owned())
    }

    /// Waits until an Experiment is in this state; gives it. One that is over and in another will never be.
    #[track_caller]
    pub fn awaits(&self, name: &str, wanted: &str) -> Value {
        within(SOON, &format!("{name} is {wanted}"), || {
            let object = self.get("experiment", name)?;
            let found = state(&object)?;
            assert!(found == wanted || !is_over(&object), "{name} is {found}, not {wanted}: {:#}", object["status"]);
            (found == wanted).then_some(object)
        })
    }

    /// Waits until an Experiment has a condition of this kind with this reason; gives its message.
    #[track_caller]
    pub fn awaits_reason(&self, name: &str, kind: &str, reason: &str) -> String {
        within(SOON, &format!("{name} has {kind} {reason}"), || {
            let object = self.get("experiment", name)?;
            let found = condition(&object, kind).filter(|found| found["reason"] == reason)?;
            Some(found["message"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// Asks for a deletion, and waits until the Experiment is gone.
    #[track_caller]
    pub fn deletes(&self, name: &str) {
        self.kubectl.succeeds(["delete", "experiment", name, "-n", &self.namespace, "--wait=false"]);
        within(SOON, &format!("{name} is gone"), || self.get("experiment", name).is_none().then_some(()));
    }

    /// As if a leader that is dead had said that it leads no more: its lease would end by itself, some seconds later.
    #[track_caller]
    pub fn frees_lease(&self) {
        let free = r#"--patch={"spec":{"holderIdentity":null}}"#;
        self.kubectl.succeeds(["patch", "lease", "glooshot-controller", "-n", &self.system, "--type=merge", free]);
    }

    /// The holder of the Lease, and how often it has changed.
    pub fn lease(&self) -> (String, u64) {
        let lease = self.kubectl.succeeds(["get", "lease", "glooshot-controller", "-n", &self.system, "-o=json"]);
        let spec = &serde_json::from_str::<Value>(&lease).unwrap()["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        (holder.split('_').next().unwrap_or_default().to_owned(), spec["leaseTransitions"].as_u64().unwrap_or(0))
    }
}

/// The state of an Experiment's result.
pub fn state(experiment: &Value) -> Option<&str> {
    experiment.pointer("/status/result/state")?.as_str()
}

/// Whether it has a result that stays.
pub fn is_over(experiment: &Value) -> bool {
    state(experiment).is_some_and(|state| !matches!(state, "Pending" | "Started"))
}

/// A running controller; killed when dropped.
#[derive(Debug)]
pub struct Controller {
    /// Where it takes the calls of proxies.
    pub control: SocketAddr,
    metrics: SocketAddr,
    program: Program,
}

impl Controller {
    /// One with these arguments that is ready.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let program = Program::start(GLOOSHOT, arguments, |line| line == "ready");
        let address = |what: &str| {
            let found = program.lines().into_iter().find_map(|line| Some(line.strip_prefix(what)?.parse().unwrap()));
            found.unwrap_or_else(|| panic!("{what:?} was not said: {:?}", program.lines()))
        };
        Self { control: address("control on "), metrics: address("metrics on "), program }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Waits until it leads.
    #[track_caller]
    pub fn awaits_leading(&self) {
        eventually("it leads", || (self.metric("glooshot_controller_leading") > 0.0).then_some(()));
    }

    /// One of its figures, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        Metrics::scrape(self.metrics).sum(name, &[])
    }

    /// Tells it to stop, as the kubelet does, and waits until it has.
    #[track_caller]
    pub fn stop(self) {
        let pid = Pid::from_raw(i32::try_from(self.program.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.program.ends();
    }
}

/// A condition of an Experiment's status.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}
