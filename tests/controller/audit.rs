//! What an installed controller asks of the API server in whole runs, by the API server's own log.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{
    control_plane::{ControlPlane, kubeconfig},
    installation::{CONTROLLER, enable, install, objects},
    isolated::{isolate, mirroring},
    stage::{Controller, state},
    target::{Target, is_let_go},
    workload::{Workload, restarting},
};
use crate::{harness::patience::within, program::glooshot};

/// For whatever the API server or the controller has to do, on a busy machine.
const SOON: Duration = Duration::from_secs(40);
const NAMESPACE: &str = "audited";
/// Everything that the controller may ever write.
const WRITES: [&str; 15] = [
    "authentication.k8s.io/tokenreviews",
    "coordination.k8s.io/leases",
    "events.k8s.io/events",
    "glooshot.solo.io/experiments",
    "glooshot.solo.io/experiments/status",
    "glooshot.solo.io/meshes",
    "glooshot.solo.io/reports",
    "glooshot.solo.io/routingrules",
    "glooshot.solo.io/routingrules/status",
    "/secrets",
    "/services",
    "/serviceaccounts",
    "apps/deployments",
    "networking.k8s.io/networkpolicies",
    "policy/poddisruptionbudgets",
];

/// The arguments that an installation gives to its controller, but for where it listens.
fn arguments() -> Vec<String> {
    let is_it = |object: &&Value| object["kind"] == "Deployment" && object["metadata"]["name"] == "glooshot-controller";
    let objects = objects();
    let deployment = objects.iter().find(is_it).unwrap();
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

/// A controller as it is installed, with the token of its account.
fn controller(control_plane: &ControlPlane, target: &Target<'_>) -> Controller {
    let kubectl = &target.stage.kubectl;
    let token = kubectl.succeeds(["create", "token", "glooshot-controller", "-n", "glooshot"]);
    let kubeconfig = kubeconfig(&control_plane.server(), &format!("token: '{}'", token.trim_end()));
    let mut arguments = arguments();
    let (control, metrics) = (target.control.to_string(), "127.0.0.1:0".to_owned());
    for (option, here) in [("--listen-control", control), ("--listen-metrics", metrics)] {
        let at = arguments.iter().position(|argument| argument == option).unwrap();
        arguments[at + 1] = here;
    }
    arguments.extend(["--kubeconfig".to_owned(), kubeconfig.path().to_str().unwrap().to_owned()]);
    // The API server learns of roles and bindings by watches of its own.
    let account = format!("--as={CONTROLLER}");
    let rights: [&[&str]; 3] = [
        &["list", "experiments.glooshot.solo.io", "--all-namespaces"],
        &["create", "secrets", "-n", "glooshot"],
        &["patch", "deployments.apps", "-n", NAMESPACE],
    ];
    for right in rights {
        let ask = [&["auth", "can-i", &account], right].concat();
        within(SOON, "its rights are in force", || (kubectl.run(ask.iter().copied()).code == Some(0)).then_some(()));
    }
    let controller = Controller::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    controller.awaits_leading();
    controller
}

/// What one line of the log says.
struct Request {
    verb: String,
    /// `GROUP/RESOURCE` or `GROUP/RESOURCE/SUBRESOURCE`.
    what: String,
    namespace: String,
    code: u64,
    line: String,
}

impl Request {
    fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// What we have asked for: the controller, and whoever has an account that it has made.
fn requests(log: &str) -> Vec<Request> {
    let proxies = format!("system:serviceaccount:{NAMESPACE}:glooshot-");
    let ours = log.lines().filter_map(|line| {
        let entry: Value = serde_json::from_str(line).unwrap();
        let user = entry["user"]["username"].as_str().unwrap();
        let text = |pointer| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let subresource = Some(text("/objectRef/subresource")).filter(|it| !it.is_empty());
        (user == CONTROLLER || user.starts_with(&proxies)).then(|| Request {
            verb: text("/verb"),
            what: [text("/objectRef/apiGroup"), text("/objectRef/resource")]
                .into_iter()
                .chain(subresource)
                .collect::<Vec<_>>()
                .join("/"),
            namespace: text("/objectRef/namespace"),
            code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
            line: line.to_owned(),
        })
    });
    ours.collect()
}

#[test]
fn an_installed_controller_is_never_refused_reads_no_secret_of_others_and_writes_no_endpoints() {
    let control_plane = ControlPlane::start();
    let registered = glooshot(["register", "--kubeconfig", control_plane.path()]);
    assert_eq!(registered.code, Some(0), "{}", registered.errors);
    install(&control_plane);
    let mut target = Target::new(&control_plane, NAMESPACE);
    target.stage.system = "glooshot".to_owned();
    enable(&control_plane, NAMESPACE);
    let controller = controller(&control_plane, &target);
    let workload = Workload::behind(&target.stage);
    target.breaks_routed("2s", &restarting());
    workload.awaits_restart(SOON);
    workload.rolls_out();
    target.awaits(SOON, "it is over", |it| is_let_go(it?).then_some(()));
    target.deletes_for_good();
    // From here on the API server lets no pod in that has any privilege.
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    target.stage.kubectl.succeeds(["label", "namespace", NAMESPACE, restricted]);
    isolate(&target.stage);
    let start = target.world();

    target.breaks_routed("2s", &mirroring());
    target.awaits(SOON, "it is over", |it| is_let_go(it?).then_some(()));
    target.deletes_for_good();
    target.breaks_routed("1m", &mirroring());
    target.awaits(SOON, "it runs", |it| (state(it?) == Some("Started")).then_some(()));
    target.deletes_for_good();
    assert_eq!(target.world(), start);
    controller.stop();

    let requests = requests(&control_plane.audit_log());
    let written: BTreeSet<&str> = requests.iter().filter(|it| !it.is_read()).map(|it| it.what.as_str()).collect();
    let done = [
        ("patch", "/services"),
        ("patch", "apps/deployments"),
        ("create", "/secrets"),
        ("delete", "networking.k8s.io/networkpolicies"),
    ];
    for (verb, what) in done {
        assert!(requests.iter().any(|it| it.verb == verb && it.what == what), "{verb} {what}: nothing was done");
    }
    for request in &requests {
        let Request { what, namespace, code, line, .. } = request;
        assert!(!matches!(code, 401 | 403), "refused: {line}");
        assert!(!what.starts_with("/secrets") || namespace == "glooshot", "a Secret of others: {line}");
        assert!(request.is_read() || !what.contains("endpoint"), "endpoints are Kubernetes' own: {line}");
        let at_home = matches!(namespace.as_str(), "" | "glooshot" | NAMESPACE);
        assert!(request.is_read() || at_home, "written where nothing was enabled: {line}");
    }
    let unexpected: Vec<_> = written.iter().filter(|what| !WRITES.contains(what)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}
