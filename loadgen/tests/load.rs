//! Both paces against a real server: counts, schedule, latencies, cancellation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use glooshot_loadgen::{Config, Inspect, Limit, LiveStats, Pace, Summary, Timing, run};
use support::{respond, serve};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const CLOSED: Pace = Pace::Closed { connections: 4 };

async fn drive(config: Config) -> Summary {
    run(config, Arc::default(), CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn counts_by_status_are_exactly_what_the_server_sent() {
    let served = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&served);
    let server = serve(move |_, _| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        async move { respond(if number.is_multiple_of(10) { 500 } else { 200 }, "12345") }
    })
    .await;
    let mut config = Config::new(server.url("/"), CLOSED);
    config.limit.count = Some(1000);
    let live = Arc::new(LiveStats::default());
    let summary = run(config, Arc::clone(&live), CancellationToken::new()).await.unwrap();

    assert_eq!(served.load(Ordering::Relaxed), 1000);
    assert_eq!(summary.statuses, BTreeMap::from([(200, 900), (500, 100)]));
    assert_eq!((summary.started, summary.responses, summary.errors.total()), (1000, 1000, 0));
    assert_eq!((summary.cancelled, summary.unsent, summary.body_bytes), (0, 0, 5000));
    assert_eq!((summary.latency.count(), summary.service_time.count()), (1000, 1000));
    let seen = live.snapshot();
    assert_eq!((seen.finished(), seen.status_class(2), seen.status_class(5), seen.body_bytes), (1000, 900, 100, 5000));
}

#[tokio::test]
async fn each_worker_keeps_one_connection_alive() {
    let server = serve(|_, _| async { respond(200, "") }).await.waits_for(4);
    let mut config = Config::new(server.url("/"), CLOSED);
    config.limit.count = Some(200);
    assert_eq!(drive(config).await.responses, 200);
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn a_server_that_closes_after_each_response_costs_connections_and_no_errors() {
    let server = serve(|_, _| async {
        let mut response = respond(200, "bye");
        response.headers_mut().insert("connection", "close".parse().unwrap());
        response
    })
    .await;
    let mut config = Config::new(server.url("/"), CLOSED);
    config.limit.count = Some(100);
    let summary = drive(config).await;
    assert_eq!((summary.responses, summary.errors.total()), (100, 0));
    assert_eq!(server.connections(), 100);
}

#[tokio::test]
async fn the_request_is_the_one_that_was_configured() {
    let server = serve(|request, peer| async move {
        let headers = request.headers();
        let header = |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let seen = [
            request.method().to_string(),
            request.uri().to_string(),
            header("host"),
            header("end-user"),
            peer.ip().to_string(),
            header("content-length"),
        ];
        respond(200, seen.join(" "))
    })
    .await;
    let mut config = Config::new(server.url("/a?b=c"), CLOSED);
    config.requests[0].method = http::Method::POST;
    config.requests[0].headers.insert("end-user", "jason".parse().unwrap());
    config.requests[0].body = "four".into();
    config.local_address = Some("127.0.0.77".parse().unwrap());
    config.limit.count = Some(1);
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let kept = Arc::clone(&seen);
    config.inspect = Some(Inspect::new(move |answer| {
        *kept.lock().unwrap() = String::from_utf8(answer.body.to_vec()).unwrap();
    }));
    drive(config).await;
    assert_eq!(*seen.lock().unwrap(), format!("POST /a?b=c {} jason 127.0.0.77 4", server.address));
}

#[tokio::test]
async fn the_inspect_hook_sees_at_most_one_mebibyte_and_is_told_so() {
    let server = serve(|_, _| async { respond(200, vec![b'x'; 3 << 20]) }).await;
    let mut config = Config::new(server.url("/"), CLOSED);
    config.limit.count = Some(1);
    let seen = Arc::new(AtomicU64::new(0));
    let kept = Arc::clone(&seen);
    config.inspect = Some(Inspect::new(move |answer| {
        assert!(answer.truncated);
        kept.store(answer.body.len() as u64, Ordering::Relaxed);
    }));
    assert_eq!(drive(config).await.body_bytes, 3 << 20);
    assert_eq!(seen.load(Ordering::Relaxed), 1 << 20);
}

#[tokio::test]
async fn the_timing_hook_is_told_from_when_to_when_the_latency_of_each_response_counts() {
    let server = serve(|_, _| async { respond(200, "") }).await;
    for pace in [CLOSED, Pace::Constant { rate_per_second: 2_000.0, connections: 4 }] {
        let mut config = Config::new(server.url("/"), pace);
        config.limit.count = Some(100);
        let told = Arc::<std::sync::Mutex<Vec<Duration>>>::default();
        let kept = Arc::clone(&told);
        config.timing = Some(Timing::new(move |begin, end| kept.lock().unwrap().push(end - begin)));
        let summary = drive(config).await;
        let told = told.lock().unwrap();
        assert_eq!((told.len(), summary.latency.count()), (100, 100));
        let (longest, counted) = (told.iter().max().unwrap().as_secs_f64(), summary.latency.max().as_secs_f64());
        assert!((longest - counted).abs() <= counted / 1_000.0 + 2e-6, "{longest} and {counted}");
    }
}

#[tokio::test]
async fn a_constant_rate_sends_what_is_due_in_its_duration_and_no_faster() {
    let server = serve(|_, _| async { respond(200, "") }).await;
    let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 200.0, connections: 8 });
    config.limit.duration = Some(Duration::from_secs(1));
    let summary = drive(config).await;
    assert_eq!(summary.started + summary.unsent, 200);
    assert_eq!(summary.errors.total(), 0);
    assert!(summary.started >= 150, "{summary:?}");
    // The last request is due 995 ms after the start.
    assert!(summary.elapsed >= Duration::from_millis(900), "{:?}", summary.elapsed);
}

