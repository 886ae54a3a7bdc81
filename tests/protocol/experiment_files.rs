//! E8, as far as a file can carry it: a bad file is refused whole, before anything is routed or injected.

use std::{net::SocketAddr, time::Duration};

use crate::harness::{
    Setup, Upstream,
    experiment::Experiment,
    glooshot::{SERVICE, says},
};

const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// The file is refused with exit code 2, an explanation that contains `hint`, and no byte upstream.
#[track_caller]
pub fn is_refused(what: &str, yaml: &str, hint: &str) {
    is_refused_before(what, yaml, hint, |upstream| upstream.to_string());
}

/// The same, where the route leads to the `endpoints` that are made of an upstream's address.
#[track_caller]
pub fn is_refused_before(what: &str, yaml: &str, hint: &str, endpoints: impl FnOnce(SocketAddr) -> String) {
    let upstream = Upstream::ok();
    let route = format!("{SERVICE}=127.0.0.1:0->{}", endpoints(upstream.address()));
    let mut process = Setup::run(yaml).raw_route(&route).spawn();
    let status = process.wait_for_exit(REFUSED_WITHIN);
    let lines = process.all_lines();
    assert_eq!(status.code(), Some(2), "{what}: {lines:#?}");
    let text = lines.join("\n");
    assert!(text.contains(hint), "{what}: {hint:?} is not explained in {text:?}");
    assert!(!text.contains("panicked"), "{what}: {text}");
    assert!(!lines.iter().any(|line| says(line, "faults on")), "{what}: {text}");
    assert_eq!(upstream.byte_count(), 0, "{what}");
}

fn good() -> String {
    Experiment::named("e8").abort(500, "10").yaml()
}

#[test]
fn e8_a_truncated_file_is_refused() {
    let good = good();
    let end_of_faults = good.rfind(']').unwrap();
    for cut in [end_of_faults, end_of_faults - 10, good.find("faults").unwrap() + 9] {
        is_refused(&format!("cut at {cut}"), &good[..cut], "");
    }
    is_refused("empty", "", "");
    is_refused("half of the words", &good[..good.find("metadata").unwrap()], "");
}

#[test]
fn e8_an_unknown_field_is_refused_with_the_name_that_was_meant() {
    is_refused("a typo in a safety field", &good().replace("percentage", "percntage"), "percentage");
    is_refused(
        "a typo in a limit",
        &Experiment::named("e8").abort(500, "10").limits("{maxInjektd: 1}").yaml(),
        "maxInjected",
    );
    is_refused("a field of another place", &good().replace("    duration: 600s", "    httpStatus: 500"), "httpStatus");
}

#[test]
fn e8_a_percentage_that_is_none_is_refused() {
    for percentage in ["-1", "0", "101", "100.0001", ".nan", ".inf", "-.inf", "1e300", "ten", "'10%'", "[10]"] {
        is_refused(percentage, &Experiment::named("e8").abort(500, percentage).yaml(), "percentage");
    }
    is_refused("no percentage", &good().replace(", percentage: 10", ""), "percentage");
}

#[test]
fn e8_a_status_that_is_none_is_refused() {
    for status in ["0", "99", "600", "-500", "99999999999999999999", "5.5", "ok"] {
        is_refused(status, &good().replace("httpStatus: 500", &format!("httpStatus: {status}")), "httpStatus");
    }
}

#[test]
fn e8_a_delay_that_is_none_is_refused() {
    for duration in ["100", "-1s", "1x", "''", "61s", "99999999h"] {
        is_refused(duration, &Experiment::named("e8").delay(duration).yaml(), "duration");
    }
}

#[test]
fn e8_an_experiment_that_is_too_long_is_refused() {
    for duration in ["0s", "-5s", "61m", "600"] {
        is_refused(duration, &good().replace("duration: 600s", &format!("duration: {duration}")), "duration");
    }
}

#[test]
fn e8_a_fault_that_is_two_or_none_is_refused() {
    let both = "{abort: {httpStatus: 500}, delay: {duration: 1s}, percentage: 10}";
    is_refused("both", &Experiment::named("e8").fault("", both).yaml(), "abort");
    is_refused("none", &Experiment::named("e8").fault("", "{percentage: 10}").yaml(), "abort");
}

#[test]
fn e8_a_fault_without_a_destination_or_with_an_unknown_one_is_refused() {
    is_refused(
        "none",
        &good().replace("[{name: bookinfo-ratings-9080, namespace: glooshot}]", "[]"),
        "destinationServices",
    );
    is_refused(
        "no route leads there",
        &good().replace("bookinfo-ratings-9080", "bookinfo-reviews-9080"),
        "bookinfo-reviews-9080",
    );
}

#[test]
fn e8_more_faults_than_the_limit_are_refused() {
    let many = |count| (0..count).fold(Experiment::named("e8"), |experiment, _| experiment.abort(500, "10")).yaml();
    is_refused("17 faults", &many(17), "faults");
    is_refused("1,000 faults", &many(1_000), "faults");
    is_refused("20,000 faults", &many(20_000), "1048576");
}

#[test]
fn e8_a_huge_or_deep_file_is_refused() {
    is_refused("4 MiB in one string", &good().replace("name: e8", &format!("name: {}", "e".repeat(4 << 20))), "");
    is_refused("10,000 levels", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "");
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        text + &format!("a{level}: &a{level} [*a{below}, *a{below}]\n")
    });
    is_refused("aliases that double thirty times", &bomb, "");
}

#[test]
fn e8_a_bad_regular_expression_is_refused() {
    let experiment = |regex: &str| {
        Experiment::named("e8")
            .fault(&format!("match: {{path: {{regex: '{regex}'}}}}"), "{abort: {httpStatus: 500}, percentage: 10}")
            .yaml()
    };
    is_refused("unclosed", &experiment("/a("), "regex");
    is_refused("a repetition that explodes", &experiment("(a{1000}){1000}"), "regex");
    is_refused("longer than its limit", &experiment(&"a".repeat(257)), "regex");
}

#[test]
fn e8_a_file_of_another_kind_is_refused() {
    is_refused("another kind", &good().replace("kind: Experiment", "kind: Report"), "");
    is_refused("an unknown kind", &good().replace("kind: Experiment", "kind: Experimant"), "Experiment");
    is_refused("another version", &good().replace("glooshot.solo.io/v1", "glooshot.solo.io/v9"), "glooshot.solo.io/v1");
    is_refused("a list", "- a\n- b\n", "");
    is_refused("binary", "\u{0}\u{1}\u{2}", "");
}

#[test]
fn e8_the_good_file_is_accepted() {
    let upstream = Upstream::ok();
    let mut process = Setup::run(&good()).to(upstream.address()).start_with_faults_on();
    assert!(process.is_running());
}
