//! What the run has shown, beside its bars.

use std::time::Duration;

use crate::{
    account::Account,
    clients::is_good,
    harness::{metrics::Metrics, patience::try_within},
    samples::{Sample, Sampler},
    support::{
        figures::{mean, mib, slope},
        finding::Finding,
        process::Running,
    },
};

/// Time for what the load left behind to be closed: pooled connections, and the run that was going on.
const AFTERWARDS: Duration = Duration::from_secs(30);
/// What may differ from before the load.
const WITHIN: u64 = 5;
/// What memory may grow by from the second third to the last, the larger of the two.
const GROWTH_SHARE: f64 = 0.01;
const GROWTH_BYTES: f64 = 512.0 * 1024.0;
/// The part of the time in which memory still fills what it keeps.
const WARM_UP: f64 = 0.3;

/// All findings.
#[derive(Debug)]
pub struct Verdict(Vec<Finding>);

impl Verdict {
    /// Looks at everything when the load has ended.
    pub fn after(proxy: &Running, sampler: &Sampler, account: &Account) -> Self {
        let runs = |metrics: &Metrics| metrics.sum("soak_runs_total", &[]);
        let run = runs(&proxy.metrics());
        let back = |now: &Sample| {
            now.descriptors.abs_diff(sampler.before.descriptors) <= WITHIN
                && now.open.abs_diff(sampler.before.open) <= WITHIN
        };
        // The run of the last requests counts when it has ended, too; the one after it has no requests.
        let quiet = || runs(&proxy.metrics()) > run + 1.0 && back(&sampler.now(proxy));
        let _what_is_not_back_is_shown = try_within(AFTERWARDS, || quiet().then_some(()));
        let metrics = proxy.metrics();
        let mut findings = memory(&sampler.samples);
        findings.extend(afterwards(&sampler.before, &sampler.now(proxy)));
        findings.extend(accounts(account, &metrics));
        findings.extend(others(sampler, &metrics));
        Self(findings)
    }

    /// Whether all bars hold.
    pub fn holds(&self) -> bool {
        self.0.iter().all(Finding::holds)
    }

    /// Shows them.
    pub fn print(&self) {
        for finding in &self.0 {
            println!("{finding}");
        }
        println!("{}", if self.holds() { "all bars hold" } else { "a bar is broken" });
    }
}

fn memory(samples: &[Sample]) -> Vec<Finding> {
    let bytes: Vec<f64> = samples.iter().map(|sample| sample.resident as f64).collect();
    let third = bytes.len() / 3;
    let (second, last) = (mean(&bytes[third..2 * third]), mean(&bytes[2 * third..]));
    let allowed = (second * GROWTH_SHARE).max(GROWTH_BYTES);
    let warm = samples.len() * (WARM_UP * 100.0) as usize / 100;
    let points: Vec<(f64, f64)> =
        samples[warm..].iter().map(|sample| (sample.at.as_secs_f64() / 3600.0, mib(sample.resident))).collect();
    let line = slope(&points);
    vec![
        Finding::judged(
            "memory, second to last third",
            format!("{:+.3} MiB, from {:.2} MiB", (last - second) / 1048576.0, second / 1048576.0),
            format!("below {:.3} MiB", allowed / 1048576.0),
            last - second < allowed,
        ),
        Finding::shown("memory, slope", format!("{:+.1} MiB/h, standard error {:.1}", line.rise, line.standard_error)),
    ]
}

fn afterwards(before: &Sample, now: &Sample) -> Vec<Finding> {
    let figures = [
        ("descriptors afterwards", before.descriptors, now.descriptors),
        ("connections afterwards", before.open, now.open),
        ("threads afterwards", before.threads, now.threads),
    ];
    let judge = |(what, before, now): (&str, u64, u64)| {
        let bar = format!("{before} within {WITHIN}");
        Finding::judged(what, now.to_string(), bar, now.abs_diff(before) <= WITHIN)
    };
    figures.into_iter().map(judge).collect()
}

/// Every request, as its client saw it and as the proxy counted it.
fn accounts(account: &Account, metrics: &Metrics) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (kind, tally) in account.tallies() {
        let accounted = tally.answered + tally.failed + tally.left;
        let value = format!("{} = {} + {} + {}", tally.sent, tally.answered, tally.failed, tally.left);
        let wrong = tally.first_wrong.map_or_else(String::new, |what| format!("; {} wrong: {what}", tally.wrong));
        let bar = "sent = answered + failed as it must + left";
        findings.push(Finding::judged(kind, value + &wrong, bar, tally.sent == accounted));
    }
    let equal = |what: &str, clients: u64, proxy: f64| {
        Finding::judged(what, format!("{clients} seen, {proxy} counted"), "equal", clients as f64 == proxy)
    };
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels);
    findings.push(equal("aborted", account.sum(is_good, |tally| tally.aborted), sum("soak_aborted_total", &[])));
    findings.push(equal("delayed", account.sum(is_good, |tally| tally.delayed), sum("soak_delayed_total", &[])));
    let counted = sum("glooshot_proxy_requests_total", &[("service", "good")]);
    findings.push(equal("requests of good clients", account.sum(is_good, |tally| tally.sent), counted));
    // A body that broke off is counted where a client left.
    let rejected = metrics.rejected() - sum("glooshot_proxy_rejected_total", &[("reason", "body")]);
    findings.push(equal("malformed requests", account.sum(|kind| kind == "malformed", |tally| tally.sent), rejected));
    findings
}

fn others(sampler: &Sampler, metrics: &Metrics) -> Vec<Finding> {
    let sum = |name: &str| metrics.sum(name, &[]);
    let panics = sum("glooshot_proxy_panics_total");
    vec![
        Finding::shown("plans, runs", format!("{}, {}", sum("soak_plans_total"), sum("soak_runs_total"))),
        Finding::judged("panics", panics.to_string(), "none", panics == 0.0),
        Finding::shown(
            "cores late by 50 ms and more",
            format!(
                "{} times, {:.3} s at the most; a sleeping thread {:.3} s",
                sum("glooshot_proxy_stalls_total"),
                sum("glooshot_proxy_longest_stall_seconds"),
                sampler.oversleep.as_secs_f64()
            ),
        ),
    ]
}
