//! Bad arguments: each is refused with what it should be like, and nothing is left behind.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::{
    program::{Ended, free_address, glooshot},
    refusal::{explains, file, good, is_refused_with, says_once},
    trial::Trial,
};

const ROUTE: &str = "bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9";

/// `glooshot run` of a good file with these arguments.
fn run(arguments: &[&str]) -> Ended {
    // What is not refused ends soon, with another exit code.
    let file = file(&Trial::lasting("300ms").abort("50").yaml());
    glooshot(["run", "-f", file.path().to_str().unwrap()].into_iter().chain(arguments.iter().copied()))
}

#[test]
fn a_route_in_another_form_is_refused_with_the_right_one() {
    for (route, word) in [
        ("", "no '='"),
        ("ratings", "no '='"),
        ("bookinfo/ratings:9080=127.0.0.1:0", "no '->'"),
        ("bookinfo/ratings:9080=127.0.0.1:0=>127.0.0.1:9", "no '->'"),
        ("ratings:9080=127.0.0.1:0->127.0.0.1:9", "NS/SVC:PORT"),
        ("bookinfo/ratings=127.0.0.1:0->127.0.0.1:9", "NS/SVC:PORT"),
        ("bookinfo/ratings:0=127.0.0.1:0->127.0.0.1:9", "NS/SVC:PORT"),
        ("bookinfo/ratings:99999=127.0.0.1:0->127.0.0.1:9", "NS/SVC:PORT"),
        ("bookinfo/ratings:http=127.0.0.1:0->127.0.0.1:9", "NS/SVC:PORT"),
        ("Bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9", "\"Bookinfo\" is not a Kubernetes name"),
        ("bookinfo/rat_ings:9080=127.0.0.1:0->127.0.0.1:9", "\"rat_ings\" is not a Kubernetes name"),
        ("/ratings:9080=127.0.0.1:0->127.0.0.1:9", "not a Kubernetes name"),
        ("bookinfo/ratings:9080=9080->127.0.0.1:9", "LISTEN \"9080\" is not IP:PORT"),
        ("bookinfo/ratings:9080=->127.0.0.1:9", "LISTEN \"\" is not IP:PORT"),
        ("bookinfo/ratings:9080=127.0.0.1:0->", "UPSTREAM \"\" is not IP:PORT"),
        ("bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1", "UPSTREAM \"127.0.0.1\" is not IP:PORT"),
        ("bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:0", "port 0"),
        ("bookinfo/ratings:9080=127.0.0.1:0->http://127.0.0.1:9", "is not IP:PORT"),
        ("bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9,", "UPSTREAM \"\" is not IP:PORT"),
        ("bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9@", "\"\" is not a subset name"),
        ("bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9@V 4", "\"V 4\" is not a subset name"),
        ("bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9,127.0.0.1:9", "named twice"),
    ] {
        explains(route, &run(&["--route", route]), &["--route", word]);
    }
    let example = "bookinfo/ratings:9080=127.0.0.1:19080->127.0.0.1:9080";
    explains("the example", &run(&["--route", "ratings"]), &["NS/SVC:PORT=LISTEN->UPSTREAM", example]);
}

#[test]
fn a_service_port_or_an_address_that_is_routed_twice_is_refused() {
    let twice = ["--route", ROUTE, "--route", "bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:8"];
    explains("a port", &run(&twice), &["bookinfo/ratings:9080 twice", "separated by commas"]);
    let listen = free_address(Ipv4Addr::LOCALHOST.into());
    let routes = ["ratings", "reviews"].map(|service| format!("bookinfo/{service}:9080={listen}->127.0.0.1:9"));
    let twice = ["--route", &routes[0], "--route", &routes[1]];
    explains("an address", &run(&twice), &["two routes listen on", &listen.to_string()]);
}

#[test]
fn an_address_that_is_in_use_is_refused_and_nothing_else_stays_open() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let free = free_address(Ipv4Addr::LOCALHOST.into());
    let routes = [("reviews", free), ("ratings", address)]
        .map(|(service, listen)| format!("bookinfo/{service}:9080={listen}->127.0.0.1:9"));
    let ended = run(&["--route", &routes[0], "--route", &routes[1]]);
    explains("a route", &ended, &["cannot listen on", &address.to_string(), "bookinfo/ratings:9080", "in use"]);
    assert!(TcpStream::connect(free).is_err(), "the other route still listens");
}

#[test]
fn an_address_for_metrics_that_is_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = free_address(Ipv4Addr::LOCALHOST.into());
    let route = format!("bookinfo/ratings:9080={listen}->127.0.0.1:9");
    let ended = run(&["--route", &route, "--listen-metrics", &address]);
    assert_eq!(ended.code, Some(2), "{}", ended.errors);
    for word in ["cannot listen on", &address, "metrics", "in use"] {
        assert!(ended.errors.contains(word), "{word:?} is not said in: {}", ended.errors);
    }
    assert!(TcpStream::connect(listen).is_err(), "the route still listens");
}

#[test]
fn an_address_that_is_not_of_this_machine_is_refused() {
    let ended = run(&["--route", "bookinfo/ratings:9080=192.0.2.1:8080->127.0.0.1:9"]);
    explains("TEST-NET", &ended, &["cannot listen on 192.0.2.1:8080", "bookinfo/ratings:9080"]);
}

