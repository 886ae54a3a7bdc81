//! One core's part of a run: a thread with a runtime, a timer and workers of its own.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Http1, Http2, Multiplex};
use crate::config::{ConfigError, Protocol};
use crate::crew::Crew;
use crate::live::Shard;
use crate::pacer::Pacer;
use crate::prepared::Prepared;
use crate::schedule::{Plan, Schedule};
use crate::summary::Summary;
use crate::tally::Tally;
use crate::worker::work;

/// What one core is to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) core: usize,
    pub(crate) connections: usize,
    pub(crate) protocol: Protocol,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) plan: Arc<Plan>,
    /// Names of the targets.
    pub(crate) targets: Arc<[String]>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) cancel: CancellationToken,
    /// Told when everything is there that the machine might deny.
    pub(crate) ready: oneshot::Sender<()>,
    /// Tells when the run begins. If it never does, the core ends.
    pub(crate) start: oneshot::Receiver<Instant>,
}

/// Does it, on this thread; `None` if the run never began.
pub(crate) fn drive(job: Job) -> Result<Option<Summary>, ConfigError> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(run(job))
}

async fn run(job: Job) -> Result<Option<Summary>, ConfigError> {
    let pacer = Pacer::new(may_sleep(&job))?;
    let _ = job.ready.send(());
    let Ok(start) = job.start.await else { return Ok(None) };
    let schedule = Schedule::new(job.plan, job.core, start, fastrand::Rng::new());
    let tally = Tally::new(job.shard, &schedule, &job.targets)?;
    let crew = Rc::new(Crew::new(job.prepared, schedule, pacer, tally));

    let mut workers = JoinSet::new();
    for client in clients(&crew, job.protocol, job.connections) {
        let (crew, watch) = (Rc::clone(&crew), crew.deadlines.watch());
        workers.spawn_local(async move { work(&crew, client, &watch).await });
    }
    let mut helpers: JoinSet<std::io::Result<Infallible>> = JoinSet::new();
    let (timed, swept) = (Rc::clone(&crew), Rc::clone(&crew));
    helpers.spawn_local(async move { timed.pacer.run(|now| timed.schedule.rate_at(now)).await });
    helpers.spawn_local(async move { Ok(swept.deadlines.run().await) });

    let ended = tokio::select! {
        () = job.cancel.cancelled() => Ok(()),
        ended = all(&mut workers) => ended,
        ended = helpers.join_next() => outcome(ended).map(|_| ()),
    };
    let now = Instant::now();
    workers.shutdown().await;
    helpers.shutdown().await;
    ended?;
    let crew = Rc::into_inner(crew).ok_or_else(|| std::io::Error::other("a worker outlived its run"))?;
    Ok(Some(crew.tally.summary(&crew.schedule, &crew.traffic, &job.targets, now)))
}

/// Whether nobody needs to know at once that an answer has come: the kernel tells later when it came, and none waits
/// for being read. Libraries read TLS and HTTP/2, and do not ask the kernel.
fn may_sleep(job: &Job) -> bool {
    job.protocol == Protocol::Http1 && job.plan.is_open_loop() && job.prepared.is_small_and_plain()
}

/// One client for each request that may be in flight.
fn clients(crew: &Rc<Crew>, protocol: Protocol, connections: usize) -> Vec<Client> {
    match protocol {
        Protocol::Http1 => (0..connections).map(|_| Client::Http1(Http1::new(Rc::clone(crew)))).collect(),
        Protocol::Http2 { streams } => {
            let shared: Vec<_> =
                (0..connections).map(|_| Rc::new(Multiplex::new(crew.prepared.origins.len()))).collect();
            // In turn, so that few requests are spread over all connections.
            let clients = shared.iter().cycle().take(connections * streams);
            clients.map(|multiplex| Client::Http2(Http2::new(Rc::clone(crew), Rc::clone(multiplex)))).collect()
        }
    }
}

async fn all(workers: &mut JoinSet<std::io::Result<()>>) -> std::io::Result<()> {
    while let Some(ended) = workers.join_next().await {
        outcome(Some(ended))?;
    }
    Ok(())
}

/// What a task came to. Its panic is passed on: only an `Inspect` hook can, and it belongs to the caller.
fn outcome<T>(ended: Option<Result<std::io::Result<T>, tokio::task::JoinError>>) -> std::io::Result<T> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(std::io::Error::other(error)),
        },
        None => Err(std::io::Error::other("a task is missing")),
    }
}
