//! D8, D9: an upstream that refuses, hangs or resets costs one clear answer, and no request is delivered twice by mistake.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::harness::{
    Glooshot, Message, Setup, Step, Upstream, answer, get, post,
    upstream::{BlackHole, RefusingPort},
};

/// A proxy with short timeouts in front of `upstreams`.
fn proxy_to(upstreams: &[SocketAddr]) -> Glooshot {
    let more = upstreams[1..].iter().map(|upstream| format!(",{upstream}")).collect::<String>();
    let route = format!("bookinfo/ratings:9080=127.0.0.1:0->{}{more}", upstreams[0]);
    Setup::proxy().with(["--response-timeout", "1s", "--connect-timeout", "1s"]).raw_route(&route).start()
}

#[track_caller]
fn is_an_error_of_the_upstream(answer: &Message, status: u16) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert!(answer.one("x-glooshot-error").is_some_and(|value| value.starts_with("upstream; ")), "{answer:?}");
    assert!(!answer.has("x-glooshot-fault"), "nothing was injected: {answer:?}");
}

#[test]
fn d8_an_upstream_that_refuses_is_unavailable() {
    let refusing = RefusingPort::new();
    let proxy = proxy_to(&[refusing.address()]);
    let mut client = proxy.client();
    for _ in 0..3 {
        is_an_error_of_the_upstream(&client.ask(&get("/a")), 503);
        is_an_error_of_the_upstream(&client.ask(&post("/a", "body")), 503);
    }
    let labels = [("service", "ratings"), ("code", "503")];
    proxy.wait_for_metric("glooshot_proxy_requests_total", &labels, 6.0);
}

