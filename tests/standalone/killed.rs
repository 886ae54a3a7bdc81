//! A process that is killed takes its faults with it, and nothing that it leaves keeps the next one from starting.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use rustix::process::Signal;

use super::{
    outcome::Outcome,
    program::free_address,
    traffic::{CLIENTS, during},
    trial::{NAME, Trial},
};
use crate::harness::{Client, Ending, Setup, Upstream, get, load, load::CountingUpstream};

const SOON: Duration = Duration::from_secs(10);

/// A trial whose route listens at `listen`.
fn setup(trial: &Trial, listen: &str, upstream: std::net::SocketAddr) -> Setup {
    trial.setup().route("bookinfo/ratings:9080", listen, upstream)
}

#[test]
fn kill_9_ends_the_proxy_and_its_faults_with_the_process_and_leaves_the_service_alone() {
    let upstream = Upstream::naming_the_target();
    let listen = free_address(Ipv4Addr::new(127, 31, 200, 1).into());
    let trial = Trial::endless().delay("60s");
    let mut run = setup(&trial, &listen.to_string(), upstream.address()).start_with_faults_on();
    let mut held = Client::connect(listen);
    held.send(&get("/held"));
    run.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    run.signal(Signal::KILL);
    run.wait_for_exit(SOON);
    let (bytes, ending) = held.read_to_end();
    assert!(bytes.is_empty() && ending != Ending::StillOpen, "{ending:?}");
    assert!(TcpStream::connect(listen).is_err(), "something still listens");
    assert_eq!(upstream.byte_count(), 0, "a request that was held back is gone with its client");
    assert_eq!(Client::connect(upstream.address()).ask(&get("/alive")).text(), "/alive");
}

#[test]
fn after_kill_9_under_load_a_new_run_on_the_same_address_starts_clean() {
    let upstream = CountingUpstream::start();
    let listen = free_address(Ipv4Addr::new(127, 31, 201, 1).into());
    let mut killed =
        setup(&Trial::endless().abort("50"), &listen.to_string(), upstream.address()).start_with_faults_on();
    let ((), tally) = during(listen, || {
        // It is counted before it is sent; more than there are clients, and one of them has had its answer.
        crate::harness::eventually("a client has had a fault", || {
            (killed.metrics().sum("glooshot_proxy_injected_total", &[]) > CLIENTS as f64).then_some(())
        });
        killed.signal(Signal::KILL);
        killed.wait_for_exit(SOON);
    });
    assert!(tally.marked() > 0);

    let trial = Trial::lasting("1500ms").settling("500ms").abort("100");
    let mut next = setup(&trial, &listen.to_string(), upstream.address()).start();
    assert_eq!(Client::connect(listen).ask(&get("/")).status(), 200, "there is no fault before its time");
    assert_eq!(next.metrics().sum("glooshot_proxy_injected_total", &[("experiment", NAME)]), 0.0);
    next.wait_for_line("faults on", |line| line == "faults on");
    assert_eq!(load::send(listen, 1, 10, |_| get("/")).marked(), 10);
    let outcome = Outcome::of(&mut next);
    outcome.expect(0, "Succeeded", "");
    assert_eq!(outcome.injected(0).1, 10, "{}", outcome.text);
}
