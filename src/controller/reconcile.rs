//! One Experiment, on one screen: observe -> decide -> act -> report.

use std::{sync::Arc, time::Duration};

use kube::{api::DynamicObject, runtime::controller::Action};

use super::{
    Context, Paths, act,
    decide::{Decision, decide},
    error::ReconcileError,
    observe::observe,
    report,
};

/// What waits for something that no watch tells of is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Brings the world one step nearer to what one Experiment asks for.
///
/// # Guarantees
/// - The finalizer is written before anything in the world, and removed after everything in it.
/// - Whatever fails is tried again, later each time; it holds up no other Experiment.
pub(crate) async fn reconcile<P: Paths>(
    object: Arc<DynamicObject>,
    context: Arc<Context<P>>,
) -> Result<Action, ReconcileError> {
    let observed = observe(&context, object);
    let decision = decide(observed.situation);
    let told = act::act(&context, &observed, decision).await?;
    report::report(&context, &observed, told).await?;
    context.retries.forget(&observed.uid);
    // Whoever begins to lead looks at everything; and what is done with waits for nothing.
    Ok(if decision == Decision::Nothing { Action::await_change() } else { Action::requeue(LOOK_AGAIN) })
}

/// When an Experiment is looked at again after a failure.
pub(crate) fn try_again<P: Paths>(object: &DynamicObject, error: &ReconcileError, context: &Context<P>) -> Action {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let wait = context.retries.next(uid);
    context.metrics.failed();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    tracing::warn!(%error, namespace = object.metadata.namespace.as_deref(), name, ?wait, "an Experiment could not be brought on; trying again");
    Action::requeue(wait)
}
