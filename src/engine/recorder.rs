//! The Report: one history for each failure condition, in bounded memory and of bounded size.

use glooshot_api::{
    names::{ResourceRef, ServiceName},
    report::{ConditionHistory, ReportSpec, SampleValue, Snapshot},
    scenario::{Scenario, Threshold, TriggerRule},
};
use jiff::Timestamp;

use super::clock;

/// A Report serialised as JSON at the most. etcd refuses objects above 1.5 MiB, and this is read by people.
pub const MAX_REPORT_BYTES: usize = 128 * 1024;
/// Of which this much is left to the object's metadata.
const METADATA_BYTES: usize = 4 * 1024;
/// Samples of one condition in memory at the most: more than one history alone can show in [`MAX_REPORT_BYTES`].
const MAX_SAMPLES: usize = 4_096;

/// Records what every condition is observed to be.
#[derive(Debug)]
pub struct Recorder {
    histories: Vec<History>,
}

/// The samples of one condition. When there are too many, every other one goes and from then on only every other one is kept.
#[derive(Debug)]
struct History {
    threshold: Option<Threshold>,
    seen: u64,
    stride: u64,
    crossed: bool,
    samples: Vec<Sample>,
    /// The latest, which may not be among the samples.
    last: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    ordinal: u64,
    at: Timestamp,
    value: f64,
    /// The first sample and the first that crosses the threshold are never thinned out.
    keep: bool,
}

impl Recorder {
    /// A recorder for conditions with these thresholds, in the order of the spec; a webhook has none.
    pub fn new(thresholds: impl IntoIterator<Item = Option<Threshold>>) -> Self {
        let history =
            |threshold| History { threshold, seen: 0, stride: 1, crossed: false, samples: Vec::new(), last: None };
        Self { histories: thresholds.into_iter().map(history).collect() }
    }

    /// A recorder for the conditions of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        Self::new(scenario.conditions.iter().map(|condition| match &condition.trigger {
            TriggerRule::Prometheus { threshold, .. } => Some(*threshold),
            TriggerRule::Traffic(rule) => Some(rule.threshold),
            TriggerRule::Webhook { .. } => None,
        }))
    }

    /// Takes in what a Report of the same run has shown until now; what it does not say in a form that is ours is left out.
    pub fn take_in(&mut self, report: &[ConditionHistory]) {
        for (condition, history) in report.iter().enumerate() {
            for Snapshot { timestamp, value } in &history.failure_condition_snapshots {
                if let Ok(at) = timestamp.parse() {
                    self.record(condition, at, value.0);
                }
            }
        }
    }

    /// A value of each condition that has been observed: a number, if it ever had one.
    pub(super) fn observed(&self) -> impl Iterator<Item = (usize, f64)> {
        let values = |(i, history): (usize, &History)| {
            let mut values = history.samples.iter().map(|sample| sample.value);
            let first = values.next()?;
            Some((i, if first.is_nan() { values.find(|value| !value.is_nan()).unwrap_or(first) } else { first }))
        };
        self.histories.iter().enumerate().filter_map(values)
    }

    /// Records a sample; `at` is when it was received.
    pub fn record(&mut self, condition: usize, at: Timestamp, value: f64) {
        if let Some(history) = self.histories.get_mut(condition) {
            history.record(at, value);
        }
    }

    /// The Report of `experiment`, thinned evenly until it fits.
    pub fn report<'a>(&self, experiment: &ServiceName, names: impl IntoIterator<Item = &'a str>) -> ReportSpec {
        let names: Vec<&str> = names.into_iter().collect();
        let shown = |most: usize| ReportSpec {
            experiment: ResourceRef { name: experiment.name.clone(), namespace: Some(experiment.namespace.clone()) },
            failure_condition_history: self
                .histories
                .iter()
                .enumerate()
                .map(|(i, history)| ConditionHistory {
                    failure_condition_name: names.get(i).copied().unwrap_or_default().to_owned(),
                    failure_condition_snapshots: history.thinned(most).into_iter().map(Sample::snapshot).collect(),
                })
                .collect(),
        };
        let everything = shown(MAX_SAMPLES + 2);
        if fits(&everything) {
            return everything;
        }
        // The most samples for each history with which the whole fits.
        let (mut enough, mut too_many) = (0, MAX_SAMPLES + 2);
        while too_many - enough > 1 {
            let middle = usize::midpoint(enough, too_many);
            if fits(&shown(middle)) { enough = middle } else { too_many = middle }
        }
        shown(enough)
    }
}

fn fits(report: &ReportSpec) -> bool {
    serde_json::to_vec(report).is_ok_and(|bytes| bytes.len() <= MAX_REPORT_BYTES - METADATA_BYTES)
}

impl History {
    fn record(&mut self, at: Timestamp, value: f64) {
        let crossing = !self.crossed && self.threshold.is_some_and(|threshold| threshold.trips(value));
        self.crossed |= crossing;
        let sample = Sample { ordinal: self.seen, at, value, keep: self.seen == 0 || crossing };
        self.seen += 1;
        self.last = Some(sample);
        if sample.keep || sample.ordinal.is_multiple_of(self.stride) {
            self.samples.push(sample);
        }
        if self.samples.len() > MAX_SAMPLES {
            self.stride *= 2;
            let stride = self.stride;
            self.samples.retain(|sample| sample.keep || sample.ordinal.is_multiple_of(stride));
        }
    }

