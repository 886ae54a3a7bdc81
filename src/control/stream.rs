//! The two directions of a connection: frames out, composed when they can be taken, and frames in.

use std::{
    convert::Infallible,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::mpsc;

use super::{
    frame::{Frames, TooLong, framed},
    link::Link,
    messages::{Message, MessageError},
};
use crate::proxy::Moment;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The peer closed it, or it broke.
    #[error("the peer has gone")]
    Gone,
    /// It broke in the middle.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The peer says more than anybody needs to.
    #[error("too many messages in a second")]
    Flood,
    /// The peer does not keep to the protocol.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The peer does not keep to the protocol.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// A body of frames. At most one waits; while it waits nothing newer is composed.
#[derive(Debug)]
pub(crate) struct Outgoing(mpsc::Receiver<Bytes>);

/// Sends messages into an [`Outgoing`].
#[derive(Debug)]
pub(crate) struct Sender(mpsc::Sender<Bytes>);

/// A body, and what fills it.
pub(crate) fn outgoing() -> (Sender, Outgoing) {
    let (sender, receiver) = mpsc::channel(1);
    (Sender(sender), Outgoing(receiver))
}

impl Sender {
    /// Composes and sends a message once the connection can take it.
    pub(crate) async fn send<M: Message>(&self, link: &Link, compose: impl FnOnce() -> M) -> Result<(), StreamError> {
        let place = self.0.reserve().await.map_err(|_| StreamError::Gone)?;
        let mut message = compose();
        message.stamp(link.stamps());
        place.send(framed(&message.encode()?));
        Ok(())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(ready!(self.0.poll_recv(context)).map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Messages that come.
#[derive(Debug)]
pub(crate) struct Messages<M> {
    body: Incoming,
    frames: Frames,
    kind: PhantomData<M>,
}

impl<M: Message> Messages<M> {
    /// Reads them from a body.
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, frames: Frames::new(M::LIMIT), kind: PhantomData }
    }

    /// The next one, and the earliest moment at which it can have been composed.
    pub(crate) async fn next(&mut self, link: &Link) -> Result<(M, Moment), StreamError> {
        loop {
            if let Some(bytes) = self.frames.next()? {
                let message = M::decode(&bytes)?;
                let composed = link.received(message.stamps(), Moment::now());
                return Ok((message, composed));
            }
            let frame = self.body.frame().await.ok_or(StreamError::Gone)??;
            if let Ok(data) = frame.into_data() {
                self.frames.push(&data);
            }
        }
    }
}
