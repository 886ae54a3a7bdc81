//! Conditions and times that windows and guards are measured with.

use std::time::Duration;

use glooshot_api::{
    failure_condition::TrafficMetric,
    names::{Destination, ServiceName},
    plan::PlannedCondition,
    quantity::ComparisonOperator,
    scenario::{Threshold, TrafficRule},
};

use crate::proxy::clock::Moment;

/// Between two requests of one core.
const BETWEEN: Duration = Duration::from_micros(50);

/// A clock that goes on with each request, as under 20,000 requests a second on this core.
#[derive(Debug)]
pub(crate) struct Requests(Moment);

impl Requests {
    /// From some moment on.
    pub(crate) fn begin() -> Self {
        Self(Moment::from_nanos(1 << 50))
    }

    /// When the next one ends.
    pub(crate) fn next(&mut self) -> Moment {
        self.after(BETWEEN)
    }

    /// When one ends so much later.
    pub(crate) fn after(&mut self, pause: Duration) -> Moment {
        self.0 = self.0.plus(pause);
        self.0
    }
}

/// A condition that never trips, over a window of 5 s.
pub(crate) fn never(metric: TrafficMetric) -> PlannedCondition {
    let service = ServiceName { namespace: "bookinfo".into(), name: "ratings".into() };
    let rule = TrafficRule {
        service: Destination { service, port: None, subset: None },
        metric,
        interval: Duration::from_secs(5),
        min_requests: 10,
        exclude_injected: true,
        threshold: Threshold { value: 1e9, operator: ComparisonOperator::Greater },
    };
    PlannedCondition::new(0, &rule)
}
