//! gRPC between tonic on both sides: calls of all kinds pass, faults end them with a status, and each is counted by its status.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use crate::{
    harness::{Glooshot, Setup, Upstream, patience::PATIENCE, upstream::RefusingPort},
    peers::{
        Server as _,
        envoy::{self, Protocol},
        orders::{CHAT, Caller, IMPORT, Orders, PLACE, WATCH},
    },
    trial::{Trial, marker},
};

const FAULTED: &str = "x-glooshot-fault";

fn before(orders: &Orders) -> Glooshot {
    Setup::proxy().to(orders.address()).start()
}

/// The fault `fault` on the calls of `method`.
fn on(method: &str, fault: &str) -> Trial {
    Trial::endless().fault("bookinfo-ratings-9080", &format!("match: {{path: {{exact: {method}}}}}"), fault)
}

/// A proxy with the faults of `trial` on.
fn faulting(trial: &Trial, orders: &Orders) -> Glooshot {
    trial.setup().to(orders.address()).start_with_faults_on()
}

/// The marker on a status, if it is there.
fn marked(status: &Status) -> Option<&str> {
    status.metadata().get(FAULTED).map(|marker| marker.to_str().unwrap())
}

/// Waits until so many calls are counted with this status.
#[track_caller]
fn counted(proxy: &Glooshot, status: &str, count: u32) {
    proxy.wait_for_metric("glooshot_proxy_requests_total", &[("grpc_status", status)], f64::from(count));
}

/// Waits until so many requests are being delayed, while the clients of this thread go on.
async fn delayed(proxy: &Glooshot, count: f64) {
    let reached = async {
        while proxy.metrics().sum("glooshot_proxy_active_faults", &[]) != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "{count} delayed requests");
}

#[tokio::test]
async fn calls_of_all_kinds_pass() {
    let orders = Orders::start();
    let proxy = before(&orders);
    let mut caller = Caller::connect(proxy.address()).await;
    assert_eq!(caller.unary(PLACE, "tea").await.unwrap().into_inner(), "TEA");
    let (words, end) = caller.watch("one two three").await;
    assert_eq!((words.join("+"), end.is_ok()), ("one+two+three".to_owned(), true));
    let messages = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(caller.import(messages).await.unwrap().into_inner(), "a,b,c");
    let mut stream = caller.chat(tokio_stream::iter(["x".to_owned()])).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("x"));
    assert_eq!(stream.message().await.unwrap(), None);
    assert_eq!(orders.methods(), [PLACE, WATCH, IMPORT, CHAT]);
    counted(&proxy, "0", 4);
}

#[tokio::test]
async fn messages_of_a_stream_pass_one_by_one() {
    let orders = Orders::start();
    let proxy = before(&orders);
    let mut caller = Caller::connect(proxy.address()).await;
    let (sender, receiver) = mpsc::channel(1);
    let mut stream = caller.chat(ReceiverStream::new(receiver)).await.unwrap();
    for number in 0..20 {
        // Each is only sent when the one before has come back.
        sender.send(format!("message {number}")).await.unwrap();
        assert_eq!(stream.message().await.unwrap(), Some(format!("message {number}")));
    }
    drop(sender);
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_service_gets_what_grpc_asks_for() {
    let orders = Orders::start();
    let proxy = before(&orders);
    let mut request = Request::new("tea".to_owned());
    request.metadata_mut().insert("x-table", "7".parse().unwrap());
    request.metadata_mut().insert_bin("x-raw-bin", tonic::metadata::MetadataValue::from_bytes(b"\0\xff"));
    request.set_timeout(Duration::from_secs(9));
    Caller::connect(proxy.address()).await.call(PLACE, request).await.unwrap();
    let headers = orders.last_headers();
    let one = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((one("te"), one("content-type")), (Some("trailers"), Some("application/grpc")));
    assert_eq!((one("x-table"), one("x-raw-bin")), (Some("7"), Some("AP8")));
    assert_eq!(one("grpc-timeout"), Some("9000000u"));
    assert_eq!(one("via"), Some("2 ratings.bookinfo.glooshot"));
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let orders = Orders::start();
    let proxy = before(&orders);
    let message = "a large order, ".repeat(200_000);
    let answer = Caller::connect(proxy.address()).await.unary(PLACE, message.clone()).await.unwrap().into_inner();
    assert!(answer == message.to_uppercase(), "{} bytes of {} came back", answer.len(), message.len());
}

#[tokio::test]
async fn many_calls_share_a_connection_and_do_not_mix() {
    let orders = Orders::start();
    let proxy = before(&orders);
    let caller = Caller::connect(proxy.address()).await;
    let calls = (0..100).map(|number| {
        let mut caller = caller.clone();
        tokio::spawn(async move { caller.unary(PLACE, format!("order {number}")).await.unwrap().into_inner() })
    });
    for (number, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), format!("ORDER {number}"));
    }
    assert_eq!(proxy.metrics().sum("glooshot_proxy_connections_total", &[]), 1.0);
}

