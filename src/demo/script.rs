//! The tutorial, step by step, and what it must have shown in the end.

use std::time::Duration;

use glooshot_api::{
    manifest,
    quantity::GoDuration,
    report::ConditionHistory,
    status::{ExperimentResult, ResultState},
};
use serde::Serialize;

use super::{error::DemoError, screen::Look, stage::Stage};
use crate::engine::Outcome;

/// The tutorial's routing rules and experiments, as they are in `manifests/examples/tutorial`.
const VULNERABLE: &str = include_str!("../../manifests/examples/tutorial/reviews-vulnerable.yaml");
const RESILIENT: &str = include_str!("../../manifests/examples/tutorial/reviews-resilient.yaml");
const TRAFFIC: [&str; 2] = [
    include_str!("../../manifests/examples/tutorial/abort-ratings-traffic.yaml"),
    include_str!("../../manifests/examples/tutorial/abort-ratings-traffic-repeat.yaml"),
];
const METRIC: [&str; 2] = [
    include_str!("../../manifests/examples/tutorial/abort-ratings-metric.yaml"),
    include_str!("../../manifests/examples/tutorial/abort-ratings-metric-repeat.yaml"),
];

/// A stop that a condition in the proxy causes must be over within this time.
const STOP_LIMIT: Duration = Duration::from_millis(50);
/// Time for `rate[1m]` to forget the first experiment.
const FORGET_LIMIT: Duration = Duration::from_secs(150);
/// Long enough to read what the pages show.
const LOOK: Duration = Duration::from_secs(3);

/// Plays the tutorial.
pub(super) async fn play(stage: &mut Stage) -> Result<(), DemoError> {
    start(stage).await?;
    all_versions(stage).await?;
    shift_to_the_vulnerable_version(stage).await?;

    let [first, repeat] = if stage.wants_prometheus() { METRIC } else { TRAFFIC };
    let vulnerable = find_the_weakness(stage, first).await?;
    show_result_and_report(stage, first, &vulnerable)?;
    the_fault_is_gone(stage).await?;

    let resilient = prove_the_fix(stage, first, repeat).await?;
    show_result_and_report(stage, repeat, &resilient)?;

    summary(stage, &vulnerable, &resilient)
}

async fn start(stage: &mut Stage) -> Result<(), DemoError> {
    let (page, metrics, rate) = (stage.page_url(), stage.metrics_url(), stage.rate());
    section(stage, "1  Start")?;
    say(
        stage,
        "This is Glooshot's tutorial, on this machine. A small bookshop runs on loopback\n\
         addresses, with Glooshot's proxy in front of two of its services:\n\
         \n\
         \x20 productpage -> details\n\
         \x20             -> [proxy] -> reviews v1 v2 v3 v4 -> [proxy] -> ratings",
    )?;
    say(
        stage,
        &format!(
            "Open the page and reload it while the demo runs:\n\
             \x20 {page}\n\
             The proxy's metrics, for a Prometheus:\n\
             \x20 {metrics}\n\
             Beside you there are visitors: a load generator loads {rate} pages each second."
        ),
    )?;
    if stage.wants_prometheus() {
        say(stage, "Starting a Prometheus that scrapes these metrics every second ...")?;
        if let Some(url) = stage.start_prometheus().await? {
            say(stage, &format!("It is ready, and you can look at it too:\n\x20 {url}"))?;
        }
    }
    Ok(())
}

async fn all_versions(stage: &mut Stage) -> Result<(), DemoError> {
    section(stage, "2  Four versions of reviews")?;
    say(
        stage,
        "The proxy balances over all versions of reviews, so the stars change from page\n\
         to page: v1 shows none, v2 black ones, v3 and v4 red ones.\n\
         Below, errors are pages without reviews, and at the end is what the pages show.",
    )?;
    stage.watch(LOOK).await
}

async fn shift_to_the_vulnerable_version(stage: &mut Stage) -> Result<(), DemoError> {
    section(stage, "3  All traffic to v4")?;
    say(
        stage,
        "A RoutingRule (tutorial/reviews-vulnerable.yaml) sends everybody to reviews v4.\n\
         All stars are red now, and nobody sees that v4 has a weakness.",
    )?;
    stage.shift(VULNERABLE)?;
    stage.watch(LOOK).await
}

