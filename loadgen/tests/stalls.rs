//! Coordinated omission: a stall of the server must be felt by every request that was due meanwhile.
//!
//! The server answers at once, but what comes within one second is answered at the end of that second. Of requests
//! at a constant rate in a run of S seconds, the share 1/S meets the stall, with latencies from 0 to 1 s, evenly.
//! So the quantile q is `1 s - (1 - q) * S`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use glooshot_loadgen::report::{Form, read, render};
use glooshot_loadgen::{Arrivals, Config, Limit, Pace, Summary, run};
use support::{Server, respond, serve};
use tokio_util::sync::CancellationToken;

const RUN: f64 = 3.0;
const RATE: f64 = 400.0;
/// How far a busy machine may be from the exact value.
const TOLERANCE: f64 = 0.12;

/// A server that stalls from 0.7 s to 1.7 s after its first request.
async fn stalling() -> Server {
    let began = OnceLock::new();
    serve(move |_, _| {
        let now = Instant::now();
        let since = now.duration_since(*began.get_or_init(|| now)).as_secs_f64();
        let wait = if (0.7..1.7).contains(&since) { 1.7 - since } else { 0.0 };
        async move {
            tokio::time::sleep(Duration::from_secs_f64(wait)).await;
            respond(200, "")
        }
    })
    .await
}

async fn drive(pace: Pace) -> Summary {
    let server = stalling().await;
    let mut config = Config::new(server.url("/"), pace);
    config.limit = Limit { duration: Some(Duration::from_secs_f64(RUN)), count: None };
    run(config, Arc::default(), CancellationToken::new()).await.unwrap()
}

fn assert_analytic(summary: &Summary) {
    assert_eq!(summary.errors.total(), 0);
    // A machine that wakes us late answers late as well.
    let busy = 3.0 * summary.schedule_error.quantile(0.99).as_secs_f64();
    for quantile in [0.8, 0.9, 0.99, 0.999] {
        let expected = 1.0 - (1.0 - quantile) * RUN;
        let found = summary.latency.quantile(quantile).as_secs_f64();
        let range = expected - TOLERANCE..expected + TOLERANCE + busy;
        assert!(range.contains(&found), "{quantile}: {found}, not {expected}; {busy}");
    }
    let median = summary.latency.quantile(0.5).as_secs_f64();
    assert!(median < TOLERANCE + busy, "{median}; {busy}");
}

fn constant(connections: usize) -> Pace {
    Pace::Constant { rate_per_second: RATE, connections }
}

#[tokio::test]
async fn with_a_connection_for_every_request_the_percentiles_are_exact() {
    let summary = drive(constant(450)).await;
    assert_eq!((summary.started, summary.unsent), (1200, 0));
    assert_analytic(&summary);
}

#[tokio::test]
async fn with_two_connections_they_are_no_lower_though_only_two_requests_were_sent_into_the_stall() {
    let summary = drive(constant(2)).await;
    for quantile in [0.8, 0.9, 0.99, 0.999] {
        // What had to wait is sent one by one after the stall, so it may be later, and never earlier.
        let least = 1.0 - (1.0 - quantile) * RUN - TOLERANCE;
        let found = summary.latency.quantile(quantile).as_secs_f64();
        assert!(found > least, "{quantile}: {found}, less than {least}");
    }
    let uncorrected = summary.service_time.quantile(0.99);
    assert!(uncorrected < Duration::from_millis(300), "this hides the stall: {uncorrected:?}");
    assert_reports_show_it(&summary);
}

/// Both latencies, and the seconds in which it happened.
fn assert_reports_show_it(summary: &Summary) {
    let text = render(Form::Text, summary, &[]).unwrap();
    assert!(text.contains("\nlatency ") && text.contains("\nfrom sending "), "{text}");
    let csv = render(Form::Csv, summary, &[]).unwrap();
    let longest = |second: usize| -> u64 {
        let row = csv.lines().nth(1 + second).unwrap();
        row.rsplit(',').next().unwrap().parse().unwrap()
    };
    assert!(longest(0) < 800_000 && longest(1) > 800_000, "{csv}");
    let back = read(&render(Form::Json, summary, &[]).unwrap()).unwrap().remove(0);
    assert_eq!(back.latency.histogram(), summary.latency.histogram());
}

#[tokio::test]
async fn poisson_arrivals_feel_it_as_well() {
    let profile = glooshot_loadgen::Profile::constant(RATE);
    assert_analytic(&drive(Pace::Open { profile, arrivals: Arrivals::Poisson, connections: 450 }).await);
}

#[tokio::test]
async fn the_closed_loop_does_not_see_it() {
    let summary = drive(Pace::Closed { connections: 2 }).await;
    assert!(summary.latency.quantile(0.99) < Duration::from_millis(300), "{summary:?}");
    assert!(summary.latency.max() > Duration::from_millis(800), "but both connections were held up");
}
