//! How an exchange over a connection can fail, on either side of it.

use std::io;

/// Why there is no message, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What came is not HTTP, or more of it than is allowed.
    #[error("not HTTP: {0}")]
    Garbage(&'static str),
    /// The connection was closed before the end of what came.
    #[error("the connection was closed before the end")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The body that is sent broke off before its end.
    #[error("the body to send broke off")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}
