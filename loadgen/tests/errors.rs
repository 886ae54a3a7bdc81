//! Servers that misbehave: each failure is counted in its class, and the run goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use glooshot_loadgen::{Config, ConfigError, ErrorClass, Pace, Summary, run};
use support::{answer_with, nobody, respond, serve};
use tokio_util::sync::CancellationToken;

const COUNT: u64 = 6;

async fn drive(target: http::Uri) -> Summary {
    let mut config = Config::new(target, Pace::Closed { connections: 2 });
    config.limit.count = Some(COUNT);
    config.timeout = Duration::from_millis(200);
    run(config, Arc::default(), CancellationToken::new()).await.unwrap()
}

fn assert_all_are(class: ErrorClass, summary: &Summary) {
    assert_eq!(summary.errors.get(class), COUNT, "{class:?}: {summary:?}");
    assert_eq!((summary.errors.total(), summary.started, summary.responses), (COUNT, COUNT, 0));
    assert!(summary.all_failed());
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_error() {
    assert_all_are(ErrorClass::Connect, &drive(nobody().await).await);
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout_and_has_a_latency() {
    let server = serve(|_, _| std::future::pending()).await;
    let summary = drive(server.url("/")).await;
    assert_all_are(ErrorClass::Timeout, &summary);
    assert_eq!(summary.latency.count(), COUNT);
    assert!(summary.latency.min() >= Duration::from_millis(199));
}

#[tokio::test]
async fn a_body_shorter_than_its_content_length_is_a_body_error() {
    let server = answer_with(&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"[..]).await;
    assert_all_are(ErrorClass::Body, &drive(server.url("/")).await);
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_an_io_error() {
    let server = answer_with(&b""[..]).await;
    assert_all_are(ErrorClass::Io, &drive(server.url("/")).await);
}

#[tokio::test]
async fn a_connection_closed_within_the_response_head_is_an_io_error() {
    let server = answer_with(&b"HTTP/1.1 200 OK\r\ncontent-le"[..]).await;
    assert_all_are(ErrorClass::Io, &drive(server.url("/")).await);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_error() {
    let server = answer_with(&b"SSH-2.0-OpenSSH_9.9\r\n\r\n"[..]).await;
    assert_all_are(ErrorClass::Protocol, &drive(server.url("/")).await);
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_is_a_body_error() {
    let server = answer_with(&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc"[..]).await;
    assert_all_are(ErrorClass::Body, &drive(server.url("/")).await);
}

#[tokio::test]
async fn the_closed_loop_does_not_spin_on_a_server_that_refuses() {
    let mut config = Config::new(nobody().await, Pace::Closed { connections: 1 });
    config.limit.duration = Some(Duration::from_millis(400));
    let summary = run(config, Arc::default(), CancellationToken::new()).await.unwrap();
    assert!((2..=12).contains(&summary.errors.connect), "{summary:?}");
}

#[tokio::test]
async fn a_constant_rate_tries_again_at_its_own_pace_while_a_server_refuses() {
    let mut config = Config::new(nobody().await, Pace::Constant { rate_per_second: 200.0, connections: 2 });
    config.limit.count = Some(60);
    let summary = run(config, Arc::default(), CancellationToken::new()).await.unwrap();
    assert_eq!((summary.errors.connect, summary.unsent), (60, 0));
}

#[tokio::test]
async fn requests_succeed_again_after_errors() {
    let broken = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&broken);
    let server = serve(move |_, _| {
        let hang = state.swap(false, Ordering::Relaxed);
        async move {
            if hang {
                std::future::pending::<()>().await;
            }
            respond(200, "")
        }
    })
    .await;
    let summary = drive(server.url("/")).await;
    assert_eq!((summary.errors.timeout, summary.responses), (1, COUNT - 1));
}

#[tokio::test]
async fn a_host_without_an_address_of_the_right_family_cannot_be_driven() {
    let mut config = Config::new("http://127.0.0.1:1/".parse().unwrap(), Pace::Closed { connections: 1 });
    config.local_address = Some("::1".parse().unwrap());
    let error = run(config, Arc::default(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ConfigError::Family { .. }), "{error}");
}

#[tokio::test]
async fn a_panicking_hook_is_the_callers_panic() {
    let server = serve(|_, _| async { respond(200, "") }).await;
    let mut config = Config::new(server.url("/"), Pace::Closed { connections: 1 });
    config.limit.count = Some(1);
    config.inspect = Some(glooshot_loadgen::Inspect::new(|_| panic!("the hook's own")));
    let began = Instant::now();
    let ended = tokio::spawn(run(config, Arc::default(), CancellationToken::new())).await;
    assert!(ended.unwrap_err().is_panic());
    assert!(began.elapsed() < Duration::from_secs(5));
}
