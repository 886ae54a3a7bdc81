//! Three proxies share the traffic of one Service, 90 to 9 to 1: the verdict is the one of the clients' merged log.

use std::{thread, time::Duration};

use glooshot::{
    api::{
        failure_condition::TrafficMetric,
        names::Destination,
        plan::{Plan, PlannedCondition, TIME_TO_LIVE},
        quantity::ComparisonOperator,
        scenario::{Threshold, TrafficRule},
    },
    control::{PlanId, server::TripView},
    proxy::Moment,
};

use crate::{
    controller::{Controller, World, leader},
    harness::{
        Glooshot, Step, Upstream, answer, eventually, get,
        in_process::{experiment, plan, service},
        load, within,
    },
};

const PODS: [&str; 3] = ["one", "two", "three"];
/// Requests through each of them.
const SKEW: [u64; 3] = [900, 90, 10];
/// Long enough for the load, short enough for a test.
const INTERVAL: Duration = Duration::from_secs(3);

/// Answers `/bad` with an error.
fn service_with_bad_pages() -> Upstream {
    Upstream::scripted(|exchange| {
        let bad = exchange.request.target().starts_with("/bad");
        let bytes = if bad {
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            answer("ok")
        };
        vec![Step::Send(bytes)]
    })
}

/// A condition that is judged only when every request of the load has been counted.
fn condition(metric: TrafficMetric, operator: ComparisonOperator, value: f64) -> PlannedCondition {
    let rule = TrafficRule {
        service: Destination { service: service(), port: None, subset: None },
        metric,
        interval: INTERVAL,
        min_requests: u32::try_from(SKEW.iter().sum::<u64>()).unwrap(),
        exclude_injected: true,
        threshold: Threshold { value, operator },
    };
    PlannedCondition { shared: true, ..PlannedCondition::new(0, &rule) }
}

fn directed(generation: u64, condition: PlannedCondition) -> Plan {
    let mut experiment = experiment(&format!("run-{generation}"), Vec::new());
    experiment.conditions = vec![condition];
    Plan { fencing: leader(1), ..plan(generation, experiment) }
}

/// Three proxies of one Service that are told of each other.
struct Trio {
    controller: Controller,
    proxies: Vec<Glooshot>,
}

impl Trio {
    fn start(world: &World, upstream: &Upstream) -> Self {
        let controller = world.controller();
        let start = |pod: &&str| {
            world.give(pod);
            world.proxy(pod, upstream.address(), &[&controller])
        };
        let proxies = PODS.iter().map(start).collect();
        Self { controller, proxies }
    }

    /// Makes a plan the one in force in all three, and keeps it so while `act` happens.
    fn run<T>(&self, plan: Plan, act: impl FnOnce() -> T + Send) -> T
    where
        T: Send,
    {
        let id = PlanId::of(&plan);
        self.controller.hub.direct(&service(), plan, Moment::now().plus(TIME_TO_LIVE), PODS.len()).unwrap();
        for pod in PODS {
            assert_eq!(self.controller.wait_for_answer(pod, id).refused, None);
        }
        thread::scope(|scope| {
            let acting = scope.spawn(act);
            eventually_ended(&acting, || assert!(self.controller.renew(id, TIME_TO_LIVE)));
            acting.join().unwrap()
        })
    }

    /// Sends the skewed load, with so many errors through each proxy; the share of errors in the merged log of the clients.
    fn load(&self, errors: [u64; 3]) -> f64 {
        let send = |((proxy, total), errors): ((&Glooshot, u64), u64)| {
            load::send(proxy.address(), 4, total, |n| get(if n < errors { "/bad" } else { "/good" }))
        };
        let logs: Vec<load::Tally> = self.proxies.iter().zip(SKEW).zip(errors).map(send).collect();
        let sum = |what: &dyn Fn(&load::Tally) -> u64| logs.iter().map(what).sum::<u64>() as f64;
        sum(&|log| log.status(500)) / sum(&load::Tally::answered)
    }

    fn trip(&self, uid: &str) -> Option<TripView> {
        self.controller.proxies().into_iter().filter_map(|proxy| proxy.trip).find(|trip| trip.uid == uid)
    }

