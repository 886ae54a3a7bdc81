//! Wires everything, until it is told to stop. Every replica takes the proxies' calls; only the one that leads acts.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    Stream, StreamExt as _, TryStreamExt as _,
    future::{join_all, ready},
    stream,
};
use kube::{
    Client,
    api::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        controller::{Config, Error, applier},
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::{
    net::TcpListener,
    select,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Context, LEASE, MANAGER, Paths, Settings,
    authenticator::Tokens,
    authority::{Authority, AuthorityError},
    error::ReconcileError,
    halt::{self, Switch},
    lease::Elector,
    meshes,
    metrics::Metrics,
    observe::World,
    reconcile::{reconcile, try_again},
    resource,
    retries::Retries,
    routing_rules,
    runs::Runs,
    watches,
};
use crate::{
    cluster::watching,
    control::server::{Bounds, Hub, Server},
    metrics_server::{self, Health},
    paths::redirect::Reign,
    pki::CurrentCertificate,
};

/// Experiments that wait for another look at the most; a run that is not heard asks again within seconds.
const POKES: usize = 1_024;
/// Between two looks for runs whose Experiment is gone, and for what is counted.
const SWEEP: Duration = Duration::from_secs(5);
/// For the caches to be filled at the start.
const FILLED: Duration = Duration::from_secs(60);
/// For putting back what an Experiment that is gone has left.
const RELEASE: Duration = Duration::from_secs(120);

/// Asks a controller to stop.
pub type Stop = CancellationToken;

/// Why a controller could not start.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// An address cannot be listened on.
    #[error("{0}")]
    Listen(#[from] io::Error),
    /// There are no certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The caches stay empty.
    #[error("the cluster did not say within {}s which Services, pods and Experiments there are; may this account list them?", FILLED.as_secs())]
    Unfilled,
}

/// A controller that takes calls already, and is about to act.
pub struct Controller {
    client: Client,
    watching: Client,
    settings: Settings,
    world: World,
    elector: Elector,
    authority: String,
    metrics: Metrics,
    metrics_address: SocketAddr,
    /// The caches are filled, and nothing that we need has ended.
    ready: Arc<AtomicBool>,
    server: Server,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("settings", &self.settings)
            .field("elector", &self.elector)
            .finish_non_exhaustive()
    }
}

impl Controller {
    /// Makes or reads the certificates, fills the caches, and listens. Watches go over `watching`, which bears their silence.
    ///
    /// # Errors
    /// When the API server refuses, or an address cannot be listened on.
    pub async fn start(client: Client, watching: Client, settings: Settings) -> Result<Self, ControllerError> {
        let metrics = Metrics::default();
        let ready = Arc::new(AtomicBool::new(false));
        let (is_ready, registered) = (Arc::clone(&ready), metrics.clone());
        let health = move || Health { alive: true, ready: is_ready.load(Ordering::Relaxed) };
        let metrics_address =
            metrics_server::start(settings.listen_metrics, health, |registry| registered.register(registry)).await?;

        let (services, mut tasks) = watches::keep(&watching, &settings.namespaces, |_| {});
        let (pods, more) = watches::keep(&watching, &settings.namespaces, watches::trim_pod);
        tasks.extend(more);
        let world = World::new(services, pods);

        let listener = TcpListener::bind(settings.listen_control).await?;
        let authority = Authority::new(client.clone(), &settings.namespace, names(&settings.control_address));
        let pki = authority.current().await?;
        let shown = Arc::new(CurrentCertificate::new(pki.certified_key().map_err(AuthorityError::from)?));
        let tokens = Tokens::new(client.clone(), world.clone(), metrics.clone());
        let server = Server::start(listener, Arc::clone(&shown), tokens, Bounds::default())?;
        tasks.push(AbortOnDropHandle::new(tokio::spawn(authority.keep(shown))));
        timeout(FILLED, world.filled()).await.map_err(|_| ControllerError::Unfilled)?;

        let elector = Elector::new(client.clone(), watching.clone(), &settings.namespace, LEASE, &settings.process);
        Ok(Self {
            client,
            watching,
            settings,
            world,
            elector,
            authority: pki.bundle(),
            metrics,
            metrics_address,
            ready,
            server,
            tasks,
        })
    }

    /// What steers the proxies.
    pub fn hub(&self) -> Hub {
        self.server.hub()
    }

    /// Where it takes the calls of proxies.
    pub fn control_address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where it serves its metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// Whom proxies have to trust, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether we lead, and until when.
    pub fn reign(&self) -> watch::Receiver<Option<Reign>> {
        self.elector.reign()
    }

