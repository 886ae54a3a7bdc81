//! Our certificates in a Secret: made by whichever replica is first, rotated by whichever notices first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    engine::clock,
    pki::{CurrentCertificate, Due, Pki, PkiError, Rule},
};

/// The Secret's name.
pub const SECRET: &str = "glooshot-control-ca";
/// The key with everything.
const KEY: &str = "pki.json";
/// Between two looks; certificates live for weeks.
const LOOK: Duration = Duration::from_secs(300);
/// Steps of the rotation, and attempts against other replicas, in one look.
const ATTEMPTS: usize = 16;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The API server refused, or could not be asked.
    #[error("the Secret {SECRET} cannot be read or written: {0}")]
    Api(Box<kube::Error>),
    /// What it holds is not ours: somebody else's fault.
    #[error("the Secret {SECRET}: {0}; delete it, and a new one is made")]
    Pki(#[from] PkiError),
    /// Others were always faster.
    #[error("the Secret {SECRET} was changed by somebody else at each of {ATTEMPTS} attempts")]
    Contended,
}

impl From<kube::Error> for AuthorityError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Our certificates, in a Secret.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    api: Api<Secret>,
    names: Vec<String>,
    rule: Rule,
}

impl Authority {
    /// In this namespace, for servers with these DNS names.
    pub(crate) fn new(client: Client, namespace: &str, names: Vec<String>) -> Self {
        Self { api: Api::namespaced(client, namespace), names, rule: Rule::default() }
    }

    /// What holds now: read, made where there is nothing, and one rotation further where that is due.
    pub(crate) async fn current(&self) -> Result<Pki, AuthorityError> {
        for _ in 0..ATTEMPTS {
            let Some(secret) = self.api.get_opt(SECRET).await? else {
                let made = Pki::new(&self.names, &self.rule, clock::certificates())?;
                match self.api.create(&PostParams::default(), &secret(&made, ObjectMeta::default())?).await {
                    Ok(_) => return Ok(made),
                    Err(error) if lost(&error) => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            let data = secret.data.unwrap_or_default();
            let bytes = data.get(KEY).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
            let stored = Pki::parse(bytes)?;
            let now = clock::certificates();
            let due = stored.due(&self.names, &self.rule, now);
            if due == Due::Nothing {
                return Ok(stored);
            }
            tracing::info!(?due, "certificates are rotated");
            let next = stored.after(due, &self.names, &self.rule, now)?;
            // Compared and swapped: the version that was read must still be the one that is there.
            match self.api.replace(SECRET, &PostParams::default(), &self::secret(&next, secret.metadata)?).await {
                Ok(_) => {}
                Err(error) if lost(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AuthorityError::Contended)
    }

    /// Looks again for ever, and shows what holds.
    pub(crate) async fn keep(self, shown: Arc<CurrentCertificate>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let renewed = self.current().await.and_then(|pki| Ok(pki.certified_key()?));
            match renewed {
                Ok(key) => shown.set(key),
                // What is shown stays; there are weeks left.
                Err(error) => tracing::warn!(%error, "certificates could not be looked at"),
            }
        }
    }
}

/// Somebody else was faster.
fn lost(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn secret(pki: &Pki, metadata: ObjectMeta) -> Result<Secret, PkiError> {
    let labels = metadata.labels.clone().unwrap_or_default();
    let ours = [("app.kubernetes.io/managed-by".to_owned(), "glooshot".to_owned())];
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            labels: Some(labels.into_iter().chain(ours).collect()),
            ..metadata
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(pki.to_bytes()?))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}
