//! Experiments of a second or two, and the processes that run them.

use crate::harness::{Setup, glooshot::SERVICE};

/// The name and the namespace of every trial.
pub const NAME: &str = "bookinfo/trial";

/// Builds the YAML of an experiment without a time to settle.
#[derive(Clone, Debug)]
pub struct Trial {
    duration: String,
    settle: String,
    faults: Vec<String>,
    conditions: Vec<String>,
    more: Vec<String>,
}

impl Trial {
    /// An experiment without faults and conditions.
    pub fn lasting(duration: &str) -> Self {
        Self {
            duration: duration.to_owned(),
            settle: "0s".to_owned(),
            faults: Vec::new(),
            conditions: Vec::new(),
            more: Vec::new(),
        }
    }

    /// One that goes on until something ends it.
    pub fn endless() -> Self {
        Self::lasting("600s")
    }

    /// The time to settle.
    pub fn settling(mut self, settle: &str) -> Self {
        settle.clone_into(&mut self.settle);
        self
    }

    /// Aborts a percentage of the requests to ratings with 500.
    pub fn abort(self, percentage: &str) -> Self {
        self.fault("bookinfo-ratings-9080", "", &format!("{{abort: {{httpStatus: 500}}, percentage: {percentage}}}"))
    }

    /// Delays all requests to ratings.
    pub fn delay(self, duration: &str) -> Self {
        self.fault("bookinfo-ratings-9080", "", &format!("{{delay: {{duration: {duration}}}, percentage: 100}}"))
    }

    /// One more fault on an upstream; `extra` are further fields in YAML's flow style (`match: {...}`).
    pub fn fault(mut self, upstream: &str, extra: &str, fault: &str) -> Self {
        let extra = if extra.is_empty() { String::new() } else { format!(", {extra}") };
        self.faults.push(format!(
            "{{destinationServices: [{{name: {upstream}, namespace: glooshot}}]{extra}, fault: {fault}}}"
        ));
        self
    }

    /// One more condition, in YAML's flow style.
    pub fn condition(mut self, condition: &str) -> Self {
        self.conditions.push(format!("{{{condition}}}"));
        self
    }

    /// A condition on the requests to ratings: `metric` and the rest of the trigger in YAML's flow style.
    pub fn traffic(self, metric: &str) -> Self {
        self.condition(&format!("trigger: {{traffic: {{service: {{name: ratings}}, metric: {metric}}}}}"))
    }

    /// A condition on a query.
    pub fn query(self, query: &str, threshold: &str) -> Self {
        self.condition(&format!("trigger: {{prometheus: {{customQuery: '{query}', {threshold}}}}}"))
    }

    /// One more field of `spec.spec`, in YAML's flow style.
    pub fn with(mut self, field: &str) -> Self {
        self.more.push(format!("    {field}\n"));
        self
    }

    /// The file's text.
    pub fn yaml(&self) -> String {
        assert_eq!(SERVICE, "bookinfo/ratings:9080", "the faults are on that service");
        let list = |name: &str, items: &[String]| {
            items.iter().fold(format!("    {name}:\n"), |text, item| text + "    - " + item + "\n")
        };
        let mut text = format!(
            "apiVersion: glooshot.solo.io/v1\nkind: Experiment\nmetadata:\n  name: trial\n  namespace: bookinfo\n\
             spec:\n  spec:\n    duration: {}\n    routing: {{settle: {}}}\n",
            self.duration, self.settle
        );
        if !self.faults.is_empty() {
            text += &list("faults", &self.faults);
        }
        if !self.conditions.is_empty() {
            text += &list("failureConditions", &self.conditions);
        }
        text + &self.more.concat()
    }

    /// How the process is started that runs it.
    pub fn setup(&self) -> Setup {
        Setup::run(&self.yaml())
    }
}

/// The marker of what the fault number `fault` of a trial did.
pub fn marker(kind: &str, fault: usize) -> String {
    format!("{kind}; experiment={NAME}; fault={fault}")
}