#[tokio::test]
async fn more_streams_than_one_connection_takes_are_open_at_once() {
    let orders = Orders::start();
    let proxy = before(&orders);
    let mut open = Vec::new();
    // The proxy takes 100 streams on a connection, the service 200.
    for _ in 0..4 {
        let mut caller = Caller::connect(proxy.address()).await;
        for _ in 0..75 {
            let (sender, receiver) = mpsc::channel(1);
            sender.send("first".to_owned()).await.unwrap();
            open.push((sender, caller.chat(ReceiverStream::new(receiver)).await.unwrap()));
        }
    }
    for (number, (sender, stream)) in open.iter_mut().enumerate() {
        assert_eq!(stream.message().await.unwrap().as_deref(), Some("first"));
        sender.send(format!("from {number}")).await.unwrap();
    }
    for (number, (sender, mut stream)) in open.into_iter().enumerate() {
        assert_eq!(stream.message().await.unwrap(), Some(format!("from {number}")));
        drop(sender);
        assert_eq!(stream.message().await.unwrap(), None);
    }
    counted(&proxy, "0", 300);
}

#[tokio::test]
async fn a_failure_of_the_service_passes_with_its_status_and_message() {
    let orders = Orders::start();
    let proxy = before(&orders);
    let mut caller = Caller::connect(proxy.address()).await;
    for code in 1..=16 {
        let status = caller.unary(PLACE, format!("!{code}")).await.unwrap_err();
        assert_eq!((status.code(), status.message(), marked(&status)), (Code::from(code), "as asked", None));
        let (words, end) = caller.watch(&format!("one !{code}")).await;
        assert_eq!((words.as_slice(), end.unwrap_err().code()), (&["one".to_owned()][..], Code::from(code)));
        // Once in a head that is all there is, once in trailers behind a message.
        counted(&proxy, &code.to_string(), 2);
    }
    let unknown = caller.unary("/shop.Orders/Cancel", "tea").await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
}

#[tokio::test]
async fn an_abort_ends_a_call_with_the_status_that_was_asked_for() {
    let orders = Orders::start();
    for code in [1, 4, 14, 16] {
        let trial = on(PLACE, &format!("{{abort: {{grpcStatus: {code}}}, percentage: 100}}"));
        let proxy = faulting(&trial, &orders);
        let mut caller = Caller::connect(proxy.address()).await;
        let status = caller.unary(PLACE, "tea").await.unwrap_err();
        assert_eq!((status.code(), marked(&status)), (Code::from(code), Some(marker("abort", 0).as_str())));
        assert_eq!(caller.watch("one").await.0, ["one"], "another method is not touched");
        proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "abort")], 1.0);
        proxy.wait_for_metric(
            "glooshot_proxy_requests_total",
            &[("grpc_status", &code.to_string()), ("flag", "FI"), ("code", "200")],
            1.0,
        );
    }
    assert!(!orders.methods().contains(&PLACE.to_owned()));
}

