//! E6, E7, E9, F3: plans that are not renewed, that come too late, that replace one another, while traffic goes on.

use std::{
    net::TcpListener,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use glooshot::{
    api::plan::{Disruption, FencingToken, Plan, PlannedRoute, TextMatch},
    proxy::{Refusal, plain_route},
};

use crate::harness::{
    Client, Upstream, answer, eventually, get,
    in_process::{InProcess, endpoint, experiment, fault, marker, plan, port},
    load::{self, CountingUpstream, Seen, Tally},
    scale,
    upstream::BlackHole,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// How long a plan of these tests holds, where it is to expire.
const TIME_TO_LIVE: Duration = Duration::from_secs(1);
/// What is over must be over within so much more.
const GRACE: Duration = Duration::from_secs(1);

/// All requests are answered with `status`.
fn aborting(generation: u64, name: &str, status: u16) -> Plan {
    plan(generation, experiment(name, vec![fault(Disruption::AbortHttp(status), 100.0)]))
}

/// Lets `act` happen under load; what the clients saw.
fn under_load(proxy: &InProcess, look: impl Fn(&Seen) + Sync, act: impl FnOnce()) -> Tally {
    let ((), tally) = load::watch_during(proxy.address(), 4, |_| get("/"), look, act);
    tally
}

/// Waits until so many requests have been counted.
#[track_caller]
fn wait_for_requests(proxy: &InProcess, labels: &[(&str, &str)], count: f64) {
    let from = proxy.metrics().sum("glooshot_proxy_requests_total", labels);
    eventually("requests go on", || {
        (proxy.metrics().sum("glooshot_proxy_requests_total", labels) >= from + count).then_some(())
    });
}

#[test]
fn a_request_that_waits_for_an_endpoint_that_is_gone_goes_to_one_that_the_plan_has_learned_of_meanwhile() {
    let (upstream, hole) = (CountingUpstream::start(), BlackHole::new());
    // Nor does the origin answer: nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = InProcess::before(nobody);
    let to = |generation, address| Plan {
        generation,
        routes: vec![plain_route(port(), vec![endpoint(address)])],
        ..Plan::default()
    };
    proxy.control().accept(to(1, hole.address()), HOUR).unwrap();
    let mut client = Client::connect(proxy.address());
    client.send(&get("/"));
    eventually("the connection is accepted", || {
        (proxy.metrics().sum("glooshot_proxy_open_connections", &[]) > 0.0).then_some(())
    });
    proxy.control().accept(to(2, upstream.address()), HOUR).unwrap();
    assert_eq!(client.read_answer().status(), 200);
}

#[test]
fn e6_a_plan_that_nobody_renews_ends_its_faults_when_its_time_is_over_and_traffic_goes_on() {
    let upstream = CountingUpstream::start();
    let proxy = InProcess::before(upstream.address());
    let mut renewed = Instant::now();
    let tally = under_load(
        &proxy,
        |_| {},
        || {
            proxy.control().accept(aborting(1, "e6", 500), TIME_TO_LIVE).unwrap();
            // As long as somebody renews it, it holds for longer than its time to live.
            let began = Instant::now();
            while began.elapsed() < 2 * TIME_TO_LIVE {
                wait_for_requests(&proxy, &[("code", "500")], 10.0);
                renewed = Instant::now();
                proxy.control().renew(FencingToken::default(), 1, TIME_TO_LIVE).unwrap();
            }
            eventually("the faults end", || (!proxy.control().is_injecting()).then_some(()));
            wait_for_requests(&proxy, &[("code", "200")], 1_000.0);
        },
    );
    let held = tally.last_marked.unwrap() - renewed;
    assert!(held <= TIME_TO_LIVE + GRACE, "faults held for {held:?}");
    assert!(held >= TIME_TO_LIVE - GRACE / 2, "faults held for {held:?} only");
    assert_eq!((tally.unanswered, tally.answered()), (0, tally.status(200) + tally.status(500)));
    assert_eq!(proxy.metrics().sum("glooshot_proxy_faults_armed", &[]), 0.0);
}

#[test]
fn e6_what_an_expired_plan_delays_is_let_go_and_its_routes_end_with_it() {
    let (origin, planned) = (Upstream::answering(answer("origin")), Upstream::answering(answer("planned")));
    let proxy = InProcess::before(origin.address());
    let delay = Disruption::Delay { duration: Duration::from_secs(60), jitter: Duration::ZERO };
    let mut with_route = plan(1, experiment("e6", vec![fault(delay, 100.0)]));
    with_route.routes = vec![plain_route(port(), vec![endpoint(planned.address())])];
    proxy.control().accept(with_route, TIME_TO_LIVE).unwrap();
    let mut held = (0..5).map(|_| Client::connect(proxy.address())).collect::<Vec<_>>();
    let asked = Instant::now();
    for client in &mut held {
        client.send(&get("/held"));
    }
    for client in &mut held {
        let answer = client.read_answer();
        assert_eq!(answer.one("x-glooshot-fault"), Some(marker("delay", "e6", 0).as_str()));
        // It was chosen while the plan was in force.
        assert_eq!(answer.text(), "planned");
    }
    let took = asked.elapsed();
    assert!(took <= TIME_TO_LIVE + GRACE, "{took:?}");
    assert_eq!(Client::connect(proxy.address()).ask(&get("/later")).text(), "origin");
}

#[test]
fn e7_plans_of_yesterday_and_of_leaders_that_were_replaced_are_refused_and_counted() {
    let upstream = CountingUpstream::start();
    let proxy = InProcess::before(upstream.address());
    let control = proxy.control();
    let leader = |transitions| FencingToken { lease_created: 7, transitions };
    let of = |transitions, plan: Plan| Plan { fencing: leader(transitions), ..plan };
    control.accept(of(2, aborting(5, "in-force", 501)), HOUR).unwrap();
    let tally = under_load(
        &proxy,
        |_| {},
        || {
            wait_for_requests(&proxy, &[], 100.0);
            for round in 0..100 {
                let old = control.accept(of(2, aborting(5 - round % 2, "old", 502)), HOUR);
                assert_eq!(old, Err(Refusal::Old { offered: 5 - round % 2, current: 5 }));
                assert_eq!(control.accept(of(1, aborting(1_000 + round, "fenced", 503)), HOUR), Err(Refusal::Fenced));
                assert_eq!(control.renew(leader(1), 5, HOUR), Err(Refusal::Fenced));
                assert_eq!(control.renew(leader(2), 4, HOUR), Err(Refusal::Old { offered: 4, current: 5 }));
                wait_for_requests(&proxy, &[], 10.0);
            }
        },
    );
    assert_eq!((tally.answered(), tally.unanswered), (tally.status(501), 0), "{tally:?}");
    assert_eq!(tally.by_marker.keys().collect::<Vec<_>>(), [&marker("abort", "in-force", 0)]);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_plans_refused_total", &[]), 400.0, "plans and renewals alike");
    assert_eq!(control.generation(), 5);
    // The leader that has taken over is heard, whatever it counts from.
    control.accept(of(3, aborting(1, "next", 504)), HOUR).unwrap();
    assert_eq!(Client::connect(proxy.address()).ask(&get("/")).status(), 504);
}

#[test]
fn e7_a_plan_that_has_expired_is_not_renewed_back_to_life() {
    let upstream = CountingUpstream::start();
    let proxy = InProcess::before(upstream.address());
    let control = proxy.control();
    control.accept(aborting(1, "e7", 500), Duration::from_millis(200)).unwrap();
    let tally = under_load(
        &proxy,
        |_| {},
        || {
            eventually("the faults end", || (!control.is_injecting()).then_some(()));
            for _ in 0..20 {
                assert_eq!(control.renew(FencingToken::default(), 1, HOUR), Err(Refusal::Expired));
                assert_eq!(
                    control.accept(aborting(1, "e7", 500), HOUR),
                    Err(Refusal::Old { offered: 1, current: 1 }),
                    "the same again is no new plan"
                );
                wait_for_requests(&proxy, &[("code", "200")], 10.0);
            }
        },
    );
    assert!(!control.is_injecting());
    assert!(tally.status(200) >= 200 && tally.unanswered == 0, "{tally:?}");
    control.accept(aborting(2, "e7", 500), HOUR).unwrap();
    assert_eq!(Client::connect(proxy.address()).ask(&get("/")).status(), 500);
}

#[test]
fn e9_another_experiment_replaces_the_one_before_as_a_whole() {
    let upstream = CountingUpstream::start();
    let proxy = InProcess::before(upstream.address());
    let delay = Disruption::Delay { duration: Duration::from_secs(60), jitter: Duration::ZERO };
    let first = experiment("first", vec![fault(Disruption::AbortHttp(501), 0.000_001), fault(delay, 99.999_999)]);
    proxy.control().accept(plan(1, first), HOUR).unwrap();
    let mut held = (0..5).map(|_| Client::connect(proxy.address())).collect::<Vec<_>>();
    held.iter_mut().for_each(|client| client.send(&get("/held")));
    eventually("all are delayed", || (proxy.metrics().sum("glooshot_proxy_active_faults", &[]) == 5.0).then_some(()));
    proxy.control().accept(aborting(2, "second", 502), HOUR).unwrap();
    // What the first one holds is let go, and it hits nothing any more.
    for client in &mut held {
        assert_eq!(client.read_answer().status(), 200);
    }
    let tally = load::send(proxy.address(), 4, 1_000, |_| get("/"));
    assert_eq!((tally.status(502), tally.unanswered), (1_000, 0), "{tally:?}");
    assert_eq!(tally.by_marker.keys().collect::<Vec<_>>(), [&marker("abort", "second", 0)]);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("glooshot_proxy_injected_total", &[("experiment", "bookinfo/first")]), 0.0);
    assert_eq!(metrics.sum("glooshot_proxy_injected_total", &[("experiment", "bookinfo/second")]), 1_000.0);
}

#[test]
fn e9_a_plan_whose_faults_ask_for_more_than_all_of_the_same_requests_is_refused_whole() {
    let upstream = CountingUpstream::start();
    let proxy = InProcess::before(upstream.address());
    let faults = [501, 502].map(|status| fault(Disruption::AbortHttp(status), 50.1)).to_vec();
    let refused = proxy.control().accept(plan(1, experiment("e9", faults)), HOUR);
    assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
    let tally = load::send(proxy.address(), 4, 100, |_| get("/"));
    assert_eq!((tally.status(200), tally.marked()), (100, 0), "{tally:?}");
    assert_eq!(proxy.metrics().sum("glooshot_proxy_plans_refused_total", &[]), 1.0);
}

#[test]
fn e9_faults_whose_matches_overlap_and_that_ask_for_more_than_all_requests_share_them_and_none_meets_two() {
    const REQUESTS: u64 = 2_000;
    let upstream = CountingUpstream::start();
    let proxy = InProcess::before(upstream.address());
    let mut faults = [501, 502, 503].map(|status| fault(Disruption::AbortHttp(status), 80.0)).to_vec();
    // Whether two matches overlap cannot be told from a plan.
    faults[1].matches.methods = vec!["GET".to_owned()];
    faults[2].matches.path = Some(TextMatch::Prefix("/".to_owned()));
    proxy.control().accept(plan(1, experiment("e9", faults)), HOUR).unwrap();
    let tally = load::send(proxy.address(), 4, REQUESTS, |_| get("/"));
    assert_eq!((tally.status(501) + tally.status(502), tally.unanswered), (REQUESTS, 0), "{tally:?}");
    let expected = REQUESTS as f64 * 0.8;
    assert!((tally.status(501) as f64 - expected).abs() < 5.0 * (expected * 0.2).sqrt(), "{tally:?}");
    let injected = proxy.metrics().sum("glooshot_proxy_injected_total", &[]);
    assert_eq!(injected, REQUESTS as f64, "each request is counted once");
}

/// The plan number `generation` of F3: every second one is of another experiment, with statuses and endpoints of its own.
fn swapped(generation: u64, routes: &[PlannedRoute; 2]) -> Plan {
    let which = usize::from(generation.is_multiple_of(2));
    let status = |nth: u16| Disruption::AbortHttp(if which == 0 { 510 } else { 520 } + nth);
    let moment = Disruption::Delay { duration: Duration::from_micros(1), jitter: Duration::ZERO };
    let faults = vec![fault(status(0), 20.0), fault(status(1), 20.0), fault(moment, 20.0)];
    let mut plan = plan(generation, experiment(["odd", "even"][which], faults));
    plan.routes = vec![routes[which].clone()];
    plan
}

/// Whether status, marker and body belong to one and the same plan.
fn is_whole(seen: &Seen) -> bool {
    let Some(marker) = &seen.marker else { return seen.status == 200 && matches!(seen.body.as_str(), "odd" | "even") };
    [("odd", 510), ("even", 520)].iter().any(|(name, status)| {
        let is = |kind, fault| *marker == self::marker(kind, name, fault);
        (is("abort", 0) && seen.status == *status)
            || (is("abort", 1) && seen.status == status + 1)
            || (is("delay", 2) && seen.status == 200 && seen.body == *name)
    })
}

#[test]
fn f3_plans_that_change_a_hundred_times_a_second_under_load_are_never_torn() {
    const EVERY: Duration = Duration::from_millis(10);
    let (odd, even) = (Upstream::answering(answer("odd")), Upstream::answering(answer("even")));
    let routes = [odd.address(), even.address()].map(|address| plain_route(port(), vec![endpoint(address)]));
    let proxy = InProcess::before(odd.address());
    let control = proxy.control();
    let torn = Mutex::new(Vec::new());
    let look = |seen: &Seen| {
        if !is_whole(seen) {
            torn.lock().unwrap().push(seen.clone());
        }
    };
    let plans = scale::HOT_SWAP_SECONDS.get() * 100;
    let tally = under_load(&proxy, look, || {
        let began = Instant::now();
        for generation in 1..=plans {
            control.accept(swapped(generation, &routes), HOUR).unwrap();
            let next = began + EVERY * u32::try_from(generation).unwrap();
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                thread::park_timeout(left);
            }
        }
    });
    let torn = torn.into_inner().unwrap();
    assert!(torn.is_empty(), "{} torn, as in {:?}", torn.len(), &torn[..torn.len().min(5)]);
    assert_eq!(tally.unanswered, 0);
    assert_eq!(tally.by_marker.len(), 6, "every fault of both was met: {tally:?}");
    let share = tally.marked() as f64 / tally.answered() as f64;
    let sigma = (0.6 * 0.4 / tally.answered() as f64).sqrt();
    assert!((share - 0.6).abs() < 5.0 * sigma, "{share} of {} requests were faulted", tally.answered());
    println!("F3: {plans} plans while {} requests were answered", tally.answered());
}
