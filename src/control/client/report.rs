//! What is told to one controller: composed from how the proxy is now, without what that controller has already been told.

use std::collections::BTreeMap;

use super::super::messages::{Answer, ConditionPart, CountsPart, FromProxy, StatePart, TripPart};
use crate::proxy::{Control, Histogram, Moment, RunCounts, Signals};

/// What one controller has been told over this connection.
#[derive(Debug, Default)]
pub(super) struct Told {
    state: Option<StatePart>,
    answer: Option<Answer>,
    /// The run, and the histogram of each of its conditions.
    run: String,
    latencies: BTreeMap<u16, Histogram>,
    /// The run whose trip has been told.
    tripped: Option<String>,
}

impl Told {
    /// The next message, with the last answer unless it has been told, and `token` where there is a new one.
    pub(super) fn next(&mut self, proxy: &Control, answer: Option<Answer>, token: Option<String>) -> FromProxy {
        let signals = proxy.signals().borrow().clone();
        let state = StatePart {
            ready: proxy.is_ready(),
            paused: signals.paused,
            accepted: proxy.accepted(),
            missing: proxy.unseen_callers(),
        };
        let news = answer != self.answer;
        self.answer.clone_from(&answer);
        FromProxy {
            token,
            trip: self.trip(&signals),
            answer: answer.filter(|_| news),
            state: self.changed(state),
            counts: proxy.counts().map(|counts| self.counts(counts)),
            ..FromProxy::default()
        }
    }

    /// The trip of a run, once.
    fn trip(&mut self, signals: &Signals) -> Option<TripPart> {
        let trip = signals.trip.filter(|_| self.tripped.as_ref() != Some(&signals.run))?;
        self.tripped = Some(signals.run.clone());
        let age = Moment::now().since(trip.crossed_at);
        Some(TripPart { uid: signals.run.clone(), condition: trip.condition, value: trip.value, age })
    }

    /// The state, unless it has been told.
    fn changed(&mut self, state: StatePart) -> Option<StatePart> {
        if self.state.as_ref() == Some(&state) {
            return None;
        }
        self.state = Some(state.clone());
        Some(state)
    }

    /// The counts, with what has changed of the histograms.
    fn counts(&mut self, counts: RunCounts) -> CountsPart {
        if self.run != counts.uid {
            self.run.clone_from(&counts.uid);
            self.latencies.clear();
        }
        let conditions = counts.conditions.into_iter().map(|condition| ConditionPart {
            condition: condition.index,
            tally: condition.tally,
            latencies: condition.latencies.map_or_else(Vec::new, |now| {
                let before = self.latencies.entry(condition.index).or_default();
                let changes = now.changes_since(before);
                *before = now;
                changes
            }),
        });
        CountsPart { uid: counts.uid, conditions: conditions.collect(), injection: counts.injection }
    }
}