#[tokio::test]
async fn an_abort_ends_streams_of_every_kind() {
    let orders = Orders::start();
    let trial = Trial::endless().fault("bookinfo-ratings-9080", "", "{abort: {grpcStatus: 14}, percentage: 100}");
    let proxy = faulting(&trial, &orders);
    let mut caller = Caller::connect(proxy.address()).await;
    let (words, end) = caller.watch("one").await;
    assert_eq!((words.len(), end.unwrap_err().code()), (0, Code::Unavailable));
    assert_eq!(caller.import(vec!["a".to_owned(); 3]).await.unwrap_err().code(), Code::Unavailable);
    let (_sender, receiver) = mpsc::channel(1);
    let chat = caller.chat(ReceiverStream::new(receiver)).await;
    assert_eq!(chat.unwrap_err().code(), Code::Unavailable, "although the client has not ended its stream");
    counted(&proxy, "14", 3);
}

#[tokio::test]
async fn an_abort_of_http_is_what_a_client_of_grpc_makes_of_that_status() {
    let orders = Orders::start();
    // grpc.io, "HTTP to gRPC Status Code Mapping".
    for (http, code) in [(503, Code::Unavailable), (401, Code::Unauthenticated), (500, Code::Unknown)] {
        let proxy = faulting(&on(PLACE, &format!("{{abort: {{httpStatus: {http}}}, percentage: 100}}")), &orders);
        let status = Caller::connect(proxy.address()).await.unary(PLACE, "tea").await.unwrap_err();
        assert_eq!(status.code(), code, "{http}: {status}");
    }
}

#[tokio::test]
async fn a_delay_holds_back_a_call_before_the_service_hears_of_it() {
    const DELAY: Duration = Duration::from_millis(500);
    let orders = Orders::start();
    let proxy = faulting(&on(PLACE, "{delay: {duration: 500ms}, percentage: 100}"), &orders);
    let mut caller = Caller::connect(proxy.address()).await;
    let begun = Instant::now();
    let response = caller.unary(PLACE, "tea").await.unwrap();
    assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
    assert_eq!(response.metadata().get(FAULTED).unwrap(), &marker("delay", 0));
    assert_eq!(response.into_inner(), "TEA");
}

#[tokio::test]
async fn a_call_whose_deadline_is_within_the_delay_never_reaches_the_service() {
    let orders = Orders::start();
    let proxy = faulting(&on(PLACE, "{delay: {duration: 30s}, percentage: 100}"), &orders);
    let mut caller = Caller::connect(proxy.address()).await;
    let mut request = Request::new("tea".to_owned());
    request.set_timeout(Duration::from_millis(300));
    let status = caller.call(PLACE, request).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status}");
    // The client resets the stream; the proxy lets the call go, and the connection serves on.
    delayed(&proxy, 0.0).await;
    assert_eq!(caller.watch("one").await.0, ["one"]);
    assert_eq!(orders.methods(), [WATCH]);
}

