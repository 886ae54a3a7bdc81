//! The data path of one run: its Services go through the proxies, which are told what the engine says.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{join_all, try_join_all};
use glooshot_api::{experiment::Reconnect, names::ServiceName, scenario::Scenario, status::InjectionStatus};
use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

use super::{
    Owner, Shared, Stage, Step,
    eyes::Eyes,
    follow, isolated,
    orders::Orders,
    patch::{self, Selects},
    plan, pods,
    preflight::{self, Finding, Severity, Wants},
    run_state::RunState,
    shifts::Claim,
    steps::{self, Arrivals, ENOUGH_PROXIES, Next, Sight},
    target::{Target, address},
    vigil::Vigil,
    world::Held,
};
use crate::{
    engine::data_path::{DataPath, PathDescription, PathError, PathEvent, Reading},
    proxy::Moment,
};

/// Events that the engine may be behind; there are a few in a whole run.
const EVENTS: usize = 16;
/// Between two looks where nothing says that something has changed.
pub(super) const LOOK: Duration = Duration::from_millis(200);
/// For a connection that is only opened.
const CONNECT: Duration = Duration::from_secs(1);
/// For proxies to acknowledge a plan that switches their faults on.
const ARM_LIMIT: Duration = Duration::from_secs(10);

/// The path of one run.
pub struct RedirectPath {
    pub(super) shared: Arc<Shared>,
    pub(super) owner: Owner,
    deadline: Timestamp,
    pub(super) run: Arc<RunState>,
    /// The Services of a RoutingRule, which are nobody else's meanwhile.
    pub(super) rule: Option<(Vec<ServiceName>, Claim)>,
    events: Mutex<Option<mpsc::Receiver<PathEvent>>>,
}

impl fmt::Debug for RedirectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedirectPath").field("owner", &self.owner).finish_non_exhaustive()
    }
}

pub(super) fn error(message: impl Into<String>) -> PathError {
    PathError { message: message.into() }
}

impl RedirectPath {
    pub(super) fn new(
        shared: Arc<Shared>,
        owner: Owner,
        deadline: Timestamp,
        live: watch::Receiver<Moment>,
        rule: Option<(Vec<ServiceName>, Claim)>,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (stage, _) = watch::channel(Stage::default());
        let (reign, shifts) = (shared.reign.clone(), shared.shifts.clone());
        let generations = Arc::clone(&shared.generations);
        let orders = Orders::new(shared.hub.clone(), reign, live, generations, shifts.clone(), owner.uid.clone());
        let run = RunState { shifts, orders, stage, sender, notes: Mutex::default() };
        Self { shared, owner, deadline, run: Arc::new(run), rule, events: Mutex::new(Some(events)) }
    }

    /// How far the redirection has come, and what it waits for.
    pub fn progress(&self) -> watch::Receiver<Stage> {
        self.run.stage.subscribe()
    }

