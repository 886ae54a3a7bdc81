//! One worker's keep-alive connection: opened when needed, dropped on any failure.

use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{Inspected, MAX_INSPECTED_BODY};
use crate::summary::ErrorClass;
use crate::target::Target;

/// Most bytes of a response head that are buffered.
const MAX_HEAD: usize = 64 * 1024;

/// A complete response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
}

/// Sends requests one after the other, over one connection as long as it lasts.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    target: &'a Target,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Holds the task that moves the connection's bytes; dropping it closes the connection.
    _driver: JoinSet<()>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        Self { target, open: None }
    }

    /// Makes one request and reads the whole response.
    pub(crate) async fn exchange(&mut self) -> Result<Answer, ErrorClass> {
        let result = timeout(self.target.timeout, self.attempt()).await.unwrap_or(Err(ErrorClass::Timeout));
        if result.is_err() {
            self.open = None;
        }
        result
    }

    async fn attempt(&mut self) -> Result<Answer, ErrorClass> {
        let response = self.send().await?;
        let (head, body) = response.into_parts();
        let mut kept = Vec::new();
        let keep = if self.target.inspect.is_some() { MAX_INSPECTED_BODY } else { 0 };
        let body_bytes = read_body(body, &mut kept, keep).await?;
        if let Some(inspect) = &self.target.inspect {
            let truncated = body_bytes > kept.len() as u64;
            inspect.call(&Inspected { status: head.status, headers: &head.headers, body: &kept, truncated });
        }
        Ok(Answer { status: head.status.as_u16(), body_bytes })
    }

    /// Sends the request and waits for the response head. A request that hyper gives back because the idle
    /// connection had just closed was never written, so it goes out once more on a new connection
    /// (RFC 9112 §9.3.1).
    async fn send(&mut self) -> Result<Response<Incoming>, ErrorClass> {
        let mut request = self.target.request();
        loop {
            let (reused, open) = self.ready().await?;
            match open.sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => {
                        request = unsent;
                        self.open = None;
                    }
                    _ => return Err(classify(error.error())),
                },
            }
        }
    }

    /// The open connection, or a new one; and whether it was open already.
    async fn ready(&mut self) -> Result<(bool, &mut Open), ErrorClass> {
        let open = match self.open.take() {
            Some(mut open) => open.sender.ready().await.is_ok().then_some(open),
            None => None,
        };
        let reused = open.is_some();
        let open = match open {
            Some(open) => open,
            None => connect(self.target).await?,
        };
        Ok((reused, self.open.insert(open)))
    }
}

async fn connect(target: &Target) -> Result<Open, ErrorClass> {
    let stream = target.connect().await.map_err(|_| ErrorClass::Connect)?;
    let (mut sender, connection) =
        Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await.map_err(|_| ErrorClass::Connect)?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its error is also that of the request in flight, where it is counted.
        let _ = connection.await;
    });
    sender.ready().await.map_err(|error| classify(&error))?;
    Ok(Open { sender, _driver: driver })
}

async fn read_body(mut body: Incoming, kept: &mut Vec<u8>, keep: usize) -> Result<u64, ErrorClass> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ErrorClass::Body)?;
        if let Some(data) = frame.data_ref() {
            length += data.len() as u64;
            let room = keep.saturating_sub(kept.len());
            kept.extend(data.iter().take(room));
        }
    }
    Ok(length)
}

fn classify(error: &hyper::Error) -> ErrorClass {
    if error.is_parse() || error.is_parse_too_large() { ErrorClass::Protocol } else { ErrorClass::Io }
}
