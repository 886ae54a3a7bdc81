//! The way to a cluster: the kubeconfig that kubectl would use, or a pod's own account.

use std::{fmt, path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::ClusterError;

/// The longest wait for a connection. A cluster that is there answers within a round trip.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest silence of a watch. The API server ends one after [`WATCH`] at the latest: longer silence is a dead connection.
const WATCH_SILENCE: Duration = Duration::from_secs(75);
/// How long one watch lasts, before the next goes on where it ended.
pub(crate) const WATCH: Duration = Duration::from_secs(60);

/// Which cluster is meant, and as whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// The kubeconfig file; `KUBECONFIG` and `~/.kube/config` are read when there is none.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in it; its current one when there is none.
    pub(crate) context: Option<String>,
}

/// A cluster that can be asked. Nothing has been sent yet.
pub(crate) struct Cluster {
    client: Client,
    watching: Client,
    url: String,
}

impl Cluster {
    /// Finds the cluster.
    ///
    /// # Errors
    /// When no cluster is configured, or its configuration cannot be used.
    pub(crate) async fn find(access: &Access) -> Result<Self, ClusterError> {
        let mut config = access.config().await?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(ANSWER);
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = |config| Client::try_from(config).map_err(|error| ClusterError::of(error, &url));
        let asking = client(config.clone())?;
        config.read_timeout = Some(WATCH_SILENCE);
        Ok(Self { client: asking, watching: client(config)?, url })
    }

    /// What requests are sent with.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// What watches are sent with: they are silent where nothing happens.
    pub(crate) fn watching(&self) -> Client {
        self.watching.clone()
    }

    /// The namespace that is meant where none is named, as kubectl takes it from the context.
    pub(crate) fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// What an error means that this cluster, or the way to it, gave.
    pub(crate) fn explain(&self, error: kube::Error) -> ClusterError {
        ClusterError::of(error, &self.url)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Access {
    async fn config(&self) -> Result<Config, ClusterError> {
        let error = match self.kubeconfig().await {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        // As kubectl does: who names a file or a context means that one, and no other.
        let named = self.kubeconfig.is_some() || self.context.is_some();
        Config::incluster().ok().filter(|_| !named).ok_or(ClusterError::NotConfigured(error))
    }

    async fn kubeconfig(&self) -> Result<Config, KubeconfigError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match &self.kubeconfig {
            Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await,
            None => Config::from_kubeconfig(&options).await,
        }
    }
}
