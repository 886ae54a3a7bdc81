//! The open loop against a real server: how many requests are sent when, and by whom.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use glooshot_loadgen::{Arrivals, Config, Limit, Pace, RequestSpec, Summary, run};
use support::{Server, respond, serve};
use tokio_util::sync::CancellationToken;

async fn drive(config: Config) -> Summary {
    run(config, Arc::default(), CancellationToken::new()).await.unwrap()
}

/// A server that notes when requests come.
async fn noting() -> (Server, Arc<Mutex<Vec<Instant>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let server = serve(move |_, _| {
        noted.lock().unwrap().push(Instant::now());
        async { respond(200, "") }
    })
    .await;
    (server, times)
}

#[tokio::test]
async fn a_ramp_sends_the_area_below_it_and_most_of_it_late() {
    let (server, times) = noting().await;
    let profile = "0..400 for 1500ms".parse().unwrap();
    let pace = Pace::Open { profile, arrivals: Arrivals::Regular, connections: 16 };
    let summary = drive(Config::new(server.url("/"), pace)).await;
    assert_eq!(summary.started + summary.unsent, 300);
    assert!(summary.started >= 250, "{summary:?}");
    let mut times = times.lock().unwrap().clone();
    times.sort();
    let half = times[0] + Duration::from_millis(750);
    let early = times.iter().filter(|time| **time < half).count();
    // A quarter of the area lies in the first half.
    assert!((45..=110).contains(&early), "{early}");
}

#[tokio::test]
async fn a_profile_ends_the_run() {
    let (server, _) = noting().await;
    let profile = "100 for 200ms, 0 for 100ms, 50..150 in 2 steps for 400ms".parse().unwrap();
    let pace = Pace::Open { profile, arrivals: Arrivals::Regular, connections: 4 };
    let summary = drive(Config::new(server.url("/"), pace)).await;
    assert_eq!(summary.started + summary.unsent, 20 + 10 + 30);
    assert!(summary.elapsed >= Duration::from_millis(650), "{:?}", summary.elapsed);
}

#[tokio::test]
async fn poisson_arrivals_have_the_rate_that_was_asked_for() {
    let (server, _) = noting().await;
    let pace = Pace::Open {
        profile: glooshot_loadgen::Profile::constant(1000.0),
        arrivals: Arrivals::Poisson,
        connections: 32,
    };
    let mut config = Config::new(server.url("/"), pace);
    config.limit = Limit { duration: Some(Duration::from_secs(1)), count: None };
    config.threads = Some(2);
    let summary = drive(config).await;
    let due = (summary.started + summary.unsent) as f64;
    assert!((due - 1000.0).abs() < 5.0 * 1000.0_f64.sqrt(), "{due}");
}

#[tokio::test]
async fn requests_are_never_early_and_say_how_late_they_were() {
    let (server, times) = noting().await;
    let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 200.0, connections: 8 });
    config.limit.count = Some(100);
    let began = Instant::now();
    let summary = drive(config).await;
    assert!(summary.schedule_error.count() > 0);
    let mut times = times.lock().unwrap().clone();
    times.sort();
    for (index, time) in (0_u32..).zip(&times) {
        assert!(*time >= began + index * Duration::from_millis(5), "{index} came early");
    }
}

#[tokio::test]
async fn at_a_rate_at_which_threads_sleep_between_wake_ups_no_answer_is_lost_whatever_its_size() {
    for size in [10, 200_000] {
        let body = "x".repeat(size);
        let server = serve(move |_, _| {
            let body = body.clone();
            async move { respond(200, body) }
        })
        .await;
        let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 10_000.0, connections: 64 });
        config.threads = Some(1);
        config.limit.count = Some(2000);
        let summary = drive(config).await;
        assert_eq!((summary.started, summary.responses, summary.unsent), (2000, 2000, 0));
        assert_eq!(summary.body_bytes, 2000 * size as u64);
        assert!(summary.service_time.quantile(0.5) <= summary.latency.quantile(0.5), "{summary:?}");
    }
}

#[tokio::test]
async fn several_threads_send_exactly_the_count_in_either_kind_of_load() {
    for threads in [1, 3, 8] {
        for pace in [Pace::Closed { connections: 5 }, Pace::Constant { rate_per_second: 5000.0, connections: 5 }] {
            let (server, times) = noting().await;
            let server = server.waits_for(5);
            let mut config = Config::new(server.url("/"), pace.clone());
            config.threads = Some(threads);
            config.limit.count = Some(997);
            let summary = drive(config).await;
            assert_eq!((summary.started, summary.responses), (997, 997), "{threads} {pace}");
            assert_eq!(times.lock().unwrap().len(), 997);
            assert_eq!((summary.setup.threads, server.connections()), (threads.min(5) as u64, 5));
        }
    }
}

#[tokio::test]
async fn targets_are_requested_by_their_weights() {
    let server =
        serve(|request, _| async move { respond(if request.uri().path() == "/rare" { 404 } else { 200 }, "") })
            .await
            .waits_for(4);
    let mut config = Config::new(server.url("/often"), Pace::Closed { connections: 4 });
    config.requests[0].weight = 3.0;
    config.requests.push(RequestSpec::get(server.url("/rare")));
    config.limit.count = Some(8000);
    let summary = drive(config).await;
    let rare = summary.statuses[&404] as f64;
    let sigma = (8000.0_f64 * 0.25 * 0.75).sqrt();
    assert!((rare - 2000.0).abs() < 5.0 * sigma, "{rare}");
    let counts: Vec<_> = summary.targets.iter().map(|target| (target.started, target.failed)).collect();
    assert_eq!(counts, [(summary.statuses[&200], 0), (summary.statuses[&404], summary.statuses[&404])]);
    assert_eq!(server.connections(), 4, "targets of one host share connections");
}
