//! A connection in use, of either version: a request goes over it, and its answer is read from it.

use std::{
    error::Error as _,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::uri::Scheme;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};

use super::{
    body::RequestBody,
    clock::Moment,
    head::{RequestHead, ResponseHead},
    http1,
    link::Link,
    multiplex::Stream,
    pool::{Connection, Pool},
    rewrite::to_http2,
    tapped_io::TappedIo,
    upload::Upload,
};

/// A connection in use. It is moved about with each request, and so holds little itself.
#[derive(Debug)]
pub(crate) struct Lease {
    carrier: Carrier,
    /// Whether it has carried a request before: then it may have been closed by the upstream without our knowing.
    pub(crate) reused: bool,
    /// The body of the request that it carries.
    pub(crate) upload: Option<Upload>,
}

#[derive(Debug)]
enum Carrier {
    /// Dropped, it is closed; given back, it waits for the next request.
    Http1(Connection),
    /// Shared with other requests.
    Http2(Box<Place>),
}

/// A place on a shared connection.
#[derive(Debug)]
struct Place {
    stream: Stream,
    /// The body of the answer, once its head has come.
    answer: Option<Incoming>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// Over HTTP/1.
    #[error(transparent)]
    Http1(#[from] http1::Error),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl AnswerError {
    /// Whether what came is not HTTP.
    pub(crate) fn is_garbage(&self) -> bool {
        match self {
            Self::Http1(error) => matches!(error, http1::Error::Garbage(_)),
            Self::Http2(error) => error.is_parse(),
        }
    }

    /// Whether the body of the request broke off.
    pub(crate) fn is_the_clients(&self) -> bool {
        match self {
            Self::Http1(error) => matches!(error, http1::Error::Source(_)),
            Self::Http2(error) => error.is_user(),
        }
    }

    /// Whether the upstream says that it has not looked at the request: a refused stream, or a graceful GOAWAY before it.
    pub(crate) fn was_not_processed(&self) -> bool {
        let Self::Http2(error) = self else { return false };
        let reason = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        reason.is_some_and(|error| {
            error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
        })
    }
}

/// What is left when no answer came.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: AnswerError,
    pub(crate) left: Left,
}

/// What of a request can be sent again.
#[derive(Debug)]
pub(crate) enum Left {
    /// Nothing of it was sent; its body.
    Everything(RequestBody),
    /// Something was, and it has no body.
    Head,
    /// Nothing: its body is gone.
    Nothing,
}

impl Lease {
    /// A lease for a connection of HTTP/1.
    pub(crate) fn of_connection(connection: Connection) -> Self {
        // One that was given back may never have been used.
        let reused = connection.get().has_begun();
        Self { carrier: Carrier::Http1(connection), reused, upload: None }
    }

    /// A lease for a place on a shared connection.
    pub(crate) fn of_stream(stream: Stream) -> Self {
        Self { reused: stream.reused, carrier: Carrier::Http2(Box::new(Place { stream, answer: None })), upload: None }
    }

    /// Sends a request, over HTTP/2 with this scheme, and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        head: &RequestHead,
        scheme: &Scheme,
        body: RequestBody,
    ) -> Result<ResponseHead, Failed> {
        let without_body = if matches!(body, RequestBody::Empty) { Left::Head } else { Left::Nothing };
        match &mut self.carrier {
            Carrier::Http1(connection) => over_http1(connection, head, body)
                .await
                .map_err(|error| Failed { error: error.into(), left: without_body }),
            Carrier::Http2(place) => {
                // Boxed: it would have room in each request over HTTP/1.
                let sending = Box::pin(place.stream.sender.try_send_request(to_http2(head, scheme, body)));
                match sending.await {
                    Ok(response) => {
                        let (parts, come) = response.into_parts();
                        place.answer = Some(come);
                        Ok(parts.into())
                    }
                    Err(mut failure) => {
                        let unsent = failure.take_message().map(|request| Left::Everything(request.into_body()));
                        Err(Failed { error: failure.into_error().into(), left: unsent.unwrap_or(without_body) })
                    }
                }
            }
        }
    }

    /// Whether a byte of an answer has come. Over HTTP/2 a failed request never had one: its head would have been the answer.
    pub(crate) fn answer_has_begun(&self) -> bool {
        match &self.carrier {
            Carrier::Http1(connection) => connection.get().has_begun(),
            Carrier::Http2(_) => false,
        }
    }

    /// The next part of the answer's body.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        Poll::Ready(match &mut self.carrier {
            Carrier::Http1(connection) => {
                ready!(connection.get_mut().poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Carrier::Http2(place) => match &mut place.answer {
                Some(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
                None => None,
            },
        })
    }

    /// Whether the answer's body was read to its end.
    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.carrier {
            Carrier::Http1(connection) => connection.get().is_end_stream(),
            Carrier::Http2(place) => place.answer.as_ref().is_none_or(Incoming::is_end_stream),
        }
    }

    /// What is known of the length of the rest of the answer's body.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.carrier {
            Carrier::Http1(connection) => connection.get().size_hint(),
            Carrier::Http2(place) => place.answer.as_ref().map(Incoming::size_hint).unwrap_or_default(),
        }
    }

    /// Sees to it that no other request gets this connection.
    pub(crate) fn retire(&self) {
        if let Carrier::Http2(place) = &self.carrier {
            place.stream.retire();
        }
    }

    /// A switch of protocols was agreed on: the stream, with what has come of the other protocol already.
    pub(crate) fn switched(self) -> Option<TappedIo<Link, ()>> {
        let Carrier::Http1(connection) = self.carrier else { return None };
        let (link, come) = connection.into_stream()?;
        Some(TappedIo::new(come, link, ()))
    }

    /// Puts the connection back into its pool, unless it is closed or enough are waiting.
    pub(crate) fn give_back(self, pool: &Pool, now: Moment) {
        if let Carrier::Http1(connection) = self.carrier {
            pool.give_back(connection, self.upload, now);
        }
    }
}

/// Sends a request over HTTP/1.
async fn over_http1(
    connection: &mut Connection,
    head: &RequestHead,
    body: RequestBody,
) -> Result<ResponseHead, http1::Error> {
    connection.get_mut().begin(head, body);
    let response = poll_fn(|cx| connection.get_mut().poll_answer(cx)).await?;
    connection.go_on_sending();
    Ok(response)
}