    /// Looks for everything that stands against the redirection of what `scenario` needs, without changing anything.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub async fn preflight(&self, scenario: &Scenario) -> Result<Vec<(ServiceName, Vec<Finding>)>, PathError> {
        let targets = self.names(scenario);
        let all = targets.into_iter().map(|name| async {
            let seen = self.shared.world.look(&name, scenario.reconnect).await?;
            let wants = Wants { mirror: self.mirrors(scenario, &name), ..Wants::of(scenario, &name) };
            let findings = preflight::inspect(&seen, &name.namespace, &name.name, &self.holder(&name), &wants);
            Ok((name, findings))
        });
        try_join_all(all).await
    }

    async fn inspect(&self, scenario: &Scenario) -> Result<(), PathError> {
        self.run.reach(Step::Preflight, "looking at the targets");
        let found = self.preflight(scenario).await?;
        let mut errors = Vec::new();
        for (name, findings) in &found {
            for finding in findings {
                match finding.severity {
                    Severity::Error => errors.push(format!("Service {name}: {finding}")),
                    Severity::Warning => tracing::warn!(service = %name, %finding, "preflight"),
                }
            }
        }
        self.run.stage.send_modify(|stage| {
            stage.findings = found
                .into_iter()
                .flat_map(|(name, findings)| findings.into_iter().map(move |it| (name.clone(), it)))
                .collect();
        });
        if errors.is_empty() { Ok(()) } else { Err(error(errors.join("; "))) }
    }

    /// Leads one Service through all steps.
    async fn lead(&self, target: &Target, eyes: &Eyes) -> Result<(), PathError> {
        let mut vigil = Vigil::keep(self, target, eyes);
        let mut step = None;
        let mut since = Instant::now();
        // Where we are guests everything is there.
        let mut deployed = target.holder != self.owner;
        let mut arrivals = Arrivals::default();
        loop {
            let sight = self.sight(target, eyes, deployed, &mut arrivals)?;
            let (now, next) = steps::next(&sight);
            if step != Some(now) {
                (step, since) = (Some(now), Instant::now());
            }
            let waits = match &next {
                Next::Done => {
                    self.run.reach(Step::Verified, format!("Service {} goes through the proxies", target.name));
                    return Ok(());
                }
                Next::MakeOrigin | Next::MakeProxies | Next::Flip if target.holder != self.owner => {
                    return Err(error(format!("{} no longer holds Service {}", target.holder, target.name)));
                }
                Next::MakeOrigin => {
                    self.make_origin(target).await?;
                    continue;
                }
                Next::MakeProxies => {
                    self.may_write()?;
                    let origin = sight.origin.ok_or_else(|| error("the origin has no address"))?;
                    let parts = target.parts(&self.owner, &self.shared.settings);
                    if let Some(mirror) = &target.mirror {
                        self.shared.world.make_policies(&parts, mirror).await?;
                    }
                    self.shared.world.make_proxies(&parts, origin).await?;
                    deployed = true;
                    continue;
                }
                Next::Flip if target.needs_policies() && since.elapsed() < isolated::IN_FORCE => {
                    "NetworkPolicies to be in force on every node".to_owned()
                }
                Next::Flip => {
                    self.may_write()?;
                    self.shared.world.flip(&target.name, &target.uid, &self.owner, self.deadline).await?;
                    "the Service to select the proxies".to_owned()
                }
                Next::Probe if target.is_shut() && since.elapsed() > isolated::CALLERS => {
                    self.goes_on_unseen(target);
                    return Ok(());
                }
                Next::Probe => {
                    self.probe(target).await;
                    "a connection to the Service to arrive at a proxy".to_owned()
                }
                Next::Wait(what) => what.clone(),
                Next::GiveWay => {
                    return Err(error(format!("somebody else has changed the selector of Service {}", target.name)));
                }
            };
            self.run.reach(now, format!("Service {} waits: {waits}", target.name));
            if since.elapsed() > steps::limit(now) {
                let (limit, name) = (steps::limit(now).as_secs(), &target.name);
                return Err(error(format!("Service {name} could not be redirected ({now:?}): after {limit}s {waits}")));
            }
            vigil.pass().await?;
        }
    }

    fn sight(&self, target: &Target, eyes: &Eyes, deployed: bool, arrivals: &mut Arrivals) -> Result<Sight, PathError> {
        let service = eyes.service(&target.name).filter(|it| it.uid().as_deref() == Some(target.uid.as_str()));
        let service = service.ok_or_else(|| error(format!("Service {} has been deleted", target.name)))?;
        let ours = patch::record(&service).ok().flatten().is_some_and(|it| it.experiment.uid == target.holder.uid);
        let selects = patch::selects(&service);
        let proxies = eyes.proxies(&target.name.namespace, &target.uid);
        let views = self.run.orders.obeying(&target.name);
        let accepted = views.iter().map(|view| (view.identity.uid.clone(), view.accepted));
        if ours && selects == Selects::Proxies {
            arrivals.note(accepted);
        }
        Ok(Sight {
            origin: target.origin(),
            endpoints: target.routes(eyes).iter().map(|route| route.endpoints.len()).max().unwrap_or(0),
            deployed,
            wanted: usize::from(self.shared.settings.replicas),
            ready: proxies.iter().filter(|pod| pods::is_ready(pod)).count(),
            obeying: self.run.orders.up_to_date(&target.name),
            obstacle: proxies.iter().filter(|pod| !pods::is_ready(pod)).find_map(|pod| pods::obstacle(pod)),
            selects,
            ours,
            arrived: arrivals.is_seen(),
        })
    }

    /// The Services that this is about.
    fn names(&self, scenario: &Scenario) -> Vec<ServiceName> {
        self.rule.as_ref().map_or_else(|| scenario.services().into_iter().collect(), |(names, _)| names.clone())
    }

    async fn make_origin(&self, target: &Target) -> Result<(), PathError> {
        self.may_write()?;
        let origin = self.shared.world.make_origin(&target.parts(&self.owner, &self.shared.settings)).await?;
        target.set_origin(Some(&origin))
    }

    pub(super) fn orders_for(&self, target: &Target, eyes: &Eyes) -> Result<(), PathError> {
        let notes = self.run.notes();
        let Some(scenario) = notes.scenario.clone() else { return Ok(()) };
        drop(notes);
        self.run.orders.set(&target.name, target.inputs(eyes, &scenario, &self.owner.uid, &self.run.shifts))
    }

    pub(super) fn may_write(&self) -> Result<(), PathError> {
        let reign = *self.shared.reign.borrow();
        let leads = reign.is_some_and(|reign| reign.until > Moment::now());
        if leads { Ok(()) } else { Err(error("this controller does not lead")) }
    }

    /// Opens a connection to the Service, and says nothing over it.
    async fn probe(&self, target: &Target) {
        let (Some(address), Some(listen)) = (address(&target.service), target.listens.first()) else { return };
        let address = SocketAddr::new(address, listen.service_port);
        // Whether it arrives is told by the proxies, not by this end.
        if let Ok(Err(error)) = timeout(CONNECT, TcpStream::connect(address)).await {
            tracing::debug!(%address, %error, "the Service does not accept a connection yet");
        }
    }

    /// Tells of everything that happens from now on, and keeps the plans true.
    fn follow(&self, eyes: &Arc<Eyes>) {
        let follower = follow::Follower {
            run: Arc::clone(&self.run),
            hub: self.shared.hub.clone(),
            eyes: Arc::clone(eyes),
            owner: self.owner.clone(),
        };
        self.run.notes().follower.spawn(follower.run());
    }

    fn targets(&self) -> Vec<Arc<Target>> {
        self.run.notes().targets.clone()
    }
}

