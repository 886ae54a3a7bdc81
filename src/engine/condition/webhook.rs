//! Webhook conditions: a URL is polled by GET, and an answer other than 2xx trips.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Url};

use super::{
    egress::{EgressError, EgressPolicy, GuardedResolver},
    http::{self, ClientError},
};

/// The time for one answer.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// A URL that is polled.
#[derive(Clone, Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    timeout: Duration,
}

/// Why a webhook cannot be polled at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// The URL is wrong, or the operator does not allow it.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// No client could be made.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Nobody answers there, the name does not resolve, or to an address that is not allowed.
    #[error("the webhook is unreachable: {0}")]
    Unreachable(String),
    /// The answer did not come in time.
    #[error("the webhook did not answer within {0:?}")]
    Timeout(Duration),
}

impl Webhook {
    /// A webhook, if the operator allows its host.
    ///
    /// # Errors
    /// When the URL is wrong or its host not allowed.
    pub fn new(url: &str, policy: &EgressPolicy, timeout: Duration) -> Result<Self, WebhookUrlError> {
        let url = policy.admit(url)?;
        // No connection outlives its poll, so that every poll resolves and judges the name again.
        let builder = http::client_builder(timeout)?
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(GuardedResolver(policy.clone())));
        Ok(Self { client: http::build(builder)?, url, timeout })
    }

    /// The status of one answer. Redirects are answers, not followed; the body is never read.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn poll(&self) -> Result<u16, WebhookError> {
        match self.client.get(self.url.clone()).send().await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) if error.is_timeout() => Err(WebhookError::Timeout(self.timeout)),
            Err(error) => Err(WebhookError::Unreachable(http::causes(&error))),
        }
    }
}

#[cfg(test)]
mod tests;
