//! How an exchange over a connection can fail.

use std::io;

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The answer is not HTTP, or more of it than is allowed.
    #[error("the answer is not HTTP: {0}")]
    Garbage(&'static str),
    /// The connection was closed before the end of the answer.
    #[error("the connection was closed before the end of the answer")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The body of the request broke off before its end.
    #[error("the body of the request broke off")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
}
