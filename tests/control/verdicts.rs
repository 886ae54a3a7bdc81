//! Three proxies share the traffic of one Service, 90 to 9 to 1: the verdict is the one of the clients' merged log.
//!
//! Whether a condition trips depends on how many requests there were of which kind, and never on how fast they were: a round in which
//! this machine was too slow for its window says nothing, and is played again.

use std::{thread, time::Duration};

use glooshot::{
    api::{
        failure_condition::TrafficMetric::{
            self, ErrorRate, LatencyP50, LatencyP90, LatencyP99, RequestRate, SuccessRate,
        },
        names::Destination,
        plan::{Plan, PlannedCondition, TIME_TO_LIVE},
        quantity::ComparisonOperator::{self, Equal, Greater, GreaterOrEqual, Less, LessOrEqual},
        scenario::{Threshold, TrafficRule},
    },
    control::{PlanId, server::TripView},
    proxy::Moment,
};

use crate::{
    controller::{World, leader},
    harness::{
        eventually,
        in_process::{experiment, plan, service},
        scale::SKEWED_HUNDREDS,
        within,
    },
    trio::{HELD, Log, PODS, Trio, deal, holds},
};

/// For as long everybody must have known of all requests before it counts that nobody trips.
const GRACE: Duration = Duration::from_millis(500);
/// A proxy does not judge by sums of the others that are older than this.
const OTHERS_MAX_AGE: Duration = Duration::from_secs(2);
/// Between the latencies of those that are held back and the others.
const LATENCY: f64 = HELD.as_secs_f64() / 2.0;
/// Times that a round is played until it says something.
const TRIALS: usize = 6;
const OPERATORS: [ComparisonOperator; 5] = [Equal, Greater, Less, GreaterOrEqual, LessOrEqual];
/// Through which proxies the bad requests go first: those of the largest share, or those of the smallest.
const ORDERS: [[usize; 3]; 2] = [[2, 1, 0], [0, 1, 2]];

/// A condition that is judged only when every request of the load has been counted, except for a rate.
fn condition(
    index: u16,
    metric: TrafficMetric,
    interval: Duration,
    operator: ComparisonOperator,
    value: f64,
) -> PlannedCondition {
    let rule = TrafficRule {
        service: Destination { service: service(), port: None, subset: None },
        metric,
        interval,
        min_requests: u32::try_from(100 * SKEWED_HUNDREDS.get()).unwrap(),
        exclude_injected: true,
        threshold: Threshold { value, operator },
    };
    PlannedCondition { shared: true, ..PlannedCondition::new(index, &rule) }
}

fn directed(generation: u64, conditions: Vec<PlannedCondition>) -> Plan {
    let mut experiment = experiment(&format!("run-{generation}"), Vec::new());
    experiment.conditions = conditions;
    Plan { fencing: leader(1), ..plan(generation, experiment) }
}

/// When the load comes: what trips without a request must not be judged before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    WhenWarm,
    WhileWarmingUp,
}

impl Load {
    /// The length of the window: long enough for the load, short enough for a test.
    const fn interval(self) -> Duration {
        match self {
            Self::WhenWarm => Duration::from_secs(2),
            Self::WhileWarmingUp => Duration::from_secs(4),
        }
    }
}

/// Conditions of which all trip, or none, under one load.
#[derive(Clone, Debug)]
struct Round {
    metric: TrafficMetric,
    /// What they ask.
    cases: Vec<(ComparisonOperator, f64)>,
    trips: bool,
    /// Requests that fail or are held back.
    bad: u64,
    load: Load,
    order: [usize; 3],
}

/// What became of it.
struct Played {
    log: Log,
    /// When the load began.
    began: Moment,
    /// When the controller knew of all of it.
    full: Option<Moment>,
    trips: Vec<TripView>,
}

