//! A control plane of the test bed: started when a test asks for it, gone when this process is.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tempfile::NamedTempFile;

use crate::{harness::patience::try_within, kubectl::Kubectl, program::glooshot};

/// From a start to readiness, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);
/// From the end of its standard input to its own.
const STOP: Duration = Duration::from_secs(20);

/// etcd and an API server, until this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    child: Child,
    /// It runs as long as this is open: the kernel closes it when this process ends, however it ends.
    stdin: Option<ChildStdin>,
    kubeconfig: PathBuf,
}

/// The one that most tests share: our kinds are registered in it.
pub fn registered() -> &'static ControlPlane {
    static SHARED: LazyLock<ControlPlane> = LazyLock::new(|| {
        let control_plane = ControlPlane::start();
        let ended = glooshot(["register", "--kubeconfig", control_plane.path()]);
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        control_plane
    });
    &SHARED
}

/// The one for tests of the registration itself: one test at a time, and none of our kinds is registered.
pub fn unregistered() -> MutexGuard<'static, ControlPlane> {
    static OWN: LazyLock<Mutex<ControlPlane>> = LazyLock::new(|| Mutex::new(ControlPlane::start()));
    // A test that failed has said so; the next one cleans up.
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    own.kubectl(["delete", "crds", "--all", "--timeout=20s"]);
    own
}

/// A kubeconfig for `server` with the lines of a user.
pub fn kubeconfig(server: &str, user: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: only\n\
         contexts: [{{name: only, context: {{cluster: it, user: me}}}}]\n\
         clusters: [{{name: it, cluster: {{server: '{server}', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: me, user: {{{user}}}}}]\n"
    );
    fs::write(file.path(), text).unwrap();
    file
}

fn script(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The directory of Kubernetes' programs, which are built if the cache lacks them: that takes minutes, and has no deadline.
pub fn kubernetes() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = script("build.sh").arg("hyperkube").stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success(), "the test bed cannot be built");
        String::from_utf8(built.stdout).unwrap().trim_end().into()
    });
    &BUILT
}

impl ControlPlane {
    /// Starts one, and waits until it is ready.
    pub fn start() -> Self {
        kubernetes();
        let mut child = script("control-plane.sh").stderr(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let said = thread::spawn(move || {
            let mut text = String::new();
            let _read = stderr.read_to_string(&mut text);
            text
        });
        let (send, receive) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            let _read = BufReader::new(stdout).read_line(&mut line);
            let _nobody_waits = send.send(line);
        });
        let line = receive.recv_timeout(START).unwrap_or_default();
        let started = Self { child, stdin, kubeconfig: line.trim_end().into() };
        if line.is_empty() {
            drop(started);
            panic!("the control plane does not start: {}", said.join().unwrap());
        }
        started
    }

    /// A kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The same as text, for an argument.
    pub fn path(&self) -> &str {
        self.kubeconfig.to_str().unwrap()
    }

    /// The address of its API server.
    pub fn server(&self) -> String {
        let template = "--output=jsonpath={.clusters[0].cluster.server}";
        Kubectl::new(&self.kubeconfig).succeeds(["config", "view", template])
    }

    /// Who has asked it for what: a line of JSON for each answer.
    pub fn audit_log(&self) -> String {
        fs::read_to_string(self.kubeconfig.ancestors().nth(2).unwrap().join("audit.log")).unwrap()
    }

    /// kubectl as its administrator.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> crate::program::Ended {
        Kubectl::new(&self.kubeconfig).run(arguments)
    }

    /// The number of the process that keeps it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stdin.take();
        if try_within(STOP, || self.child.try_wait().ok().flatten()).is_none() {
            let _ended_meanwhile = self.child.kill();
        }
    }
}
