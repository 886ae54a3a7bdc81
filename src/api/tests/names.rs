//! What names mean: upstreams, subsets, Services themselves; what is unknown, what is ambiguous.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use glooshot_api::names::{
    Destination, KnownPort, ResolveError, ResourceRef, ServiceName, ServicePort, resolve, upstream_name,
};

fn service(namespace: &str, name: &str) -> ServiceName {
    ServiceName { namespace: namespace.into(), name: name.into() }
}

fn port(namespace: &str, name: &str, port: u16, subsets: &[&str]) -> KnownPort {
    KnownPort {
        port: ServicePort { service: service(namespace, name), port },
        subsets: subsets.iter().map(ToString::to_string).collect(),
    }
}

fn bookinfo() -> Vec<KnownPort> {
    vec![
        port("bookinfo", "ratings", 9080, &["v1"]),
        port("bookinfo", "reviews", 9080, &["v3", "v4"]),
        port("bookinfo", "reviews", 9443, &[]),
        port("shop", "ratings", 80, &[]),
    ]
}

fn named(name: &str, namespace: Option<&str>) -> ResourceRef {
    ResourceRef { name: name.into(), namespace: namespace.map(Into::into) }
}

#[test]
fn upstreams_are_named_by_namespace_service_subset_and_port() {
    let ServicePort { service, port } = port("bookinfo", "reviews", 9080, &[]).port;
    let reviews = ServicePort { service, port };
    assert_eq!(upstream_name(&reviews, None), "bookinfo-reviews-9080");
    assert_eq!(upstream_name(&reviews, Some("v4")), "bookinfo-reviews-v4-9080");
    assert_eq!(upstream_name(&reviews, Some("V1.2")), "bookinfo-reviews-v1-2-9080");
}

#[test]
fn an_upstream_means_one_port_of_a_service_or_a_subset_of_it() {
    let known = bookinfo();
    let glooshot = Some("glooshot");
    let reviews = |subset: Option<&str>, port| Destination {
        service: service("bookinfo", "reviews"),
        port,
        subset: subset.map(Into::into),
    };
    assert_eq!(resolve(&named("bookinfo-reviews-9080", glooshot), &known), Ok(reviews(None, Some(9080))));
    assert_eq!(resolve(&named("bookinfo-reviews-9443", None), &known), Ok(reviews(None, Some(9443))));
    assert_eq!(resolve(&named("bookinfo-reviews-v4-9080", glooshot), &known), Ok(reviews(Some("v4"), Some(9080))));
}

#[test]
fn a_service_by_its_own_name_means_all_of_its_ports() {
    let known = bookinfo();
    let all = Destination { service: service("bookinfo", "reviews"), port: None, subset: None };
    assert_eq!(resolve(&named("reviews", Some("bookinfo")), &known), Ok(all.clone()));
    assert_eq!(resolve(&named("reviews", None), &known), Ok(all));
}

#[test]
fn a_name_that_could_mean_several_things_is_refused_with_all_of_them() {
    let known = bookinfo();
    let error = resolve(&named("ratings", None), &known).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ratings could mean any of bookinfo/ratings, shop/ratings: name the Service itself, as in {name: ratings, namespace: bookinfo}"
    );
    // With hyphens in names, two Services can make one upstream name.
    let twins = [port("a", "b-c", 80, &[]), port("a-b", "c", 80, &[])];
    let ResolveError::Ambiguous { candidates, .. } = resolve(&named("a-b-c-80", None), &twins).unwrap_err() else {
        panic!("ambiguous")
    };
    assert_eq!(candidates, ["a/b-c:80", "a-b/c:80"]);
    // And so can a Service and a subset.
    let twins = [port("a", "b", 80, &["v1"]), port("a", "b-v1", 80, &[])];
    assert!(matches!(resolve(&named("a-b-v1-80", None), &twins), Err(ResolveError::Ambiguous { .. })));
}

#[test]
fn a_service_is_not_found_under_another_namespace() {
    let error = resolve(&named("reviews", Some("shop")), &bookinfo()).unwrap_err();
    assert!(matches!(error, ResolveError::Unknown { .. }), "{error}");
}

#[test]
fn an_unknown_name_lists_the_nearest_known_ones_and_no_more_than_ten() {
    let ResolveError::Unknown { candidates, .. } =
        resolve(&named("bookinfo-rating-9080", None), &bookinfo()).unwrap_err()
    else {
        panic!("unknown")
    };
    assert_eq!(candidates[0], "bookinfo-ratings-9080");
    let many: Vec<KnownPort> = (0..1_000).map(|i| port("ns", &format!("s{i}"), 80, &[])).collect();
    let error = resolve(&named("nothing", None), &many).unwrap_err();
    let ResolveError::Unknown { candidates, .. } = &error else { panic!("unknown") };
    assert_eq!(candidates.len(), 10);
    assert!(error.to_string().len() < 300, "{error}");
    assert_eq!(
        resolve(&named("x", None), &[]).unwrap_err().to_string(),
        "x is neither an upstream nor a Service that is known here"
    );
}
