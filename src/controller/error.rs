//! Why an Experiment could not be brought on; it is tried again.

use crate::engine::data_path::PathError;

/// Why an Experiment could not be brought on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server refused, or could not be asked.
    #[error("{what}: {source}")]
    Api {
        /// What was attempted.
        what: &'static str,
        /// What came of it.
        source: Box<kube::Error>,
    },
    /// Something of it is still in the world.
    #[error("the targets could not be put back: {0}")]
    Release(PathError),
}

impl ReconcileError {
    /// An attempt at something that the API server was asked for.
    pub(crate) fn api(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { what, source: Box::new(source) }
    }
}
