//! Leader election: one Lease, one write for each take-over, and a fencing token that comes from that very write.
//!
//! # Guarantees
//! - Two processes never lead at one time by their own clocks: a leader counts its lease from before the write was sent, and stops
//!   [`RENEW_DEADLINE`] after it; everybody else counts the whole [`LENGTH`] from when the write was seen.
//! - The token of a later leader is higher: its Lease is younger, or its transition is later. The identity is new in each process,
//!   so that a restarted one is another holder.

mod decide;

use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use glooshot_api::plan::FencingToken;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    runtime::watcher::Event,
};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use self::decide::{Memory, Seen, Step};
use crate::{cluster::watching, engine::clock, paths::redirect::Reign, proxy::Moment};

/// How long a lease lasts after it was written.
pub(crate) const LENGTH: Duration = Duration::from_secs(15);
/// A leader that could not write for this long leads no more.
pub(crate) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two writes of a leader.
const RENEW: Duration = Duration::from_secs(2);
/// Between two looks of everybody else: what is seen late is taken over late.
const LOOK: Duration = Duration::from_secs(1);
/// Before another look when somebody wrote between ours and our write.
const AGAIN: Duration = Duration::from_millis(50);
/// For one look and one write.
const ROUND: Duration = Duration::from_secs(5);
/// For the polite release at the end.
const RELEASE: Duration = Duration::from_secs(3);

/// Leads whenever it can, and says so.
#[derive(Debug)]
pub(crate) struct Elector {
    api: Api<Lease>,
    /// The same, for a watch.
    watched: Api<Lease>,
    name: String,
    identity: String,
    memory: Memory,
    held: Option<Held>,
    reign: watch::Sender<Option<Reign>>,
    before: watch::Sender<Option<Timestamp>>,
}

/// A lease of ours.
#[derive(Clone, Copy, Debug)]
struct Held {
    fencing: FencingToken,
    /// When the write was sent.
    written: Moment,
}

