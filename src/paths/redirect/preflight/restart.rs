//! What is found where the pods are to be restarted.

use super::{super::restart::Keeper, Findings, Reason, Seen};

pub(super) fn inspect(seen: &Seen, findings: &mut Findings) {
    for keeper in &seen.keepers {
        if let Some(why) = keeper.refusal() {
            findings.error(Reason::NotRestartable, why);
        } else if let Keeper::Workload(workload) = keeper
            && workload.has_gap()
        {
            findings.warn(
                Reason::RestartGap,
                format!("{workload} has no pod for a while when it is restarted, and requests are answered with 503 meanwhile"),
            );
        }
    }
}