#[tokio::test]
async fn a_match_is_on_the_method_of_the_service() {
    let orders = Orders::start();
    let matches = "match: {path: {prefix: /shop.Orders/W}, methods: [POST], headers: [{name: x-table, exact: \"7\"}]}";
    let trial = Trial::endless().fault("bookinfo-ratings-9080", matches, "{abort: {grpcStatus: 7}, percentage: 100}");
    let proxy = faulting(&trial, &orders);
    let mut caller = Caller::connect(proxy.address()).await;
    let mut at_table = async |method, table: &str| {
        let mut request = Request::new("tea".to_owned());
        request.metadata_mut().insert("x-table", table.parse().unwrap());
        caller.call(method, request).await.map_err(|status| status.code()).map(|_| ())
    };
    assert_eq!(at_table(WATCH, "7").await, Err(Code::PermissionDenied));
    assert_eq!(at_table(WATCH, "8").await, Ok(()));
    assert_eq!(at_table(PLACE, "7").await, Ok(()));
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_service_is_told_as_unavailable() {
    let refusing = RefusingPort::new();
    let proxy = Setup::proxy().to(refusing.address()).start();
    let status = Caller::connect(proxy.address()).await.unary(PLACE, "tea").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.metadata().get("x-glooshot-error").unwrap(), "upstream; connect");
    let no_http_2 = Upstream::ok();
    let proxy = Setup::proxy().to(no_http_2.address()).start();
    let status = Caller::connect(proxy.address()).await.unary(PLACE, "tea").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

/// A run that fails when more than every fifth call does, and that injects next to nothing.
fn watched(duration: &str) -> Trial {
    Trial::lasting(duration)
        .fault("bookinfo-ratings-9080", "", "{delay: {duration: 1ms}, percentage: 100}")
        .traffic("ErrorRate, interval: 1s, thresholdValue: 0.2, comparisonOperator: \">\"")
}

/// Calls until the run has ended; its exit code.
async fn call_until_the_end(proxy: &mut Glooshot, caller: &mut Caller, message: &str) -> Option<i32> {
    let begun = Instant::now();
    while proxy.is_running() && begun.elapsed() < 2 * PATIENCE {
        // The last ones meet a proxy that goes away.
        let _answer = caller.unary(PLACE, message).await;
    }
    proxy.try_wait_for_exit(PATIENCE).and_then(|status| status.code())
}

#[tokio::test]
async fn a_status_that_blames_the_service_counts_as_an_error_of_a_condition() {
    let orders = Orders::start();
    let mut proxy = watched("60s").setup().to(orders.address()).start_with_faults_on();
    let mut caller = Caller::connect(proxy.address()).await;
    assert_eq!(call_until_the_end(&mut proxy, &mut caller, "!14").await, Some(1), "{:?}", proxy.all_lines());
    assert!(proxy.output().contains("value_exceeded_threshold"));
}

#[tokio::test]
async fn a_status_that_a_caller_asked_for_is_no_error_of_a_condition() {
    let orders = Orders::start();
    let mut proxy = watched("3s").setup().to(orders.address()).start_with_faults_on();
    let mut caller = Caller::connect(proxy.address()).await;
    assert_eq!(call_until_the_end(&mut proxy, &mut caller, "!5").await, Some(0), "{:?}", proxy.all_lines());
}

#[tokio::test]
async fn calls_pass_envoy_before_and_behind_the_proxy() {
    let orders = Orders::start();
    let behind = envoy::Setup::to(orders.address(), Protocol::Http2).start();
    let trial = on(PLACE, "{abort: {grpcStatus: 14}, percentage: 100}");
    let proxy = trial.setup().to(behind.address()).start_with_faults_on();
    let front = envoy::Setup::to(proxy.address(), Protocol::Http2).start();
    let mut caller = Caller::connect(front.address()).await;
    let status = caller.unary(PLACE, "tea").await.unwrap_err();
    assert_eq!((status.code(), marked(&status)), (Code::Unavailable, Some(marker("abort", 0).as_str())));
    let (words, end) = caller.watch("one !9").await;
    assert_eq!((words.as_slice(), end.unwrap_err().code()), (&["one".to_owned()][..], Code::FailedPrecondition));
    assert_eq!(caller.import(vec!["a".to_owned(); 3]).await.unwrap().into_inner(), "a,a,a");
}

#[tokio::test]
async fn a_stop_lets_delayed_calls_go_and_open_streams_end() {
    let orders = Orders::start();
    let mut proxy = faulting(&on(PLACE, "{delay: {duration: 30s}, percentage: 100}"), &orders);
    let mut caller = Caller::connect(proxy.address()).await;
    let mut other = caller.clone();
    let call = tokio::spawn(async move { other.unary(PLACE, "tea").await });
    let (sender, receiver) = mpsc::channel(1);
    let mut stream = caller.chat(ReceiverStream::new(receiver)).await.unwrap();
    sender.send("before".to_owned()).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("before"));
    delayed(&proxy, 1.0).await;
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(call.await.unwrap().unwrap().into_inner(), "TEA");
    sender.send("after".to_owned()).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("after"));
    drop(sender);
    assert_eq!(stream.message().await.unwrap(), None);
    assert_eq!(proxy.wait_for_exit(2 * PATIENCE).code(), Some(130));
}