    /// About `most` samples, evenly spread; first, crossing and last are always among them.
    fn thinned(&self, most: usize) -> Vec<Sample> {
        let mut all = self.samples.clone();
        if let Some(last) = self.last
            && all.last().is_none_or(|sample| sample.ordinal != last.ordinal)
        {
            all.push(last);
        }
        let count = all.len();
        if count <= most {
            return all;
        }
        let evenly = |index: usize| (index * most) / count != (index + 1) * most / count;
        all.into_iter().enumerate().filter(|(i, s)| s.keep || i + 1 == count || evenly(*i)).map(|(_, s)| s).collect()
    }
}

impl Sample {
    fn snapshot(self) -> Snapshot {
        Snapshot { timestamp: clock::rfc3339(self.at), value: SampleValue(self.value) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use glooshot_api::quantity::ComparisonOperator;
    use proptest::prelude::*;

    use super::*;

    const THRESHOLD: Threshold = Threshold { value: 0.5, operator: ComparisonOperator::Greater };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_560_182_904 + second).unwrap()
    }

    fn report(recorder: &Recorder, conditions: usize) -> ReportSpec {
        let names: Vec<String> = (0..conditions).map(|i| format!("{i}-1560182904805162499")).collect();
        let experiment = ServiceName { namespace: "bookinfo".to_owned(), name: "abort-ratings-metric".to_owned() };
        recorder.report(&experiment, names.iter().map(String::as_str))
    }

    #[test]
    fn every_sample_of_a_short_run_is_shown_in_the_order_of_the_spec() {
        let mut recorder = Recorder::new([Some(THRESHOLD), None]);
        recorder.record(1, at(1), 200.0);
        recorder.record(0, at(5), f64::NAN);
        recorder.record(0, at(10), 0.451_602_046_311_254_67);
        recorder.record(7, at(10), 1.0);
        let report = serde_json::to_value(report(&recorder, 2)).unwrap();
        let expected = serde_json::json!({
            "experiment": {"name": "abort-ratings-metric", "namespace": "bookinfo"},
            "failureConditionHistory": [
                {"failureConditionName": "0-1560182904805162499", "failureConditionSnapshots": [
                    {"timestamp": "2019-06-10T16:08:29.000000000Z", "value": "NaN"},
                    {"timestamp": "2019-06-10T16:08:34.000000000Z", "value": 0.451_602_046_311_254_67},
                ]},
                {"failureConditionName": "1-1560182904805162499", "failureConditionSnapshots": [
                    {"timestamp": "2019-06-10T16:08:25.000000000Z", "value": 200.0},
                ]},
            ],
        });
        assert_eq!(report, expected);
    }

    #[test]
    fn a_condition_without_samples_has_an_empty_history() {
        let report = report(&Recorder::new([None]), 1);
        assert_eq!(report.failure_condition_history.len(), 1);
        assert!(report.failure_condition_history[0].failure_condition_snapshots.is_empty());
    }

    #[test]
    fn a_day_of_sixteen_conditions_fits_and_is_thinned_evenly() {
        let mut recorder = Recorder::new([Some(THRESHOLD); 16]);
        for second in 0..86_400 {
            for condition in 0..16 {
                recorder.record(condition, at(second), second as f64 / 1e9);
            }
        }
        let report = report(&recorder, 16);
        let bytes = serde_json::to_vec(&report).unwrap().len();
        assert!(bytes <= MAX_REPORT_BYTES && bytes > MAX_REPORT_BYTES * 8 / 10, "{bytes}");
        for history in &report.failure_condition_history {
            let seconds: Vec<f64> =
                history.failure_condition_snapshots.iter().map(|s| (s.value.0 * 1e9).round()).collect();
            assert_eq!((seconds[0], seconds[seconds.len() - 1]), (0.0, 86_399.0));
            let gaps: Vec<f64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let widest = gaps.iter().copied().fold(0.0, f64::max);
            assert!(widest <= 2.5 * 86_400.0 / seconds.len() as f64, "{widest} of {}", seconds.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn first_crossing_and_last_are_always_shown(count in 1usize..40_000, crossing in 0usize..40_000) {
            let mut recorder = Recorder::new([Some(THRESHOLD)]);
            for i in 0..count {
                let value = if i == crossing { 0.75 } else { i as f64 / 1e9 };
                recorder.record(0, at(i as i64), value);
            }
            prop_assert!(recorder.histories[0].samples.len() <= MAX_SAMPLES);
            let report = report(&recorder, 1);
            prop_assert!(serde_json::to_vec(&report).unwrap().len() <= MAX_REPORT_BYTES);
            let shown: Vec<&str> =
                report.failure_condition_history[0].failure_condition_snapshots.iter().map(|s| &*s.timestamp).collect();
            let mut due = vec![0, count - 1];
            due.extend((crossing < count).then_some(crossing));
            for i in due {
                prop_assert!(shown.contains(&&*clock::rfc3339(at(i as i64))), "sample {} of {}", i, count);
            }
            prop_assert!(shown.is_sorted());
        }
    }
}