impl DataPath for RedirectPath {
    fn describe(&self) -> PathDescription {
        PathDescription { kind: "Proxy", reason: "Services go through proxies of ours while the run lasts".to_owned() }
    }

    async fn route(&self, scenario: &Scenario) -> Result<(), PathError> {
        let names = self.names(scenario);
        self.take_seats(&names).await?;
        self.inspect(scenario).await?;
        let callers = self.shared.world.callers(scenario).await?;
        let count = names.len() as u64;
        let mut targets = Vec::new();
        for (index, name) in (0u64..).zip(names.iter()) {
            let service = self.shared.world.service(name).await?;
            let service = service.ok_or_else(|| error(format!("Service {name} has been deleted")))?;
            let mut pods = self.shared.world.pods(name, &patch::original(&service)).await?;
            let are_away = !pods.iter().any(pods::is_ready);
            if are_away {
                // The preflight lets it pass only where the proxies are there already, whose ports are the same.
                pods = self.shared.world.pods(name, &patch::selector(&service)).await?;
            }
            let injected = scenario.max_injected.map(|total| plan::share(total, index, count));
            let mut target = Target::new(service, &pods, scenario, callers.clone(), injected, self.holder(name))
                .map_err(|why| error(format!("Service {name}: {why}")))?;
            if target.holder != self.owner {
                self.find_origin(&target).await?;
            } else if self.mirrors(scenario, name) && !are_away {
                // Otherwise what was made stays: nobody can say which policies isolate pods that are not there.
                target.mirror = Some(self.mirror(&target, &pods).await?);
            }
            targets.push(Arc::new(target));
        }
        {
            // From here on there may be something to put back.
            let mut notes = self.run.notes();
            notes.scenario = Some(Arc::new(scenario.clone()));
            notes.held = targets
                .iter()
                .filter(|target| target.holder == self.owner)
                .map(|target| Held { service: target.name.clone(), service_uid: target.uid.clone() })
                .collect();
            notes.targets.clone_from(&targets);
        }
        let namespaces = callers.iter().map(|caller| caller.service.namespace.as_str());
        let eyes = Arc::new(Eyes::open(self.shared.world.client(), &names, namespaces));
        eyes.ready().await.map_err(|_| error("the cluster does not say in time what there is"))?;
        self.run.notes().eyes = Some(Arc::clone(&eyes));
        try_join_all(targets.iter().map(|target| self.lead(target, &eyes))).await?;
        if scenario.reconnect == Reconnect::RestartTargets {
            // Whoever is made to connect anew must find every Service redirected: two of them may lead to the same pods.
            try_join_all(targets.iter().map(|target| self.restart(target, &eyes))).await?;
        }
        self.follow(&eyes);
        if self.rule.is_some() {
            self.run.shifts.open(&self.owner.uid);
        }
        Ok(())
    }