impl Round {
    /// Plays it until it says something.
    fn play(&self, trio: &Trio) {
        for _ in 1..TRIALS {
            match self.try_to_play(trio) {
                Ok(()) => return,
                Err(why) => eprintln!("{why}; once more: {self:?}"),
            }
        }
        self.try_to_play(trio).unwrap_or_else(|why| panic!("again and again {why}: {self:?}"));
    }

    /// Why it says nothing.
    fn try_to_play(&self, trio: &Trio) -> Result<(), &'static str> {
        let conditions = self.cases.iter().zip(0..).map(|(case, index)| self.condition(index, *case));
        let plan = directed(trio.next_generation(), conditions.collect());
        let uid = plan.experiment.as_ref().unwrap().uid.clone();
        // Nobody is warm earlier than an interval after this.
        let told = Moment::now();
        let played =
            trio.run(plan, || self.meet(trio, &uid)).ok_or("the proxies were not told of each other in time")?;
        self.judge(&played, told)
    }

    fn condition(&self, index: u16, (operator, threshold): (ComparisonOperator, f64)) -> PlannedCondition {
        condition(index, self.metric, self.load.interval(), operator, threshold)
    }

    /// Sends the load, and waits until somebody trips or the first request of it is about to leave the window.
    fn meet(&self, trio: &Trio, uid: &str) -> Option<Played> {
        let (taken, interval) = (Moment::now(), self.load.interval());
        let first = match self.load {
            Load::WhenWarm => interval + interval / 20,
            Load::WhileWarmingUp => interval / 5,
        };
        eventually("the time of the load has come", || (Moment::now().since(taken) > first).then_some(()));
        let (hundreds, began) = (SKEWED_HUNDREDS.get(), Moment::now());
        let target = if self.metric.quantile().is_some() { "/held" } else { "/bad" };
        let log = trio.load(hundreds, target, deal(hundreds, self.bad, self.order));
        let [rate, _] = log.value(RequestRate, interval);
        let (mut full, mut disturbed) = (None, false);
        let trips = within(interval * 5, "the end of the window", || {
            let (now, reading) = (Moment::now(), trio.reading());
            let knows_all = if self.metric == RequestRate { reading == rate } else { !reading.is_nan() };
            full = full.or_else(|| knows_all.then_some(now));
            disturbed |= trio.is_disturbed();
            let trips = trio.trips(uid);
            (!trips.is_empty() || now.since(began) > interval).then_some(trips)
        });
        (!disturbed).then_some(Played { log, began, full, trips })
    }

    /// Compares with what the log says.
    fn judge(&self, it: &Played, told: Moment) -> Result<(), &'static str> {
        let interval = self.load.interval();
        for (operator, threshold) in &self.cases {
            let expected = it.log.trips(self.metric, interval, *operator, *threshold);
            let expected = expected.ok_or("a request took so long that its place is not known")?;
            assert_eq!(expected, self.trips, "the log says otherwise of {operator} {threshold}: {self:?}");
        }
        // Whoever judges by an older sum than that does not judge at all.
        let is_early = |full: &Moment| full.plus(OTHERS_MAX_AGE) < told.plus(interval);
        if self.load == Load::WhileWarmingUp && !it.full.as_ref().is_some_and(is_early) {
            return Err("the load was not known in time before anybody judged");
        }
        let [value, _] = it.log.value(self.metric, interval);
        if self.trips {
            let trip = it.trips.first().ok_or("nobody has tripped")?;
            let (operator, threshold) = self.cases[usize::from(trip.condition)];
            assert!(holds(operator, trip.value, threshold), "{trip:?}: {self:?}");
            assert!(self.metric.quantile().is_some() || trip.value == value, "{value}, not {trip:?}: {self:?}");
            return Ok(());
        }
        // A rate falls when the window empties, and only then.
        let late = |trip: &TripView| {
            self.load == Load::WhileWarmingUp
                && trip.value < value
                && trip.received.since(it.began) > interval * 49 / 50
        };
        assert!(it.trips.iter().all(late), "{value} does not trip: {:?}: {self:?}", it.trips);
        let in_time = it.full.is_some_and(|full| full.plus(GRACE) < it.began.plus(interval));
        in_time.then_some(()).ok_or("the load was not in the window long enough")
    }
}

