//! The tutorial in a cluster without a mesh: the commands are those of the document, in its order.

use std::{collections::VecDeque, time::Instant};

use serde_json::Value;

use super::{
    bed::Bed,
    document::{self, Section},
};

const CHAPTER: &str = "In a cluster, without a mesh";

/// A Service without what any write of it changes.
pub fn lasting(mut service: Value) -> Value {
    for key in ["resourceVersion", "generation"] {
        service["metadata"].as_object_mut().unwrap().remove(key);
    }
    for entry in service["metadata"]["managedFields"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("time");
    }
    service
}

fn service(bed: &Bed, name: &str) -> Value {
    lasting(bed.get(&format!("service -n bookinfo {name}")))
}

fn services(bed: &Bed) -> [Value; 2] {
    ["ratings", "reviews"].map(|name| service(bed, name))
}

/// For whom a Service goes through proxies.
fn holder(bed: &Bed, name: &str) -> Value {
    let service = service(bed, name);
    let annotation = service["metadata"]["annotations"]["glooshot.solo.io/redirect"].as_str().unwrap_or("{}");
    serde_json::from_str::<Value>(annotation).unwrap()["experiment"]["name"].clone()
}

fn experiment(bed: &Bed, name: &str) -> Value {
    bed.get(&format!("exp -n bookinfo {name}"))["status"].clone()
}

/// The result as the tutorial prints it.
fn assert_failed(status: &Value) {
    let result = &status["result"];
    let report = result["failureReport"].as_object().unwrap();
    assert_eq!(report["failure_type"], "value_exceeded_threshold", "{status:#}");
    assert_eq!((&report["threshold"], &report["comparison_operator"]), (&"0.01".into(), &">".into()), "{status:#}");
    let value: f64 = report["value"].as_str().unwrap().parse().unwrap();
    assert!(value > 0.01, "{status:#}");
    assert!(result["timeStarted"].is_string() && result["timeFinished"].is_string(), "{status:#}");
    assert!(status["injection"][0]["aborted"].as_u64().unwrap() > 0, "{status:#}");
}

/// What the Report has of the first condition.
fn history(bed: &Bed, name: &str) -> Vec<Value> {
    let report = bed.get(&format!("reports -n bookinfo {name}"));
    let history = &report["spec"]["failureConditionHistory"][0]["failureConditionSnapshots"];
    history.as_array().unwrap_or_else(|| panic!("{report:#}")).clone()
}

/// The chapter, as far as it has been played.
#[derive(Debug)]
pub struct Tutorial<'a> {
    bed: &'a Bed,
    sections: VecDeque<Section>,
    /// The Services of the application before anything is done to them.
    before: Option<[Value; 2]>,
}

impl<'a> Tutorial<'a> {
    /// From its first section on.
    pub fn open(bed: &'a Bed) -> Self {
        Self { bed, sections: document::sections("docs/tutorial.md", CHAPTER).into(), before: None }
    }

    /// Plays up to the section with this heading.
    #[track_caller]
    pub fn play_until(&mut self, heading: &str) {
        while self.sections.front().is_some_and(|section| section.heading != heading) {
            self.section();
        }
        assert!(!self.sections.is_empty(), "the document has no section {heading} any more");
    }

    /// Plays what is left, after which nothing of ours is left.
    pub fn play_to_the_end(&mut self) {
        while !self.sections.is_empty() {
            self.section();
        }
        let left = self.bed.shell(
            "kubectl get clusterroles,clusterrolebindings,validatingadmissionpolicies,crds -o name | grep glooshot || true",
        );
        assert_eq!(left, "", "something is left");
    }

    fn section(&mut self) {
        let (bed, started) = (self.bed, Instant::now());
        let section = self.sections.pop_front().unwrap();
        let said: Vec<String> = section.commands.iter().map(|commands| bed.shell(commands)).collect();
        eprintln!("  tutorial, {}: {:.0?}", section.heading, started.elapsed());
        match section.heading.as_str() {
            "Glooshot" => assert!(said.concat().contains("experiments.glooshot.solo.io"), "{said:?}"),
            "The application" => self.before = Some(services(bed)),
            "A routing rule" => {
                assert!(said.concat().contains("bookinfo-reviews-v4-9080"), "{said:?}");
                assert_eq!(holder(bed, "reviews"), "reviews-vulnerable");
            }
            "An experiment" => {
                let status = experiment(bed, "abort-ratings-traffic");
                assert_failed(&status);
                let latency: f64 = status["stopLatency"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
                eprintln!("stopped {latency} s after the request that crossed the threshold");
                assert!(latency < 0.25, "{status:#}");
                assert!(said.concat().contains("failureConditionHistory"), "{said:?}");
                let last = history(bed, "abort-ratings-traffic").pop().unwrap();
                let value = status["result"]["failureReport"]["value"].as_str().unwrap();
                assert_eq!(last["value"].as_f64(), value.parse().ok(), "{last:#}");
                let ratings = self.before.as_ref().map(|[ratings, _]: &[Value; 2]| ratings.clone());
                assert_eq!(Some(service(bed, "ratings")), ratings, "the Service is not as it was");
                assert_eq!(holder(bed, "reviews"), "reviews-vulnerable", "the rule holds it still");
            }
            "With a Prometheus query" => {
                assert_failed(&experiment(bed, "abort-ratings-metric"));
                assert!(!history(bed, "abort-ratings-metric").is_empty());
            }
            "The fix" => {
                let status = experiment(bed, "abort-ratings-traffic-repeat");
                assert!(status["injection"][0]["aborted"].as_u64().unwrap() > 0, "{status:#}");
                assert!(status["result"]["failureReport"].is_null(), "{status:#}");
            }
            _ => {}
        }
        if ["The fix", "When something goes wrong"].contains(&section.heading.as_str()) {
            assert_eq!(Some(services(bed)), self.before, "the Services are not as they were");
        }
    }
}
