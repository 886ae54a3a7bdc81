//! Plans: decoding never panics, and what is accepted is written and read again as the same plan.

use glooshot_api::plan::{Plan, PlanError};

/// Reads a plan as a data plane does.
///
/// # Panics
/// When an accepted plan changes by being written, or a refusal does not say where.
pub fn run(data: &[u8]) {
    let Ok(plan) = serde_json::from_slice::<Plan>(data) else { return };
    match plan.check() {
        Ok(()) => {
            let written = serde_json::to_vec(&plan).unwrap();
            let again: Plan = serde_json::from_slice(&written).unwrap();
            assert_eq!(again, plan);
            assert_eq!(again.check(), Ok(()));
        }
        Err(PlanError::Invalid { path, message }) => {
            assert!(path.starts_with("routes[") || path.starts_with("experiment."), "{path}: {message}");
            assert!(!message.is_empty(), "{path}");
        }
        Err(PlanError::TooMany { count, limit, .. }) => assert!(count > limit),
    }
}
