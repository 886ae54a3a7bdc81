//! Plans arrive, are answered, and act; and the proxy tells what becomes of them.

use std::time::Duration;

use glooshot::{
    api::{
        names::ServiceName,
        plan::{Disruption, Plan, TIME_TO_LIVE},
    },
    control::PlanId,
};

use crate::{
    controller::{World, leader},
    harness::{
        Setup, eventually, get,
        in_process::{experiment, fault, plan, service},
        load::{self, CountingUpstream},
    },
};

/// A plan that answers every request with `status`.
fn aborting(transitions: u64, generation: u64, status: u16) -> Plan {
    let experiment = experiment("control", vec![fault(Disruption::AbortHttp(status), 100.0)]);
    Plan { fencing: leader(transitions), ..plan(generation, experiment) }
}

#[test]
fn a_plan_arrives_is_acknowledged_and_its_faults_act() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller();
    let proxy = world.proxy("one", upstream.address(), &[&controller]);
    proxy.wait_for_metric("glooshot_proxy_controllers_connected", &[], 1.0);
    let plan = aborting(1, 1, 418);
    let id = PlanId::of(&plan);
    controller.direct(plan, TIME_TO_LIVE);
    assert_eq!(controller.wait_for_answer("one", id).refused, None);
    let seen = load::send(proxy.address(), 1, 10, |_| get("/"));
    assert_eq!(seen.status(418), 10);
    eventually("what was injected is told", || {
        let injection = controller.hub.injection(&service());
        injection.first().filter(|fault| fault.aborted == 10).map(|_| ())
    });
}

#[test]
fn an_older_plan_is_refused_with_a_reason_and_changes_nothing() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller();
    let proxy = world.proxy("one", upstream.address(), &[&controller]);
    controller.direct(aborting(1, 5, 418), TIME_TO_LIVE);
    controller.wait_for_answer("one", PlanId { fencing: leader(1), generation: 5 });
    controller.direct(aborting(1, 4, 500), TIME_TO_LIVE);
    let answer = controller.wait_for_answer("one", PlanId { fencing: leader(1), generation: 4 });
    assert_eq!(answer.refused.as_deref(), Some("generation 4 is not newer than 5"));
    assert_eq!(load::send(proxy.address(), 1, 1, |_| get("/")).status(418), 1);
}

#[test]
fn of_two_controllers_the_one_with_the_higher_token_is_obeyed_and_the_other_refused() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let (old, new) = (world.controller(), world.controller());
    let proxy = world.proxy("one", upstream.address(), &[&old, &new]);
    old.direct(aborting(1, 9, 500), TIME_TO_LIVE);
    assert_eq!(old.wait_for_answer("one", PlanId { fencing: leader(1), generation: 9 }).refused, None);
    new.direct(aborting(2, 1, 418), TIME_TO_LIVE);
    assert_eq!(new.wait_for_answer("one", PlanId { fencing: leader(2), generation: 1 }).refused, None);
    // The old leader has not heard of it yet, and goes on.
    old.direct(aborting(1, 10, 500), TIME_TO_LIVE);
    let answer = old.wait_for_answer("one", PlanId { fencing: leader(1), generation: 10 });
    assert_eq!(answer.refused.as_deref(), Some("the plan's leader has been replaced"));
    assert!(old.renew(PlanId { fencing: leader(1), generation: 10 }, TIME_TO_LIVE));
    assert_eq!(load::send(proxy.address(), 1, 5, |_| get("/")).status(418), 5);
}

#[test]
fn an_accepted_connection_and_a_caller_that_never_came_are_told() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller();
    let proxy = world.proxy("one", upstream.address(), &[&controller]);
    let before = controller.wait_for_pod("one").accepted;
    let reviews = ServiceName { namespace: "bookinfo".to_owned(), name: "reviews".to_owned() };
    let mut plan = aborting(1, 1, 418);
    if let Some(experiment) = &mut plan.experiment {
        experiment.faults[0].origins = vec![reviews.clone()];
    }
    controller.direct(plan, TIME_TO_LIVE);
    // No byte is sent over it.
    let _connection = std::net::TcpStream::connect(proxy.address()).unwrap();
    eventually("the connection is told", || controller.pod("one").filter(|proxy| proxy.accepted > before));
    eventually("the caller is missed", || controller.pod("one").filter(|proxy| proxy.missing == [reviews.clone()]));
}

#[test]
fn half_of_the_options_is_refused_with_the_name_of_what_is_missing() {
    let upstream = CountingUpstream::start();
    let mut proxy = Setup::proxy().to(upstream.address()).with(["--control", "controllers:9443"]).spawn();
    assert_eq!(proxy.wait_for_exit(Duration::from_secs(10)).code(), Some(2));
    let said = proxy.all_lines().join("\n");
    for missing in ["--control-ca", "--control-name", "--control-token"] {
        assert!(said.contains(missing), "{said}");
    }
    let arguments = ["--control", "controllers", "--control-ca", "a", "--control-name", "b", "--control-token", "c"];
    let mut proxy = Setup::proxy().to(upstream.address()).with(arguments).spawn();
    assert_eq!(proxy.wait_for_exit(Duration::from_secs(10)).code(), Some(2));
    assert!(proxy.all_lines().join("\n").contains("write NAME:PORT"));
}
