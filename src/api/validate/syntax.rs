//! What names, tokens and URLs look like.

use http::Uri;

/// A DNS-1123 subdomain: what Kubernetes calls most objects by.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && is_label_text(label))
}

/// A DNS-1123 label: what Kubernetes calls namespaces and Services by.
pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len()) && is_label_text(text)
}

fn is_label_text(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A token as HTTP has them in methods and header names (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A header value that can be compared with: visible characters, spaces and tabs (RFC 9110 §5.5).
pub(super) fn is_header_value(text: &str) -> bool {
    text.len() <= 2048 && text.chars().all(|c| c == '\t' || !c.is_control())
}

/// Why a text is not a URL that we would call.
pub(super) fn url_problem(text: &str) -> Option<&'static str> {
    let Ok(uri) = text.parse::<Uri>() else { return Some("is not a URL") };
    if text.len() > 2048 {
        return Some("is longer than 2048 characters");
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some("must begin with http:// or https://");
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Some("has no host");
    };
    if authority.as_str().contains('@') {
        return Some("must not carry a user name or password, which everyone who may read the experiment would see");
    }
    text.contains('#').then_some("must not have a fragment, which is never sent")
}