#[test]
fn d8_an_upstream_that_swallows_connections_is_unavailable_within_the_connect_timeout() {
    let hole = BlackHole::new();
    let proxy = proxy_to(&[hole.address()]);
    let asked = Instant::now();
    is_an_error_of_the_upstream(&proxy.client().ask(&get("/a")), 503);
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn d8_an_upstream_that_hangs_times_out_and_its_connection_is_not_used_again() {
    let upstream = Upstream::scripted(|exchange| match exchange.request.target() {
        "/hang" => vec![Step::Hang],
        target => vec![Step::Send(answer(target))],
    });
    let proxy = proxy_to(&[upstream.address()]);
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/before")).text(), "/before");
    let asked = Instant::now();
    is_an_error_of_the_upstream(&client.ask(&get("/hang")), 504);
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(proxy.client().ask(&get("/after")).text(), "/after");
    upstream.wait_until("the end of the connection that hung", |log| log[0].ended);
    let hung = upstream.requests().iter().filter(|request| request.target() == "/hang").count();
    assert_eq!(hung, 1, "a request that timed out is not sent again");
}

#[test]
fn d8_an_upstream_that_resets_is_a_bad_gateway_and_its_connection_is_not_used_again() {
    let upstream = Upstream::scripted(|exchange| match exchange.request.target() {
        "/reset" => vec![Step::Reset],
        target => vec![Step::Send(answer(target))],
    });
    let proxy = proxy_to(&[upstream.address()]);
    let mut client = proxy.client();
    is_an_error_of_the_upstream(&client.ask(&get("/reset")), 502);
    assert_eq!(client.ask(&get("/after")).text(), "/after");
    assert_eq!(proxy.client().ask(&get("/other")).text(), "/other");
}

#[test]
fn d8_an_upstream_that_resets_in_the_middle_of_its_answer_breaks_the_transfer() {
    let upstream = Upstream::scripted(|exchange| match exchange.request.target() {
        "/reset" => vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort".to_vec()), Step::Reset],
        target => vec![Step::Send(answer(target))],
    });
    let proxy = proxy_to(&[upstream.address()]);
    let mut client = proxy.client();
    client.send(&get("/reset"));
    match client.try_read_answer_to("GET") {
        Ok(answer) => is_an_error_of_the_upstream(&answer, 502),
        Err(none) => assert_eq!(none.broken, None, "{none:?}"),
    }
    assert_eq!(proxy.client().ask(&get("/after")).text(), "/after");
}

#[test]
fn d8_a_client_that_gives_up_frees_the_upstream() {
    let upstream = Upstream::scripted(|_| vec![Step::Hang]);
    let proxy = Setup::proxy().to(upstream.address()).with(["--response-timeout", "60s"]).start();
    let mut client = proxy.client();
    client.send(&get("/a"));
    upstream.wait_for_requests(1);
    client.reset();
    upstream.wait_within(Duration::from_secs(5), "the end of the request that nobody waits for", |log| log[0].ended);
}

#[test]
fn a_request_goes_to_another_endpoint_when_the_first_refuses() {
    let refusing = RefusingPort::new();
    let upstream = Upstream::naming_the_target();
    let proxy = proxy_to(&[refusing.address(), upstream.address()]);
    for number in 0..10 {
        let target = format!("/{number}");
        let request = if number % 2 == 0 { get(&target) } else { post(&target, "body") };
        let answer = proxy.client().ask(&request);
        assert_eq!((answer.status(), answer.text()), (200, target), "no byte was sent to the one that refused");
    }
    assert_eq!(upstream.requests().len(), 10);
}

/// An upstream whose every first request on a connection is answered, and every second one meets `end`.
fn ends_on_reuse(end: Vec<Step>) -> Upstream {
    Upstream::scripted(move |exchange| match exchange.nth {
        0 => vec![Step::Send(answer(exchange.request.target()))],
        _ => end.clone(),
    })
}

fn deliveries(upstream: &Upstream, target: &str) -> usize {
    upstream.requests().iter().filter(|request| request.target() == target).count()
}

#[test]
fn d9_a_post_is_delivered_at_most_once() {
    for end in [Step::Close, Step::Reset] {
        let upstream = ends_on_reuse(vec![end]);
        let proxy = proxy_to(&[upstream.address()]);
        let mut client = proxy.client();
        assert_eq!(client.ask(&get("/first")).text(), "/first");
        is_an_error_of_the_upstream(&client.ask(&post("/once", "body")), 502);
        assert_eq!(deliveries(&upstream, "/once"), 1);
        assert_eq!(proxy.client().ask(&get("/after")).text(), "/after");
    }
}

#[test]
fn d9_a_get_on_a_reused_connection_is_tried_once_more() {
    let upstream = ends_on_reuse(vec![Step::Close]);
    let proxy = proxy_to(&[upstream.address()]);
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/first")).text(), "/first");
    let answer = client.ask(&get("/again"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "/again"));
    assert_eq!(deliveries(&upstream, "/again"), 2);
}

#[test]
fn d9_a_get_is_never_tried_a_third_time() {
    let upstream = Upstream::scripted(|exchange| match exchange.request.target() {
        "/first" => vec![Step::Send(answer("/first"))],
        _ => vec![Step::Close],
    });
    let proxy = proxy_to(&[upstream.address()]);
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/first")).text(), "/first");
    is_an_error_of_the_upstream(&client.ask(&get("/again")), 502);
    let count = deliveries(&upstream, "/again");
    assert!((1..=2).contains(&count), "delivered {count} times");
}

#[test]
fn d9_a_get_on_a_fresh_connection_is_not_tried_again() {
    let upstream = Upstream::scripted(|_| vec![Step::Close]);
    let proxy = proxy_to(&[upstream.address()]);
    is_an_error_of_the_upstream(&proxy.client().ask(&get("/a")), 502);
    assert_eq!(deliveries(&upstream, "/a"), 1);
}

#[track_caller]
fn is_not_tried_again_after(piece: &str) {
    let upstream = ends_on_reuse(vec![Step::Send(piece.as_bytes().to_vec()), Step::Close]);
    let proxy = proxy_to(&[upstream.address()]);
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/first")).text(), "/first");
    client.send(&get("/begun"));
    if let Ok(answer) = client.try_read_answer_to("GET") {
        is_an_error_of_the_upstream(&answer, 502);
    }
    assert_eq!(deliveries(&upstream, "/begun"), 1);
}

#[test]
fn d9_nothing_is_tried_again_after_the_first_byte_of_an_answer() {
    is_not_tried_again_after("H");
}

#[test]
fn d9_nothing_is_tried_again_after_a_part_of_the_head_of_an_answer() {
    is_not_tried_again_after("HTTP/1.1 200 OK\r\nContent-Le");
}

#[test]
fn d9_nothing_is_tried_again_after_a_part_of_the_body_of_an_answer() {
    is_not_tried_again_after("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
}