    /// Acts whenever it leads, until `stop`; then ends its runs and lets somebody else lead.
    pub async fn run<P: Paths>(mut self, paths: P, stop: Stop) {
        let (halt_sender, halt) = watch::channel(Switch::default());
        let switch = halt::watch(self.client.clone(), self.settings.namespace.clone(), halt_sender);
        self.tasks.push(AbortOnDropHandle::new(tokio::spawn(switch)));

        let kind = resource();
        let scopes = watches::scopes(&self.settings.namespaces);
        let (mut stores, mut pokes, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        for scope in scopes {
            let api = watches::within(&self.watching, scope.as_deref(), &kind);
            let (store, words) = watching::cache(api, kind.clone(), watching::everything(), |_| {});
            let (poke, poked) = mpsc::channel(POKES);
            stores.push(store.clone());
            pokes.push((scope, poke));
            queues.push((store, words, poked));
        }
        let reporter = Reporter { controller: MANAGER.into(), instance: Some(self.settings.process.clone()) };
        let context = Arc::new(Context {
            events: Recorder::new(self.client.clone(), reporter),
            client: self.client,
            watching: self.watching,
            paths: Arc::new(paths),
            settings: self.settings,
            world: self.world,
            experiments: stores,
            runs: Runs::default(),
            halt,
            reign: self.elector.reign(),
            before: self.elector.before(),
            metrics: self.metrics,
            retries: Retries::default(),
            pokes,
        });
        let queues = queues.into_iter().map(|(store, words, poked)| work(Arc::clone(&context), store, words, poked));
        let everything = async {
            tokio::join!(
                join_all(queues),
                heed_switch(Arc::clone(&context)),
                heed_reign(Arc::clone(&context)),
                sweep(Arc::clone(&context)),
                routing_rules::keep(Arc::clone(&context)),
            )
        };
        self.ready.store(true, Ordering::Relaxed);
        select! {
            () = stop.cancelled() => {}
            () = self.elector.run() => {}
            _ = everything => tracing::error!("the watch of Experiments has ended"),
        }
        self.ready.store(false, Ordering::Relaxed);
        let abandoned = context.runs.abandon().await;
        if abandoned > 0 {
            tracing::info!(abandoned, "runs are left to the next leader");
        }
        self.elector.release().await;
    }
}

/// The names that the certificate is for: the one that proxies call.
fn names(control_address: &str) -> Vec<String> {
    let host = control_address.rsplit_once(':').map_or(control_address, |(host, _)| host);
    vec![host.to_owned()]
}

/// Looks at every Experiment of one scope whenever it changes, and whenever somebody asks for it.
async fn work<P: Paths>(
    context: Arc<Context<P>>,
    store: Store<DynamicObject>,
    words: impl Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send,
    poked: mpsc::Receiver<ObjectRef<DynamicObject>>,
) {
    let eager = Arc::clone(&context);
    let changed = words.touched_objects().map_ok(move |object| {
        // A deletion need not wait for its turn: its run is asked to stop right here.
        if object.metadata.deletion_timestamp.is_some() {
            eager.runs.stop(object.metadata.uid.as_deref().unwrap_or_default(), "the Experiment was deleted");
        }
        ObjectRef::from_obj_with(&object, resource())
    });
    let poked = stream::unfold(poked, |mut poked| async move { Some((Ok(poked.recv().await?), poked)) });
    let config = Config::default().concurrency(context.settings.concurrency);
    let look = |object: Arc<DynamicObject>, context: Arc<Context<P>>| {
        context.metrics.reconciled();
        Box::pin(reconcile(object, context))
    };
    let failed = |object: Arc<DynamicObject>, error: &ReconcileError, context: Arc<Context<P>>| {
        try_again(&object, error, &context)
    };
    let looks = applier(look, failed, context, store, stream::select(changed, poked), config);
    looks
        .for_each(|looked| {
            match looked {
                // Told of where it happened, or gone meanwhile.
                Ok(_) | Err(Error::ReconcilerFailed(..) | Error::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!(%error, "the watch of Experiments was cut; it goes on"),
            }
            ready(())
        })
        .await;
}

/// Stops every run when the operator says so, and looks at everything once it is known what he says.
async fn heed_switch<P: Paths>(context: Arc<Context<P>>) {
    let (mut halt, mut known) = (context.halt.clone(), false);
    while halt.changed().await.is_ok() {
        let (halted, is_known) = {
            let switch = halt.borrow_and_update();
            (switch.halted.clone(), switch.is_known())
        };
        if let Some(reason) = halted {
            context.runs.stop_all(&reason);
        }
        if is_known && !known {
            ask_for_all(&context).await;
        }
        known |= is_known;
    }
}

/// Has every Experiment looked at.
async fn ask_for_all<P: Paths>(context: &Context<P>) {
    for object in context.experiments.iter().flat_map(Store::state) {
        context.ask(&object).await;
    }
}

/// Gives up the runs when somebody else may lead, and looks at everything when we begin to.
async fn heed_reign<P: Paths>(context: Arc<Context<P>>) {
    let mut reign = context.reign.clone();
    let mut led = false;
    while reign.changed().await.is_ok() {
        let leads = reign.borrow_and_update().is_some();
        context.metrics.leading(leads);
        if leads && !led {
            if let Err(error) = meshes::write(context.client.clone(), &context.settings.namespace).await {
                tracing::warn!(%error, "the Mesh of our own proxy could not be written");
            }
            ask_for_all(&context).await;
        } else if !leads && led {
            let abandoned = context.runs.abandon().await;
            tracing::warn!(abandoned, "runs are left to the next leader");
        }
        led = leads;
    }
}

/// Counts, and forgets runs whose Experiment is gone without our finalizer having held it.
async fn sweep<P: Paths>(context: Arc<Context<P>>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        context.metrics.running(context.runs.going());
        for uid in context.runs.ended() {
            if context.knows(&uid) {
                continue;
            }
            match timeout(RELEASE, context.paths.release(&uid)).await {
                Ok(Ok(())) => context.runs.remove(&uid),
                Ok(Err(error)) => {
                    tracing::warn!(%error, %uid, "what a deleted Experiment left could not be put back yet");
                }
                Err(_) => tracing::warn!(%uid, "what a deleted Experiment left was not put back in time; trying again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_certificate_is_for_the_name_that_proxies_call() {
        assert_eq!(super::names("glooshot-control.glooshot.svc:9443"), ["glooshot-control.glooshot.svc"]);
    }
}
