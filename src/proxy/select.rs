//! Step 2, select: the group of endpoints that the request will go to, and the fault that hits it, if one does.

use std::sync::{Arc, atomic::Ordering};

use super::{
    clock::Moment,
    connection::Caller,
    dice,
    fault::{Facts, LiveFault},
    head::RequestHead,
    live_plan::{LivePlan, RouteView},
    route::LiveRoute,
    worker::Worker,
};

/// Where a request goes, and what is done to it before.
#[derive(Debug)]
pub(crate) struct Selection<'p> {
    /// The endpoints of the Service port.
    pub(crate) route: &'p Arc<LiveRoute>,
    /// The random number that chose among its groups; the same number chooses the same group again.
    pub(crate) random: u64,
    /// The fault that hits this request.
    pub(crate) fault: Option<&'p Arc<LiveFault>>,
}

/// Chooses. Rolls the dice only where an armed experiment has a fault for this port.
pub(crate) fn select<'p>(
    worker: &Worker,
    plan: &LivePlan,
    view: &'p RouteView,
    caller: &Caller,
    head: &RequestHead,
    now: Moment,
) -> Selection<'p> {
    let slot = &worker.shared.slot;
    let random = worker.random();
    let route = view.endpoints(slot.is_fresh(now));
    let injects = !view.faults.is_empty() && plan.experiment().is_some_and(|live| slot.injects(live, now));
    if injects && caller.exempt {
        worker.metrics.published().exempt.fetch_add(1, Ordering::Relaxed);
    }
    let fault = if injects && !caller.exempt { roll(worker, plan, view, route, random, caller, head) } else { None };
    Selection { route, random, fault }
}

/// Rolls once for all faults that apply to this request.
fn roll<'p>(
    worker: &Worker,
    plan: &LivePlan,
    view: &'p RouteView,
    route: &LiveRoute,
    random: u64,
    caller: &Caller,
    head: &RequestHead,
) -> Option<&'p Arc<LiveFault>> {
    let endpoint = route.group(random).and_then(|group| group.endpoints.first());
    let facts = Facts {
        subset: endpoint.and_then(|endpoint| endpoint.subset.as_deref()),
        source: plan.source(caller.address).map(|source| &source.service),
        method: &head.method,
        path: head.uri.path(),
        fields: &head.fields,
    };
    dice::of_request(&view.faults, &facts, worker.roll(plan))
}