#[tokio::test]
async fn a_constant_rate_with_a_count_takes_the_time_that_its_schedule_says() {
    let server = serve(|_, _| async { respond(200, "") }).await;
    let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 100.0, connections: 4 });
    config.limit.count = Some(31);
    let summary = drive(config).await;
    assert_eq!((summary.responses, summary.unsent), (31, 0));
    assert!(summary.elapsed >= Duration::from_millis(300), "{:?}", summary.elapsed);
}

/// A server in which everything stops for 300 ms when the hundredth request comes, as in a garbage collection.
async fn stalling_server() -> support::Server {
    let began = Instant::now();
    let count = AtomicU64::new(0);
    let stalled_until = Arc::new(AtomicU64::new(0));
    serve(move |_, _| {
        let now = began.elapsed().as_millis() as u64;
        if count.fetch_add(1, Ordering::Relaxed) == 100 {
            stalled_until.store(now + 300, Ordering::Relaxed);
        }
        let wait = stalled_until.load(Ordering::Relaxed).saturating_sub(now);
        async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            respond(200, "")
        }
    })
    .await
}

#[tokio::test]
async fn a_stall_shows_in_the_latency_of_the_open_loop_though_few_requests_were_in_flight() {
    let server = stalling_server().await;
    let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 500.0, connections: 2 });
    config.limit.count = Some(1000);
    let summary = drive(config).await;
    assert_eq!(summary.responses, 1000);
    // About 150 of the 1000 requests were due during the stall; only two were sent into it.
    let corrected = summary.latency.quantile(0.99);
    assert!(corrected >= Duration::from_millis(200), "{corrected:?}");
    let in_flight = summary.service_time.quantile(0.99);
    assert!(in_flight < Duration::from_millis(150), "{in_flight:?}");
}

#[tokio::test]
async fn requests_that_a_hanging_server_kept_from_being_sent_are_counted_and_felt() {
    let server = serve(|_, _| async { std::future::pending().await }).await;
    let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 100.0, connections: 2 });
    config.limit.duration = Some(Duration::from_millis(500));
    config.timeout = Duration::from_secs(1);
    let summary = drive(config).await;
    assert_eq!((summary.started, summary.errors.timeout, summary.unsent), (2, 2, 48));
    assert_eq!(summary.latency.count(), 50);
    assert!(summary.latency.quantile(0.5) >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_duration_ends_the_closed_loop_and_requests_in_flight_are_finished() {
    let server = serve(|_, _| async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        respond(200, "")
    })
    .await;
    let mut config = Config::new(server.url("/"), CLOSED);
    config.limit = Limit { duration: Some(Duration::from_millis(100)), count: None };
    let summary = drive(config).await;
    assert!(summary.started >= 4);
    assert_eq!((summary.responses, summary.cancelled), (summary.started, 0));
}

#[tokio::test]
async fn cancelling_ends_a_run_at_once_and_counts_what_was_in_flight() {
    for pace in [CLOSED, Pace::Constant { rate_per_second: 1000.0, connections: 4 }] {
        let arrived = Arc::new(Notify::new());
        let notify = Arc::clone(&arrived);
        let server = serve(move |_, _| {
            notify.notify_one();
            std::future::pending()
        })
        .await;
        let cancel = CancellationToken::new();
        let running = tokio::spawn(run(Config::new(server.url("/"), pace.clone()), Arc::default(), cancel.clone()));
        arrived.notified().await;
        let cancelled_at = Instant::now();
        cancel.cancel();
        let summary = running.await.unwrap().unwrap();
        assert!(cancelled_at.elapsed() < Duration::from_secs(1), "{pace:?}");
        assert!((1..=4).contains(&summary.cancelled), "{pace:?}: {summary:?}");
        assert_eq!(summary.started, summary.cancelled, "{pace:?}");
    }
}

#[tokio::test]
async fn live_counters_grow_while_the_run_goes_on() {
    let server = serve(|_, _| async { respond(204, "") }).await;
    let live = Arc::new(LiveStats::default());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(run(Config::new(server.url("/"), CLOSED), Arc::clone(&live), cancel.clone()));
    tokio::time::timeout(Duration::from_secs(10), async {
        while live.snapshot().status_class(2) < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a hundred responses within ten seconds");
    cancel.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_eq!(summary.responses, live.snapshot().responses);
    assert!(live.snapshot().elapsed > Duration::ZERO);
}