#[test]
fn a_caller_in_another_form_is_refused_with_the_right_one() {
    for (source, word) in [
        ("productpage", "no '='"),
        ("productpage=127.0.0.1", "is not an IP address"),
        ("1.2.3=productpage", "is not an IP address"),
        ("127.0.0.1:80=productpage", "is not an IP address"),
        ("127.0.0.1=", "not a Kubernetes name"),
        ("127.0.0.1=Productpage", "\"Productpage\" is not a Kubernetes name"),
        ("127.0.0.1=/productpage", "not a Kubernetes name"),
        ("127.0.0.1=productpage:", "not a Kubernetes name"),
        ("127.0.0.1=a:b:c", "not a Kubernetes name"),
    ] {
        let ended = run(&["--route", ROUTE, "--source", source]);
        explains(source, &ended, &["--source", word, "127.0.1.10=productpage:v1"]);
    }
}

#[test]
fn an_address_that_is_two_callers_is_refused() {
    let ended = run(&["--route", ROUTE, "--source", "127.0.0.9=productpage", "--source", "127.0.0.9=reviews"]);
    explains("two callers", &ended, &["--source", "127.0.0.9"]);
}

#[test]
fn an_address_of_prometheus_that_is_none_is_refused() {
    for url in ["", "prometheus", "127.0.0.1:9090", "ftp://127.0.0.1/", "http://", "file:///etc/passwd"] {
        is_refused_with(
            url,
            &good().yaml(),
            &["--prometheus-url", url],
            &["not the address of a Prometheus", "http://127.0.0.1:9090"],
        );
    }
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let file = file(&good().yaml());
    let arguments = ["run", "-f", file.path().to_str().unwrap(), "--route", ROUTE];
    let ended = glooshot(arguments.into_iter().chain(["--prometheus-url", "ftp://me:hidden@127.0.0.1/"]));
    explains("a password", &ended, &["not the address of a Prometheus"]);
    assert!(!ended.errors.contains("hidden"), "{}", ended.errors);
}

#[test]
fn a_query_without_a_prometheus_is_refused() {
    let yaml = good().query("up", "thresholdValue: 1").yaml();
    let words = ["spec.spec.failureConditions[0].trigger.prometheus", "--prometheus-url http://127.0.0.1:9090"];
    is_refused_with("no URL", &yaml, &[], &words);
}

#[test]
fn a_webhook_on_a_host_that_is_not_allowed_is_refused() {
    let yaml = good().condition("trigger: {webhookUrl: 'http://127.0.0.1:8080/check'}").yaml();
    let path = "spec.spec.failureConditions[0].trigger.webhookUrl";
    is_refused_with("none is allowed", &yaml, &[], &[path, "127.0.0.1:8080", "not allowed", "none"]);
    let others = ["--allow-webhook", "checks.example.com", "--allow-webhook", "127.0.0.1:81"];
    is_refused_with("others are", &yaml, &others, &[path, "not allowed", "checks.example.com", "127.0.0.1:81"]);
}

#[test]
fn a_refusal_is_said_once() {
    let file = file(&good().condition("trigger: {webhookUrl: 'http://127.0.0.1:8080/check'}").yaml());
    let ended = glooshot(["run", "-f", file.path().to_str().unwrap(), "--route", ROUTE]);
    says_once(&ended.errors, "The operator can add it");
}

#[test]
fn an_allowed_host_that_is_none_is_refused() {
    for host in ["", "http://127.0.0.1/", "a b", "127.0.0.1:http", "host:99999"] {
        explains(host, &run(&["--route", ROUTE, "--allow-webhook", host]), &["--allow-webhook", "is not a host"]);
    }
}

#[test]
fn durations_and_numbers_that_are_none_are_refused() {
    for (option, value, word) in [
        ("--polling-interval", "5", "no unit"),
        ("--polling-interval", "-1s", ""),
        ("--polling-interval", "soon", "duration"),
        ("--query-timeout", "5x", "unknown unit"),
        ("--connect-timeout", "", "empty"),
        ("--workers", "0", "1..=256"),
        ("--workers", "many", ""),
        ("--seed", "x", ""),
        ("--output", "xml", "yaml, json"),
        ("--forwarded-for", "drop", "append, overwrite"),
        ("--listen-metrics", "9090", ""),
    ] {
        let ended = run(&["--route", ROUTE, &format!("{option}={value}")]);
        explains(&format!("{option}={value}"), &ended, &[option, word]);
    }
}

#[test]
fn no_time_at_all_for_an_answer_is_refused() {
    for option in ["--query-timeout", "--connect-timeout", "--response-timeout"] {
        explains(option, &run(&["--route", ROUTE, option, "0s"]), &[option]);
    }
}

#[test]
fn missing_and_unknown_arguments_are_refused() {
    explains("no file", &glooshot(["run", "--route", ROUTE]), &["required", "--file <FILE>"]);
    explains("no route", &run(&[]), &["required", "--route <ROUTE>"]);
    explains("an unknown option", &run(&["--route", ROUTE, "--raport-dir", "x"]), &["--raport-dir", "--report-dir"]);
    explains("a word too many", &run(&["--route", ROUTE, "extra"]), &["extra"]);
    explains("an unknown command", &glooshot(["runn"]), &["runn", "run"]);
}

#[test]
fn a_directory_for_reports_that_cannot_be_one_is_refused_before_the_run_and_not_after_it() {
    let file = file("");
    let inside_a_file = format!("{}/reports", file.path().display());
    let ended = run(&["--route", ROUTE, "--report-dir", &inside_a_file]);
    explains("inside a file", &ended, &[&inside_a_file]);
}
