//! One core of the proxy: its own runtime, pool, dice and counters. Nothing here is shared but the plan and the totals.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
    task::AbortHandle,
    time::MissedTickBehavior,
};

use super::{
    access_log::AccessLog,
    activity::TooSlow,
    balance::Balancer,
    clock::Moment,
    connection::Caller,
    dice::Dice,
    limits::Limits,
    listen::{self, Listener},
    live_plan::{LivePlan, PlanSlot},
    metrics::{Published, Shard},
    multiplex::Multiplexer,
    outbox::Outbox,
    pool::Pool,
    reject::Reject,
    rewrite::ForwardedFor,
    rota::Rota,
    route::LiveRoute,
    tls::Reloads,
};

/// Conditions are evaluated at least this often, and the coarse clock goes in these steps.
const TICK: Duration = Duration::from_millis(10);
/// Tasks that have their turn, if so many are ready, before sockets and timers are looked at again. Each of them takes some microseconds.
const BETWEEN_LOOKS: u32 = 256;
/// Each connection is looked at every so many ticks, a part of them in each.
const SWEEP_TICKS: usize = 25;
/// A connection that has been idle for this long when the proxy closes is closed with it.
const CLOSE_IDLE: Duration = Duration::from_millis(100);

/// What all cores share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) slot: PlanSlot,
    pub(crate) limits: Limits,
    pub(crate) forwarded_for: ForwardedFor,
    pub(crate) access_log_share: f64,
    /// Callers whose requests and connections are never faulted.
    pub(crate) exempt: Vec<IpAddr>,
    /// The proxy stops, and should get no more traffic.
    pub(crate) draining: AtomicBool,
    pub(crate) reloads: Arc<Reloads>,
    pub(crate) published: Vec<Arc<Published>>,
    pub(crate) series_made: Arc<AtomicUsize>,
}

/// Whether the proxy goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    #[default]
    Running,
    /// It goes on accepting, and asks every client to close.
    Draining,
    /// Listeners are closed once their queues are empty; requests under way are finished.
    Closing,
}

/// A core's own counted pointer to the plan in force.
#[allow(clippy::redundant_allocation, reason = "requests count the outer Rc, so that cores do not share a counter")]
pub(crate) type LocalPlan = Rc<Arc<LivePlan>>;

/// One core.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) core: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Pool,
    pub(crate) multiplexer: Rc<Multiplexer>,
    pub(crate) balancer: Balancer,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) metrics: Shard,
    plan: RefCell<LocalPlan>,
    dice: RefCell<Dice>,
    connection_dice: RefCell<Dice>,
    random: RefCell<fastrand::Rng>,
    phase: Cell<Phase>,
    requests: Cell<usize>,
    pub(crate) log: AccessLog,
    clock: Arc<AtomicU64>,
    connections: RefCell<Rota<Open, SWEEP_TICKS>>,
}

#[derive(Debug)]
struct Open {
    caller: Rc<Caller>,
    task: AbortHandle,
}

impl Worker {
    fn new(core: usize, shared: Arc<Shared>) -> Rc<Self> {
        let limits = &shared.limits;
        let published = shared.published.get(core).cloned().unwrap_or_default();
        Rc::new(Self {
            core,
            pool: Pool::new(limits),
            multiplexer: Multiplexer::new(limits.streams as usize, limits.idle_upstream),
            balancer: Balancer::new(|| fastrand::u32(..)),
            outbox: Rc::default(),
            metrics: Shard::new(published, Arc::clone(&shared.series_made), limits.series),
            plan: RefCell::new(Rc::new(shared.slot.pointer().load_full())),
            dice: RefCell::default(),
            connection_dice: RefCell::default(),
            random: RefCell::new(fastrand::Rng::new()),
            phase: Cell::default(),
            requests: Cell::new(0),
            log: AccessLog::new(shared.access_log_share),
            clock: Arc::new(AtomicU64::new(Moment::now().as_nanos())),
            connections: RefCell::default(),
            shared,
        })
    }

    /// The plan in force.
    pub(crate) fn plan(&self) -> LocalPlan {
        let current = self.shared.slot.pointer().load();
        let mut own = self.plan.borrow_mut();
        if !Arc::ptr_eq(&own, &current) {
            *own = Rc::new(Arc::clone(&current));
        }
        Rc::clone(&own)
    }

    /// Where what comes over this connection goes now; `None` without a route.
    pub(crate) fn route_now(&self, caller: &Caller) -> Option<Arc<LiveRoute>> {
        let fresh = self.shared.slot.is_fresh(Moment::now());
        Some(Arc::clone(self.plan().route(caller.front.index)?.endpoints(fresh)))
    }

    /// A random number that nothing depends on but fairness.
    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// A roll of the dice that decide which requests are faulted.
    pub(crate) fn roll(&self, plan: &LivePlan) -> u64 {
        self.dice.borrow_mut().roll(plan, self.core as u64)
    }

    /// A roll of those that decide which new connections are faulted. They are others, so that a seed hits the same
    /// requests whatever connections carry them.
    pub(crate) fn roll_for_connection(&self, plan: &LivePlan) -> u64 {
        self.connection_dice.borrow_mut().roll(plan, !(self.core as u64))
    }

