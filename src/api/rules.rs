//! CEL rules that several schemas share. The API server evaluates them; [`crate::validate`] states the same in Rust.

use kube::core::{Message, Rule};

/// Go's syntax of a duration that is not negative, as a regular expression that both RE2 and Rust's `regex` read.
const GO_DURATION: &str = "^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";

/// A duration above zero and at most `longest`, on a field.
pub(crate) fn duration_up_to(longest: &str) -> Rule {
    Rule::new(format!(
        "self.matches('{GO_DURATION}') && duration(self) > duration('0s') && duration(self) <= duration('{longest}')"
    ))
    .message(Message::Message(format!(
        "must be a duration above 0 and at most {longest}, with a unit, as in \"30s\", \"1m30s\" or \"250ms\""
    )))
}

/// A duration from zero to `longest`, on a field.
pub(crate) fn duration_from_zero_up_to(longest: &str) -> Rule {
    Rule::new(format!("self.matches('{GO_DURATION}') && duration(self) <= duration('{longest}')")).message(
        Message::Message(format!(
            "must be a duration of at most {longest}, with a unit, as in \"30s\", \"1m30s\" or \"250ms\""
        )),
    )
}

/// Exactly one of `fields` is set, on the struct that has them.
pub(crate) fn exactly_one_of(fields: &[&str], message: &str) -> Rule {
    let set: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    Rule::new(format!("[{}].exists_one(set, set)", set.join(", "))).message(message)
}

/// `field` is set, on the struct that has it.
pub(crate) fn required(field: &str, message: &str) -> Rule {
    Rule::new(format!("has(self.{field})")).message(message)
}

/// A value from `low` to `high`, on an integer field.
pub(crate) fn within(low: i64, high: i64, what: &str, example: &str) -> Rule {
    Rule::new(format!("self >= {low} && self <= {high}"))
        .message(Message::Message(format!("must be {what} from {low} to {high}, as in {example}")))
}

/// The jitter is not longer than the delay, on `Delay`. What is not a duration at all has a rule of its own.
pub(crate) fn jitter_within_the_delay() -> Rule {
    let malformed = format!("!self.duration.matches('{GO_DURATION}') || !self.jitter.matches('{GO_DURATION}')");
    Rule::new(format!("!has(self.jitter) || {malformed} || duration(self.jitter) <= duration(self.duration)"))
        .message("jitter must not be longer than the delay itself, as in {duration: 2s, jitter: 500ms}")
}

/// Every traffic condition is evaluated at least once, on `ExperimentBody`. Its defaults are those of [`crate::validate`].
pub(crate) fn windows_shorter_than_the_run() -> Rule {
    let or = |field: &str, default: &str| {
        format!("(has({field}) && {field}.matches('{GO_DURATION}') ? duration({field}) : duration('{default}'))")
    };
    let (window, run) = (or("c.trigger.traffic.interval", "5s"), or("self.duration", "10m"));
    Rule::new(format!(
        "!has(self.failureConditions) || self.failureConditions.all(c, !has(c.trigger) || !has(c.trigger.traffic) || {window} < {run})"
    ))
    .message("the interval of a traffic condition (default 5s) must be shorter than the experiment, or it is never evaluated")
}
