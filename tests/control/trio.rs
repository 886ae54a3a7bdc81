//! Three proxies of one Service that share its traffic 90 to 9 to 1, and what a condition says of the log that all of their clients
//! write together: computed from that log alone, and not with anything of the product.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use glooshot::{
    api::{
        failure_condition::TrafficMetric,
        plan::{Plan, TIME_TO_LIVE},
        quantity::ComparisonOperator,
    },
    control::{PlanId, server::TripView},
    proxy::Moment,
};

use crate::{
    controller::{Controller, World},
    harness::{Glooshot, Step, Upstream, answer, get, in_process::service, let_pass, load, within},
};

/// The pods, and their shares of the traffic in percent.
pub const PODS: [(&str, u64); 3] = [("one", 90), ("two", 9), ("three", 1)];
/// For how long the service holds a request back that is to be slow.
pub const HELD: Duration = Duration::from_millis(400);
/// Between two renewals of the plan.
const RENEW: Duration = Duration::from_millis(500);
/// Connections of a proxy's clients.
const CONNECTIONS: usize = 4;

/// Three proxies of one Service that are told of each other.
pub struct Trio {
    /// What steers them.
    pub controller: Controller,
    /// In the order of their shares.
    pub proxies: Vec<Glooshot>,
    upstream: Upstream,
    /// The generation of the last plan.
    generation: AtomicU64,
}

impl Trio {
    /// In front of a service that answers `/bad` with an error and `/held` late.
    pub fn start(world: &World) -> Self {
        let upstream = Upstream::scripted(|exchange| match exchange.request.target() {
            "/bad" => vec![Step::Send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec())],
            "/held" => {
                let_pass(HELD);
                vec![Step::Send(answer("held"))]
            }
            _ => vec![Step::Send(answer("ok"))],
        });
        let controller = world.controller();
        let start = |(pod, _): &(&str, u64)| {
            world.give(pod);
            world.proxy(pod, upstream.address(), &[&controller])
        };
        let proxies = PODS.iter().map(start).collect();
        Self { controller, proxies, upstream, generation: AtomicU64::new(0) }
    }

    /// Where the service listens.
    pub fn upstream(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// The generation of the next plan.
    pub fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes a plan the one in force in all three, and keeps it so while `act` happens.
    pub fn run<T: Send>(&self, plan: Plan, act: impl FnOnce() -> T + Send) -> T {
        let id = PlanId::of(&plan);
        self.controller.hub.direct(&service(), plan, Moment::now().plus(TIME_TO_LIVE), PODS.len()).unwrap();
        for (pod, _) in PODS {
            assert_eq!(self.controller.wait_for_answer(pod, id).refused, None);
        }
        let mut renewed = Moment::now();
        thread::scope(|scope| {
            let acting = scope.spawn(act);
            within(Duration::from_mins(1), "what happens under this plan ends", || {
                if Moment::now().since(renewed) > RENEW {
                    assert!(self.controller.renew(id, TIME_TO_LIVE), "it is what is told");
                    renewed = Moment::now();
                }
                acting.is_finished().then_some(())
            });
            acting.join().unwrap()
        })
    }

    /// Whether something keeps a proxy from judging: an old sum of the others, or a plan that was renewed too late.
    pub fn is_disturbed(&self) -> bool {
        let refused = |answer: &glooshot::control::Answer| answer.refused.is_some();
        let proxies = self.controller.proxies();
        proxies.len() < PODS.len() || proxies.iter().any(|it| it.paused || it.answer.as_ref().is_some_and(refused))
    }

    /// The trips of this run, of whichever proxies.
    pub fn trips(&self, uid: &str) -> Vec<TripView> {
        self.controller.proxies().into_iter().filter_map(|proxy| proxy.trip).filter(|trip| trip.uid == uid).collect()
    }

    /// What the controller reads of the first condition.
    pub fn reading(&self) -> f64 {
        self.controller.hub.readings(&service()).first().map_or(f64::NAN, |(_, value)| *value)
    }

    /// Sends `hundreds` times a hundred requests through the three of them, of which so many go to `target` through each, and the others
    /// are answered well and at once.
    pub fn load(&self, hundreds: u64, target: &str, bad: [u64; 3]) -> Log {
        let log = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for ((proxy, (_, share)), bad) in self.proxies.iter().zip(PODS).zip(bad) {
                let log = &log;
                scope.spawn(move || {
                    let send = |connections, count, target| {
                        let note = |seen: &load::Seen| log.lock().unwrap().push(Entry::of(seen));
                        let never = false.into();
                        load::watch_until(proxy.address(), connections, count, &never, |_| get(target), note);
                    };
                    send(CONNECTIONS, share * hundreds - bad, "/good");
                    // What is held back is so all at one time.
                    let connections = if target == "/held" { usize::try_from(bad).unwrap() } else { CONNECTIONS };
                    send(connections, bad, target);
                });
            }
        });
        let log = log.into_inner().unwrap();
        assert_eq!(log.len() as u64, 100 * hundreds, "every request is answered");
        Log(log)
    }
}