/// Everything that can be asked of a metric just below, at and just above its value, in as few rounds as possible: conditions that do
/// not trip are judged side by side.
fn rounds(metric: TrafficMetric) -> Vec<Round> {
    let total = 100 * SKEWED_HUNDREDS.get();
    let around = |value: f64| vec![value.next_down(), value, value.next_up()];
    let every = |operators: &[ComparisonOperator], thresholds: &[f64]| {
        operators.iter().flat_map(|operator| thresholds.iter().map(|it| (*operator, *it))).collect::<Vec<_>>()
    };
    // Loads, with what is asked of each and the value that it gives.
    let latency = |percent: u64| {
        let faster = (total * percent).div_ceil(100);
        let of = |bad, value| (Load::WhenWarm, bad, value, every(&OPERATORS, &[LATENCY]));
        // The last of them that counts is fast, or is the first that is not.
        vec![of(total - faster, 0.0), of(total - faster + 1, HELD.as_secs_f64())]
    };
    let share = |value: f64| vec![(Load::WhenWarm, total / 10, value, every(&OPERATORS, &around(value)))];
    let loads = match metric {
        ErrorRate => share(0.1),
        SuccessRate => share(0.9),
        RequestRate => {
            let of = |load: Load, operators| {
                let rate = total as f64 / load.interval().as_secs_f64();
                (load, 0, rate, every(operators, &around(rate)))
            };
            let rising: &[ComparisonOperator] = &[Equal, Greater, GreaterOrEqual];
            vec![of(Load::WhenWarm, rising), of(Load::WhileWarmingUp, &[Less, LessOrEqual])]
        }
        LatencyP50 => latency(50),
        LatencyP90 => latency(90),
        LatencyP99 => latency(99),
    };
    let mut rounds = Vec::new();
    for (load, bad, value, all) in loads {
        let (trip, quiet): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(operator, threshold)| holds(*operator, value, *threshold));
        let round = |cases, trips| Round { metric, cases, trips, bad, load, order: ORDERS[0] };
        rounds.extend(trip.into_iter().map(|case| round(vec![case], true)));
        rounds.push(round(quiet, false));
    }
    rounds
}

#[test]
fn every_metric_and_operator_gives_the_verdict_of_the_merged_log_just_below_at_and_just_above_its_value() {
    let metrics = [ErrorRate, SuccessRate, RequestRate, LatencyP50, LatencyP90, LatencyP99];
    // Three proxies for each, all at one time: a round is mostly waiting.
    thread::scope(|scope| {
        for metric in metrics {
            scope.spawn(move || {
                let world = World::new();
                let trio = Trio::start(&world);
                for (place, round) in rounds(metric).into_iter().enumerate() {
                    // Both orders in the drill; otherwise one and then the other.
                    let orders = if SKEWED_HUNDREDS.get() > 1 { &ORDERS[..] } else { &ORDERS[place % 2..][..1] };
                    for order in orders {
                        Round { order: *order, ..round.clone() }.play(&trio);
                    }
                }
            });
        }
    });
}

#[test]
fn faults_pause_while_a_proxy_is_missing_and_go_on_when_it_is_back() {
    let world = World::new();
    let mut trio = Trio::start(&world);
    let paused = |trio: &Trio| trio.controller.pod("one").is_some_and(|proxy| proxy.paused);
    let plan = directed(1, vec![condition(0, ErrorRate, Duration::from_secs(2), Greater, 2.0)]);
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
    let (last, _) = PODS[2];
    let back = world.proxy(last, trio.upstream(), &[&trio.controller]);
    trio.proxies.push(back);
    renewed(&trio, "faults go on", &|| !paused(&trio));
}
