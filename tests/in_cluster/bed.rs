//! A bed with our images in it, and the shell of somebody who uses it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

/// Two clusters at a time would leave each too little of this machine for what is measured.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A cluster of two nodes, until this is dropped.
#[derive(Debug)]
pub struct Bed {
    _only: MutexGuard<'static, ()>,
    number: String,
    /// Lines for a shell: which cluster, and which images.
    chosen: String,
    /// The directory with Helm.
    helm: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory with our programs.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_glooshot")).parent().unwrap().to_owned()
}

fn script(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(root().join("tests/cluster").join(name));
    let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
    assert!(status.success(), "{name}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

impl Bed {
    /// Starts one that nobody uses, with our images in it.
    pub fn start() -> Self {
        let only = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let helm = script("build.sh", &["helm"]).trim().to_owned();
        let cluster = script("up.sh", &["free"]);
        let (_, number) = cluster.split_once("/glooshot-bed-").unwrap();
        let number = number.split('/').next().unwrap().to_owned();
        let mut bed = Self { _only: only, number, chosen: cluster, helm };
        bed.chosen += &script("load.sh", &[&bed.number, programs().to_str().unwrap()]);
        bed
    }

    /// Runs commands as a person would who is in this repository's directory; they must succeed. Gives their standard output.
    #[track_caller]
    pub fn shell(&self, commands: &str) -> String {
        let path = format!("PATH={}:{}:$PATH", programs().display(), self.helm);
        let state = format!("/var/tmp/glooshot-bed-{}", self.number);
        let memory = format!("KUBECACHEDIR={state}/kubectl HELM_CACHE_HOME={state}/helm");
        let proxy = "NO_PROXY=10.0.0.0/8,127.0.0.0/8 no_proxy=10.0.0.0/8,127.0.0.0/8";
        let all = format!("set -euo pipefail\n{}\nexport {path} {memory} {proxy}\n{commands}", self.chosen);
        let Output { status, stdout, stderr } =
            Command::new("bash").current_dir(root()).args(["-c", &all]).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{commands}\n{stdout}{stderr}{}", self.state());
        stdout.into_owned()
    }

    /// What is in the cluster, for somebody who has to find out what went wrong.
    pub fn state(&self) -> String {
        let commands = "date -u; kubectl get pods -A -o wide; kubectl get exp -A -o yaml | sed -n '/^  status:/,$p'
            kubectl get services,endpointslices -A
            kubectl get events -A --sort-by=.lastTimestamp -o custom-columns=:.lastTimestamp,:.involvedObject.name,:.message | tail -n 50
            kubectl logs -n glooshot -l app.kubernetes.io/name=glooshot-controller --tail=20";
        let output =
            Command::new("bash").args(["-c", &format!("{}\n({commands}) 2>&1", self.chosen)]).output().unwrap();
        let connections = ["1", "2"].map(|node| self.unanswered(node));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), connections.concat())
    }

    /// Connections through a node that nobody has answered yet, and where they were led.
    fn unanswered(&self, node: &str) -> String {
        let on = root().join("tests/cluster/on.sh");
        let list = ["conntrack", "-L", "-p", "tcp", "--state", "SYN_SENT"];
        let output = Command::new(on).args([self.number.as_str(), node]).args(list).output().unwrap();
        format!("unanswered on node{node}:\n{}", String::from_utf8_lossy(&output.stdout))
    }

    /// Runs a command on a node, or sends a signal to one of its components, as `tests/cluster/on.sh` does.
    pub fn on(&self, node: &str, arguments: &[&str]) -> String {
        let node = node.trim_start_matches("node");
        script("on.sh", &[&[self.number.as_str(), node], arguments].concat())
    }

    /// Cuts a node off from everybody (`down`), or connects it again (`up`).
    pub fn link(&self, node: &str, state: &str) {
        let node = node.trim_start_matches("node");
        let command = ["link", "set", &format!("gsbed{}n{node}", self.number), state].map(str::to_owned);
        let Output { status, stderr, .. } = Command::new("ip").args(&command).output().unwrap();
        assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    }

    /// An object as JSON.
    #[track_caller]
    pub fn get(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.shell(&format!("kubectl get {arguments} -o json --show-managed-fields"))).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        script("down.sh", &[&self.number]);
    }
}