impl Elector {
    /// An elector for the Lease `name` in `namespace`. `process` is a part of its identity that people recognise: the pod's name.
    pub(crate) fn new(client: Client, watching: Client, namespace: &str, name: &str, process: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            watched: Api::namespaced(watching, namespace),
            name: name.to_owned(),
            identity: format!("{process}_{:016x}", fastrand::u64(..)),
            memory: Memory::default(),
            held: None,
            reign: watch::Sender::new(None),
            before: watch::Sender::new(None),
        }
    }

    /// Whether we lead, and until when.
    pub(crate) fn reign(&self) -> watch::Receiver<Option<Reign>> {
        self.reign.subscribe()
    }

    /// When the leader before us last said that it led, by the wall clock; none if we are the first.
    pub(crate) fn before(&self) -> watch::Receiver<Option<Timestamp>> {
        self.before.subscribe()
    }

    /// Leads whenever it can, for ever. Cancel safe: what was written last holds until its end.
    pub(crate) async fn run(&mut self) {
        let freed = Notify::new();
        let looking = look_out(self.watched.clone(), self.name.clone(), &freed);
        tokio::join!(self.rounds(&freed), looking);
    }

    async fn rounds(&mut self, freed: &Notify) {
        loop {
            let pause = self.round_in_time().await;
            // The reign ends by itself when nothing renews it, also while we wait.
            select! {
                () = sleep(pause) => {}
                // A watch only ever hastens the next look: what it says is not relied on.
                () = freed.notified() => {}
            }
        }
    }

    /// Says that nobody leads any more, so that the next one need not wait. Whoever was told of the reign has stopped before.
    pub(crate) async fn release(&mut self) {
        self.reign.send_replace(None);
        if self.held.take().is_none() {
            return;
        }
        match timeout(RELEASE, self.give_up()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be released; it ends by itself"),
            Err(_) => tracing::warn!("the lease was not released in time; it ends by itself"),
        }
    }

    /// One look and what follows from it; gives the time until the next.
    async fn round_in_time(&mut self) -> Duration {
        let limit = match self.held {
            Some(held) => RENEW_DEADLINE.saturating_sub(Moment::now().since(held.written)).min(ROUND),
            None => ROUND,
        };
        let pause = match timeout(limit, self.round()).await {
            Ok(Ok(pause)) => pause,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease could not be looked at or written");
                LOOK
            }
            Err(_) => {
                tracing::warn!(?limit, "the API server did not answer about the lease in time");
                LOOK
            }
        };
        if self.held.is_some_and(|held| Moment::now().since(held.written) >= RENEW_DEADLINE) {
            tracing::warn!("the lease could not be renewed in time; no longer leading");
            self.lose();
        }
        match self.held {
            Some(held) => pause.min(RENEW_DEADLINE.saturating_sub(Moment::now().since(held.written))),
            None => pause,
        }
    }

    async fn round(&mut self) -> Result<Duration, kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let seen = lease.as_ref().map(seen);
        let step = self.memory.decide(&self.identity, seen.as_ref(), LENGTH, Moment::now());
        let sent = Moment::now();
        let written = match (step, lease) {
            (Step::Wait(left), _) => {
                self.lose();
                return Ok(left.min(LOOK));
            }
            (Step::Create, _) | (_, None) => {
                self.api.create(&PostParams::default(), &self.lease(None, 0, ObjectMeta::default())).await
            }
            (Step::Take { transitions }, Some(lease)) => self.replace(lease, transitions).await,
            (Step::Renew, Some(lease)) => {
                let transitions = seen.map_or(0, |seen| seen.transitions);
                self.replace(lease, transitions).await
            }
        };
        match written {
            Ok(lease) => {
                self.hold(&lease, sent);
                Ok(RENEW)
            }
            // Somebody wrote meanwhile: what it was is looked at before anything is concluded from it.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(AGAIN),
            Err(error) => Err(error),
        }
    }

    /// Writes the Lease that was seen, as ours; refused by the API server when it has changed meanwhile.
    async fn replace(&mut self, seen: Lease, transitions: u64) -> Result<Lease, kube::Error> {
        let spec = seen.spec.unwrap_or_default();
        if self.held.is_none() {
            self.before.send_replace(spec.renew_time.as_ref().map(|time| time.0));
        }
        let acquired = spec.acquire_time.filter(|_| self.held.is_some());
        self.api.replace(&self.name, &PostParams::default(), &self.lease(acquired, transitions, seen.metadata)).await
    }

    fn lease(&self, acquired: Option<MicroTime>, transitions: u64, metadata: ObjectMeta) -> Lease {
        let now = MicroTime(clock::now());
        Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..metadata },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(LENGTH.as_secs()).ok(),
                acquire_time: acquired.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(i32::try_from(transitions).unwrap_or(i32::MAX)),
                ..LeaseSpec::default()
            }),
        }
    }

    /// The write was accepted: its answer has the token.
    fn hold(&mut self, lease: &Lease, written: Moment) {
        let fencing = FencingToken {
            lease_created: lease.metadata.creation_timestamp.as_ref().map_or(0, |at| created(at.0)),
            transitions: seen(lease).transitions,
        };
        if self.held.is_none_or(|held| held.fencing != fencing) {
            tracing::info!(identity = %self.identity, ?fencing, "leading");
        }
        self.held = Some(Held { fencing, written });
        self.reign.send_replace(Some(Reign { fencing, until: written.plus(LENGTH) }));
    }

    fn lose(&mut self) {
        if self.held.take().is_some() {
            tracing::warn!(identity = %self.identity, "no longer leading");
        }
        self.reign.send_if_modified(|reign| reign.take().is_some());
    }

    async fn give_up(&self) -> Result<(), kube::Error> {
        let lease = self.api.get(&self.name).await?;
        if seen(&lease).holder.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        let transitions = seen(&lease).transitions;
        let mut free = self.lease(None, transitions, lease.metadata);
        if let Some(spec) = &mut free.spec {
            spec.holder_identity = None;
        }
        self.api.replace(&self.name, &PostParams::default(), &free).await.map(drop)
    }
}

/// Tells whenever the Lease is seen to be nobody's, for ever.
async fn look_out(api: Api<Lease>, name: String, freed: &Notify) {
    let only = watching::everything().fields(&format!("metadata.name={name}"));
    let (_store, words) = watching::cache(api, (), only, |_| {});
    pin_mut!(words);
    while let Some(word) = words.next().await {
        match word {
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => {
                if seen(&lease).is_free() {
                    freed.notify_one();
                }
            }
            Ok(Event::Delete(_)) => freed.notify_one(),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "the watch of the lease was cut; it goes on"),
        }
    }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.as_ref();
    Seen {
        holder: spec.and_then(|spec| spec.holder_identity.clone()),
        transitions: spec.and_then(|spec| spec.lease_transitions).and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// Nanoseconds of Unix time, within the range of the token.
fn created(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}
