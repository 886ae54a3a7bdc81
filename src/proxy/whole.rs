//! A client's body: it comes to its end, or it is an error.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use pin_project::pin_project;

use super::http1;

/// A client's body, of which a part is never taken for the whole.
///
/// hyper ends a body of HTTP/2 without an error when its stream is reset with `NO_ERROR`. That is right for a client: a server
/// may say so that it has answered and needs no more (RFC 9113 §8.1). A client that resets before its `END_STREAM` has not sent the
/// whole request, whatever the code says.
#[derive(Debug)]
#[pin_project(project = WholeProjection)]
pub(crate) enum Whole {
    /// Over HTTP/1, where the body's own framing tells its end.
    Http1(#[pin] http1::Incoming),
    /// Over HTTP/2, where a flag does.
    Http2(#[pin] Incoming),
}

/// Why there is no more of a body: always the client's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff {
    /// The connection broke, or what came is not HTTP.
    #[error(transparent)]
    Http1(#[from] http1::Error),
    /// The connection or the stream broke, or what came is not HTTP.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    /// The stream was reset before its end, with the code of something that went well.
    #[error("the stream was reset before the end of the body")]
    Reset,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.project() {
            WholeProjection::Http1(body) => body.poll_frame(cx).map_err(Into::into),
            WholeProjection::Http2(mut body) => body.as_mut().poll_frame(cx).map(|polled| match polled {
                None if !body.is_end_stream() => Some(Err(BrokenOff::Reset)),
                polled => polled.map(|frame| frame.map_err(Into::into)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
