//! Certificates that Glooshot makes for itself: for the control channel, and for the webhook.
//!
//! | file | job |
//! |---|---|
//! | `authority` | makes certificates: an authority of our own, and the leaf that it signs |
//! | `certificate` | reads what is stored, strictly |
//! | `rotation` | what is due at this time; pure |
//! | `stored` | everything together, as bytes in and bytes out |
//! | `current` | the certificate that a server shows now, changed without a cut |
//!
//! Whoever keeps the bytes (a Secret in a cluster) compares and swaps them; nothing here knows where they are.

mod authority;
mod certificate;
mod current;
mod rotation;
mod stored;

pub use self::{
    current::CurrentCertificate,
    rotation::{Due, Life, Rule},
    stored::Pki,
};

/// Why certificates cannot be used or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// What is stored is not what we store: somebody else's fault.
    #[error("the stored certificates are unusable: {0}")]
    Stored(String),
    /// A name that no certificate can be for: the caller's fault.
    #[error("no certificate can be made for {names:?}: {problem}")]
    Names {
        /// The names.
        names: Vec<String>,
        /// What is wrong with them.
        problem: String,
    },
    /// The cryptographic library refused.
    #[error("a certificate could not be made: {0}")]
    Make(String),
}
