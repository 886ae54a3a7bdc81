//! A Prometheus that is absent, slow, or something else: two errors in a row pause the faults, four end the run, and one
//! good answer makes up for all of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{outcome::Outcome, side_by_side, traffic::during, trial::Trial};
use crate::harness::{
    Gate, Glooshot, Step, Upstream, get,
    load::CountingUpstream,
    upstream::{BlackHole, RefusingPort},
};

/// What a Prometheus that works answers to a query.
fn value(value: &str) -> Vec<u8> {
    data(&format!(r#"{{"resultType":"scalar","result":[1560182919.869,"{value}"]}}"#))
}

fn data(data: &str) -> Vec<u8> {
    json(200, &format!(r#"{{"status":"success","data":{data}}}"#))
}

fn json(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A server that does what `script` says about the query number `n`, counted from 0; it knows every metric.
fn prometheus(script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Upstream {
    let queries = Arc::new(AtomicUsize::new(0));
    Upstream::scripted(move |exchange| {
        if exchange.request.target().starts_with("/api/v1/label/") {
            return vec![Step::Send(data(r#"["it"]"#))];
        }
        script(queries.fetch_add(1, Ordering::Relaxed))
    })
}

/// A trial that asks for a number that never trips, ten times a second.
fn asking() -> Trial {
    Trial::endless()
        .abort("100")
        .condition("name: asked, trigger: {prometheus: {customQuery: up, thresholdValue: 5, comparisonOperator: '>'}}")
}

/// The process that runs `trial` against what listens at `prometheus`.
#[track_caller]
fn start(trial: &Trial, upstream: &CountingUpstream, prometheus: SocketAddr) -> Glooshot {
    let url = format!("http://{prometheus}");
    let arguments = ["--prometheus-url", &url, "--polling-interval", "100ms", "--query-timeout", "300ms"];
    trial.setup().to(upstream.address()).with(arguments).start_with_faults_on()
}

/// What answers at `prometheus` makes a run inconclusive, with `words` in the explanation, and the faults off.
#[track_caller]
fn is_given_up(prometheus: SocketAddr, words: &[&str]) {
    let upstream = CountingUpstream::start();
    let mut run = start(&asking(), &upstream, prometheus);
    let outcome = Outcome::of(&mut run);
    outcome.expect(3, "Inconclusive", "metrics_unavailable");
    assert_eq!(outcome.failure("failure_condition"), "asked");
    let message = outcome.failure("message");
    for word in [&["4 times in a row"], words].concat() {
        assert!(message.contains(word), "{word:?} is not said in {message:?}");
    }
    let told = ["faults on", "faults paused", "faults off", "Inconclusive"];
    assert_eq!(outcome.order(&told), told, "{:#?}", outcome.lines);
    assert!(outcome.said("(2 in a row)") && outcome.said("(4 in a row)"), "{:#?}", outcome.lines);
    assert_eq!(outcome.condition("FaultsActive"), ("False", "Ended", ""));
}

/// The same of a server that answers every query with `bytes`.
#[track_caller]
fn answering_is_given_up(bytes: Vec<u8>, words: &[&str]) {
    is_given_up(prometheus(move |_| vec![Step::Send(bytes.clone())]).address(), words);
}

#[test]
fn a_prometheus_that_is_not_there_ends_the_run_as_inconclusive() {
    is_given_up(RefusingPort::new().address(), &["unreachable", "refused"]);
}

#[test]
fn a_prometheus_that_never_accepts_ends_the_run_as_inconclusive() {
    is_given_up(BlackHole::new().address(), &["did not answer within 300ms"]);
}

#[test]
fn a_prometheus_that_never_answers_ends_the_run_as_inconclusive() {
    is_given_up(prometheus(|_| vec![Step::Hang]).address(), &["did not answer within 300ms"]);
}

#[test]
fn a_prometheus_whose_answer_never_ends_ends_the_run_as_inconclusive() {
    let begin = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":".to_vec();
    is_given_up(
        prometheus(move |_| vec![Step::Send(begin.clone()), Step::Hang]).address(),
        &["did not answer within 300ms"],
    );
}

#[test]
fn a_prometheus_that_closes_or_resets_ends_the_run_as_inconclusive() {
    side_by_side::for_each([Step::Close, Step::Reset], |step| {
        is_given_up(prometheus(move |_| vec![step.clone()]).address(), &["unreachable"]);
    });
}

#[test]
fn a_page_of_html_is_no_prometheus() {
    let page = "<!doctype html><title>Login</title>";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    answering_is_given_up(answer.into_bytes(), &["no Prometheus", "HTML"]);
}

#[test]
fn other_json_text_nothing_and_no_http_are_no_prometheus() {
    let cases: [(Vec<u8>, &str); 7] = [
        (json(200, "{\"hello\": 1}"), "JSON of another kind"),
        (json(200, "[]"), "JSON of another kind"),
        (json(200, "ok"), "a text of another kind"),
        (json(200, ""), "nothing"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), "HTTP"),
        (data(r#"{"resultType":"scalar","result":[1,2]}"#), "cannot be read"),
        (data(r#"{"resultType":"scalar","result":[1,"ten"]}"#), "cannot be read"),
    ];
    side_by_side::for_each(cases, |(bytes, word)| answering_is_given_up(bytes, &["no Prometheus", word]));
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = CountingUpstream::start();
    let to = elsewhere.address();
    answering_is_given_up(
        format!("HTTP/1.1 302 Found\r\nLocation: http://{to}/login\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        &["302", "redirects are not followed"],
    );
    assert_eq!(elsewhere.requests(), 0);
}

#[test]
fn a_vector_of_two_is_no_number_and_the_message_says_how_to_make_one_of_it() {
    let two =
        r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]},{"metric":{"a":"b"},"value":[1,"2"]}]}"#;
    answering_is_given_up(data(two), &["vector of 2 elements", "aggregate", "sum(...)"]);
}

#[test]
fn a_string_or_a_range_is_no_number() {
    let cases = [
        (r#"{"resultType":"string","result":[1,"text"]}"#, "gives a string"),
        (r#"{"resultType":"matrix","result":[]}"#, "gives a matrix"),
    ];
    side_by_side::for_each(cases, |(json, words)| answering_is_given_up(data(json), &[words, "scalar"]));
}

#[test]
fn an_error_of_prometheus_is_told_in_its_own_words() {
    let error = r#"{"status":"error","errorType":"internal","error":"the disk is on fire"}"#;
    let bad = r#"{"status":"error","errorType":"bad_data","error":"1:4: parse error: unexpected end"}"#;
    let cases = [
        (json(500, error), ["500", "the disk is on fire"]),
        (json(400, bad), ["refuses the query", "parse error"]),
        (json(503, "Service Unavailable"), ["503", "a text"]),
    ];
    side_by_side::for_each(cases, |(bytes, words)| answering_is_given_up(bytes, &words));
}

#[test]
fn an_answer_that_is_far_too_long_is_not_read_to_its_end() {
    let long = format!(r#"{{"resultType":"string","result":[1,"{}"]}}"#, "x".repeat(3 << 20));
    answering_is_given_up(data(&long), &["longer than 1048576 bytes"]);
}

#[test]
fn the_faults_pause_at_the_second_error_in_a_row_and_resume_at_the_next_good_answer() {
    let third = Gate::closed();
    let answer_third = third.clone();
    let server = prometheus(move |n| match n {
        0 | 1 => vec![Step::Send(json(500, "down"))],
        2 => vec![Step::Wait(answer_third.clone()), Step::Send(value("1"))],
        _ => vec![Step::Send(value("1"))],
    });
    let upstream = CountingUpstream::start();
    let url = format!("http://{}", server.address());
    let arguments = ["--prometheus-url", &url, "--polling-interval", "100ms"];
    let trial = asking();
    let mut run = trial.setup().to(upstream.address()).with(arguments).start_with_faults_on();
    run.wait_for_line("faults paused", |line| line.starts_with("faults paused"));
    let paused = run.client().ask(&get("/"));
    assert_eq!((paused.status(), paused.has("x-glooshot-fault")), (200, false), "{paused:?}");
    third.open();
    run.wait_for_line("faults on again", |line| line == "faults on again");
    assert_eq!(run.client().ask(&get("/")).status(), 500);
    run.signal(rustix::process::Signal::INT);
    let outcome = Outcome::of(&mut run);
    outcome.expect(130, "Inconclusive", "stopped");
    assert_eq!(outcome.injected(0).1, 1);
}

#[test]
fn delayed_requests_are_released_when_the_faults_pause() {
    let upstream = CountingUpstream::start();
    let trial = Trial::endless().delay("60s").query("up", "thresholdValue: 5, comparisonOperator: '>'");
    let server = prometheus(|n| if n < 2 { vec![Step::Send(value("1"))] } else { vec![Step::Close] });
    let mut run = start(&trial, &upstream, server.address());
    let mut client = run.client();
    client.send(&get("/"));
    assert_eq!(client.read_answer().status(), 200);
    Outcome::of(&mut run).expect(3, "Inconclusive", "metrics_unavailable");
}

#[test]
fn single_errors_between_good_answers_never_end_a_run_or_pause_it() {
    let server = prometheus(|n| vec![Step::Send(if n % 2 == 0 { json(500, "down") } else { value("1") })]);
    let upstream = CountingUpstream::start();
    let trial = Trial::lasting("1500ms").abort("50").query("up", "thresholdValue: 5, comparisonOperator: '>'");
    let mut run = start(&trial, &upstream, server.address());
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(0, "Succeeded", "");
    assert!(outcome.said("(1 in a row)") && !outcome.said("faults paused"), "{:#?}", outcome.lines);
}

#[test]
fn a_value_that_crosses_the_threshold_fails_whatever_the_operator_and_is_reported_as_it_was() {
    let cases = [
        (">", "0.01", "0.45160204631125467", "0.45160204631125467"),
        (">=", "2", "2", "2"),
        ("<", "0.95", "0.5", "0.5"),
        ("<=", "-1", "-Inf", "-Inf"),
        ("==", "3", "3.0", "3"),
        (">", "5", "+Inf", "+Inf"),
    ];
    side_by_side::for_each(cases, |(operator, threshold, sent, shown)| {
        let server = prometheus(move |n| vec![Step::Send(value(if n < 2 { "NaN" } else { sent }))]);
        let upstream = CountingUpstream::start();
        let trial = Trial::endless()
            .abort("50")
            .query("up", &format!("thresholdValue: {threshold}, comparisonOperator: '{operator}'"));
        let outcome = Outcome::of(&mut start(&trial, &upstream, server.address()));
        outcome.expect(1, "Failed", "value_exceeded_threshold");
        let found = ["value", "threshold", "comparison_operator"].map(|key| outcome.failure(key));
        assert_eq!(found, [shown, threshold, operator], "{}", outcome.text);
    });
}

#[test]
fn less_than_zero_is_what_a_query_is_compared_with_by_default() {
    let server = prometheus(|_| vec![Step::Send(value("-0.5"))]);
    let upstream = CountingUpstream::start();
    let trial = Trial::endless().abort("50").condition("trigger: {prometheus: {customQuery: up}}");
    let outcome = Outcome::of(&mut start(&trial, &upstream, server.address()));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!((outcome.failure("threshold"), outcome.failure("comparison_operator")), ("0", "<"));
}

#[test]
fn a_vector_of_one_is_a_number() {
    let one = r#"{"resultType":"vector","result":[{"metric":{"job":"x"},"value":[1,"7"]}]}"#;
    let server = prometheus(move |_| vec![Step::Send(data(one))]);
    let upstream = CountingUpstream::start();
    let outcome = Outcome::of(&mut start(&asking(), &upstream, server.address()));
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert_eq!(outcome.failure("value"), "7");
}

#[test]
fn nan_and_an_empty_vector_are_recorded_and_never_trip() {
    let directory = tempfile::tempdir().unwrap();
    let empty = r#"{"resultType":"vector","result":[]}"#;
    let server = prometheus(move |n| vec![Step::Send(if n % 2 == 0 { value("NaN") } else { data(empty) })]);
    let upstream = CountingUpstream::start();
    let url = format!("http://{}", server.address());
    let arguments = ["--prometheus-url", &url, "--polling-interval", "100ms", "--report-dir"];
    let trial = Trial::lasting("1s").abort("50").query("up", "thresholdValue: 5, comparisonOperator: '<'");
    let setup = trial.setup().to(upstream.address()).with(arguments).with([directory.path().to_str().unwrap()]);
    let mut run = setup.start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(0, "Succeeded", "");
    assert_eq!(outcome.condition("ConditionsObserved").0, "False");
    assert!(outcome.said("warning: never had a number"), "{:#?}", outcome.lines);
    let report = std::fs::read_to_string(directory.path().join("trial.report.yaml")).unwrap();
    assert!(report.matches("      value: NaN\n").count() >= 2, "as the tutorial shows it: {report}");
}

#[test]
fn a_condition_without_data_fails_or_is_inconclusive_where_its_author_says_so() {
    let cases = [("Fail", 1, "Failed"), ("Inconclusive", 3, "Inconclusive")];
    side_by_side::for_each(cases, |(meaning, code, state)| {
        let server = prometheus(|_| vec![Step::Send(value("NaN"))]);
        let upstream = CountingUpstream::start();
        let trial = Trial::endless().abort("50").condition(&format!(
            "onNoData: {meaning}, trigger: {{prometheus: {{customQuery: up, thresholdValue: 1}}}}"
        ));
        Outcome::of(&mut start(&trial, &upstream, server.address())).expect(code, state, "no_data");
    });
}

#[test]
fn a_run_that_is_shorter_than_the_polling_interval_proves_nothing() {
    let server = prometheus(|_| vec![Step::Send(value("1"))]);
    let upstream = CountingUpstream::start();
    let url = format!("http://{}", server.address());
    let trial = Trial::lasting("500ms").abort("50").query("up", "thresholdValue: 5, comparisonOperator: '>'");
    let mut run = trial.setup().to(upstream.address()).with(["--prometheus-url", &url]).start();
    let (outcome, _) = during(run.address(), || Outcome::of(&mut run));
    outcome.expect(3, "Inconclusive", "metrics_unavailable");
    assert!(outcome.failure("message").contains("polling interval"), "{}", outcome.text);
}

#[test]
fn a_password_in_the_address_is_sent_and_never_shown() {
    let server = Upstream::scripted(|exchange| {
        let authorized = exchange.request.one("authorization").is_some_and(|value| value.starts_with("Basic "));
        vec![Step::Send(if authorized { value("7") } else { json(401, "who are you?") })]
    });
    let upstream = CountingUpstream::start();
    let url = format!("http://me:hidden@{}/prefix", server.address());
    let arguments = ["--prometheus-url", &url, "--polling-interval", "100ms"];
    let trial = asking();
    let mut run = trial.setup().to(upstream.address()).with(arguments).start();
    let outcome = Outcome::of(&mut run);
    outcome.expect(1, "Failed", "value_exceeded_threshold");
    assert!(!outcome.text.contains("hidden") && !outcome.said("hidden"), "{:#?}", outcome.lines);
    assert!(server.requests()[0].target().starts_with("/prefix/api/v1/query?"), "{:?}", server.requests()[0]);
}

#[test]
fn a_slow_prometheus_never_has_two_queries_under_way() {
    let gate = Gate::closed();
    let later = gate.clone();
    let server = prometheus(move |_| vec![Step::Wait(later.clone()), Step::Send(value("7"))]);
    let upstream = CountingUpstream::start();
    let url = format!("http://{}", server.address());
    let arguments = ["--prometheus-url", &url, "--polling-interval", "20ms"];
    let trial = Trial::endless().abort("100").query("up", "thresholdValue: 5, comparisonOperator: '>'");
    let mut run = trial.setup().to(upstream.address()).with(arguments).start_with_faults_on();
    server.wait_for_requests(1);
    // Time for many more ticks, seen by something else that goes on.
    for _ in 0..50 {
        run.client().ask(&get("/"));
    }
    assert_eq!(server.requests().len(), 1);
    gate.open();
    Outcome::of(&mut run).expect(1, "Failed", "value_exceeded_threshold");
}
