//! What a controller says, done to the proxy. It is the proxy that refuses what is malformed, older or fenced.

use std::time::Duration;

use glooshot_api::plan::{Plan, TIME_TO_LIVE};

use super::super::messages::{Answer, FromController, OthersPart, PlanId, PlanPart, Renewal};
use crate::proxy::{Control, Moment};

/// Obeys one message that was composed no earlier than `composed`; what is to be answered.
pub(super) fn obey(proxy: &Control, message: FromController, composed: Moment) -> Option<Answer> {
    let mut answer = message.plan.map(|part| take(proxy, &part, composed));
    if let Some(Renewal { id, holds }) = message.renewal {
        let renewed = proxy.renew(id.fencing, id.generation, left(holds, composed, Moment::now()));
        answer = Some(answered(id, renewed));
    }
    if let Some(others) = &message.others {
        take_others(proxy, others, composed);
    }
    answer
}

/// Takes a plan, or finds that it is in force already: each connection brings it once.
fn take(proxy: &Control, part: &PlanPart, composed: Moment) -> Answer {
    let mut plan: Plan = match serde_json::from_str(part.plan.get()) {
        Ok(plan) => plan,
        Err(error) => return Answer::refused(part.id, &format!("the plan is not understood: {error}")),
    };
    if PlanId::of(&plan) != part.id {
        return Answer::refused(part.id, "the plan is another than the one that was announced");
    }
    if let (Some(experiment), Some(share)) = (&mut plan.experiment, part.share) {
        experiment.max_injected = Some(experiment.max_injected.map_or(share, |all| all.min(share)));
    }
    let holds = left(part.holds, composed, Moment::now());
    let in_force = proxy.in_force() == (part.id.fencing, part.id.generation);
    answered(
        part.id,
        if in_force { proxy.renew(part.id.fencing, part.id.generation, holds) } else { proxy.accept(plan, holds) },
    )
}

fn answered<E: std::fmt::Display>(id: PlanId, done: Result<(), E>) -> Answer {
    match done {
        Ok(()) => Answer { id, refused: None },
        Err(refusal) => Answer::refused(id, &refusal.to_string()),
    }
}

fn take_others(proxy: &Control, others: &OthersPart, composed: Moment) {
    // A leader that has been replaced may not know of all proxies any more.
    if others.fencing != proxy.in_force().0 {
        return;
    }
    let counted_at = composed.minus(others.age);
    for sum in &others.sums {
        proxy.set_others(&others.uid, sum.condition, sum.tally, counted_at);
    }
}

/// What is left of the time for which something holds, after the longest time that the message can have been under way.
fn left(holds: Duration, composed: Moment, now: Moment) -> Duration {
    holds.min(TIME_TO_LIVE).saturating_sub(now.since(composed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_under_way_holds_for_what_is_left() {
        let at = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        let ms = Duration::from_millis;
        let table = [
            ("at once", ms(5_000), at(1_000), at(1_000), ms(5_000)),
            ("after a second", ms(5_000), at(1_000), at(2_000), ms(4_000)),
            ("at the end of the lease", ms(300), at(1_000), at(1_100), ms(200)),
            ("too late", ms(300), at(1_000), at(9_000), ms(0)),
            ("more than anybody may ask for", ms(60_000), at(1_000), at(1_000), TIME_TO_LIVE),
            ("of any age", ms(5_000), at(0), at(100_000), ms(0)),
        ];
        for (case, holds, composed, now, expected) in table {
            assert_eq!(left(holds, composed, now), expected, "{case}");
        }
    }
}