async fn find_the_weakness(stage: &mut Stage, experiment: &str) -> Result<Outcome, DemoError> {
    section(stage, "4  The experiment: what if ratings fails?")?;
    say(
        stage,
        "The Experiment answers every request for ratings with 500, for ten minutes at\n\
         the most. Its failure condition says what must not happen meanwhile:",
    )?;
    if stage.wants_prometheus() {
        say(
            stage,
            "  the tutorial's query, the rate of 500s that reviews gives to productpage, must\n\
             \x20 not exceed 0.01. Prometheus is asked every 5 s.",
        )?;
    } else {
        say(
            stage,
            "  the error rate of reviews must not exceed 0.01 in any 2 seconds. The proxy\n\
             \x20 judges that itself, on every request, after one window of 2 s to warm up.",
        )?;
    }
    let outcome = stage.experiment(experiment).await?;
    match stop_latency(&outcome) {
        Some(time) => say(
            stage,
            &format!(
                "crossing request -> last injected response start: {:.3} ms\n\
                 \n\
                 So soon after the request that crossed the threshold was the fault gone.",
                milliseconds(time)
            ),
        )?,
        None if stage.wants_prometheus() => say(
            stage,
            "The fault was off as soon as an answer of Prometheus had crossed the threshold:\n\
             a stop takes as long as scrape and poll. A condition of kind \"traffic\" takes\n\
             milliseconds; run the demo without --prometheus to see it.",
        )?,
        None => {}
    }
    Ok(outcome)
}

async fn the_fault_is_gone(stage: &mut Stage) -> Result<(), DemoError> {
    say(
        stage,
        "The condition has no name of its own, so it is called by its index and by the time\n\
         at which the experiment started.",
    )?;
    if !stage.wants_prometheus() {
        say(
            stage,
            "NaN stands for the time in which the window of 2 s was not full yet: nothing is\n\
             judged before that.",
        )?;
    }
    say(stage, "The fault is gone, and so are the errors:")?;
    stage.watch(LOOK).await
}

async fn prove_the_fix(stage: &mut Stage, first: &str, experiment: &str) -> Result<Outcome, DemoError> {
    section(stage, "6  The fix: all traffic to v3, and the experiment again")?;
    say(
        stage,
        "reviews v3 does without the stars when ratings fails. Another RoutingRule\n\
         (tutorial/reviews-resilient.yaml) sends everybody there.",
    )?;
    stage.shift(RESILIENT)?;
    stage.watch(LOOK).await?;
    if stage.wants_prometheus() {
        say(
            stage,
            "The query looks back over a minute (rate[1m]) and still sees the 500s of the first\n\
             experiment. Waiting until it is NaN or at most 0.01 again, for 150 s at the most:",
        )?;
        stage.calm(first, FORGET_LIMIT).await?;
    }
    say(
        stage,
        "The same fault again. The pages keep their reviews, and in the place of the stars\n\
         they say \"Ratings service is currently unavailable\".",
    )?;
    stage.experiment(experiment).await
}

/// As in the tutorial: a part of the Experiment, and a part of the Report.
fn show_result_and_report(stage: &mut Stage, experiment: &str, outcome: &Outcome) -> Result<(), DemoError> {
    #[derive(Serialize)]
    struct Status<'a> {
        result: &'a ExperimentResult,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec<'a> {
        failure_condition_history: &'a [ConditionHistory],
    }
    let name = manifest::read_experiment(experiment)?.metadata.name.unwrap_or_default();
    let title = if outcome.result.state == ResultState::Succeeded { "7" } else { "5" };
    section(stage, &format!("{title}  Result and report"))?;
    say(stage, &format!("The Experiment's status; in a cluster:\n\x20 kubectl get exp -n bookinfo {name} -o yaml"))?;
    block(stage, 2, &Status { result: &outcome.result })?;
    say(
        stage,
        &format!(
            "Its Report, with everything that the condition was observed to be:\n\
             \x20 kubectl get reports -n bookinfo {name} -o yaml"
        ),
    )?;
    block(stage, 4, &Spec { failure_condition_history: &outcome.report.failure_condition_history })
}

