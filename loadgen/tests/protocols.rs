//! HTTP/2 and TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use glooshot_loadgen::{Config, ErrorClass, Inspect, Pace, Protocol, Summary, Trust, run};
use http::Method;
use support::{Version, answer_each_with, respond, serve, serve_tls, serve_version};
use tokio_util::sync::CancellationToken;

const COUNT: u64 = 200;

fn config(target: http::Uri, protocol: Protocol) -> Config {
    let mut config = Config::new(target, Pace::Closed { connections: 2 });
    config.protocol = protocol;
    config.limit.count = Some(COUNT);
    config
}

async fn drive(config: Config) -> Summary {
    run(config, Arc::default(), CancellationToken::new()).await.unwrap()
}

const HTTP2: Protocol = Protocol::Http2 { streams: 8 };

/// Says how it was asked.
async fn echo(request: http::Request<hyper::body::Incoming>) -> http::Response<http_body_util::Full<bytes::Bytes>> {
    use http_body_util::BodyExt as _;
    let line = format!("{:?} {} {}", request.version(), request.method(), request.uri());
    let agent = request.headers().get("user-agent").is_some();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    respond(200, format!("{line} {agent} {}", body.len()))
}

/// The body of a response to a request that is otherwise as in `config`.
async fn ask(mut config: Config) -> String {
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let kept = Arc::clone(&seen);
    config.inspect = Some(Inspect::new(move |answer| {
        *kept.lock().unwrap() = String::from_utf8(answer.body.to_vec()).unwrap();
    }));
    config.limit.count = Some(1);
    let summary = drive(config).await;
    assert_eq!(summary.responses, 1, "{summary:?}");
    Arc::into_inner(seen).map(|seen| seen.into_inner().unwrap()).expect("the run has ended")
}

#[tokio::test]
async fn http_2_with_prior_knowledge_shares_connections_among_streams() {
    let server = serve_version(Version::Http2, |_, _| async { respond(200, "12345") }).await.waits_for(2);
    let summary = drive(config(server.url("/"), HTTP2)).await;
    assert_eq!((summary.responses, summary.body_bytes, summary.errors.total()), (COUNT, COUNT * 5, 0));
    assert_eq!((server.connections(), summary.connect_time.count()), (2, 2));
    assert!(summary.received_bytes > COUNT * 5 && summary.sent_bytes > 0);
}

#[tokio::test]
async fn http_2_has_as_many_requests_in_flight_as_connections_times_streams() {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (inside, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = serve_version(Version::Http2, move |_, _| {
        let (inside, highest) = (Arc::clone(&inside), Arc::clone(&highest));
        async move {
            highest.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            inside.fetch_sub(1, Ordering::Relaxed);
            respond(200, "")
        }
    })
    .await;
    assert_eq!(drive(config(server.url("/"), HTTP2)).await.responses, COUNT);
    let most = most.load(Ordering::Relaxed);
    assert!((9..=16).contains(&most), "{most}");
}

#[tokio::test]
async fn the_request_is_the_same_in_each_version_with_and_without_tls() {
    for version in [Version::Http1, Version::Http2] {
        let plain = serve_version(version, |request, _| echo(request)).await;
        let (tls, _) = serve_tls(version, |request, _| echo(request)).await;
        for server in [plain, tls] {
            let (protocol, expected) = match version {
                Version::Http1 => (Protocol::Http1, "HTTP/1.1 PUT /a?b=c true 300000".to_owned()),
                Version::Http2 => (HTTP2, format!("HTTP/2.0 PUT {} true 300000", server.url("/a?b=c"))),
            };
            let mut config = config(server.url("/a?b=c"), protocol);
            config.trust = Trust::Anyone;
            config.requests[0].method = Method::PUT;
            config.requests[0].body = vec![b'x'; 300_000].into();
            assert_eq!(ask(config).await, expected);
        }
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_if_its_authority_was_given_and_only_then() {
    let (server, pem) = serve_tls(Version::Http1, |_, _| async { respond(200, "") }).await;
    for (trust, answered) in [(Trust::Pem(pem.into()), COUNT), (Trust::Anyone, COUNT), (Trust::Web, 0)] {
        let mut config = config(server.url("/"), Protocol::Http1);
        config.trust = trust.clone();
        config.limit.count = Some(if answered > 0 { COUNT } else { 4 });
        let summary = drive(config).await;
        assert_eq!((summary.responses, summary.errors.tls), (answered, if answered > 0 { 0 } else { 4 }), "{trust:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_agree_to_http_2_is_a_tls_error() {
    let (server, _) = serve_tls(Version::Http1, |_, _| async { respond(200, "") }).await;
    let mut config = config(server.url("/"), HTTP2);
    config.trust = Trust::Anyone;
    config.limit.count = Some(3);
    let summary = drive(config).await;
    assert_eq!(summary.errors.get(ErrorClass::Tls), 3, "{summary:?}");
}

#[tokio::test]
async fn an_answer_in_http_1_to_a_request_in_http_2_is_a_protocol_error() {
    let answer = "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 0\r\n\r\n";
    let server = answer_each_with(answer, usize::MAX).await;
    let mut config = config(server.url("/"), Protocol::Http2 { streams: 1 });
    config.limit.count = Some(3);
    let summary = drive(config).await;
    assert_eq!(summary.errors.protocol, 3, "{summary:?}");
}

#[tokio::test]
async fn a_stream_that_times_out_leaves_the_others_and_the_connection_alone() {
    let server = serve_version(Version::Http2, |request, _| async move {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
        respond(200, "")
    })
    .await;
    let mut config = config(server.url("/"), HTTP2);
    config.pace = Pace::Closed { connections: 1 };
    config
        .requests
        .push(glooshot_loadgen::RequestSpec { weight: 0.1, ..glooshot_loadgen::RequestSpec::get(server.url("/hang")) });
    config.timeout = Duration::from_millis(150);
    let summary = drive(config).await;
    let [good, hanging] = summary.targets.as_slice() else { panic!("{summary:?}") };
    assert_eq!((good.responses, good.failed, hanging.responses), (good.started, 0, 0), "{summary:?}");
    assert_eq!(summary.errors.timeout, hanging.started);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_a_connect_error_in_every_version() {
    for protocol in [Protocol::Http1, HTTP2] {
        let mut config = config(support::nobody().await, protocol);
        config.limit.count = Some(4);
        assert_eq!(drive(config).await.errors.connect, 4, "{protocol:?}");
    }
}

#[tokio::test]
async fn targets_with_and_without_tls_in_one_run_are_told_apart() {
    let plain = serve(|_, _| async { respond(200, "") }).await;
    let (tls, _) = serve_tls(Version::Http1, |_, _| async { respond(418, "") }).await;
    let mut config = config(plain.url("/"), Protocol::Http1);
    config.requests.push(glooshot_loadgen::RequestSpec::get(tls.url("/")));
    config.trust = Trust::Anyone;
    let summary = drive(config).await;
    let [one, other] = summary.targets.as_slice() else { panic!("{summary:?}") };
    assert_eq!((one.responses, one.failed), (summary.statuses[&200], 0));
    assert_eq!((other.responses, other.failed), (summary.statuses[&418], summary.statuses[&418]));
}