    fn reading(&self) -> f64 {
        self.controller.hub.readings(&service()).first().map_or(f64::NAN, |(_, value)| *value)
    }
}

/// Does `meanwhile` again and again until a thread has ended.
fn eventually_ended<T>(thread: &thread::ScopedJoinHandle<'_, T>, mut meanwhile: impl FnMut()) {
    within(Duration::from_secs(60), "the test goes on", || {
        meanwhile();
        thread.is_finished().then_some(())
    });
}

#[test]
fn the_verdict_of_three_proxies_is_the_one_of_the_merged_log() {
    use ComparisonOperator::{Equal, Greater, GreaterOrEqual, Less};
    use TrafficMetric::{ErrorRate, RequestRate, SuccessRate};
    let (world, upstream) = (World::new(), service_with_bad_pages());
    let trio = Trio::start(&world, &upstream);
    let table = [
        ("the smallest share fails alone, which is little of the whole", [0, 0, 10], ErrorRate, Greater, 0.05, false),
        ("a tenth of the largest share is much of the whole", [90, 0, 0], ErrorRate, Greater, 0.05, true),
        ("exactly at the threshold, spread over all", [40, 5, 5], ErrorRate, GreaterOrEqual, 0.05, true),
        ("exactly at the threshold, which is not above it", [40, 5, 5], ErrorRate, Greater, 0.05, false),
        ("successes count the other way", [30, 20, 1], SuccessRate, Less, 0.95, true),
        ("the rate is that of the whole", [0, 0, 0], RequestRate, Equal, 1_000.0 / 3.0, true),
    ];
    for (generation, (case, errors, metric, operator, threshold, trips)) in (1..).zip(table) {
        let plan = directed(generation, condition(metric, operator, threshold));
        let uid = plan.experiment.as_ref().unwrap().uid.clone();
        let began = Moment::now();
        let (expected, trip) = trio.run(plan, || {
            // A window must have passed before anything is judged.
            eventually("the window is full", || (Moment::now().since(began) > INTERVAL + INTERVAL / 10).then_some(()));
            let share = trio.load(errors);
            let expected = match metric {
                ErrorRate => share,
                SuccessRate => 1.0 - share,
                _ => SKEW.iter().sum::<u64>() as f64 / INTERVAL.as_secs_f64(),
            };
            eventually("the controller's value is the merged log's", || {
                ((trio.reading() - expected).abs() < 1e-9).then_some(())
            });
            // Until the window has emptied again everybody has judged it many times.
            let over = || trio.trip(&uid).map(Some).or_else(|| trio.reading().is_nan().then_some(None));
            (expected, within(INTERVAL * 4, "a trip, or the end of the window", over))
        });
        assert_eq!(operator.trips(expected, threshold), trips, "{case}: the log says {expected}");
        assert_eq!(trip.is_some(), trips, "{case}: {trip:?}");
        if let Some(trip) = trip {
            assert!((trip.value - expected).abs() < 1e-9, "{case}: {trip:?}");
            assert!(trip.age < Duration::from_millis(250), "{case}: told only after {:?}", trip.age);
        }
    }
}

#[test]
fn faults_pause_while_a_proxy_is_missing_and_go_on_when_it_is_back() {
    let (world, upstream) = (World::new(), service_with_bad_pages());
    let mut trio = Trio::start(&world, &upstream);
    let paused = |trio: &Trio| trio.controller.pod("one").is_some_and(|proxy| proxy.paused);
    let plan = directed(1, condition(TrafficMetric::ErrorRate, ComparisonOperator::Greater, 2.0));
    let id = PlanId::of(&plan);
    trio.run(plan, || eventually("faults go on", || (!paused(&trio)).then_some(())));
    drop(trio.proxies.pop());
    let renewed = |trio: &Trio, what: &str, is_it: &dyn Fn() -> bool| {
        eventually(what, || {
            trio.controller.renew(id, TIME_TO_LIVE);
            is_it().then_some(())
        });
    };
    renewed(&trio, "faults pause", &|| paused(&trio));
    let back = world.proxy("three", upstream.address(), &[&trio.controller]);
    trio.proxies.push(back);
    renewed(&trio, "faults go on", &|| !paused(&trio));
}
