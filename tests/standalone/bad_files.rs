//! Bad files: refused whole, before anything is opened, with the path of the field and an example of the right form.

use super::{
    program::{glooshot, glooshot_reading},
    refusal::{explains, file, good, is_refused},
    trial::Trial,
};

const ROUTE: &str = "bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9";

/// The good file with one text in the place of another that is in it.
#[track_caller]
fn with(old: &str, new: &str) -> String {
    let good = good().yaml();
    assert!(good.contains(old), "{old:?} is not in {good}");
    good.replace(old, new)
}

#[test]
fn a_file_that_is_not_there_or_no_file_is_refused() {
    let run = |path: &str| glooshot(["run", "-f", path, "--route", ROUTE]);
    explains("no such file", &run("no/such/file.yaml"), &["no/such/file.yaml: cannot be opened", "No such file"]);
    explains("a directory", &run("/tmp"), &["/tmp: is a directory"]);
    explains("nothing", &run("/dev/null"), &["/dev/null", "empty", "kind: Experiment"]);
}

#[test]
fn an_empty_file_is_refused_and_told_how_one_begins() {
    for empty in ["", "\n\n", "# only a comment\n", "---\n"] {
        is_refused(&format!("{empty:?}"), empty, &["empty", "apiVersion: glooshot.solo.io/v1", "kind: Experiment"]);
    }
}

#[test]
fn standard_input_is_checked_like_a_file() {
    let ended = glooshot_reading(&with("percentage: 50", "percentage: 500"), ["run", "-f", "-", "--route", ROUTE]);
    explains("a percentage", &ended, &["spec.spec.faults[0].fault.percentage", "500"]);
    let ended = glooshot_reading("", ["run", "-f", "-", "--route", ROUTE]);
    explains("nothing", &ended, &["the file is empty", "standard input"]);
}

#[test]
fn a_file_that_is_not_yaml_is_refused() {
    for (what, text) in [
        ("an open bracket", "spec: [1, 2"),
        ("a tab", "spec:\n\tspec: 1\n"),
        ("two colons", "a: b: c: d\n"),
        ("an open quote", "name: \"x\n"),
        ("control characters", "a: \u{1}\u{2}\n"),
    ] {
        is_refused(what, text, &["not readable as YAML or JSON"]);
    }
    is_refused("a text", "just words\n", &["apiVersion", "required"]);
    is_refused("a list", "- a\n- b\n", &["apiVersion", "required"]);
    is_refused("a page of HTML", "<html><body>404</body></html>", &[]);
}

#[test]
fn a_file_that_is_not_utf_8_or_too_long_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        glooshot(["run", "-f", path.to_str().unwrap(), "--route", ROUTE])
    };
    explains("Latin-1", &run("latin1.yaml", b"name: gl\xfchwein\n"), &["latin1.yaml", "UTF-8"]);
    let huge = good().yaml() + &"# filler\n".repeat(1 << 18);
    explains("2 MiB", &run("huge.yaml", huge.as_bytes()), &["huge.yaml", "at most 1048576"]);
    let endless = glooshot(["run", "-f", "/dev/zero", "--route", ROUTE]);
    explains("an endless device", &endless, &["/dev/zero", "at most 1048576"]);
}

#[test]
fn a_file_of_another_kind_or_version_is_refused() {
    is_refused("no kind", &with("kind: Experiment\n", ""), &["kind: is required"]);
    is_refused("a near kind", &with("kind: Experiment", "kind: Experimnt"), &["kind", "did you mean Experiment"]);
    is_refused("a Deployment", &with("kind: Experiment", "kind: Deployment"), &["kind", "Deployment", "Experiment"]);
    is_refused("no version", &with("apiVersion: glooshot.solo.io/v1\n", ""), &["apiVersion", "glooshot.solo.io/v1"]);
    is_refused("another version", &with("solo.io/v1", "solo.io/v2"), &["apiVersion", "must be glooshot.solo.io/v1"]);
    let rule = include_str!("../../manifests/examples/tutorial/reviews-vulnerable.yaml");
    is_refused("a RoutingRule", rule, &["holds a RoutingRule", "an Experiment is needed"]);
}

