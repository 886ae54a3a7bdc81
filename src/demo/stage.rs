//! What the script can have done: set the stage, watch, shift traffic, run an experiment, wait, end.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use glooshot_api::{
    manifest::{self, Resource},
    names::{KnownPort, ServiceName},
    plan::{PlannedRoute, PlannedSource},
    quantity::go_float,
    scenario::{Scenario, TriggerRule},
    traffic_shift, validate,
};
use jiff::Timestamp;
use tokio::{
    sync::mpsc::Receiver,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Options,
    error::DemoError,
    live::{Live, story},
    network::Network,
    prometheus::Server,
    screen::Screen,
    services::Services,
    traffic::{self, Traffic},
};
use crate::{
    engine::{
        Outcome, Prometheus, Run,
        condition::ConditionError,
        progress::{Progress, ProgressEvent, progress_channel},
        stop::stop_channel,
    },
    metrics_server::{self, Health},
    paths::local::LocalPath,
    proxy::{DrainRule, Proxy},
    signals::Interrupt,
};

/// Between two looks at a query that is waited for.
const LOOK: Duration = Duration::from_secs(1);
/// Such looks for each line where lines stay.
const LOOKS_PER_LINE: u32 = 5;
/// The pause in which the proxy still accepts connections when it is asked to end; nobody comes any more by then.
const DRAIN: DrainRule = DrainRule { at_least: Duration::ZERO, quiet: Duration::from_millis(50) };

/// Everything that runs, and the screen.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) screen: Screen,
    interrupt: Interrupt,
    productpage: SocketAddr,
    metrics: SocketAddr,
    rate: u32,
    program: Option<PathBuf>,
    prometheus: Option<Server>,
    traffic: Traffic,
    services: Services,
    proxy: Proxy,
    known: Vec<KnownPort>,
    sources: Vec<PlannedSource>,
    reviews: PlannedRoute,
}

impl Stage {
    /// Starts the application, the proxy in its middle, and the visitors.
    pub(super) async fn set(options: Options) -> Result<Self, DemoError> {
        // First, so that no signal is lost.
        let interrupt = Interrupt::new().map_err(|source| DemoError::Start { what: "the signal handlers", source })?;
        let Network { proxy, services, productpage, known, sources, reviews } = Network::start()?;
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let health = Health::of(proxy.control());
        let metrics = metrics_server::start(address, health, |registry| proxy.register(registry));
        let metrics = metrics.await.map_err(|source| DemoError::Start { what: "the metrics server", source })?;
        let traffic = Traffic::start(productpage, options.rate)?;
        Ok(Self {
            screen: Screen::stdout(),
            interrupt,
            productpage,
            metrics,
            rate: options.rate,
            program: options.prometheus,
            prometheus: None,
            traffic,
            services,
            proxy,
            known,
            sources,
            reviews,
        })
    }

    /// The page as a person would open it.
    pub(super) fn page_url(&self) -> String {
        traffic::url(self.productpage)
    }

