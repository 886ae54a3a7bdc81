//! Who is believed: proxies by their token, controllers by their certificate, and both through changes of either.

use std::{fs, time::Duration};

use glooshot::{
    control::server::Bounds,
    pki::{Due, Pki, Rule},
};

use crate::{
    controller::{World, names, wall_clock},
    harness::{Glooshot, eventually, load::CountingUpstream},
};

#[test]
fn a_proxy_whose_token_nobody_knows_gets_nothing_until_its_file_holds_a_better_one() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller();
    let file = world.write("stranger", "token-of-another-namespace\n");
    let proxy = world.setup("stranger", upstream.address(), &[&controller]).start();
    proxy.wait_for_line("the refusal", |line| line.contains("401 Unauthorized nobody has this token"));
    assert_eq!(controller.proxies(), []);
    world.tokens.give("token-two", "two");
    fs::write(file, "token-two\n").unwrap();
    controller.wait_for_pod("two");
}

#[test]
fn a_proxy_that_is_not_recognised_any_more_is_cut_at_the_next_look() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let bounds = Bounds { again: Duration::from_millis(100), ..Bounds::default() };
    let controller = world.controller_at(([127, 0, 0, 1], 0).into(), bounds);
    let _proxy = world.proxy("one", upstream.address(), &[&controller]);
    world.tokens.clear();
    eventually("it is cut", || controller.proxies().is_empty().then_some(()));
}

#[test]
fn a_change_of_the_authority_cuts_no_connection_and_both_old_and_new_are_believed_meanwhile() {
    let (mut world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller();
    let one = world.proxy("one", upstream.address(), &[&controller]);
    let step = |pki: &Pki, due| pki.after(due, &names(), &Rule::default(), wall_clock()).unwrap();
    // A second authority: trusted, not used yet.
    let overlap = step(&world.pki, Due::AddAuthority);
    world.write("ca.crt", &overlap.bundle());
    world.give("two");
    let two = world.proxy("two", upstream.address(), &[&controller]);
    // It signs; those that are connected stay, and those that come believe it.
    let renewed = step(&overlap, Due::RenewLeaf { signer: 1 });
    controller.certificate.set(renewed.certified_key().unwrap());
    world.give("three");
    let three = world.proxy("three", upstream.address(), &[&controller]);
    // The old one is not believed any more.
    world.pki = step(&renewed, Due::DropOldest);
    world.write("ca.crt", &world.pki.bundle());
    world.give("four");
    let four = world.proxy("four", upstream.address(), &[&controller]);
    let pods: Vec<String> = controller.proxies().into_iter().map(|proxy| proxy.identity.pod).collect();
    assert_eq!(pods.len(), 4, "{pods:?}");
    // None of them ever lost its connection.
    let cuts = |proxy: &Glooshot| proxy.lines().iter().filter(|line| line.contains("not connected")).count();
    assert_eq!([&one, &two, &three, &four].map(cuts), [0; 4]);
}

#[test]
fn a_controller_with_a_certificate_of_somebody_else_is_not_believed() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller();
    let other = Pki::new(&names(), &Rule::default(), wall_clock()).unwrap();
    controller.certificate.set(other.certified_key().unwrap());
    let proxy = world.setup("one", upstream.address(), &[&controller]).start();
    proxy.wait_for_line("the refusal", |line| {
        line.contains("not connected to a controller") && line.contains("UnknownIssuer")
    });
    assert_eq!(controller.proxies(), []);
    // The same authority, another name.
    let other_name = Pki::new(&["webhook.glooshot.svc".to_owned()], &Rule::default(), wall_clock()).unwrap();
    world.write("ca.crt", &other_name.bundle());
    controller.certificate.set(other_name.certified_key().unwrap());
    proxy.wait_for_line("the refusal", |line| line.contains("not valid for name"));
    assert_eq!(controller.proxies(), []);
}
