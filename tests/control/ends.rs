//! How faults end when nobody says any more that they should go on; traffic goes on in any case.

use std::time::{Duration, Instant};

use glooshot::{
    api::plan::{Disruption, Plan, TIME_TO_LIVE},
    control::PlanId,
};

use crate::{
    controller::{Controller, World, leader},
    harness::{
        Glooshot, eventually, get,
        in_process::{experiment, fault, plan},
        load::{self, CountingUpstream, Tally},
    },
};

/// What is over must be over within so much more.
const GRACE: Duration = Duration::from_secs(1);

fn aborting(generation: u64) -> Plan {
    let experiment = experiment("control", vec![fault(Disruption::AbortHttp(418), 100.0)]);
    Plan { fencing: leader(1), ..plan(generation, experiment) }
}

const fn id(generation: u64) -> PlanId {
    PlanId { fencing: leader(1), generation }
}

/// Lets `act` happen under load once faults are on; what the clients saw, until requests are answered by the service again.
fn under_load(proxy: &Glooshot, upstream: &CountingUpstream, act: impl FnOnce()) -> Tally {
    let ((), tally) = load::during(
        proxy.address(),
        2,
        |_| get("/"),
        || {
            proxy_injects(proxy);
            act();
            let before = upstream.requests();
            eventually("the service is asked again", || (upstream.requests() > before + 100).then_some(()));
        },
    );
    tally
}

fn proxy_injects(proxy: &Glooshot) {
    eventually("faults are on", || {
        (proxy.metrics().sum("glooshot_proxy_requests_total", &[("code", "418")]) > 0.0).then_some(())
    });
}

/// Tells the plan and waits until it is in force.
fn arm(controller: &Controller, holds: Duration) {
    controller.direct(aborting(1), holds);
    assert_eq!(controller.wait_for_answer("one", id(1)).refused, None);
}

#[test]
fn a_plan_that_nobody_renews_ends_within_its_time_and_one_that_is_renewed_goes_on() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller();
    let proxy = world.proxy("one", upstream.address(), &[&controller]);
    let holds = Duration::from_secs(2);
    arm(&controller, holds);
    let mut renewed = Instant::now();
    let seen = under_load(&proxy, &upstream, || {
        let began = Instant::now();
        while began.elapsed() < 2 * holds {
            proxy_injects(&proxy);
            renewed = Instant::now();
            assert!(controller.renew(id(1), holds));
        }
    });
    let held = seen.last_marked.unwrap() - renewed;
    assert!(held <= holds + GRACE, "faults held for {held:?} after the last renewal");
    assert_eq!(seen.unanswered, 0);
    assert_eq!(controller.wait_for_pod("one").identity.pod, "one", "the proxy stays connected");
}

#[test]
fn when_the_controller_is_killed_faults_end_within_six_seconds_and_traffic_goes_on() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let mut controller = world.controller();
    let proxy = world.proxy("one", upstream.address(), &[&controller]);
    arm(&controller, TIME_TO_LIVE);
    let mut killed = Instant::now();
    let seen = under_load(&proxy, &upstream, || {
        killed = Instant::now();
        controller.kill();
    });
    let held = seen.last_marked.unwrap() - killed;
    assert!(held <= TIME_TO_LIVE + GRACE, "faults held for {held:?} after the death of the controller");
    assert_eq!(seen.unanswered, 0);
}

#[test]
fn a_controller_that_comes_back_is_called_again_and_an_expired_plan_stays_expired() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let mut controller = world.controller();
    let proxy = world.proxy("one", upstream.address(), &[&controller]);
    arm(&controller, Duration::from_secs(2));
    let address = controller.address;
    under_load(&proxy, &upstream, || controller.kill());
    let controller = world.controller_at(address, glooshot::control::server::Bounds::default());
    controller.wait_for_pod("one");
    controller.direct(aborting(1), TIME_TO_LIVE);
    let answer = controller.wait_for_answer("one", id(1));
    assert_eq!(answer.refused.as_deref(), Some("the plan had expired before it was renewed"));
    assert_eq!(load::send(proxy.address(), 1, 5, |_| get("/")).status(200), 5);
    controller.direct(aborting(2), TIME_TO_LIVE);
    assert_eq!(controller.wait_for_answer("one", id(2)).refused, None);
    assert_eq!(load::send(proxy.address(), 1, 5, |_| get("/")).status(418), 5);
}