    async fn arm(&self) -> Result<(), PathError> {
        self.run.orders.arm(true)?;
        let mut heard = self.shared.hub.changes();
        let acknowledged = async {
            while !self.run.orders.are_acknowledged(ENOUGH_PROXIES)? {
                if heard.changed().await.is_err() {
                    return Err(error("the control channel has ended"));
                }
            }
            Ok(())
        };
        let waited = timeout(ARM_LIMIT, acknowledged).await;
        waited.unwrap_or_else(|_| {
            Err(error(format!("not every proxy has acknowledged the faults within {}s", ARM_LIMIT.as_secs())))
        })?;
        self.run.reach(Step::FaultsOn, "every proxy has acknowledged the faults");
        Ok(())
    }

    async fn disarm(&self) -> Result<(), PathError> {
        let mut heard = self.shared.hub.changes();
        // Who cannot be told any more, since we do not lead, ends them by itself.
        let told = self.run.orders.arm(false);
        loop {
            if self.run.orders.is_off(Moment::now()) {
                break;
            }
            tokio::select! {
                _ = heard.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if let Err(error) = told {
            tracing::warn!(%error, "the faults have ended by themselves");
        }
        self.run.notes().off_at.get_or_insert_with(Moment::now);
        self.run.reach(Step::FaultsOff, "no proxy injects any more");
        Ok(())
    }

    fn cut(&self) {
        if let Err(error) = self.run.orders.arm(false) {
            tracing::warn!(%error, "the faults end by themselves");
        }
    }

    fn renew(&self) -> Result<(), PathError> {
        self.run.orders.renew()
    }

    async fn restore(&self) -> Result<(), PathError> {
        let held = self.run.end();
        let uid = &self.owner.uid;
        let restored = join_all(held.iter().map(|it| self.shared.world.restore(&it.service, uid))).await;
        restored.into_iter().collect::<Result<Vec<()>, _>>()?;
        self.run.reach(Step::Restored, "the Services select the real pods again");
        self.run.leave();
        Ok(())
    }

    fn keep(&self) -> bool {
        // What a rule holds stays with the rule.
        let is_ours = !self.run.notes().held.is_empty();
        if is_ours {
            self.run.end();
            self.run.leave();
        }
        is_ours
    }

    fn events(&self) -> mpsc::Receiver<PathEvent> {
        let first = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody sends to a second one.
        first.unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn readings(&self) -> Vec<Reading> {
        let readings = self.targets().into_iter().flat_map(|target| self.shared.hub.readings(&target.name));
        readings.map(|(index, value)| Reading { condition: usize::from(index), value }).collect()
    }

    fn injection(&self) -> Vec<InjectionStatus> {
        let notes = self.run.notes();
        let none =
            vec![InjectionStatus::default(); notes.scenario.as_ref().map_or(0, |scenario| scenario.faults.len())];
        let targets = notes.targets.iter().map(|target| self.shared.hub.injection(&target.name));
        InjectionStatus::sums(std::iter::once(none).chain(targets))
    }

    fn missing_callers(&self) -> Vec<String> {
        follow::note_callers(&self.run);
        let notes = self.run.notes();
        let Some(scenario) = &notes.scenario else { return Vec::new() };
        let missing = notes.targets.iter().flat_map(|target| {
            let seen = notes.seen.get(&target.name).map(Vec::as_slice).unwrap_or_default();
            plan::callers(scenario, &target.name).into_iter().filter(|caller| !seen.contains(caller))
        });
        let missing: BTreeSet<ServiceName> = missing.collect();
        missing.iter().map(ToString::to_string).collect()
    }

    fn stop_latency(&self) -> Option<Duration> {
        let notes = self.run.notes();
        let ((age, received), off) = notes.trip.zip(notes.off_at)?;
        Some(age + off.since(received))
    }
}
