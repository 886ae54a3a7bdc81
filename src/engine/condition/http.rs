//! The HTTP client of the conditions: bounded in time and size, never redirected, with its own TLS roots.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, Response, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Why no client could be made: a fault of this build, never of the author or the network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no HTTP client can be made: {0}")]
pub struct ClientError(String);

/// Characters of other people's error texts that are shown at the most.
const SHOWN_CHARACTERS: usize = 300;

/// A client that needs nothing of its process: no CA files in the image, no process-wide crypto provider, no proxy variables.
pub(super) fn client_builder(timeout: Duration) -> Result<reqwest::ClientBuilder, ClientError> {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("glooshot/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy())
}

/// Builds what [`client_builder`] began.
pub(super) fn build(builder: reqwest::ClientBuilder) -> Result<Client, ClientError> {
    builder.build().map_err(|error| ClientError(causes(&error)))
}

/// The body, or `None` if it is longer than `limit` bytes.
pub(super) async fn bounded_body(mut response: Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// An error with everything that caused it, without the URL, which may hold a password.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = match error {
        error if error.is_connect() => "cannot connect".to_owned(),
        error if error.is_body() || error.is_decode() => "the answer broke off".to_owned(),
        _ => "the request failed".to_owned(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    shown(&text)
}

/// Whether the other side spoke, but not HTTP.
pub(super) fn is_not_http(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Other people's text, fit for one line of a terminal or a status.
pub(super) fn shown(text: &str) -> String {
    let line: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = line.join(" ");
    match line.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_text_is_one_short_line_without_control_characters() {
        assert_eq!(shown("parse error:\r\n\tunexpected \u{1b}[31mend\u{7}"), "parse error: unexpected [31mend");
        let long = shown(&"ä".repeat(1_000));
        assert_eq!(long.chars().count(), SHOWN_CHARACTERS + 1);
    }
}