#[test]
fn a_file_with_two_documents_is_refused() {
    let two = format!("{}---\n{}", good().yaml(), good().yaml());
    is_refused("two experiments", &two, &["2 objects", "one Experiment"]);
    let other =
        format!("{}---\n{}", good().yaml(), include_str!("../../manifests/examples/tutorial/reviews-vulnerable.yaml"));
    is_refused("an experiment and a rule", &other, &["2 objects", "one Experiment"]);
}

#[test]
fn an_unknown_field_is_refused_with_the_name_that_was_meant() {
    for (old, new, path, meant) in [
        ("percentage: 50", "percntage: 50", "spec.spec.faults[0].fault.percntage", "percentage"),
        ("duration: 600s", "durration: 600s", "spec.spec.durration", "duration"),
        ("destinationServices", "destinationService", "spec.spec.faults[0].destinationService", "destinationServices"),
        ("httpStatus", "http_status", "spec.spec.faults[0].fault.abort.http_status", "httpStatus"),
        ("settle", "setle", "spec.spec.routing.setle", "settle"),
        ("namespace: bookinfo", "namespac: bookinfo", "metadata.namespac", "namespace"),
    ] {
        is_refused(new, &with(old, new), &[path, "unknown field", "did you mean", meant]);
    }
    is_refused(
        "of another place",
        &with("    duration", "    abort: {}\n    duration"),
        &["spec.spec.abort", "unknown field"],
    );
    is_refused(
        "one level too high",
        &with("  spec:\n    duration: 600s\n", "  duration: 600s\n  spec:\n"),
        &["spec.duration"],
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let changed = |percentage: &str, duration: &str, status: &str| {
        with("percentage: 50", &format!("percentage: {percentage}"))
            .replace("600s", duration)
            .replace("httpStatus: 500", &format!("httpStatus: {status}"))
    };
    let paths = ["faults[0].fault.percentage", "spec.spec.duration", "abort.httpStatus"];
    is_refused("three wrong types", &changed("ten", "600", "abc"), &paths);
    is_refused("three wrong values", &changed("101", "61m", "99"), &paths);
}

#[test]
fn a_duration_that_is_none_is_refused() {
    let path = "spec.spec.duration";
    for (duration, words) in [
        ("600", &["600"][..]),
        ("'600'", &["no unit", "600s"]),
        ("10x", &["unknown unit", "1m30s"]),
        ("-5s", &["negative"]),
        ("''", &["empty"]),
        ("ten seconds", &["duration"]),
        ("0s", &["longer than 0"]),
        ("61m", &["too long", "3600s"]),
        ("[1s]", &[]),
    ] {
        is_refused(duration, &with("duration: 600s", &format!("duration: {duration}")), &[&[path], words].concat());
    }
    let settle = "spec.spec.routing.settle";
    is_refused("settle", &with("settle: 0s", "settle: 6m"), &[settle, "too long"]);
    is_refused("settle", &with("settle: 0s", "settle: 5"), &[settle]);
    let delay = |duration: &str| Trial::endless().delay(duration).yaml();
    is_refused("a delay", &delay("61s"), &["spec.spec.faults[0].fault.delay.duration", "too long", "60s"]);
    is_refused("a delay", &delay("0s"), &["spec.spec.faults[0].fault.delay.duration"]);
    is_refused(
        "jitter",
        &delay("1s, jitter: 2s"),
        &["spec.spec.faults[0].fault.delay.jitter", "longer than the delay"],
    );
}

#[test]
fn a_percentage_that_is_none_is_refused() {
    let path = "spec.spec.faults[0].fault.percentage";
    for (percentage, word) in [
        ("0", "above 0"),
        ("-1", "above 0"),
        ("101", "at most 100"),
        ("100.0001", "at most 100"),
        (".nan", ""),
        (".inf", ""),
        ("'50'", ""),
        ("50%", ""),
        ("[50]", ""),
    ] {
        is_refused(percentage, &with("percentage: 50", &format!("percentage: {percentage}")), &[path, word]);
    }
    is_refused("missing", &with(", percentage: 50", ""), &[path, "required", "percentage: 25"]);
    is_refused("null", &with("percentage: 50", "percentage: null"), &[path, "required"]);
}

#[test]
fn faults_on_the_same_requests_that_add_up_to_more_than_all_are_refused() {
    let two = Trial::endless().abort("60").abort("50").yaml();
    is_refused("110 %", &two, &["spec.spec.faults[1].fault.percentage", "110", "at most 100"]);
}

#[test]
fn a_status_that_is_none_is_refused() {
    let path = "spec.spec.faults[0].fault.abort.httpStatus";
    for status in ["99", "0", "199", "600", "-1", "abc", "5.5", "99999999999", "'500'"] {
        is_refused(status, &with("httpStatus: 500", &format!("httpStatus: {status}")), &[path]);
    }
    is_refused("99", &with("httpStatus: 500", "httpStatus: 99"), &["200 to 599", "httpStatus: 500"]);
    is_refused("gRPC", &with("httpStatus: 500", "grpcStatus: 17"), &["abort.grpcStatus", "1 to 16"]);
    is_refused("both", &with("httpStatus: 500", "httpStatus: 500, grpcStatus: 14"), &["fault.abort", "both"]);
    is_refused("neither", &with("{httpStatus: 500}", "{}"), &["spec.spec.faults[0].fault.abort", "httpStatus: 500"]);
}

#[test]
fn a_fault_that_is_two_or_none_is_refused() {
    let path = "spec.spec.faults[0].fault";
    is_refused(
        "both",
        &with("percentage: 50", "delay: {duration: 1s}, percentage: 50"),
        &[path, "both abort and delay"],
    );
    is_refused("none", &with("abort: {httpStatus: 500}, ", ""), &[path, "needs abort, delay or connection"]);
    is_refused("no fault", &with(", fault: {abort: {httpStatus: 500}, percentage: 50}", ""), &[path, "required"]);
}

#[test]
fn a_fault_without_a_destination_or_with_an_unknown_one_is_refused_and_the_known_ones_are_listed() {
    let path = "spec.spec.faults[0].destinationServices";
    is_refused(
        "none",
        &with("[{name: bookinfo-ratings-9080, namespace: glooshot}]", "[]"),
        &[path, "at least one service"],
    );
    is_refused(
        "none",
        &with("destinationServices: [{name: bookinfo-ratings-9080, namespace: glooshot}], ", ""),
        &[path],
    );
    is_refused(
        "unknown",
        &with("bookinfo-ratings-9080", "bookinfo-rating-9080"),
        &["spec.spec.faults[0].destinationServices[0]", "bookinfo-rating-9080", "known are bookinfo-ratings-9080"],
    );
    is_refused(
        "no name",
        &with("bookinfo-ratings-9080", "Ratings!"),
        &["destinationServices[0].name", "is not a name"],
    );
    let other = "trigger: {traffic: {service: {name: reviews}, metric: ErrorRate, thresholdValue: 0.1, comparisonOperator: '>'}}";
    is_refused(
        "in a condition",
        &good().condition(other).yaml(),
        &["spec.spec.failureConditions[0].trigger.traffic.service", "reviews", "known are bookinfo-ratings-9080"],
    );
    is_refused(
        "an origin",
        &Trial::endless()
            .fault(
                "bookinfo-ratings-9080",
                "originServices: [{name: productpage}]",
                "{abort: {httpStatus: 500}, percentage: 1}",
            )
            .yaml(),
        &["spec.spec.faults[0].originServices[0]", "productpage"],
    );
}

#[test]
fn a_bad_match_is_refused() {
    let refused = |rule: &str, words: &[&str]| {
        let abort = "{abort: {httpStatus: 500}, percentage: 1}";
        let yaml = Trial::endless().fault("bookinfo-ratings-9080", &format!("match: {{{rule}}}"), abort).yaml();
        is_refused(rule, &yaml, words);
    };
    let path = "spec.spec.faults[0].match";
    refused("path: {regex: '/a('}", &[path, "path.regex"]);
    refused("path: {regex: '(a{1000}){1000}'}", &[path, "path.regex"]);
    refused("path: {exact: ratings}", &["match.path", "does not begin with", "/ratings"]);
    refused("path: {exact: /a, prefix: /b}", &["match.path", "exactly one"]);
    refused("path: {}", &["match.path", "exactly one"]);
    refused("methods: [get]", &["match.methods[0]", "capitals"]);
    refused("methods: ['G T']", &["match.methods[0]", "not a method"]);
    refused("methods: GET", &["match.methods"]);
    refused("headers: [{name: 'a b', exact: x}]", &["match.headers[0].name", "not a header name"]);
    refused("headers: [{name: a, exact: x, present: true}]", &["match.headers[0]", "exactly one"]);
    refused("headers: [{name: a, regex: '['}]", &["match.headers[0].regex"]);
}

#[test]
fn an_empty_regular_expression_is_refused_as_the_schema_says() {
    let abort = "{abort: {httpStatus: 500}, percentage: 1}";
    let yaml = Trial::endless().fault("bookinfo-ratings-9080", "match: {path: {regex: ''}}", abort).yaml();
    is_refused("it matches no path", &yaml, &["spec.spec.faults[0].match.path"]);
}

#[test]
fn bad_conditions_are_refused() {
    let path = "spec.spec.failureConditions[0]";
    let refused = |condition: &str, words: &[&str]| {
        is_refused(condition, &good().condition(condition).yaml(), &[&[path], words].concat());
    };
    let traffic = |rest: &str| format!("trigger: {{traffic: {{service: {{name: ratings}}, {rest}}}}}");
    refused("name: x", &["trigger", "required"]);
    refused("trigger: {}", &["trigger", "give one of prometheus, webhookUrl and traffic"]);
    refused(
        "trigger: {webhookUrl: 'http://a/', prometheus: {customQuery: up, thresholdValue: 1}}",
        &["trigger", "more than one"],
    );
    refused(&traffic("metric: Errors, thresholdValue: 0.1, comparisonOperator: '>'"), &["traffic.metric", "ErrorRate"]);
    refused(
        &traffic("metric: ErrorRate, thresholdValue: 0.1, comparisonOperator: '=>'"),
        &["comparisonOperator", "=>", ">="],
    );
    refused(&traffic("metric: ErrorRate, thresholdValue: 0.1, comparisonOperator: '!='"), &["comparisonOperator"]);
    refused(&traffic("metric: ErrorRate, thresholdValue: 5, comparisonOperator: '>'"), &["thresholdValue", "0 to 1"]);
    refused(&traffic("metric: ErrorRate, thresholdValue: 0"), &["thresholdValue", "can never trip"]);
    refused(&traffic("metric: ErrorRate, thresholdValue: .nan, comparisonOperator: '>'"), &["thresholdValue"]);
    refused(&traffic("metric: ErrorRate, comparisonOperator: '>'"), &["thresholdValue", "required"]);
    refused(
        &traffic("metric: ErrorRate, interval: 600s, thresholdValue: 0.1, comparisonOperator: '>'"),
        &["interval", "not shorter"],
    );
    refused(
        &traffic("metric: ErrorRate, minRequests: 0, thresholdValue: 0.1, comparisonOperator: '>'"),
        &["minRequests"],
    );
    refused("trigger: {prometheus: {thresholdValue: 1}}", &["trigger.prometheus", "customQuery or successRate"]);
    refused("trigger: {prometheus: {customQuery: ' ', thresholdValue: 1}}", &["customQuery", "blank"]);
    refused(
        "trigger: {prometheus: {customQuery: up, successRate: {service: {name: x}}, thresholdValue: 1}}",
        &["trigger.prometheus", "both customQuery and successRate"],
    );
    refused("trigger: {prometheus: {successRate: {}, thresholdValue: 0.9}}", &["successRate.service", "required"]);
    refused("trigger: {webhookUrl: 'ftp://a/'}", &["webhookUrl", "https://checks.example.com/healthy"]);
    refused("trigger: {webhookUrl: 'http://user:secret@a/'}", &["webhookUrl"]);
    refused("trigger: {webhookUrl: checks}", &["webhookUrl"]);
    refused("onNoData: Fial, trigger: {prometheus: {customQuery: up}}", &["onNoData", "Fail"]);
}

#[test]
fn two_conditions_of_one_name_are_refused() {
    let same = "name: same, trigger: {traffic: {service: {name: ratings}, metric: RequestRate, thresholdValue: 1}}";
    is_refused("two", &good().condition(same).condition(same).yaml(), &["spec.spec.failureConditions[1].name", "same"]);
}

#[test]
fn bad_limits_are_refused() {
    for (limits, words) in [
        ("{maxInjected: 0}", &["limits.maxInjected"][..]),
        ("{minInjected: 0}", &["limits.minInjected"]),
        ("{maxInjected: -1}", &["limits.maxInjected"]),
        ("{maxInjected: many}", &["limits.maxInjected"]),
        ("{minInjected: 5, maxInjected: 4}", &["limits.minInjected", "can never be reached"]),
        ("{maxConcurrentDelays: 1000000}", &["limits.maxConcurrentDelays", "100000"]),
    ] {
        is_refused(limits, &good().with(&format!("limits: {limits}")).yaml(), &[&["spec.spec."], words].concat());
    }
}

#[test]
fn more_faults_or_conditions_than_a_run_can_have_are_refused() {
    let many = (0..17).fold(Trial::endless(), |trial, _| trial.abort("1"));
    is_refused("17 faults", &many.yaml(), &["spec.spec.faults", "17", "16"]);
    let condition = "trigger: {traffic: {service: {name: ratings}, metric: RequestRate, thresholdValue: 1}}";
    let many = (0..17).fold(good(), |trial, _| trial.condition(condition));
    is_refused("17 conditions", &many.yaml(), &["spec.spec.failureConditions", "17", "16"]);
}

#[test]
fn a_bomb_of_aliases_is_refused_at_once() {
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        text + &format!("a{level}: &a{level} [*a{below}, *a{below}]\n")
    });
    is_refused("a bomb", &bomb, &["not readable as YAML or JSON"]);
    is_refused("deep", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), &["not readable as YAML or JSON"]);
}