    /// A request has begun.
    pub(crate) fn request_begins(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// A request has ended.
    pub(crate) fn request_ends(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
    }

    /// Whether more requests are under way than this core takes on.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.requests.get() > self.shared.limits.requests
    }

    /// Whether clients are asked to close.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase.get() != Phase::Running
    }

    /// Whether connections end behind the request under way.
    fn is_closing(&self) -> bool {
        self.phase.get() == Phase::Closing
    }

    /// A clock that moves every 10 ms and costs nothing to read.
    pub(crate) fn coarse_clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.clock)
    }

    /// The time on that clock.
    pub(crate) fn coarse_now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Keeps a connection's task within the reach of the sweep.
    pub(crate) fn opened(&self, caller: Rc<Caller>, task: AbortHandle) {
        if task.is_finished() {
            return;
        }
        self.connections.borrow_mut().add(Open { caller, task });
    }

    /// Asks every HTTP/2 connection to say goodbye.
    fn say_goodbye(&self) {
        for open in self.connections.borrow().all() {
            open.caller.connection.say_goodbye(Moment::now());
        }
    }

    /// Connections that are open.
    fn open_connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Of the connections whose turn it is, forgets those that have ended, and ends those that are too slow.
    fn sweep(&self, turn: u64, now: Moment) {
        let limits = &self.shared.limits;
        let closing = self.is_closing();
        self.connections.borrow_mut().look(turn, |open| {
            if open.task.is_finished() {
                return false;
            }
            let activity = &open.caller.connection;
            let unread = open.caller.unread.longest(now) > limits.stalled;
            let too_slow = activity.too_slow(limits, now).or(unread.then_some(TooSlow::Stalled));
            if too_slow == Some(TooSlow::Stalled) {
                activity.stall();
            }
            let done = closing && activity.idle_for(now).is_some_and(|idle| idle >= CLOSE_IDLE);
            let waits_for_goodbye = activity.is_multiplexed() && !activity.has_had_its_goodbye(now);
            if done || (too_slow.is_some() && !waits_for_goodbye) {
                if too_slow == Some(TooSlow::Head) {
                    self.metrics.rejected(Reject::HeadTimeout);
                }
                open.task.abort();
            } else if too_slow.is_some() {
                activity.say_goodbye(now);
            }
            true
        });
    }

    /// The sweeps of one tick: when the proxy closes, of everything.
    fn sweep_in_turn(&self, tick: u64, now: Moment) {
        let round = SWEEP_TICKS as u64;
        if self.is_closing() {
            (0..round).for_each(|turn| self.sweep(turn, now));
        } else {
            self.sweep(tick, now);
        }
        let published = self.metrics.published();
        published.active_connections.store(self.open_connections() as u64, Ordering::Relaxed);
        if tick.is_multiple_of(round) || self.is_closing() {
            self.pool.sweep(now);
            self.multiplexer.sweep(now);
        }
    }

    /// The heartbeat: the coarse clock, the plan's expiry and conditions, and from time to time the sweep.
    async fn tick(self: Rc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut before = Moment::now();
        for count in 0u64.. {
            interval.tick().await;
            let now = Moment::now();
            self.metrics.ticked(now.since(before).saturating_sub(TICK));
            before = now;
            self.clock.store(now.as_nanos(), Ordering::Relaxed);
            self.metrics.published().last_tick.store(now.as_nanos(), Ordering::Relaxed);
            self.metrics.published().heartbeat.fetch_add(1, Ordering::AcqRel);
            self.shared.slot.tick(now);
            self.sweep_in_turn(count, now);
        }
    }
}

/// Runs one core until the proxy has closed.
pub(crate) fn run(
    core: usize,
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    mut phase: watch::Receiver<Phase>,
) -> std::io::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().event_interval(BETWEEN_LOOKS).build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let drain = shared.limits.drain;
        let worker = Worker::new(core, shared);
        tokio::task::spawn_local(Rc::clone(&worker).tick());
        tokio::task::spawn_local(Rc::clone(&worker.outbox).run());
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::task::spawn_local(listen::accept(Rc::clone(&worker), listener, phase.clone())))
            .collect();
        loop {
            let now = *phase.borrow_and_update();
            worker.phase.set(now);
            if now == Phase::Draining {
                worker.say_goodbye();
            }
            // A closed channel means that the proxy's handle is gone.
            if now == Phase::Closing || phase.changed().await.is_err() {
                break;
            }
        }
        worker.phase.set(Phase::Closing);
        worker.say_goodbye();
        for task in accepting {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a listener's task failed");
            }
        }
        let finished = async {
            while worker.open_connections() > 0 {
                tokio::time::sleep(TICK).await;
            }
        };
        if tokio::time::timeout(drain, finished).await.is_err() {
            tracing::warn!(
                open = worker.open_connections(),
                ?drain,
                "requests were still under way when the drain ended"
            );
        }
        // Its task has no turn any more.
        worker.outbox.send();
        worker.pool.clear();
        worker.multiplexer.clear();
        Ok(())
    })
}