/// The same number of requests, dealt to the proxies in this order of their places, as many as each has.
pub fn deal(hundreds: u64, mut count: u64, order: [usize; 3]) -> [u64; 3] {
    let mut dealt = [0; 3];
    for place in order {
        dealt[place] = count.min(PODS[place].1 * hundreds);
        count -= dealt[place];
    }
    assert_eq!(count, 0, "there are that many requests");
    dealt
}

/// One request.
struct Entry {
    error: bool,
    /// The time that it took in the proxy is longer than the service's, and shorter than the client's.
    took: [Duration; 2],
}

impl Entry {
    fn of(seen: &load::Seen) -> Self {
        let service = if seen.body == "held" { HELD } else { Duration::ZERO };
        Self { error: seen.status >= 500, took: [service, seen.took] }
    }
}

/// What all clients saw.
pub struct Log(Vec<Entry>);

impl Log {
    /// What a metric is of all of these requests within one window of this length: no less than the first, no more than the second.
    pub fn value(&self, metric: TrafficMetric, interval: Duration) -> [f64; 2] {
        use TrafficMetric::{ErrorRate, LatencyP50, LatencyP90, LatencyP99, RequestRate, SuccessRate};
        let total = self.0.len() as f64;
        let errors = self.0.iter().filter(|entry| entry.error).count() as f64;
        match metric {
            ErrorRate => [errors / total; 2],
            SuccessRate => [(total - errors) / total; 2],
            RequestRate => [total / interval.as_secs_f64(); 2],
            LatencyP50 => self.latency(50),
            LatencyP90 => self.latency(90),
            LatencyP99 => self.latency(99),
        }
    }

    /// The smallest time that at least so many percent of the requests did not exceed.
    fn latency(&self, percent: usize) -> [f64; 2] {
        let place = (self.0.len() * percent).div_ceil(100) - 1;
        [0, 1].map(|bound| {
            let mut all: Vec<Duration> = self.0.iter().map(|entry| entry.took[bound]).collect();
            all.sort_unstable();
            all[place].as_secs_f64()
        })
    }

    /// Whether a condition trips; `None` where the clients cannot know it.
    pub fn trips(
        &self,
        metric: TrafficMetric,
        interval: Duration,
        operator: ComparisonOperator,
        threshold: f64,
    ) -> Option<bool> {
        let [low, high] = self.value(metric, interval);
        let [from, to] = [low, high].map(|value| holds(operator, value, threshold));
        let between = low < threshold && threshold < high;
        (from == to && !(operator == ComparisonOperator::Equal && between)).then_some(from)
    }
}

/// Whether `value` and `threshold` are as the operator says.
pub fn holds(operator: ComparisonOperator, value: f64, threshold: f64) -> bool {
    use ComparisonOperator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    match value.partial_cmp(&threshold).unwrap() {
        std::cmp::Ordering::Less => matches!(operator, Less | LessOrEqual),
        std::cmp::Ordering::Equal => matches!(operator, Equal | LessOrEqual | GreaterOrEqual),
        std::cmp::Ordering::Greater => matches!(operator, Greater | GreaterOrEqual),
    }
}
