//! A controller in the test's process over a data path that only remembers what it was told, and by whom.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use glooshot::{
    api::{scenario::Scenario, status::InjectionStatus},
    controller::{Controller, Paths, Settings, Stop},
    engine::{
        DataPath, EgressPolicy,
        data_path::{PathDescription, PathError, PathEvent, Reading},
    },
    paths::redirect::{Owner, Shares},
    proxy::Moment,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::{mpsc, watch};

use crate::{harness::eventually, stage::Stage};

/// What all paths were told, in order, as `ACTION NAME`.
#[derive(Clone, Debug, Default)]
pub struct Script {
    log: Arc<Mutex<Vec<String>>>,
    /// Releases fail as long as this is set.
    pub stuck: Arc<AtomicBool>,
}

impl Script {
    fn note(&self, action: &str, name: &str) {
        self.log.lock().unwrap().push(format!("{action} {name}"));
    }

    /// Everything that was told.
    pub fn everything(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// What was told about an Experiment.
    pub fn told(&self, name: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let about = |line: &&String| line.ends_with(&format!(" {name}"));
        log.iter().filter(about).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// Starts a controller over this script.
    #[track_caller]
    pub fn controller(&self, stage: &Stage<'_>, name: &str) -> InProcess {
        self.controller_at(stage.kubeconfig(), stage, name)
    }

    /// The same, with the cluster of this kubeconfig.
    #[track_caller]
    pub fn controller_at(&self, kubeconfig: &Path, stage: &Stage<'_>, name: &str) -> InProcess {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let any = ([127, 0, 0, 1], 0).into();
        let settings = Settings {
            namespace: stage.system.clone(),
            process: name.to_owned(),
            listen_control: any,
            listen_metrics: any,
            control_address: "glooshot-control.glooshot.svc:9443".to_owned(),
            prometheus: None,
            webhooks: EgressPolicy::default(),
            polling: Duration::from_secs(5),
            namespaces: vec![stage.namespace.clone()],
            max_runs: 8,
            concurrency: 8,
        };
        let (stop, script, leads) = (Stop::new(), self.clone(), Arc::<AtomicBool>::default());
        let (stopped, led) = (stop.clone(), Arc::clone(&leads));
        let thread = thread::spawn(move || {
            let _installed_before = rustls::crypto::ring::default_provider().install_default();
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
                let client = Client::try_from(config).unwrap();
                let controller = Controller::start(client.clone(), client, settings).await.unwrap();
                let mut reign = controller.reign();
                tokio::spawn(async move {
                    while reign.changed().await.is_ok() {
                        led.store(reign.borrow_and_update().is_some(), Ordering::SeqCst);
                    }
                });
                controller.run(script, stopped).await;
            });
        });
        eventually("it leads", || leads.load(Ordering::SeqCst).then_some(()));
        InProcess { stop, thread: Some(thread) }
    }
}

/// A controller in the test's process, told to stop when dropped.
#[derive(Debug)]
pub struct InProcess {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _its_panic_was_told = thread.join();
        }
    }
}

impl Paths for Script {
    type Path = ScriptedPath;

    fn path(&self, owner: Owner, _: Timestamp, live: watch::Receiver<Moment>) -> ScriptedPath {
        let (events, receiver) = mpsc::channel(1);
        ScriptedPath {
            script: self.clone(),
            name: owner.name,
            live,
            _events: events,
            receiver: Mutex::new(Some(receiver)),
        }
    }

    fn holds(&self, _: &Service, _: &str) -> bool {
        true
    }

    fn holder(&self, _: &Service, _: Option<&Service>) -> Option<Owner> {
        None
    }

    fn rule_path(&self, owner: Owner, _: &Shares) -> Result<ScriptedPath, PathError> {
        let (_, live) = watch::channel(Moment::now());
        Ok(self.path(owner, Timestamp::MAX, live))
    }

    fn reshare(&self, rule_uid: &str, _: &Shares) -> bool {
        self.note("reshare", rule_uid);
        true
    }

    fn close_rule(&self, _: &str) -> Option<Owner> {
        None
    }

    fn stage(_: &ScriptedPath) -> String {
        "a stage".to_owned()
    }

    async fn release(&self, uid: &str) -> Result<(), PathError> {
        self.note("release", uid);
        if self.stuck.load(Ordering::SeqCst) {
            return Err(PathError { message: "the script says so".to_owned() });
        }
        Ok(())
    }
}

/// A path that remembers what it was told.
#[derive(Debug)]
pub struct ScriptedPath {
    script: Script,
    name: String,
    live: watch::Receiver<Moment>,
    /// A path that has no sender has ended.
    _events: mpsc::Sender<PathEvent>,
    receiver: Mutex<Option<mpsc::Receiver<PathEvent>>>,
}

impl ScriptedPath {
    fn note(&self, action: &str) -> Result<(), PathError> {
        self.script.note(action, &self.name);
        Ok(())
    }
}

impl DataPath for ScriptedPath {
    fn describe(&self) -> PathDescription {
        PathDescription { kind: "Proxy", reason: "a test".to_owned() }
    }

    async fn route(&self, _: &Scenario) -> Result<(), PathError> {
        self.note("route")
    }

    async fn arm(&self) -> Result<(), PathError> {
        self.note("arm")
    }

    async fn disarm(&self) -> Result<(), PathError> {
        self.note("disarm")
    }

    fn cut(&self) {
        self.script.note("cut", &self.name);
    }

    fn renew(&self) -> Result<(), PathError> {
        // The path of a rule has nothing that its life depends on.
        if self.live.has_changed().is_err() {
            return Ok(());
        }
        let age = Moment::now().since(*self.live.borrow());
        if age > Duration::from_secs(5) {
            self.script.note("stale", &self.name);
        }
        Ok(())
    }

    async fn restore(&self) -> Result<(), PathError> {
        self.note("restore")
    }

    fn events(&self) -> mpsc::Receiver<PathEvent> {
        self.receiver.lock().unwrap().take().unwrap()
    }

    fn readings(&self) -> Vec<Reading> {
        Vec::new()
    }

    fn injection(&self) -> Vec<InjectionStatus> {
        vec![InjectionStatus { requests: 9, aborted: 4, delayed: 0 }]
    }

    fn missing_callers(&self) -> Vec<String> {
        Vec::new()
    }

    fn stop_latency(&self) -> Option<Duration> {
        None
    }
}
