//! Connections are kept and shared, and what one request leaves behind never reaches another.

use std::thread;

use crate::harness::{Framing, Gate, Glooshot, Step, Upstream, answer, eventually, get, post, sockets};

#[test]
fn many_requests_of_one_client_use_one_upstream_connection() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    for number in 0..100 {
        let target = format!("/{number}");
        let request = if number % 2 == 0 { get(&target) } else { post(&target, "body") };
        assert_eq!(client.ask(&request).text(), target);
    }
    assert_eq!(upstream.connections().len(), 1);
    assert_eq!(upstream.requests().len(), 100);
}

#[test]
fn clients_one_after_the_other_share_an_upstream_connection() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    for number in 0..10 {
        let target = format!("/{number}");
        assert_eq!(proxy.client().ask(&get(&target)).text(), target);
    }
    assert_eq!(upstream.connections().len(), 1);
}

#[test]
fn clients_at_the_same_time_get_their_own_answers() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    thread::scope(|scope| {
        for name in 0..8 {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut client = proxy.client();
                for number in 0..50 {
                    let target = format!("/{name}/{number}");
                    assert_eq!(client.ask(&get(&target)).text(), target);
                }
            });
        }
    });
    assert_eq!(upstream.requests().len(), 400);
    assert!(upstream.connections().len() <= 8, "{} connections", upstream.connections().len());
}

#[test]
fn a_connection_that_the_upstream_closed_while_idle_is_not_used() {
    let upstream = Upstream::scripted(|exchange| vec![Step::Send(answer(exchange.request.target())), Step::Close]);
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    for number in 0..20 {
        // A POST is never sent twice: each one must have found a live connection.
        let target = format!("/{number}");
        let answer = client.ask(&post(&target, "once"));
        assert_eq!((answer.status(), answer.text()), (200, target));
        eventually("the proxy closes its side too", || {
            (sockets::connections_of(upstream.address()) == 0).then_some(())
        });
    }
    assert_eq!(upstream.requests().len(), 20);
}

#[test]
fn an_upstream_connection_whose_answer_the_client_left_is_not_used_again() {
    let gate = Gate::closed();
    let later = gate.clone();
    let upstream = Upstream::scripted(move |exchange| match exchange.request.target() {
        "/slow" => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf-".to_vec()),
            Step::Wait(later.clone()),
            Step::Send(b"whole".to_vec()),
        ],
        target => vec![Step::Send(answer(target))],
    });
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&get("/slow"));
    assert!(client.read_at_least(1).starts_with(b"H"));
    client.reset();
    gate.open();
    for number in 0..5 {
        let target = format!("/{number}");
        assert_eq!(proxy.client().ask(&get(&target)).text(), target);
    }
}

#[test]
fn a_body_that_the_client_did_not_finish_is_never_finished_by_another_request() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(b"POST /half HTTP/1.1\r\nHost: ratings\r\nContent-Length: 100\r\n\r\nhalf");
    upstream.wait_until("the half body", |log| log.iter().any(|connection| connection.bytes.ends_with(b"half")));
    client.reset();
    upstream.wait_until("the end of the half request", |log| log[0].ended);
    assert_eq!(proxy.client().ask(&get("/next")).text(), "/next");
    let account = upstream.account();
    assert_eq!((account.requests.len(), account.rests.len()), (1, 1), "{account:?}");
}

#[test]
fn a_body_is_streamed_and_not_collected_first() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(b"POST /a HTTP/1.1\r\nHost: ratings\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    upstream.wait_until("the first chunk", |log| {
        log.iter().any(|connection| connection.bytes.windows(5).any(|bytes| bytes == b"first"))
    });
    client.send(b"6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(client.read_answer().text(), "/a");
    let request = upstream.only_request();
    assert_eq!((request.framing, request.text().as_str()), (Framing::Chunked, "firstsecond"));
}

#[test]
fn an_answer_is_streamed_and_not_collected_first() {
    let gate = Gate::closed();
    let later = gate.clone();
    let upstream = Upstream::scripted(move |_| {
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".to_vec()),
            Step::Wait(later.clone()),
            Step::Send(b"6\r\nsecond\r\n0\r\n\r\n".to_vec()),
        ]
    });
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    client.send(&get("/a"));
    let mut come = Vec::new();
    while !come.windows(5).any(|bytes| bytes == b"first") {
        come.extend(client.read_at_least(1));
    }
    gate.open();
    while !come.ends_with(b"0\r\n\r\n") {
        come.extend(client.read_at_least(1));
    }
    assert!(come.windows(6).any(|bytes| bytes == b"second"));
}

#[test]
fn large_bodies_arrive_byte_for_byte_in_both_directions() {
    let body = (0..1_000_000_u32)
        .map(|number| char::from(b'a' + (number.wrapping_mul(number) % 23) as u8))
        .collect::<String>();
    let expected = body.clone();
    let upstream = Upstream::scripted(move |exchange| {
        assert!(exchange.request.text() == expected, "the body differs on its way to the upstream");
        vec![Step::Send(answer(&exchange.request.text()))]
    });
    let proxy = Glooshot::before(&upstream);
    let mut client = proxy.client();
    let mut writer = client.stream();
    thread::scope(|scope| {
        scope.spawn(|| std::io::Write::write_all(&mut writer, &post("/a", &body)).unwrap());
        assert!(client.read_answer().text() == body, "the body differs on its way back");
    });
}
