//! Experiment files for the tests, in the form that the tutorial uses.

use super::glooshot::SERVICE;

/// Builds the YAML of an experiment on the service that the tutorial breaks.
#[derive(Clone, Debug)]
pub struct Experiment {
    name: String,
    faults: Vec<String>,
    limits: String,
}

impl Experiment {
    /// An experiment in the namespace `bookinfo` that runs for ten minutes unless it is stopped.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), faults: Vec::new(), limits: String::new() }
    }

    /// Aborts a percentage of all requests with `status`.
    pub fn abort(self, status: u16, percentage: &str) -> Self {
        self.fault("", &format!("{{abort: {{httpStatus: {status}}}, percentage: {percentage}}}"))
    }

    /// Delays all requests by `duration` (a Go duration).
    pub fn delay(self, duration: &str) -> Self {
        self.fault("", &format!("{{delay: {{duration: {duration}}}, percentage: 100}}"))
    }

    /// One more fault: `extra` are further fields in YAML's flow style (`match: {...}`, `originServices: [...]`).
    pub fn fault(mut self, extra: &str, fault: &str) -> Self {
        assert_eq!(SERVICE, "bookinfo/ratings:9080", "the upstream below is that service");
        let extra = if extra.is_empty() { String::new() } else { format!(", {extra}") };
        self.faults.push(format!(
            "{{destinationServices: [{{name: bookinfo-ratings-9080, namespace: glooshot}}]{extra}, fault: {fault}}}"
        ));
        self
    }

    /// The limits, in YAML's flow style.
    pub fn limits(mut self, limits: &str) -> Self {
        self.limits = format!("    limits: {limits}\n");
        self
    }

    /// The file's text.
    pub fn yaml(&self) -> String {
        format!(
            "apiVersion: glooshot.solo.io/v1\nkind: Experiment\nmetadata:\n  name: {}\n  namespace: bookinfo\n\
             spec:\n  spec:\n    duration: 600s\n    routing: {{settle: 0s}}\n    faults: [{}]\n{}",
            self.name,
            self.faults.join(", "),
            self.limits
        )
    }

    /// What the marker of an exchange says that was aborted or delayed by the fault number `fault`.
    pub fn marker(&self, kind: &str, fault: usize) -> String {
        format!("{kind}; experiment=bookinfo/{}; fault={fault}", self.name)
    }
}