#[test]
fn an_experiment_without_a_name_is_refused() {
    is_refused("none", &with("  name: trial\n", ""), &["metadata.name", "required"]);
    is_refused("no name", &with("name: trial", "name: 'Not A Name'"), &["metadata.name"]);
    is_refused("a path", &with("name: trial", "name: ../../etc/passwd"), &["metadata.name"]);
}

#[test]
fn bad_routing_rules_are_refused() {
    let good_rule = include_str!("../../manifests/examples/tutorial/reviews-vulnerable.yaml");
    let route = "bookinfo/reviews:9080=127.0.0.1:0->127.0.0.1:8@v3,127.0.0.1:9@v4";
    let experiment = file(&good().yaml());
    let run = |path: &str| {
        let arguments = ["run", "-f", experiment.path().to_str().unwrap(), "--route", ROUTE, "--route", route];
        glooshot(arguments.into_iter().chain(["--routing-rule", path]))
    };
    let refused = |what: &str, text: &str, words: &[&str]| {
        let rule = file(text);
        explains(what, &run(rule.path().to_str().unwrap()), words);
    };
    explains("no file", &run("no/rule.yaml"), &["no/rule.yaml: cannot be opened"]);
    refused("empty", "", &["empty"]);
    refused("an Experiment", &good().yaml(), &["only RoutingRules"]);
    refused(
        "an unknown subset",
        &good_rule.replace("-v4-", "-v9-"),
        &["destinations[0].destination.upstream", "v9", "known are"],
    );
    refused("an unknown service", &good_rule.replace("bookinfo-reviews-9080", "reviewz"), &["upstreams[0]", "reviewz"]);
    refused("no subset", &good_rule.replace("-v4-", "-"), &["not a subset", "v4"]);
    refused("no weight", &good_rule.replace("weight: 1", "weight: 0"), &["add up to 0"]);
    refused("a bad weight", &good_rule.replace("weight: 1", "weight: -1"), &["weight"]);
    refused("an unknown field", &good_rule.replace("weight: 1", "wieght: 1"), &["wieght", "did you mean", "weight"]);
}
