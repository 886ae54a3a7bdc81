//! Webhooks over real sockets.
#![allow(clippy::unwrap_used)]

use reqwest::dns::Resolve;
use tokio::sync::mpsc;

use super::*;
use crate::engine::tests::server::{ENDLESS, Reply, Server, http, nobody};

/// Longer than anything takes here that does not wait for ever, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

fn webhook(url: &str, allowed: &str) -> Webhook {
    impatient(url, allowed, PATIENCE)
}

fn impatient(url: &str, allowed: &str, timeout: Duration) -> Webhook {
    Webhook::new(url, &EgressPolicy::new([allowed.parse().unwrap()]), timeout).unwrap()
}

#[tokio::test]
async fn an_answer_is_its_status_and_a_redirect_is_not_followed() {
    for status in [200, 204, 301, 404, 503] {
        let server = Server::raw(http(status, "text/plain", "ok")).await;
        assert_eq!(webhook(&server.url(), "127.0.0.1").poll().await, Ok(status));
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn an_endless_body_is_not_read() {
    let (told, mut taken) = mpsc::channel(1);
    let server = Server::start(move |_, _| Reply::Endless(told.clone())).await;
    assert_eq!(webhook(&server.url(), "127.0.0.1").poll().await, Ok(200));
    // The client has closed when it had the head; what was taken is what the sockets hold.
    let taken = tokio::time::timeout(PATIENCE, taken.recv()).await.unwrap().unwrap();
    assert!(taken < ENDLESS, "{taken} bytes");
}

#[tokio::test]
async fn silence_garbage_and_absence_are_errors_not_answers() {
    let hanging = Server::start(|_, _| Reply::Hang).await;
    let timeout = Duration::from_millis(500);
    let error = impatient(&hanging.url(), "127.0.0.1", timeout).poll().await.unwrap_err();
    assert_eq!(error, WebhookError::Timeout(timeout));
    let garbage = Server::raw("no HTTP at all\r\n\r\n").await;
    for url in [garbage.url(), format!("http://{}", nobody().await)] {
        let error = webhook(&url, "127.0.0.1").poll().await.unwrap_err();
        assert!(matches!(error, WebhookError::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn the_operators_own_machine_is_reached_by_its_name() {
    let server = Server::raw(http(200, "text/plain", "ok")).await;
    let url = format!("http://localhost:{}/", server.address.port());
    assert_eq!(webhook(&url, "localhost").poll().await, Ok(200));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_than_the_operator_thinks_does_not_resolve() {
    // The system's resolver reads these as 127.0.0.1 and 169.254.169.254, as a name would whose owner means harm.
    for (name, address) in [("127.1", "127.0.0.1"), ("2852039166", "169.254.169.254")] {
        let resolver = GuardedResolver(EgressPolicy::new([name.parse().unwrap()]));
        let error = resolver.resolve(name.parse().unwrap()).await.map(|_| ()).unwrap_err().to_string();
        assert_eq!(error, format!("{name} resolves to an address that is not allowed ({address})"));
        let policy = EgressPolicy::new([name.parse().unwrap(), address.parse().unwrap()]);
        let resolved = GuardedResolver(policy).resolve(name.parse().unwrap()).await.unwrap();
        assert_eq!(resolved.map(|a| a.ip().to_string()).collect::<Vec<_>>(), [address]);
    }
}
