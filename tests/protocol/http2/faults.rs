//! E over HTTP/2: faults do exactly what the plan says, each on its own stream.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{SERVICE, Upstream};
use crate::harness::{
    Gate, Glooshot, Setup, eventually,
    experiment::Experiment,
    h2::{
        self, Client, Frame,
        client::{get, request, with},
        code,
        fields::Field,
    },
    scale,
};

#[track_caller]
fn proxy_with(experiment: &Experiment, upstream: &h2::Upstream) -> Glooshot {
    Setup::run(&experiment.yaml())
        .to(upstream.address())
        .with(["--source", "127.0.0.9=productpage:v1"])
        .environment("RUST_LOG", "glooshot::access=debug")
        .start_with_faults_on()
}

#[test]
fn an_abort_answers_with_its_http_status_in_the_place_of_the_service() {
    let upstream = h2::Upstream::ok();
    let experiment = Experiment::named("h2-abort").abort(503, "100");
    let proxy = proxy_with(&experiment, &upstream);
    let mut client = Client::connect(proxy.address());
    for head in [get("/a"), request("DELETE", "/b"), request("PUT", "/c")] {
        let answer = client.ask(&head);
        assert_eq!(
            (answer.status(), answer.one("x-glooshot-fault")),
            (503, Some(experiment.marker("abort", 0).as_str()))
        );
    }
    assert_eq!(client.goaways(), [], "an abort is an answer, not the end of the connection");
    assert_eq!(upstream.endpoints().len(), 0);
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "abort")], 3.0);
}

#[test]
fn an_abort_answers_before_the_body_has_come_and_the_rest_of_it_does_no_harm() {
    let upstream = h2::Upstream::ok();
    let proxy = proxy_with(&Experiment::named("h2-abort").abort(503, "100"), &upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/a"), false);
    client.send_frame(&Frame::data(stream, b"hello", false));
    let outcome = client.outcome(stream);
    assert_eq!((outcome.status(), outcome.ended), (503, true));
    client.send_frame(&Frame::data(stream, b"and more", true));
    assert_eq!(client.ask(&get("/b")).status(), 503);
    assert_eq!(client.goaways(), []);
}

#[test]
fn an_abort_of_head_has_no_body() {
    let upstream = h2::Upstream::ok();
    let proxy = proxy_with(&Experiment::named("h2-abort").abort(503, "100"), &upstream);
    let mut client = Client::connect(proxy.address());
    for _ in 0..2 {
        let answer = client.ask(&request("HEAD", "/a"));
        assert_eq!((answer.status(), answer.received), (503, 0));
    }
}

#[test]
fn aborts_of_many_uploads_use_no_window_up() {
    let upstream = h2::Upstream::ok();
    let proxy = proxy_with(&Experiment::named("h2-abort").abort(503, "100"), &upstream);
    let mut client = Client::connect(proxy.address());
    // Several times what may be under way on a connection.
    for _ in 0..100 {
        let stream = client.open(&request("POST", "/a"), false);
        client.endpoint().send_body(stream, &[b'x'; 50_000], true);
        assert_eq!(client.outcome(stream).status(), 503);
    }
    assert_eq!(client.goaways(), []);
}

#[test]
fn a_delay_may_be_longer_than_what_counts_as_stalled() {
    let upstream = h2::Upstream::ok();
    let experiment = Experiment::named("h2-delay").delay("2500ms");
    let arguments = ["--limit", "stalled=1s", "--limit", "idle_client=1s"];
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(arguments).start_with_faults_on();
    let asked = Instant::now();
    assert_eq!(Client::connect(proxy.address()).ask(&get("/a")).text(), "ok");
    assert!(asked.elapsed() >= Duration::from_millis(2_500));
}

#[test]
fn an_abort_with_a_grpc_status_is_an_answer_of_trailers_only() {
    let upstream = h2::Upstream::ok();
    let experiment = Experiment::named("h2-grpc").fault("", "{abort: {grpcStatus: 14}, percentage: 100}");
    let proxy = proxy_with(&experiment, &upstream);
    let call =
        with(request("POST", "/bookinfo.Ratings/Get"), &[("content-type", "application/grpc"), ("te", "trailers")]);
    let answer = Client::connect(proxy.address()).ask_with_body(&call, b"\0\0\0\0\x02hi");
    assert_eq!((answer.status(), answer.received, answer.trailers.len()), (200, 0, 0));
    assert_eq!((answer.one("grpc-status"), answer.one("content-type")), (Some("14"), Some("application/grpc")));
    assert_eq!(answer.one("x-glooshot-fault"), Some(experiment.marker("abort", 0).as_str()));
    assert_eq!(upstream.endpoints().len(), 0);
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "abort")], 1.0);
}

