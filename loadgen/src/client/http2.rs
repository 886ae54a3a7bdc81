//! HTTP/2: several workers share a connection, one stream each.

use std::rc::Rc;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::Response;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{Answer, Kept, inspect};
use crate::crew::Crew;
use crate::prepared::Request;
use crate::summary::ErrorClass;

/// Bytes of a response that may be under way, for each stream and for each connection.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// The connection that several workers share: one to each origin.
#[derive(Debug)]
pub(crate) struct Multiplex {
    /// Locked while it is opened, so that all wait for the same one.
    open: Vec<Mutex<Option<Open>>>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Bytes>,
    /// Holds the task that moves the connection's bytes; dropping it closes the connection.
    driver: JoinSet<()>,
}

/// One worker's part of a connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    crew: Rc<Crew>,
    multiplex: Rc<Multiplex>,
}

impl Multiplex {
    pub(crate) fn new(origins: usize) -> Self {
        Self { open: std::iter::repeat_with(Mutex::default).take(origins).collect() }
    }
}

impl Http2 {
    pub(crate) fn new(crew: Rc<Crew>, multiplex: Rc<Multiplex>) -> Self {
        Self { crew, multiplex }
    }

    pub(super) async fn exchange(&mut self, index: usize) -> Result<Answer, ErrorClass> {
        let request = self.crew.prepared.request(index)?;
        let sender = self.sender(request.origin).await?;
        let response = send(sender, request)?.await.map_err(|error| classify(&error))?;
        let mut kept = self.crew.prepared.inspect.is_some().then(Kept::default);
        let answer = read(response, kept.as_mut()).await?;
        inspect(&self.crew, answer, kept.as_ref());
        Ok(answer)
    }

    /// A sender of the shared connection that can take a request, or of a new one.
    async fn sender(&self, origin: usize) -> Result<SendRequest<Bytes>, ErrorClass> {
        let place = self.multiplex.open.get(origin).ok_or(ErrorClass::Connect)?;
        let mut open = place.lock().await;
        if let Some(open) = open.as_mut()
            && open.driver.try_join_next().is_none()
            && let Ok(sender) = open.sender.clone().ready().await
        {
            return Ok(sender);
        }
        *open = None;
        let fresh = Box::pin(connect(&self.crew, origin)).await?;
        let sender = fresh.sender.clone();
        *open = Some(fresh);
        drop(open);
        sender.ready().await.map_err(|error| classify(&error))
    }
}

async fn connect(crew: &Rc<Crew>, origin: usize) -> Result<Open, ErrorClass> {
    let transport = crew.dial(origin).await?;
    let (stream, connection) = WINDOWS;
    let mut builder = Builder::new();
    builder.initial_window_size(stream).initial_connection_window_size(connection).enable_push(false);
    let (sender, connection) = builder.handshake(transport).await.map_err(|error| classify(&error))?;
    let mut driver = JoinSet::new();
    driver.spawn_local(async move {
        // Its error is also that of the requests in flight, where it is counted.
        let _ = connection.await;
    });
    Ok(Open { sender, driver })
}

fn send(mut sender: SendRequest<Bytes>, request: &Request) -> Result<ResponseFuture, ErrorClass> {
    let ends = request.body.is_empty();
    let (response, mut body) = sender.send_request(request.head.clone(), ends).map_err(|error| classify(&error))?;
    if !ends {
        body.send_data(request.body.clone(), true).map_err(|error| classify(&error))?;
    }
    Ok(response)
}

async fn read(response: Response<h2::RecvStream>, mut kept: Option<&mut Kept>) -> Result<Answer, ErrorClass> {
    let (head, mut body) = response.into_parts();
    let mut body_bytes = 0;
    while let Some(data) = body.data().await {
        let data = data.map_err(|_| ErrorClass::Body)?;
        body_bytes += data.len() as u64;
        body.flow_control().release_capacity(data.len()).map_err(|_| ErrorClass::Body)?;
        if let Some(kept) = kept.as_deref_mut() {
            kept.keep(&data);
        }
    }
    body.trailers().await.map_err(|_| ErrorClass::Body)?;
    if let Some(kept) = kept {
        kept.headers = head.headers;
    }
    Ok(Answer { status: head.status.as_u16(), body_bytes })
}

/// What an error before the response head means.
fn classify(error: &h2::Error) -> ErrorClass {
    if error.is_library() { ErrorClass::Protocol } else { ErrorClass::Io }
}
