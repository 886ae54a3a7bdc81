//! The Experiment of a trial, as its author writes it, and what it means.

use glooshot::api::{
    manifest,
    names::{KnownPort, ServiceName, ServicePort},
    scenario::Scenario,
    validate,
};

/// The share of all requests that is aborted.
pub const PERCENTAGE: u32 = 50;

/// The Service port that is broken, and whose own failures the conditions look at.
pub fn port() -> ServicePort {
    ServicePort { service: ServiceName { namespace: "bookinfo".into(), name: "ratings".into() }, port: 9080 }
}

/// The proxy judges every request. The window is short so that a trial is; how long it is makes no difference to a verdict.
pub fn judged() -> Scenario {
    scenario(
        "traffic:
            service: {name: bookinfo-ratings-9080, namespace: glooshot}
            metric: ErrorRate
            interval: 50ms
            thresholdValue: 0
            comparisonOperator: '>'",
    )
}

/// Prometheus is asked, with a query of the tutorial's form, for the service's own answers with this status.
pub fn polled(status: u16) -> Scenario {
    scenario(&format!(
        "prometheus:
            customQuery: {}
            thresholdValue: 0.01
            comparisonOperator: '>'",
        rate(&status.to_string())
    ))
}

/// The rate of the service's own answers whose status is like this.
pub fn rate(status: &str) -> String {
    format!(
        "scalar(sum(rate(istio_requests_total{{reporter=\"destination\",destination_app=\"ratings\",response_code=~\"{status}\"}}[1m])))"
    )
}

fn scenario(trigger: &str) -> Scenario {
    let text = format!(
        "apiVersion: glooshot.solo.io/v1
kind: Experiment
metadata: {{name: stop, namespace: bookinfo}}
spec:
  spec:
    duration: 600s
    routing: {{settle: 0s}}
    faults:
    - destinationServices: [{{name: bookinfo-ratings-9080, namespace: glooshot}}]
      fault: {{abort: {{httpStatus: 500}}, percentage: {PERCENTAGE}}}
    failureConditions:
    - name: failures
      trigger:
          {trigger}
"
    );
    let experiment = manifest::read_experiment(&text).unwrap();
    validate::check(&experiment).unwrap().resolve(&[KnownPort { port: port(), subsets: vec![] }]).unwrap()
}