#[test]
fn e2_a_share_of_the_streams_is_aborted_and_counted_exactly() {
    let requests = scale::ABORT_RATE.get() / 10;
    let upstream = h2::Upstream::ok();
    let proxy = proxy_with(&Experiment::named("h2-share").abort(500, "10"), &upstream);
    let mut client = Client::connect(proxy.address());
    let mut aborted = 0.0;
    for _ in 0..requests / 50 {
        let streams = (0..50).map(|_| client.request(&get("/a"))).collect::<Vec<_>>();
        for stream in streams {
            let answer = client.answer(stream);
            assert_eq!(answer.has("x-glooshot-fault"), answer.status() == 500, "{answer:?}");
            aborted += f64::from(u8::from(answer.status() == 500));
        }
    }
    let expected = requests as f64 * 0.1;
    assert!((aborted - expected).abs() <= 5.0 * (expected * 0.9).sqrt(), "{aborted} of {requests}");
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[], aborted);
    assert_eq!(upstream.requests().len() as f64, requests as f64 - aborted);
}

#[test]
fn e3_a_delayed_stream_does_not_delay_the_others_of_its_connection() {
    let upstream = h2::Upstream::naming_the_path();
    let experiment = Experiment::named("h2-delay")
        .fault("match: {path: {exact: /slow}}", "{delay: {duration: 1s}, percentage: 100}");
    let proxy = proxy_with(&experiment, &upstream);
    let mut client = Client::connect(proxy.address());
    let asked = Instant::now();
    let slow = client.request(&get("/slow"));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    for _ in 0..20 {
        assert_eq!(client.ask(&get("/fast")).text(), "/fast");
    }
    assert!(!client.stream(slow).is_over() || asked.elapsed() > Duration::from_secs(1));
    let answer = client.answer(slow);
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(
        (answer.text().as_str(), answer.one("x-glooshot-fault")),
        ("/slow", Some(experiment.marker("delay", 0).as_str()))
    );
    let order = upstream.requests().iter().map(|request| request.path().to_owned()).collect::<Vec<_>>();
    assert_eq!(order.last().unwrap(), "/slow", "the delay is spent before the upstream is contacted");
}

#[test]
fn a_delayed_stream_that_the_client_cuts_off_gives_its_place_back() {
    let upstream = h2::Upstream::ok();
    let proxy = proxy_with(&Experiment::named("h2-delay").delay("60s"), &upstream);
    let mut client = Client::connect(proxy.address());
    let streams = (0..10).map(|_| client.request(&get("/a"))).collect::<Vec<_>>();
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 10.0);
    for stream in &streams[..9] {
        client.send_frame(&Frame::rst_stream(*stream, code::CANCEL));
    }
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    drop(client);
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 0.0);
    assert_eq!(upstream.streams().len(), 0);
}

#[test]
fn e5_delayed_streams_go_on_to_the_service_when_the_run_is_stopped() {
    let upstream = h2::Upstream::naming_the_path();
    let mut proxy = proxy_with(&Experiment::named("h2-stop").delay("60s"), &upstream);
    let mut client = Client::connect(proxy.address());
    let streams = (0..50).map(|_| client.request(&get("/a"))).collect::<Vec<_>>();
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 50.0);
    proxy.signal(Signal::TERM);
    for stream in streams {
        assert_eq!(client.answer(stream).text(), "/a");
    }
    assert_eq!(proxy.wait_for_exit(Duration::from_secs(10)).code(), Some(130));
}

const JASON: (&str, &str) = ("x-user", "jason");

/// All but one part of the match holds; the part that fails fails narrowly.
fn near_misses() -> Vec<Vec<Field>> {
    let to = |method, path| with(request(method, path), &[JASON]);
    let user = |name, value| with(get("/ratings/7"), &[(name, value)]);
    vec![
        to("GET", "/Ratings/7"),
        to("GET", "/ratings/7/"),
        to("GET", "/ratings/70"),
        to("GET", "/ratings/%37"),
        to("GET", "//ratings/7"),
        to("GET", "/x/../ratings/7"),
        to("GET", "/ratings/7;v=1"),
        to("GET", "/other?/ratings/7"),
        to("HEAD", "/ratings/7"),
        to("get", "/ratings/7"),
        to("OPTIONS", "*"),
        get("/ratings/7"),
        user("x-user", "Jason"),
        user("x-user", "jason2"),
        user("x-user", ""),
        user("x-users", "jason"),
        user("x-user", "x, jason"),
    ]
}

#[test]
fn e4_streams_that_just_fail_to_match_are_never_touched() {
    let upstream = h2::Upstream::ok();
    let matching = "match: {path: {exact: /ratings/7}, methods: [GET], headers: [{name: X-User, exact: jason}]}";
    let experiment = Experiment::named("h2-scope").fault(matching, "{abort: {httpStatus: 500}, percentage: 100}");
    let proxy = proxy_with(&experiment, &upstream);
    let mut client = Client::connect(proxy.address());
    let near_misses = near_misses();
    for _ in 0..scale::SCOPE.get() / 1_000 {
        let streams = near_misses.iter().map(|head| client.request(head)).collect::<Vec<_>>();
        for (stream, head) in streams.into_iter().zip(&near_misses) {
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.has("x-glooshot-fault")), (200, false), "{head:?}");
        }
    }
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), 0.0);
    for path in ["/ratings/7", "/ratings/7?x=/y"] {
        assert_eq!(client.ask(&with(get(path), &[JASON])).status(), 500, "{path}");
    }
}

