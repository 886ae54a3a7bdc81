//! The sliding window: counting a request, and the sum of what is in it, by its length.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;

use crate::{
    conditions::Requests,
    proxy::window::{Tally, Window},
};

const ONE: Tally = Tally { total: 1, errors: 0, below: 1, equal: 0 };
const LATENCY: Duration = Duration::from_micros(730);

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window");
    for (length, latencies) in [(100, false), (5_000, false), (600_000, false), (5_000, true)] {
        let length = Duration::from_millis(length);
        let mut window = Window::new(length, latencies);
        let mut requests = Requests::begin();
        let kind = if latencies { " with latencies" } else { "" };
        group.bench_function(format!("a request, {length:?}{kind}"), |bencher| {
            bencher.iter(|| window.record(requests.next(), black_box(ONE), black_box(LATENCY)));
        });
    }
    for latencies in [false, true] {
        let mut window = Window::new(Duration::from_secs(5), latencies);
        let mut requests = Requests::begin();
        let kind = if latencies { " with latencies" } else { "" };
        group.bench_function(format!("the sum behind a silence that empties it{kind}"), |bencher| {
            bencher.iter(|| {
                window.record(requests.next(), black_box(ONE), black_box(LATENCY));
                window.sum(requests.after(Duration::from_secs(6)))
            });
        });
    }
    group.finish();
}
