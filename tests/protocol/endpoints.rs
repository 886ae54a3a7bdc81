//! Which of a Service's endpoints are asked.

use std::iter::repeat_with;

use crate::harness::{
    Client, Setup, get,
    glooshot::SERVICE,
    load::{self, CountingUpstream},
};

/// A route of this Service to these endpoints.
fn route(service: &str, endpoints: &[CountingUpstream]) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|endpoint| endpoint.address().to_string()).collect();
    format!("{service}=127.0.0.1:0->{}", endpoints.join(","))
}

/// A proxy of one core: each core has turns of its own.
fn setup() -> Setup {
    Setup::proxy().with(["--workers", "1"])
}

fn endpoints(count: usize) -> Vec<CountingUpstream> {
    repeat_with(CountingUpstream::start).take(count).collect()
}

#[test]
fn a_few_endpoints_are_asked_in_turn() {
    let endpoints = endpoints(3);
    let proxy = setup().raw_route(&route(SERVICE, &endpoints)).start();
    assert_eq!(load::send(proxy.address(), 1, 30, |_| get("/")).status(200), 30);
    assert_eq!(endpoints.iter().map(CountingUpstream::requests).collect::<Vec<_>>(), [10; 3]);
}

#[test]
fn a_client_that_asks_two_services_alternately_asks_all_endpoints_of_both() {
    let (one, other) = (endpoints(2), endpoints(2));
    let proxy = setup().raw_route(&route(SERVICE, &one)).raw_route(&route("bookinfo/reviews:9080", &other)).start();
    let mut clients = [0, 1].map(|index| Client::connect(proxy.address_of(index)));
    for _ in 0..10 {
        clients.iter_mut().for_each(|client| assert_eq!(client.ask(&get("/")).status(), 200));
    }
    let asked = one.iter().chain(&other).map(CountingUpstream::requests).collect::<Vec<_>>();
    assert_eq!(asked, [5; 4]);
}

#[test]
fn each_of_many_endpoints_gets_its_share() {
    const SHARE: u64 = 200;
    let endpoints = endpoints(200);
    let proxy = setup().raw_route(&route(SERVICE, &endpoints)).start();
    let total = SHARE * endpoints.len() as u64;
    assert_eq!(load::send(proxy.address(), 8, total, |_| get("/")).status(200), total);
    let shares = endpoints.iter().map(CountingUpstream::requests);
    let (least, most) = (shares.clone().min().unwrap(), shares.max().unwrap());
    println!("{least} to {most} in the place of {SHARE}");
    assert!(least >= SHARE / 2 && most <= SHARE * 3 / 2, "{least} to {most} in the place of {SHARE}");
}
