//! A condition: what a request that ends pays for it, where it cannot change the verdict, and where it is judged at once.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use glooshot_api::{failure_condition::TrafficMetric, plan::MAX_CONDITIONS};

use crate::{
    conditions::{Requests, never},
    proxy::guard::{Completion, Guard},
};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("guard");
    let end =
        |error: bool| Completion { error, aborted: false, latency: Duration::from_micros(730), delay: Duration::ZERO };
    for (metric, count, cores, error) in [
        (TrafficMetric::ErrorRate, 1, 1, false),
        (TrafficMetric::ErrorRate, 1, 1, true),
        (TrafficMetric::ErrorRate, 1, 4, true),
        (TrafficMetric::ErrorRate, MAX_CONDITIONS, 4, false),
        (TrafficMetric::ErrorRate, MAX_CONDITIONS, 4, true),
        (TrafficMetric::LatencyP99, 1, 1, false),
        (TrafficMetric::LatencyP99, 1, 4, false),
        (TrafficMetric::RequestRate, 1, 4, false),
    ] {
        let guards: Vec<Guard> = (0..count).map(|_| Guard::new(never(metric), cores)).collect();
        let mut requests = Requests::begin();
        let what = if error { "an error" } else { "a success" };
        group.bench_function(format!("{what}: {count} of {metric:?}, {cores} cores"), |bencher| {
            bencher.iter(|| {
                let now = requests.next();
                // As the exchange does it at its end.
                guards
                    .iter()
                    .filter(|guard| guard.record(0, now, black_box(end(error))) && guard.judge(now, false).trips)
                    .count()
            });
        });
    }
    let guard = Guard::new(never(TrafficMetric::LatencyP99), 4);
    let mut requests = Requests::begin();
    group.bench_function("the value of a LatencyP99 for the Report, 4 cores", |bencher| {
        bencher.iter(|| {
            let now = requests.next();
            guard.record(0, now, black_box(end(false)));
            guard.judge(now, true).value
        });
    });
    group.finish();
}
