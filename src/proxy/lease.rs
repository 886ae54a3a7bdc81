//! A connection in use, of either version: a request goes over it, and its answer is read from it.

use std::{
    error::Error as _,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};

use super::{
    body::RequestBody,
    http1,
    link::Link,
    multiplex::Stream,
    pool::{Connection, Pool, PoolKey},
    tapped_io::TappedIo,
    transport::Wire,
    upload::Upload,
};

/// A connection in use.
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
    Http1 { connection: Connection, key: PoolKey, pool: Rc<Pool> },
    /// Shared with other requests; and the body of the answer, once its head has come.
    Http2(Stream, Option<Incoming>),
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
    /// The request, if nothing of it was sent.
    pub(crate) unsent: Option<Request<RequestBody>>,
    /// The request, if it has no body: what was sent of it can be sent again.
    pub(crate) spare: Option<Request<RequestBody>>,
}

impl Lease {
    /// A lease for a connection of HTTP/1.
    pub(crate) fn of_connection(connection: Connection, key: PoolKey, pool: Rc<Pool>) -> Self {
        // One that was given back may never have been used.
        let reused = connection.get().has_begun();
        Self { carrier: Carrier::Http1 { connection, key, pool }, reused, upload: None }
    }

    /// A lease for a place on a shared connection.
    pub(crate) fn of_stream(stream: Stream) -> Self {
        Self { reused: stream.reused, carrier: Carrier::Http2(stream, None), upload: None }
    }

    /// What goes over it.
    pub(crate) fn wire(&self) -> Wire {
        match self.carrier {
            Carrier::Http1 { .. } => Wire::Http1,
            Carrier::Http2(..) => Wire::Http2,
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<()>, Failed> {
        match &mut self.carrier {
            Carrier::Http1 { connection, .. } => over_http1(connection, request).await,
            Carrier::Http2(stream, body) => {
                let spare = if self.reused { without_body(&request) } else { None };
                match stream.sender.try_send_request(request).await {
                    Ok(response) => {
                        let (parts, come) = response.into_parts();
                        *body = Some(come);
                        Ok(Response::from_parts(parts, ()))
                    }
                    Err(mut failure) => {
                        let unsent = failure.take_message();
                        Err(Failed { error: failure.into_error().into(), unsent, spare })
                    }
                }
            }
        }
    }

    /// Whether a byte of an answer has come. Over HTTP/2 a failed request never had one: its head would have been the answer.
    pub(crate) fn answer_has_begun(&self) -> bool {
        match &self.carrier {
            Carrier::Http1 { connection, .. } => connection.get().has_begun(),
            Carrier::Http2(..) => false,
        }
    }

    /// The next part of the answer's body.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        Poll::Ready(match &mut self.carrier {
            Carrier::Http1 { connection, .. } => {
                ready!(connection.get_mut().poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Carrier::Http2(_, Some(body)) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Carrier::Http2(_, None) => None,
        })
    }

    /// Whether the answer's body was read to its end.
    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.carrier {
            Carrier::Http1 { connection, .. } => connection.get().is_end_stream(),
            Carrier::Http2(_, body) => body.as_ref().is_none_or(Incoming::is_end_stream),
        }
    }

    /// What is known of the length of the rest of the answer's body.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.carrier {
            Carrier::Http1 { connection, .. } => connection.get().size_hint(),
            Carrier::Http2(_, body) => body.as_ref().map(Incoming::size_hint).unwrap_or_default(),
        }
    }

    /// Sees to it that no other request gets this connection.
    pub(crate) fn retire(&self) {
        if let Carrier::Http2(stream, _) = &self.carrier {
            stream.retire();
        }
    }

    /// A switch of protocols was agreed on: the stream, with what has come of the other protocol already.
    pub(crate) fn switched(self) -> Option<TappedIo<Link, ()>> {
        let Carrier::Http1 { connection, .. } = self.carrier else { return None };
        let (link, come) = connection.into_stream()?;
        Some(TappedIo::new(come, link, ()))
    }

    /// Puts the connection back, unless it is closed or enough are waiting.
    pub(crate) fn give_back(self) {
        if let Carrier::Http1 { connection, key, pool } = self.carrier {
            pool.give_back(key, connection, self.upload);
        }
    }
}

/// Sends a request over HTTP/1. The head stays here until there is an answer, in case that it has to be sent again.
async fn over_http1(connection: &mut Connection, mut request: Request<RequestBody>) -> Result<Response<()>, Failed> {
    let body = std::mem::replace(request.body_mut(), RequestBody::Empty);
    let has_none = matches!(body, RequestBody::Empty);
    connection.get_mut().begin(&request, body);
    let answer = poll_fn(|cx| connection.get_mut().poll_answer(cx)).await;
    match answer {
        Ok(response) => {
            http1::give_back_fields(std::mem::take(request.headers_mut()));
            connection.go_on_sending();
            Ok(response)
        }
        Err(error) => Err(Failed { error: error.into(), unsent: None, spare: has_none.then_some(request) }),
    }
}

/// A copy of a request that has no body.
fn without_body(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}
