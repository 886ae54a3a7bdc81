//! A controller's server in the test's process, the files that a proxy needs to call it, and proxies that do.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use glooshot::{
    api::plan::{FencingToken, Plan},
    control::{
        Answer, PlanId,
        server::{Authenticator, Bounds, Hub, Identity, ProxyView, Server, Unauthenticated},
    },
    pki::{CurrentCertificate, Pki, Rule},
    proxy::Moment,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot};

use crate::harness::{Glooshot, Setup, eventually, in_process::service};

/// The name that the controllers' certificate is for.
pub const NAME: &str = "glooshot-control.glooshot.svc";

/// Names as a certificate takes them.
pub fn names() -> Vec<String> {
    vec![NAME.to_owned()]
}

/// The time by which certificates are judged.
#[allow(clippy::disallowed_methods, reason = "a certificate is judged by the wall clock")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Who has which token.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<HashMap<String, Identity>>>);

impl Tokens {
    /// This token is that of this pod of the Service that the tests break.
    pub fn give(&self, token: &str, pod: &str) {
        let identity = Identity { service: service(), pod: pod.to_owned(), uid: format!("uid-{pod}") };
        self.0.lock().unwrap().insert(token.to_owned(), identity);
    }

    /// Nobody has a token any more.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Authenticator for Tokens {
    async fn authenticate(&self, token: &str, _: IpAddr) -> Result<Identity, Unauthenticated> {
        let known = self.0.lock().unwrap().get(token).cloned();
        known.ok_or_else(|| Unauthenticated::Refused("nobody has this token".to_owned()))
    }
}

/// What controllers and proxies share: certificates, tokens, files.
#[derive(Debug)]
pub struct World {
    /// Who has which token.
    pub tokens: Tokens,
    /// The certificates that there are.
    pub pki: Pki,
    directory: TempDir,
}

impl World {
    /// New certificates; the pod `one` has the token `token-one`.
    pub fn new() -> Self {
        // Once for the process: rustls takes the provider from here.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let pki = Pki::new(&names(), &Rule::default(), wall_clock()).unwrap();
        let world = Self { tokens: Tokens::default(), pki, directory: TempDir::new().unwrap() };
        world.write("ca.crt", &world.pki.bundle());
        world.give("one");
        world
    }

    /// Makes a pod known, and writes the file with its token.
    pub fn give(&self, pod: &str) -> PathBuf {
        self.tokens.give(&format!("token-{pod}"), pod);
        self.write(pod, &format!("token-{pod}\n"))
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A proxy in front of `upstream` that calls these controllers as the pod `pod`.
    pub fn setup(&self, pod: &str, upstream: SocketAddr, controllers: &[&Controller]) -> Setup {
        let file = |name: &str| self.directory.path().join(name).to_str().unwrap().to_owned();
        let mut setup = Setup::proxy().to(upstream);
        for controller in controllers {
            setup = setup.with(["--control", &controller.address.to_string()]);
        }
        setup.with(["--control-ca", &file("ca.crt"), "--control-name", NAME, "--control-token", &file(pod)])
    }

    /// The same, started and connected to all of them.
    #[track_caller]
    pub fn proxy(&self, pod: &str, upstream: SocketAddr, controllers: &[&Controller]) -> Glooshot {
        let glooshot = self.setup(pod, upstream, controllers).start();
        for controller in controllers {
            controller.wait_for_pod(pod);
        }
        glooshot
    }

    /// A controller at any free port.
    pub fn controller(&self) -> Controller {
        self.controller_at(([127, 0, 0, 1], 0).into(), Bounds::default())
    }

    /// A controller at this address.
    pub fn controller_at(&self, address: SocketAddr, bounds: Bounds) -> Controller {
        Controller::start(address, self, bounds)
    }
}

/// A running controller's server.
#[derive(Debug)]
pub struct Controller {
    /// What steers the proxies.
    pub hub: Hub,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it shows.
    pub certificate: Arc<CurrentCertificate>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Controller {
    fn start(address: SocketAddr, world: &World, bounds: Bounds) -> Self {
        let certificate = Arc::new(CurrentCertificate::new(world.pki.certified_key().unwrap()));
        let (tokens, shown) = (world.tokens.clone(), Arc::clone(&certificate));
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind(address).await.unwrap();
                let server = Server::start(listener, shown, tokens, bounds).unwrap();
                started.send((server.hub(), server.address())).unwrap();
                let _dropped_or_told = stopped.await;
            });
        });
        let (hub, address) = start.recv().unwrap();
        Self { hub, address, certificate, stop: Some(stop), thread: Some(thread) }
    }

    /// Ends it as the end of its process does: all its sockets close, and nothing is said any more.
    pub fn kill(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Says that `plan` holds for `holds`, with one proxy for all of the traffic.
    pub fn direct(&self, plan: Plan, holds: Duration) {
        self.hub.direct(&service(), plan, Moment::now().plus(holds), 1).unwrap();
    }

    /// Says that this plan holds for `holds` from now.
    pub fn renew(&self, id: PlanId, holds: Duration) -> bool {
        self.hub.renew(&service(), id, Moment::now().plus(holds))
    }

    /// How the proxies are.
    pub fn proxies(&self) -> Vec<ProxyView> {
        self.hub.proxies(&service())
    }

    /// How the proxy in this pod is, if it is connected.
    pub fn pod(&self, pod: &str) -> Option<ProxyView> {
        self.proxies().into_iter().find(|proxy| proxy.identity.pod == pod)
    }

    /// Waits until this pod is connected and ready.
    #[track_caller]
    pub fn wait_for_pod(&self, pod: &str) -> ProxyView {
        eventually("the proxy is connected and ready", || self.pod(pod).filter(|proxy| proxy.ready))
    }

    /// Waits until this pod has answered to this plan.
    #[track_caller]
    pub fn wait_for_answer(&self, pod: &str, id: PlanId) -> Answer {
        eventually("the plan is answered", || self.pod(pod)?.answer.filter(|answer| answer.id == id))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The fencing token of the leader with this number.
pub const fn leader(transitions: u64) -> FencingToken {
    FencingToken { lease_created: 1_764_000_000, transitions }
}
