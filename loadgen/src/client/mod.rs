//! The clients that make requests, one for each worker.

pub(crate) mod arrival;
mod chunks;
pub(crate) mod dial;
mod http1;
mod http2;
mod response;
pub(crate) mod transport;

use std::rc::Rc;

use crate::config::Inspected;
use crate::crew::Crew;
use crate::summary::ErrorClass;

pub(crate) use http1::Http1;
pub(crate) use http2::{Http2, Multiplex};

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
}

/// Makes requests one after the other.
#[derive(Debug)]
pub(crate) enum Client {
    Http1(Http1),
    Http2(Http2),
}

impl Client {
    /// Makes the request with this index and reads the whole response.
    ///
    /// Cancellation: may be dropped at any await; its connection, or its stream, is then given up.
    pub(crate) async fn exchange(&mut self, request: usize) -> Result<Answer, ErrorClass> {
        match self {
            Self::Http1(client) => client.exchange(request).await,
            Self::Http2(client) => client.exchange(request).await,
        }
    }
}

/// What an `Inspect` hook will be shown, where there is one.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Kept {
    /// Keeps the beginning of the body.
    fn keep(&mut self, data: &[u8]) {
        let room = crate::config::MAX_INSPECTED_BODY.saturating_sub(self.body.len());
        self.body.extend(data.iter().take(room));
    }
}

/// Shows the response to the hook, if there is one.
fn inspect(crew: &Rc<Crew>, answer: Answer, kept: Option<&Kept>) {
    if let (Some(inspect), Some(kept)) = (&crew.prepared.inspect, kept)
        && let Ok(status) = http::StatusCode::from_u16(answer.status)
    {
        let truncated = answer.body_bytes > kept.body.len() as u64;
        inspect.call(&Inspected { status, headers: &kept.headers, body: &kept.body, truncated });
    }
}
