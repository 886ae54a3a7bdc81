//! Several services, subsets, routing rules, and the names of callers.

use std::{net::IpAddr, path::Path};

use rustix::process::Signal;

use super::{
    outcome::Outcome,
    refusal::file,
    trial::{Trial, marker},
};
use crate::harness::{Client, Glooshot, Setup, Upstream, answer, get};

const ABORT: &str = "{abort: {httpStatus: 500}, percentage: 100}";

/// Services that name themselves in their answers.
struct Services {
    v3: Upstream,
    v4: Upstream,
    ratings: Upstream,
}

impl Services {
    fn start() -> Self {
        Self {
            v3: Upstream::answering(answer("v3")),
            v4: Upstream::answering(answer("v4")),
            ratings: Upstream::answering(answer("ratings")),
        }
    }

    /// Reviews in two subsets as the first route, and ratings as the second.
    fn behind(&self, setup: Setup) -> Setup {
        let (v3, v4) = (self.v3.address(), self.v4.address());
        setup.raw_route(&format!("bookinfo/reviews:9080=127.0.0.1:0->{v3}@v3,{v4}@v4")).route(
            "bookinfo/ratings:9080",
            "127.0.0.1:0",
            self.ratings.address(),
        )
    }
}

/// What 40 requests to the first route are answered: by v3, by v4, by nobody.
fn asked(run: &Glooshot) -> [usize; 3] {
    let mut client = run.client();
    let texts = (0..40).map(|_| client.ask(&get("/reviews/0"))).map(|answer| (answer.status(), answer.text()));
    let texts = texts.collect::<Vec<_>>();
    [(200, "v3"), (200, "v4"), (500, "")]
        .map(|(status, text)| texts.iter().filter(|(s, t)| *s == status && (status == 500 || t == text)).count())
}

fn rule(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples/tutorial").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_fault_on_two_services_hits_both() {
    let services = Services::start();
    let both =
        Trial::endless().fault("bookinfo-ratings-9080, namespace: glooshot}, {name: bookinfo-reviews-9080", "", ABORT);
    let mut run = services.behind(both.setup()).start_with_faults_on();
    for route in [0, 1] {
        let answer = Client::connect(run.address_of(route)).ask(&get("/a"));
        assert_eq!((answer.status(), answer.one("x-glooshot-fault")), (500, Some(marker("abort", 0).as_str())));
    }
    run.signal(Signal::INT);
    assert_eq!(Outcome::of(&mut run).injected(0), (2, 2, 0));
}

#[test]
fn without_a_rule_the_traffic_is_shared_by_all_subsets() {
    let services = Services::start();
    let [v3, v4, aborted] = asked(&services.behind(Trial::endless().abort("50").setup()).start());
    assert!(v3 > 0 && v4 > 0 && v3 + v4 == 40 && aborted == 0, "{v3} by v3, {v4} by v4, {aborted} aborted");
}

#[test]
fn a_fault_on_a_subset_hits_what_goes_to_that_subset_and_nothing_else() {
    for (subset, spared) in [("v3", 1), ("v4", 0)] {
        let services = Services::start();
        let trial = Trial::endless().fault(&format!("bookinfo-reviews-{subset}-9080"), "", ABORT);
        let run = services.behind(trial.setup()).start_with_faults_on();
        let answered = asked(&run);
        let hit = answered[1 - spared];
        assert!(
            answered[spared] > 0 && hit == 0 && answered[spared] + answered[2] == 40,
            "a fault on {subset}: {answered:?} by v3, by v4, aborted"
        );
    }
}

#[test]
fn a_fault_on_a_subset_hits_it_where_a_rule_shares_the_traffic() {
    for (rule_name, aborted) in [("reviews-vulnerable.yaml", 40), ("reviews-resilient.yaml", 0)] {
        let services = Services::start();
        let trial = Trial::endless().fault("bookinfo-reviews-v4-9080", "", ABORT);
        let run = services.behind(trial.setup()).with(["--routing-rule", &rule(rule_name)]).start_with_faults_on();
        assert_eq!(asked(&run), [40 - aborted, 0, aborted], "{rule_name}");
    }
}

#[test]
fn a_service_may_be_named_by_itself_or_by_its_upstream() {
    let services = Services::start();
    for name in [
        "bookinfo-reviews-9080, namespace: glooshot",
        "bookinfo-reviews-9080",
        "reviews",
        "reviews, namespace: bookinfo",
    ] {
        let yaml = Trial::endless().fault("X", "", ABORT).yaml().replace("X, namespace: glooshot", name);
        assert_eq!(asked(&services.behind(Setup::run(&yaml)).start_with_faults_on()), [0, 0, 40], "{name}");
    }
}

#[test]
fn the_routing_rules_of_the_tutorial_shift_all_traffic_to_one_version() {
    let services = Services::start();
    for (name, expected) in [("reviews-vulnerable.yaml", [0, 40, 0]), ("reviews-resilient.yaml", [40, 0, 0])] {
        let setup = services.behind(Trial::endless().abort("50").setup());
        let run = setup.with(["--routing-rule", &rule(name)]).start();
        assert_eq!(asked(&run), expected, "{name}");
    }
}