#[test]
fn e4_the_host_can_be_matched_whether_it_comes_as_host_or_as_authority() {
    let upstream = h2::Upstream::ok();
    let matching = "match: {headers: [{name: host, exact: ratings}]}";
    let experiment = Experiment::named("h2-host").fault(matching, "{abort: {httpStatus: 500}, percentage: 100}");
    let proxy = proxy_with(&experiment, &upstream);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.ask(&get("/a")).status(), 500);
    let other = get("/a")
        .into_iter()
        .map(|(name, value)| if name == ":authority" { (name, "other".into()) } else { (name, value) });
    assert_eq!(client.ask(&other.collect::<Vec<_>>()).status(), 200);
    assert_eq!(proxy.client().ask(&crate::harness::get("/a")).status(), 500);
}

#[test]
fn e4_only_the_named_callers_are_touched() {
    let upstream = h2::Upstream::ok();
    let origin = "originServices: [{name: productpage, namespace: bookinfo}]";
    let experiment = Experiment::named("h2-caller").fault(origin, "{abort: {httpStatus: 500}, percentage: 100}");
    let proxy = proxy_with(&experiment, &upstream);
    let from = |ip: &str| Client::connect_from(ip.parse::<IpAddr>().unwrap(), proxy.address()).ask(&get("/a")).status();
    assert_eq!([from("127.0.0.9"), from("127.0.0.8")], [500, 200]);
}

#[test]
fn e16_injected_streams_are_labelled_everywhere_and_others_nowhere() {
    let upstream = h2::Upstream::naming_the_path();
    let experiment = Experiment::named("h2-labels")
        .fault("match: {path: {exact: /abort}}", "{abort: {httpStatus: 503}, percentage: 100}")
        .fault("match: {path: {exact: /delay}}", "{delay: {duration: 20ms}, percentage: 100}");
    let proxy = proxy_with(&experiment, &upstream);
    let mut client = Client::connect(proxy.address());
    for _ in 0..5 {
        let answers = ["/abort", "/delay", "/plain"].map(|path| client.ask(&get(path)));
        let seen =
            answers.each_ref().map(|answer| (answer.status(), answer.one("x-glooshot-fault").map(str::to_owned)));
        let expected =
            [(503, Some(experiment.marker("abort", 0))), (200, Some(experiment.marker("delay", 1))), (200, None)];
        assert_eq!(seen, expected);
        assert!(answers.iter().all(|answer| !answer.has("x-glooshot-error")), "a fault is no error");
    }
    for (kind, fault) in [("abort", "0"), ("delay", "1")] {
        let labels = [("experiment", "bookinfo/h2-labels"), ("kind", kind), ("fault", fault)];
        proxy.wait_for_metric("glooshot_proxy_injected_total", &labels, 5.0);
    }
    let flagged = |flag: &str| {
        let field = format!("flag=\"{flag}\"");
        let bare = format!("flag={flag} ");
        proxy.lines().iter().filter(|line| line.contains(&field) || format!("{line} ").contains(&bare)).count()
    };
    eventually("a line of the access log for each stream", || {
        (["FI", "DI", "-"].map(flagged) == [5, 5, 5]).then_some(())
    });
    assert!(upstream.requests().iter().all(|request| !request.has("x-glooshot-fault")), "the upstream is not told");
}

#[test]
fn e11_a_delayed_stream_counts_as_active_until_its_delay_is_over() {
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = h2::Upstream::scripted(move |call| {
        call.head("200", &[], false);
        call.data(b"begin", false);
        call.wait_at(&opened);
        call.data(b"end", true);
    });
    let proxy = proxy_with(&Experiment::named("h2-active").delay("500ms"), &upstream);
    let mut client = Client::connect(proxy.address());
    let stream = client.request(&get("/a"));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 1.0);
    client.wait("the beginning", |state| (state.stream(stream).received == 5).then_some(()));
    proxy.wait_for_metric("glooshot_proxy_active_faults", &[], 0.0);
    gate.open();
    assert_eq!(client.answer(stream).text(), "beginend");
}

#[test]
fn faults_concern_streams_to_an_upstream_that_speaks_http_1_as_well() {
    let upstream = Upstream::naming_the_target();
    let experiment = Experiment::named("h2-to-h1")
        .fault("match: {path: {exact: /abort}}", "{abort: {httpStatus: 503}, percentage: 100}");
    let protocol = format!("{SERVICE}=http1");
    let arguments = ["--upstream-protocol", protocol.as_str()];
    let proxy = Setup::run(&experiment.yaml()).to(upstream.address()).with(arguments).start_with_faults_on();
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.ask(&get("/abort")).status(), 503);
    assert_eq!(client.ask(&get("/plain")).text(), "/plain");
    assert_eq!(upstream.only_request().target(), "/plain");
}
