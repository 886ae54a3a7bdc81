//! What a cluster refuses, or the way to it, in words that say what to do next.

use std::{error::Error, time::Duration};

use kube::{
    config::KubeconfigError,
    core::{Status, response::reason},
};

/// Why something could not be done in a cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// There is no configuration, or it cannot be used.
    #[error("no cluster can be chosen: {}", configuration(.0))]
    NotConfigured(KubeconfigError),
    /// Nobody answers, or not as an API server does.
    #[error("the cluster at {url} cannot be reached: {cause}; `kubectl cluster-info` asks the same address")]
    Unreachable {
        /// The address of its API server.
        url: String,
        /// The innermost cause.
        cause: String,
    },
    /// The cluster does not know who is asking.
    #[error(
        "the cluster at {url} does not accept these credentials: {message}; log in again, or choose another --context"
    )]
    Unknown {
        /// The address of its API server.
        url: String,
        /// Its own words.
        message: String,
    },
    /// The cluster knows who is asking, and does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// Any other refusal.
    #[error("the cluster at {url} refuses: {message}")]
    Refused {
        /// The address of its API server.
        url: String,
        /// Its own words.
        message: String,
    },
    /// A definition was written but is not served.
    #[error("{name} is not served after {}s: {why}", waited.as_secs())]
    NotEstablished {
        /// The definition.
        name: String,
        /// How long it was waited for.
        waited: Duration,
        /// What its conditions say.
        why: String,
    },
    /// Something else has to be done first.
    #[error("{0}")]
    NotYet(String),
    /// Something of ours in the cluster could not be put back.
    #[error("{0}")]
    NotPutBack(String),
    /// A Deployment was written but its pods do not become ready.
    #[error(
        "deployments.apps/{name} is not ready: {}; `kubectl describe pods -n {namespace}` shows more, and this command may be \
         run again at any time", if why.is_empty() { "nothing has been said about it" } else { why }
    )]
    NotReady {
        /// Where it is.
        namespace: String,
        /// The Deployment.
        name: String,
        /// What keeps it.
        why: String,
    },
}

impl ClusterError {
    /// What an error of the client means.
    pub(super) fn of(error: kube::Error, url: &str) -> Self {
        let url = url.to_owned();
        match error {
            kube::Error::Api(status) => Self::refusal(&status, url),
            kube::Error::InferKubeconfig(error) => Self::NotConfigured(error),
            kube::Error::Auth(error) => Self::Unknown { url, message: innermost(&error) },
            other => Self::Unreachable { url, cause: innermost(&other) },
        }
    }

    fn refusal(status: &Status, url: String) -> Self {
        // An answer without a message is that of something else in the place of an API server.
        let message = match status.message.trim() {
            "" => format!("HTTP {}", status.code),
            message => message.to_owned(),
        };
        if status.is_forbidden() {
            Self::Forbidden(message)
        } else if status.code == 401 || status.reason == reason::UNAUTHORIZED {
            Self::Unknown { url, message }
        } else {
            Self::Refused { url, message }
        }
    }
}

/// The outer causes only say that something failed; the innermost says what.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

fn configuration(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(cause, path) => {
            format!("cannot read {}: {cause}; name a kubeconfig with --kubeconfig or KUBECONFIG", path.display())
        }
        KubeconfigError::CurrentContextNotSet => {
            "the kubeconfig has no current context; name one with --context, or a kubeconfig with --kubeconfig or \
             KUBECONFIG"
                .to_owned()
        }
        KubeconfigError::LoadContext(name) => {
            format!("the kubeconfig has no context {name:?}; `kubectl config get-contexts` lists those that it has")
        }
        other => format!("the kubeconfig cannot be used: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, reason: &str, message: &str) -> String {
        let status = Status::failure(message, reason).with_code(code);
        ClusterError::of(kube::Error::Api(Box::new(status)), "https://192.0.2.1:6443").to_string()
    }

    #[test]
    fn a_refusal_without_a_message_still_says_something() {
        assert_eq!(of(502, "", ""), "the cluster at https://192.0.2.1:6443 refuses: HTTP 502");
    }

    #[test]
    fn expired_credentials_are_not_taken_for_missing_rights() {
        assert!(of(401, "Unauthorized", "Unauthorized").contains("log in again"));
        assert_eq!(of(403, "Forbidden", "user cannot patch"), "user cannot patch");
    }

    #[test]
    fn a_missing_context_is_named() {
        let error = ClusterError::NotConfigured(KubeconfigError::LoadContext("staging".to_owned()));
        assert!(error.to_string().contains("has no context \"staging\""), "{error}");
    }
}
