//! A client's body: it comes to its end, or it is an error.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use pin_project::pin_project;

/// A client's body, of which a part is never taken for the whole.
///
/// hyper ends a body of HTTP/2 without an error when its stream is reset with `NO_ERROR`. That is right for a client: a server
/// may say so that it has answered and needs no more (RFC 9113 §8.1). A client that resets before its `END_STREAM` has not sent the
/// whole request, whatever the code says.
#[derive(Debug)]
#[pin_project]
pub(crate) struct Whole {
    #[pin]
    body: Incoming,
    /// The end is told by a flag of HTTP/2, not by the body's own framing.
    streamed: bool,
}

/// Why there is no more of a body: always the client's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff {
    /// The connection or the stream broke, or what came is not HTTP.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// The stream was reset before its end, with the code of something that went well.
    #[error("the stream was reset before the end of the body")]
    Reset,
}

impl Whole {
    /// The body of a request that came over this version of HTTP.
    pub(crate) fn of(body: Incoming, version: Version) -> Self {
        Self { body, streamed: version == Version::HTTP_2 }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut this = self.project();
        this.body.as_mut().poll_frame(cx).map(|polled| match polled {
            None if *this.streamed && !this.body.is_end_stream() => Some(Err(BrokenOff::Reset)),
            polled => polled.map(|frame| frame.map_err(Into::into)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
