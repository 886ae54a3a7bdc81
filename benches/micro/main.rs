//! What each decision about a request costs: the fault that hits it, the gate, the window of a condition, the condition.
//!
//! These are the product's own functions on one core, without a socket. What a whole request costs is measured by `forward`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop on a broken machine")]

mod conditions;
mod gate;
mod guard;
mod proxy;
mod requests;
mod select;
mod window;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Enough for a figure that repeats to within a few percent, and all of them within a minute.
fn config() -> Criterion {
    let config = Criterion::default().without_plots().sample_size(30);
    config.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(900))
}

criterion_group! {
    name = micro;
    config = config();
    targets = select::bench, gate::bench, window::bench, guard::bench
}
criterion_main!(micro);
