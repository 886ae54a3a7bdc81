//! The proxy's side: a connection to every controller, and a life by what the one with the highest fencing token says.
//!
//! | file | job |
//! |---|---|
//! | `resolve` | which controllers there are |
//! | `backoff` | how long to wait before the next attempt; pure |
//! | `session` | one connection to one controller, from its beginning to its end |
//! | `token` | the bearer token, read anew from its file |
//! | `obey` | what a controller says, done |
//! | `report` | what is told, composed from how the proxy is |

mod backoff;
mod obey;
mod report;
mod resolve;
mod session;
mod token;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tokio::{
    task::{AbortHandle, JoinHandle, JoinSet},
    time::Instant,
};

use self::{
    backoff::Backoff,
    resolve::{Known, resolve},
    token::TokenFile,
};
use crate::proxy::{Control, TlsError, UpstreamTls, UpstreamTrust};

/// Between two looks at the name of the controllers.
const RESOLVE: Duration = Duration::from_secs(5);

/// Where the controllers are, and how both sides know each other.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `NAME:PORT` of the controllers; a connection is kept to every address of every name.
    pub controllers: Vec<String>,
    /// The authorities that may have signed a controller's certificate, read anew for each connection.
    pub ca: PathBuf,
    /// The DNS name that it must be for.
    pub name: String,
    /// The file with our bearer token, read anew for each connection and once a minute.
    pub token: PathBuf,
}

/// Why the channel cannot be started: the files' fault.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The authorities.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The token.
    #[error(transparent)]
    Token(#[from] token::TokenError),
}

/// The running connections; they end when it is dropped, and the proxy's faults with the time to live of its plan.
#[derive(Debug)]
pub struct Client {
    task: JoinHandle<()>,
    connected: Gauge,
}

impl Client {
    /// Starts to look for controllers and to obey them, in the background of this runtime.
    ///
    /// # Errors
    /// When a file cannot be used now; later such a failure is only logged, since files are written anew while we run.
    pub fn start(settings: Settings, proxy: Control) -> Result<Self, StartError> {
        UpstreamTls::load(settings.trust())?;
        TokenFile::new(settings.token.clone()).read()?;
        let connected = Gauge::default();
        let task = tokio::spawn(run(Arc::new(settings), proxy, connected.clone()));
        Ok(Self { task, connected })
    }

    /// Adds the number of connections to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Controllers that have taken this proxy for what it is and listen to it";
        registry.register("glooshot_proxy_controllers_connected", help, self.connected.clone());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Settings {
    fn trust(&self) -> UpstreamTrust {
        UpstreamTrust { ca: Some(self.ca.clone()), server_name: self.name.clone() }
    }
}

/// Keeps one task for each controller.
async fn run(settings: Arc<Settings>, proxy: Control, connected: Gauge) {
    let mut sessions = JoinSet::new();
    let mut known: Known<AbortHandle> = Known::default();
    loop {
        match resolve(&settings.controllers).await {
            Ok(found) => {
                let start =
                    |address| sessions.spawn(keep(Arc::clone(&settings), address, proxy.clone(), connected.clone()));
                known.update(&found, start).iter().for_each(AbortHandle::abort);
            }
            Err(error) => tracing::warn!(%error, "cannot look up the controllers; those that are known stay"),
        }
        while sessions.try_join_next().is_some() {}
        tokio::time::sleep(RESOLVE).await;
    }
}

/// Keeps a connection to one controller.
async fn keep(settings: Arc<Settings>, address: SocketAddr, proxy: Control, connected: Gauge) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let error = match session::open(&settings, address).await {
            Ok(session) => {
                let _counted = Counted::one_more(&connected);
                tracing::info!(controller = %address, "connected to a controller");
                session.talk(&proxy).await
            }
            Err(error) => error,
        };
        let wait = backoff.after(began.elapsed(), fastrand::f64());
        tracing::warn!(controller = %address, %error, again_in = ?wait, "not connected to a controller");
        tokio::time::sleep(wait).await;
    }
}

/// One in a count, for as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn one_more(count: &Gauge) -> Self {
        count.inc();
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
