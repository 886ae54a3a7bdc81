//! Results of several runs put together are the result of one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;

use glooshot_loadgen::report::{Form, read, render};
use glooshot_loadgen::{Config, Latencies, Pace, RequestSpec, Summary, run};
use hdrhistogram::Histogram;
use support::{Server, respond, serve};
use tokio_util::sync::CancellationToken;

async fn drive(server: &Server, count: u64, paths: &[&str]) -> Summary {
    let mut config = Config::new(server.url("/"), Pace::Constant { rate_per_second: 2000.0, connections: 3 });
    config.requests = paths.iter().map(|path| RequestSpec::get(server.url(path))).collect();
    config.limit.count = Some(count);
    run(config, Arc::default(), CancellationToken::new()).await.unwrap()
}

/// What a file of the result would give.
fn through_json(summary: &Summary) -> Summary {
    read(&render(Form::Json, summary, &[]).unwrap()).unwrap().remove(0)
}

#[tokio::test]
async fn every_number_of_the_whole_is_the_sum_of_the_parts() {
    let server =
        serve(|request, _| async move { respond(if request.uri().path() == "/b" { 503 } else { 200 }, "12345") }).await;
    let mut parts = Vec::new();
    for (count, paths) in [(150, &["/a"][..]), (90, &["/a", "/b"]), (60, &["/b"])] {
        parts.push(drive(&server, count, paths).await);
    }
    let mut whole = through_json(&parts[0]);
    whole.merge(&through_json(&parts[1]));
    whole.merge(&through_json(&parts[2]));

    let sum = |number: fn(&Summary) -> u64| parts.iter().map(number).sum::<u64>();
    let numbers: [fn(&Summary) -> u64; 9] = [
        |part| part.started,
        |part| part.responses,
        |part| part.failed(),
        |part| part.status_class(5),
        |part| part.body_bytes,
        |part| part.sent_bytes,
        |part| part.received_bytes,
        |part| part.latency.count(),
        |part| part.setup.connections,
    ];
    for (index, number) in numbers.into_iter().enumerate() {
        assert_eq!(number(&whole), sum(number), "number {index}");
    }
    assert_eq!(whole.responses, 300);
    assert_eq!(whole.setup.runs, 3);
    assert_eq!(whole.elapsed.as_micros(), parts.iter().map(|part| part.elapsed.as_micros()).max().unwrap());
    let names: Vec<_> = whole.targets.iter().map(|target| target.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    let intervals = |summary: &Summary| summary.series.intervals().map(|(_, interval)| interval.responses).sum::<u64>();
    assert_eq!(intervals(&whole), 300);
    let distributions: [fn(&Summary) -> &Latencies; 3] =
        [|part| &part.latency, |part| &part.service_time, |part| &part.schedule_error];
    for of in distributions {
        let mut expected: Histogram<u64> = of(&parts[0]).histogram().clone();
        expected.add(of(&parts[1]).histogram()).unwrap();
        expected.add(of(&parts[2]).histogram()).unwrap();
        assert_eq!(of(&whole).histogram(), &expected);
    }
}

#[tokio::test]
async fn the_order_of_merging_does_not_matter() {
    let server = serve(|_, _| async { respond(200, "x") }).await;
    let (one, other) = (drive(&server, 40, &["/a"]).await, drive(&server, 70, &["/a"]).await);
    let (mut forth, mut back) = (one.clone(), other.clone());
    forth.merge(&other);
    back.merge(&one);
    let json = |summary: &Summary| render(Form::Json, summary, &[]).unwrap();
    assert_eq!(json(&forth), json(&back));
}
