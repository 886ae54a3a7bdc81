//! The bars: what must hold of the medians.

use crate::{
    case::{Case, DELAY},
    measured::{CaseResult, Figure, Measured},
    results::Results,
    statistics::{Estimate, estimate},
    subject::Subject::{self, Envoy, Haproxy, Least, Ours, Relay, Relay1000, Rules1, Rules1000, Tokio},
};

/// A core that is used this much is the limit of what is measured.
const FULL: f64 = 0.95;
/// How much faster the service must be without a proxy, so that nobody asks whether it was the limit.
const MARGIN: f64 = 4.0;

/// A bar and what was measured.
#[derive(Debug)]
pub struct Bar {
    pub what: String,
    /// `None` where every round is void.
    pub value: Option<Estimate>,
    pub unit: &'static str,
    pub bound: Bound,
    /// The same of who does next to nothing, where it was measured: what can be had at all.
    pub floors: Vec<(Subject, Estimate)>,
}

/// What the median must be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    /// Whether it holds; a bar without a value does not.
    pub fn holds(&self) -> bool {
        self.value.is_some_and(|value| match self.bound {
            Bound::AtMost(most) => value.median <= most,
            Bound::AtLeast(least) => value.median >= least,
        })
    }
}

/// The rounds in which the throughput of a proxy is its own: without it the service was four times as fast, or the proxy's core
/// was full, so that neither the client nor the service can have been the limit.
pub fn valid(result: &CaseResult, proxy: Subject) -> Vec<bool> {
    let Some(rounds) = result.rounds.get(&proxy) else { return Vec::new() };
    let direct = |at: usize| result.rounds.get(&Subject::Direct).map_or(0.0, |all| all[at].rate);
    let is_valid =
        |(at, measured): (usize, &Measured)| measured.proxy_core >= FULL || direct(at) >= MARGIN * measured.rate;
    rounds.iter().enumerate().map(is_valid).collect()
}

/// The ratio of two throughputs in the rounds in which both are valid.
fn throughput(result: &CaseResult, pair: (Subject, Subject)) -> Option<Option<Estimate>> {
    let ratios = result.ratios(pair, |measured| measured.rate)?;
    let both = valid(result, pair.0).into_iter().zip(valid(result, pair.1)).map(|(one, other)| one && other);
    let kept: Vec<f64> = ratios.into_iter().zip(both).filter_map(|(ratio, valid)| valid.then_some(ratio)).collect();
    Some((!kept.is_empty()).then(|| estimate(&kept)))
}

/// `None` where every round is void.
fn known(estimate: Estimate) -> Option<Estimate> {
    (!estimate.median.is_nan()).then_some(estimate)
}

/// Who does next to nothing in the place of ours, by whom, and in what. Where the core of such a relay is not full, the client and
/// the service limit its throughput, and nobody could show more.
type Floors = (&'static [(Subject, Subject)], Figure);

/// All bars of the cases that there are figures of.
pub fn judge(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut bar = |case: &str,
                   what: &str,
                   unit,
                   bound,
                   (pairs, figure): Floors,
                   values: &dyn Fn(&CaseResult) -> Option<Option<Estimate>>| {
        let Some(result) = results.cases.get(case) else { return };
        let Some(value) = values(result) else { return };
        let title = Case::find(case).map_or(case, |case| case.title);
        let floor = |pair: &(Subject, Subject)| Some((pair.0, estimate(&result.ratios(*pair, figure)?)));
        let floors = pairs.iter().filter_map(floor).collect();
        bars.push(Bar { what: format!("{title}: {what}"), value, unit, bound, floors });
    };
    let cpu: Figure = |measured| measured.cpu;
    let ratio = |pair, figure: Figure| move |result: &CaseResult| Some(Some(estimate(&result.ratios(pair, figure)?)));
    let none: Floors = (&[], cpu);
    let by_haproxy: &[_] = &[(Tokio, Haproxy), (Least, Haproxy), (Relay, Haproxy)];
    let by_envoy: Floors = (&[(Tokio, Envoy), (Least, Envoy), (Relay, Envoy)], cpu);
    let (most, least) = (Bound::AtMost, Bound::AtLeast);
    let (ours_by_haproxy, ours_by_envoy) = (ratio((Ours, Haproxy), cpu), ratio((Ours, Envoy), cpu));
    bar("forward-64", "CPU per request, ours / HAProxy's", "", most(0.85), (by_haproxy, cpu), &ours_by_haproxy);
    bar("forward-64", "CPU per request, ours / Envoy's", "", most(0.25), by_envoy, &ours_by_envoy);
    let by_haproxy: Floors = (by_haproxy, |measured| measured.rate);
    bar("forward-64", "requests per second, ours / HAProxy's", "", least(1.15), by_haproxy, &|result| {
        throughput(result, (Ours, Haproxy))
    });
    bar("abort-100", "CPU per request, ours / Envoy's", "", most(0.35), by_envoy, &ours_by_envoy);
    // The latency without a proxy is the same in both, and goes out.
    bar("half-load", "added p99, ours - HAProxy's", " us", most(0.0), none, &|result| {
        Some(known(estimate(&result.paired((Ours, Haproxy), Measured::p99, |ours, theirs| ours - theirs)?)))
    });
    let by_one: Floors = (&[(Relay1000, Relay)], cpu);
    bar("rules", "CPU per request, 1,000 / 1", "", most(1.05), by_one, &ratio((Rules1000, Rules1), cpu));
    bar("memory", "ours / Envoy's", "", most(1.0 / 3.0), none, &ratio((Ours, Envoy), |measured| measured.memory));
    let late = |figure: Figure| {
        move |result: &CaseResult| {
            let values = result.all(Ours, figure)?;
            let nominal = DELAY.as_secs_f64() * 1e6;
            Some(known(estimate(&values.iter().map(|value| (value - nominal) / 1e3).collect::<Vec<_>>())))
        }
    };
    bar("delay-10ms", "p50 above nominal", " ms", most(1.5), none, &late(Measured::p50));
    bar("delay-10ms", "p99 above nominal", " ms", most(3.0), none, &late(Measured::p99));
    bars
}