#[test]
fn a_routing_rule_shares_by_weight() {
    let services = Services::start();
    let both = std::fs::read_to_string(rule("reviews-vulnerable.yaml")).unwrap();
    let more = "          weight: 3\n        - destination:\n            upstream:\n              \
                name: bookinfo-reviews-v3-9080\n          weight: 1\n";
    let file = file(&both.replace("          weight: 1\n", more));
    let setup = services.behind(Trial::endless().abort("50").setup());
    let run = setup.with(["--routing-rule", file.path().to_str().unwrap()]).start();
    let sums = (0..5).map(|_| asked(&run)).fold([0, 0], |[v3, v4], [more_v3, more_v4, _]| [v3 + more_v3, v4 + more_v4]);
    // Of 200, 50 are expected; five standard deviations are 31 if each is drawn by itself.
    assert!((19..=81).contains(&sums[0]) && sums[0] + sums[1] == 200, "{sums:?}");
}

#[test]
fn callers_and_versions_have_their_names_in_the_metrics() {
    let services = Services::start();
    let setup = services.behind(Trial::endless().abort("100").setup());
    let run = setup
        .with(["--routing-rule", &rule("reviews-vulnerable.yaml")])
        .with(["--source", "127.0.0.9=productpage:v1", "--source", "127.0.0.8=other/batch"])
        .start_with_faults_on();
    let ask = |ip: &str, route: usize| {
        Client::connect_from(ip.parse::<IpAddr>().unwrap(), run.address_of(route)).ask(&get("/a")).status()
    };
    assert_eq!(
        [ask("127.0.0.9", 0), ask("127.0.0.8", 0), ask("127.0.0.7", 0), ask("127.0.0.9", 1)],
        [200, 200, 200, 500]
    );
    let reviews = |source: &str| {
        [
            ("reporter", "destination"),
            ("source_app", source),
            ("destination_app", "reviews"),
            ("destination_version", "v4"),
            ("destination_service_namespace", "bookinfo"),
            ("response_code", "200"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    for source in ["productpage", "batch", "unknown"] {
        let labels = reviews(source);
        let labels = labels.each_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        run.wait_for_metric("istio_requests_total", &labels, 1.0);
    }
    let whole = [("source_app", "productpage"), ("source_version", "v1"), ("source_workload_namespace", "bookinfo")];
    run.wait_for_metric("istio_requests_total", &[&whole[..], &[("reporter", "destination")]].concat(), 1.0);
    run.wait_for_metric(
        "istio_requests_total",
        &[
            ("source_app", "productpage"),
            ("destination_app", "ratings"),
            ("reporter", "source"),
            ("response_flags", "FI"),
        ],
        1.0,
    );
    run.wait_for_metric("istio_requests_total", &[("destination_app", "ratings"), ("reporter", "destination")], 0.0);
    run.wait_for_metric(
        "istio_requests_total",
        &[("source_app", "batch"), ("source_workload_namespace", "other"), ("reporter", "source")],
        1.0,
    );
}

#[test]
fn only_the_named_caller_is_hit_and_a_run_with_it_can_succeed() {
    let services = Services::start();
    let origin = "originServices: [{name: productpage, namespace: bookinfo}]";
    let trial = Trial::lasting("1s").fault("bookinfo-ratings-9080", origin, ABORT);
    let mut run = services.behind(trial.setup()).with(["--source", "127.0.0.9=productpage"]).start_with_faults_on();
    let ask =
        |ip: &str| Client::connect_from(ip.parse::<IpAddr>().unwrap(), run.address_of(1)).ask(&get("/a")).status();
    assert_eq!([ask("127.0.0.9"), ask("127.0.0.7")], [500, 200]);
    let outcome = Outcome::of(&mut run);
    outcome.expect(0, "Succeeded", "");
    assert_eq!((outcome.injected(0), outcome.condition("CallersSeen").0), ((1, 1, 0), "True"));
}

#[test]
fn the_mesh_that_a_manifest_names_is_noted_and_has_no_effect() {
    let services = Services::start();
    let trial =
        Trial::lasting("600ms").with("targetMesh: {name: istio-istio-system, namespace: glooshot}").abort("100");
    let mut run = services.behind(trial.setup()).start_with_faults_on();
    assert_eq!(Client::connect(run.address_of(1)).ask(&get("/a")).status(), 500);
    let outcome = Outcome::of(&mut run);
    outcome.expect(0, "Succeeded", "");
    assert!(outcome.said("spec.spec.targetMesh is noted; it has no effect on this machine"), "{:#?}", outcome.lines);
}

#[test]
fn what_needs_a_cluster_is_noted_and_has_no_effect() {
    let services = Services::start();
    let yaml = Trial::lasting("600ms")
        .abort("100")
        .with("tls: [{service: {name: ratings}, certificateSecret: ratings-tls}]")
        .yaml()
        .replace("routing: {", "routing: {keepRouted: 10s, reconnect: RestartTargets, networkPolicy: Mirror, ");
    let mut run = services.behind(Setup::run(&yaml)).start_with_faults_on();
    assert_eq!(Client::connect(run.address_of(1)).ask(&get("/a")).status(), 500);
    let outcome = Outcome::of(&mut run);
    outcome.expect(0, "Succeeded", "");
    for field in ["tls", "routing.reconnect", "routing.keepRouted", "routing.networkPolicy"] {
        assert!(outcome.said(&format!("spec.spec.{field} is noted")), "{field}: {:#?}", outcome.lines);
    }
}
