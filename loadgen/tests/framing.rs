//! Every way in which a response of HTTP/1 may end, against real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use glooshot_loadgen::{Config, Pace, Summary, run};
use http::Method;
use support::{Server, accept, answer_each_with, respond, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

const COUNT: u64 = 40;
const WORKERS: usize = 2;

async fn drive(server: &Server, method: Method) -> Summary {
    let mut config = Config::new(server.url("/"), Pace::Closed { connections: WORKERS });
    config.requests[0].method = method;
    config.limit.count = Some(COUNT);
    config.timeout = Duration::from_secs(5);
    run(config, Arc::default(), CancellationToken::new()).await.unwrap()
}

/// All were answered with this status, and bodies of this length, over this many connections.
async fn assert_reads(answer: &'static str, method: Method, status: u16, length: u64, connections: u64) {
    let server =
        answer_each_with(answer.as_bytes(), if connections == COUNT { 1 } else { usize::MAX }).await.waits_for(WORKERS);
    let summary = drive(&server, method).await;
    assert_eq!(summary.statuses.get(&status), Some(&COUNT), "{answer}: {summary:?}");
    assert_eq!(summary.body_bytes, COUNT * length, "{answer}");
    assert_eq!(server.connections(), connections, "{answer}");
    assert_eq!(summary.received_bytes, COUNT * answer.len() as u64, "{answer}");
}

#[tokio::test]
async fn a_body_in_chunks_with_extensions_and_trailers_leaves_the_connection_open() {
    let answer =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;a=b\r\nwiki\r\n5\r\npedia\r\n0\r\nx-sum: 1\r\n\r\n";
    assert_reads(answer, Method::GET, 200, 9, 2).await;
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_whole() {
    assert_reads("HTTP/1.1 200 OK\r\n\r\nuntil the end", Method::GET, 200, 13, COUNT).await;
}

#[tokio::test]
async fn interim_responses_are_not_the_answer() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
                  HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
    assert_reads(answer, Method::GET, 201, 2, 2).await;
}

#[tokio::test]
async fn no_content_and_not_modified_have_no_body() {
    assert_reads("HTTP/1.1 204 No Content\r\n\r\n", Method::GET, 204, 0, 2).await;
    assert_reads("HTTP/1.1 304 Not Modified\r\ncontent-length: 70\r\n\r\n", Method::GET, 304, 0, 2).await;
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_whatever_its_length_says() {
    assert_reads("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", Method::HEAD, 200, 0, 2).await;
}

#[tokio::test]
async fn http_1_0_closes_unless_it_says_otherwise() {
    assert_reads("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", Method::GET, 200, 2, COUNT).await;
    let kept = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi";
    assert_reads(kept, Method::GET, 200, 2, 2).await;
}

#[tokio::test]
async fn a_request_that_asks_for_the_end_of_its_connection_gets_a_new_one_each_time() {
    let server = serve(|_, _| async { respond(200, "") }).await;
    let mut config = Config::new(server.url("/"), Pace::Closed { connections: 2 });
    config.requests[0].headers.insert("connection", "close".parse().unwrap());
    config.limit.count = Some(COUNT);
    let summary = run(config, Arc::default(), CancellationToken::new()).await.unwrap();
    assert_eq!((summary.responses, server.connections(), summary.connect_time.count()), (COUNT, COUNT, COUNT));
}

#[tokio::test]
async fn a_response_in_single_bytes_is_the_same_response() {
    let server = accept(|mut stream, _| async move {
        let mut head = [0; 1024];
        while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello" {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    })
    .await
    .waits_for(WORKERS);
    let summary = drive(&server, Method::GET).await;
    assert_eq!((summary.responses, summary.body_bytes, server.connections()), (COUNT, COUNT * 5, 2));
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_costs_no_errors() {
    let server = answer_each_with("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 1).await;
    // Slow enough that the end of a connection is seen before its next request.
    let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 40.0, connections: 2 });
    config.limit.count = Some(20);
    let summary = run(config, Arc::default(), CancellationToken::new()).await.unwrap();
    assert_eq!((summary.responses, summary.errors.total(), server.connections()), (20, 0, 20), "{summary:?}");
}

#[tokio::test]
async fn a_long_upload_arrives_whole() {
    let server = serve(|request, _| async move {
        use http_body_util::BodyExt as _;
        let body = request.into_body().collect().await.unwrap().to_bytes();
        respond(if body.len() == 5 << 20 && body.iter().all(|byte| *byte == b'u') { 200 } else { 500 }, "")
    })
    .await;
    let mut config = Config::new(server.url("/"), Pace::Closed { connections: 2 });
    config.requests[0].method = Method::PUT;
    config.requests[0].body = vec![b'u'; 5 << 20].into();
    config.limit.count = Some(6);
    let summary = run(config, Arc::default(), CancellationToken::new()).await.unwrap();
    assert_eq!(summary.statuses.get(&200), Some(&6), "{summary:?}");
    assert!(summary.sent_bytes > 6 * (5 << 20));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_upload_is_through_is_the_answer() {
    let server = accept(|mut stream, _| async move {
        let mut some = [0; 1024];
        stream.read_exact(&mut some).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        // The rest stays unread, and the connection open.
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = Config::new(server.url("/"), Pace::Closed { connections: 1 });
    config.requests[0].method = Method::POST;
    config.requests[0].body = vec![0; 32 << 20].into();
    config.limit.count = Some(3);
    let summary = run(config, Arc::default(), CancellationToken::new()).await.unwrap();
    assert_eq!(summary.statuses.get(&413), Some(&3), "{summary:?}");
    assert_eq!(server.connections(), 3, "a connection with half a request in it is of no use");
}