    /// Where the proxy's metrics are.
    pub(super) fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.metrics)
    }

    /// Pages per second.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Whether the demo is to run with a Prometheus.
    pub(super) fn wants_prometheus(&self) -> bool {
        self.program.is_some()
    }

    /// Starts the Prometheus that was asked for; its address.
    pub(super) async fn start_prometheus(&mut self) -> Result<Option<String>, DemoError> {
        let Some(program) = &self.program else { return Ok(None) };
        let server = tokio::select! {
            started = Server::start(program, self.metrics) => started?,
            () = self.interrupt.wait() => return Err(DemoError::Interrupted),
        };
        Ok(Some(self.prometheus.insert(server).url()))
    }

    /// Shows what the pages show, for this long.
    pub(super) async fn watch(&mut self, time: Duration) -> Result<(), DemoError> {
        let mut live = Live::new(self.traffic.pages());
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::select! {
                () = live.due() => self.show(&mut live)?,
                () = self.interrupt.wait() => return Err(DemoError::Interrupted),
            }
        }
        Ok(())
    }

    /// Shifts traffic as a RoutingRule says.
    pub(super) fn shift(&mut self, rule: &str) -> Result<(), DemoError> {
        for resource in manifest::read(rule)? {
            let Resource::RoutingRule(rule) = resource else { continue };
            for (port, weights) in traffic_shift::shares(&rule, &self.known)? {
                if port == self.reviews.port {
                    self.reviews.weights = weights;
                }
            }
        }
        self.proxy.control().set_origin(&self.reviews)?;
        Ok(())
    }

    /// Runs an Experiment to its verdict, and shows what happens meanwhile.
    ///
    /// After a signal, or when the screen is gone, the experiment is stopped in order, and that error is returned.
    pub(super) async fn experiment(&mut self, manifest: &str) -> Result<Outcome, DemoError> {
        let scenario = self.scenario(manifest)?;
        let path = LocalPath::new(self.proxy.control(), self.sources.clone(), None);
        let (stop, signal) = stop_channel();
        let (progress, mut events) = progress_channel();
        let run = Run::new(scenario, Arc::new(path)).prometheus(self.client().cloned()).progress(progress);
        // In a task of its own: a panic of the engine ends that task, whose guard cuts the faults, and is told here.
        let mut running = tokio::spawn(run.run(signal));
        let mut live = Live::new(self.traffic.pages());
        let mut problem = None;
        let ended = loop {
            match self.next(&mut running, &mut events, &mut live, problem.is_none()).await {
                Ok(Some(ended)) => break ended,
                Ok(None) => {}
                Err(error) => {
                    stop.stop(error.to_string());
                    problem.get_or_insert(error);
                }
            }
        };
        let outcome = ended.map_err(|error| DemoError::Engine(error.to_string()))??;
        if let Some(problem) = problem {
            return Err(problem);
        }
        for warning in &outcome.warnings {
            self.screen.event(&format!("warning: {warning}")).map_err(DemoError::Output)?;
        }
        Ok(outcome)
    }

    /// Shows the next thing that happens in a run; its end when it has ended.
    async fn next(
        &mut self,
        running: &mut JoinHandle<Result<Outcome, ConditionError>>,
        events: &mut Receiver<Progress>,
        live: &mut Live,
        interruptible: bool,
    ) -> Result<Option<Result<Result<Outcome, ConditionError>, tokio::task::JoinError>>, DemoError> {
        tokio::select! {
            biased;
            () = self.interrupt.wait(), if interruptible => Err(DemoError::Interrupted),
            Some(Progress { event, .. }) = events.recv() => {
                // The proxy judges a traffic condition on every request; its samples are for the Report.
                let left_out = self.prometheus.is_none() && matches!(event, ProgressEvent::Sample { .. });
                if let Some(line) = story(&event, &self.screen).filter(|_| !left_out) {
                    self.screen.event(&live.at_now(&line)).map_err(DemoError::Output)?;
                }
                Ok(None)
            }
            // All events have been shown by now: the run has dropped its end of the channel.
            ended = running => Ok(Some(ended)),
            () = live.due() => {
                self.show(live)?;
                Ok(None)
            }
        }
    }

    /// Waits until the query of an experiment that has ended would not trip it any more; its value then.
    pub(super) async fn calm(&mut self, manifest: &str, limit: Duration) -> Result<f64, DemoError> {
        let scenario = self.scenario(manifest)?;
        let condition = scenario.conditions.first().map(|condition| &condition.trigger);
        let (Some(TriggerRule::Prometheus { query, threshold }), Some(client)) = (condition, self.client().cloned())
        else {
            return Ok(f64::NAN);
        };
        let begin = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = 0_u32;
        loop {
            let answer = tokio::select! {
                answer = async {
                    looks.tick().await;
                    client.query(query, Timestamp::now()).await
                } => answer,
                () = self.interrupt.wait() => return Err(DemoError::Interrupted),
            };
            let calm = answer.as_ref().ok().copied().filter(|value| !threshold.trips(*value));
            let said = answer.map_or_else(|error| error.to_string(), go_float);
            let waited = begin.elapsed();
            if self.screen.is_terminal() || looked.is_multiple_of(LOOKS_PER_LINE) || calm.is_some() {
                let line = format!("{:5.1} s  the query gives {said}", waited.as_secs_f64());
                self.screen.live(&line).map_err(DemoError::Output)?;
            }
            match calm {
                Some(value) => return Ok(value),
                None if waited >= limit => return Err(DemoError::StillTripping(limit, said)),
                None => looked = looked.wrapping_add(1),
            }
        }
    }

    /// Ends everything, callers before those whom they call. All of it is tried; the first problem is returned.
    pub(super) async fn end(self) -> Result<(), DemoError> {
        let Self { prometheus, traffic, services, proxy, .. } = self;
        // Killed and waited for.
        drop(prometheus);
        let traffic = blocking("the load generator", || traffic.stop()).await;
        let proxy = proxy.drain(DRAIN).await;
        let proxy = proxy.map_err(|error| DemoError::End { what: "the proxy", problem: error.to_string() });
        let services = blocking("the application", || services.stop()).await;
        traffic.and(proxy).and(services)
    }

    fn client(&self) -> Option<&Prometheus> {
        self.prometheus.as_ref().map(Server::client)
    }

    fn scenario(&self, manifest: &str) -> Result<Scenario, DemoError> {
        let callers: Vec<ServiceName> = self.sources.iter().map(|source| source.service.clone()).collect();
        let experiment = manifest::read_experiment(manifest)?;
        Ok(validate::check(&experiment)?.resolve_with_callers(&self.known, &callers)?)
    }

    fn show(&mut self, live: &mut Live) -> Result<(), DemoError> {
        let line = live.line(self.traffic.pages(), self.proxy.control().is_injecting(), &self.screen);
        self.screen.live(&line).map_err(DemoError::Output)
    }
}

/// Does something that blocks without holding up the metrics and signals on this thread.
async fn blocking(
    what: &'static str,
    work: impl FnOnce() -> Result<(), DemoError> + Send + 'static,
) -> Result<(), DemoError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(DemoError::End { what, problem: error.to_string() }))
}