fn summary(stage: &mut Stage, vulnerable: &Outcome, resilient: &Outcome) -> Result<(), DemoError> {
    section(stage, "8  What you have seen")?;
    let state = |outcome: &Outcome| format!("{:?}", outcome.result.state);
    let injected = |outcome: &Outcome| outcome.status.injection.iter().map(|fault| fault.aborted).sum::<u64>();
    let line = |name: &str, outcome: &Outcome| {
        format!("{name}  {:<12}  {} requests for ratings aborted", state(outcome), injected(outcome))
    };
    say(stage, &format!("{}\n{}", line("reviews v4", vulnerable), line("reviews v3", resilient)))?;
    let complaints = complaints(vulnerable, resilient, stage.wants_prometheus());
    if !complaints.is_empty() {
        return Err(DemoError::NotAsInTheTutorial(complaints));
    }
    let text = "The experiment found that reviews v4 fails together with ratings, and proved that\n\
                v3 does not. Each time everything was put back as it had been.";
    stage.screen.say_in(Look::Good, text).map_err(DemoError::Output)?;
    let other = if stage.wants_prometheus() {
        "glooshot demo                          conditions judged in the proxy, within ms"
    } else {
        "glooshot demo --prometheus             the tutorial's own files and a real Prometheus"
    };
    say(
        stage,
        &format!(
            "Next:\n\
             \x20 {other}\n\
             \x20 glooshot run --help                    an experiment on services of your own\n\
             \x20 manifests/examples/tutorial/           the files that were used here"
        ),
    )
}

/// What did not come out as in the tutorial. Pure.
fn complaints(vulnerable: &Outcome, resilient: &Outcome, prometheus: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (version, outcome, wanted) in
        [("v4", vulnerable, ResultState::Failed), ("v3", resilient, ResultState::Succeeded)]
    {
        let state = outcome.result.state;
        if state != wanted {
            let why = outcome.result.failure_report.get("message").map(|why| format!(" ({why})")).unwrap_or_default();
            found.push(format!("the experiment on reviews {version} is {state:?}{why}, and should be {wanted:?}"));
        }
    }
    if prometheus || vulnerable.result.state != ResultState::Failed {
        return found;
    }
    match stop_latency(vulnerable) {
        Some(time) if time < STOP_LIMIT => {}
        Some(time) => found.push(format!("the stop took {:.1} ms, and should take less than 50", milliseconds(time))),
        None => found.push("the time that the stop took is not known".to_owned()),
    }
    found
}

fn stop_latency(outcome: &Outcome) -> Option<Duration> {
    outcome.status.stop_latency.map(GoDuration::get)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn section(stage: &mut Stage, title: &str) -> Result<(), DemoError> {
    stage.screen.section(title).map_err(DemoError::Output)
}

fn say(stage: &mut Stage, text: &str) -> Result<(), DemoError> {
    stage.screen.say(text).map_err(DemoError::Output)
}

fn block(stage: &mut Stage, spaces: usize, value: &impl Serialize) -> Result<(), DemoError> {
    let yaml = manifest::to_yaml(value).map_err(|error| DemoError::Engine(error.to_string()))?;
    stage.screen.block(spaces, &yaml).map_err(DemoError::Output)
}

#[cfg(test)]
mod tests {
    use glooshot_api::{report::ReportSpec, status::ExperimentStatus};

    use super::*;

    fn outcome(state: ResultState, stopped_within: Option<u64>) -> Outcome {
        let stop_latency = stopped_within.map(|ms| Duration::from_millis(ms).into());
        Outcome {
            result: ExperimentResult { state, ..ExperimentResult::default() },
            status: ExperimentStatus { stop_latency, ..ExperimentStatus::default() },
            report: ReportSpec::default(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn only_failed_then_succeeded_with_a_fast_stop_is_as_in_the_tutorial() {
        use ResultState::{Failed, Inconclusive, Succeeded};
        for (vulnerable, within, resilient, prometheus, said) in [
            (Failed, Some(1), Succeeded, false, ""),
            (Failed, None, Succeeded, true, ""),
            (Failed, Some(50), Succeeded, false, "the stop took 50.0 ms"),
            (Failed, None, Succeeded, false, "is not known"),
            (Succeeded, None, Succeeded, false, "v4 is Succeeded"),
            (Inconclusive, None, Succeeded, true, "v4 is Inconclusive"),
            (Failed, Some(1), Failed, false, "v3 is Failed"),
        ] {
            let found = complaints(&outcome(vulnerable, within), &outcome(resilient, None), prometheus);
            let expected = usize::from(!said.is_empty());
            assert_eq!(found.len(), expected, "{found:?}");
            assert!(found.iter().all(|one| one.contains(said)), "{said}: {found:?}");
        }
    }
}
