//! E16: every injected exchange says so in its header, in the log and in the figures; no other exchange does.

use crate::harness::{Glooshot, Setup, Upstream, eventually, experiment::Experiment, get};

fn request(target: &str, kind: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: ratings\r\nX-Break: {kind}\r\n\r\n").into_bytes()
}

/// The flags of the access log's lines, in order.
fn flags(proxy: &Glooshot) -> Vec<String> {
    let flag = |line: &String| {
        let fields = line.split_once("glooshot::access")?.1;
        let flag = fields.split_once(" flag=")?.1.split(' ').next()?;
        Some(flag.trim_matches('"').to_owned())
    };
    proxy.lines().iter().filter_map(flag).collect()
}

#[test]
fn e16_injected_exchanges_are_labelled_everywhere_and_others_nowhere() {
    let upstream = Upstream::naming_the_target();
    let experiment = Experiment::named("e16")
        .fault("match: {headers: [{name: x-break, exact: abort}]}", "{abort: {httpStatus: 503}, percentage: 100}")
        .fault("match: {headers: [{name: x-break, exact: delay}]}", "{delay: {duration: 20ms}, percentage: 100}");
    let proxy = Setup::run(&experiment.yaml())
        .to(upstream.address())
        .environment("RUST_LOG", "glooshot::access=debug")
        .start_with_faults_on();
    let mut client = proxy.client();
    for _ in 0..5 {
        let aborted = client.ask(&request("/aborted", "abort"));
        assert_eq!(
            (aborted.status(), aborted.one("x-glooshot-fault")),
            (503, Some(experiment.marker("abort", 0).as_str()))
        );
        let delayed = client.ask(&request("/delayed", "delay"));
        assert_eq!(
            (delayed.status(), delayed.one("x-glooshot-fault")),
            (200, Some(experiment.marker("delay", 1).as_str()))
        );
        let left_alone = client.ask(&request("/left-alone", "nothing"));
        assert_eq!((left_alone.status(), left_alone.has("x-glooshot-fault")), (200, false));
        for answer in [aborted, delayed, left_alone] {
            assert!(!answer.has("x-glooshot-error"), "a fault is no error: {answer:?}");
        }
    }
    for (kind, fault) in [("abort", "0"), ("delay", "1")] {
        let labels = [("experiment", "bookinfo/e16"), ("kind", kind), ("fault", fault)];
        proxy.wait_for_metric("glooshot_proxy_injected_total", &labels, 5.0);
    }
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), 10.0);
    eventually("a line of the access log for each exchange", || (flags(&proxy).len() >= 15).then_some(()));
    assert_eq!(flags(&proxy), ["FI", "DI", "-"].repeat(5));
    assert!(upstream.requests().iter().all(|request| !request.has("x-glooshot-fault")), "the upstream is not told");
}

#[test]
fn e16_the_figures_in_istio_s_form_know_aborted_and_delayed_requests() {
    let upstream = Upstream::ok();
    let experiment = Experiment::named("e16")
        .fault("match: {path: {exact: /abort}}", "{abort: {httpStatus: 500}, percentage: 100}")
        .fault("match: {path: {exact: /delay}}", "{delay: {duration: 1ms}, percentage: 100}");
    let proxy = Setup::run(&experiment.yaml())
        .to(upstream.address())
        .with(["--source", "127.0.0.1=productpage:v1"])
        .start_with_faults_on();
    for target in ["/abort", "/abort", "/delay", "/plain"] {
        proxy.client().ask(&get(target));
    }
    let common = [("source_app", "productpage"), ("destination_app", "ratings")];
    let with = |extra: &[(&'static str, &'static str)]| [&common[..], extra].concat();
    proxy.wait_for_metric("istio_requests_total", &with(&[("reporter", "destination"), ("response_code", "200")]), 2.0);
    proxy.wait_for_metric("istio_requests_total", &with(&[("reporter", "destination"), ("response_code", "500")]), 0.0);
    proxy.wait_for_metric("istio_requests_total", &with(&[("reporter", "source"), ("response_flags", "FI")]), 2.0);
    proxy.wait_for_metric("istio_requests_total", &with(&[("reporter", "source"), ("response_flags", "DI")]), 1.0);
}
