//! Bodies: what goes to the upstream, and what goes to the client with the account of its exchange.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;
use pin_project::pin_project;

use super::{
    clock::Moment,
    error::Flag,
    exchange::Exchange,
    lease::{AnswerError, Lease},
    link::Link,
    tapped_io::TappedIo,
    trailers,
    unread::Unread,
    upload::Upload,
    whole::{BrokenOff, Whole},
};

/// The body of a request on its way to the upstream.
#[derive(Debug)]
#[pin_project(project = RequestBodyProjection)]
pub(crate) enum RequestBody {
    /// Nothing; such a request can be sent again.
    Empty,
    /// What the client sends, as it comes: more is read only when the upstream takes it.
    Client(#[pin] Whole, Upload),
}

impl RequestBody {
    /// A client's body; its progress is told where there is something to come.
    pub(crate) fn of(body: Whole, upload: Option<&Upload>) -> Self {
        upload.map_or(Self::Empty, |upload| Self::Client(body, upload.clone()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<BrokenOff>> {
        match self.project() {
            RequestBodyProjection::Empty => Poll::Ready(None),
            RequestBodyProjection::Client(mut body, upload) => {
                let polled = body.as_mut().poll_frame(cx);
                match &polled {
                    Poll::Pending => upload.waits_for_the_client(),
                    Poll::Ready(Some(Err(_))) => upload.failed(),
                    Poll::Ready(Some(Ok(_))) if !body.is_end_stream() => upload.moved(),
                    Poll::Ready(_) => upload.ended(),
                }
                polled.map(without_forbidden_trailers)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body, _) => body.size_hint(),
        }
    }
}

/// What is polled from a body.
type Polled<E> = Option<Result<Frame<Bytes>, E>>;

/// A frame as it came, unless it holds trailers: then without those that must not pass.
fn without_forbidden_trailers<E>(polled: Polled<E>) -> Polled<E> {
    polled.map(|frame| {
        frame.map(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                trailers::strip(trailers);
            }
            frame
        })
    })
}

/// The body of a response on its way to the client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// An answer of our own.
    Own(Option<Bytes>),
    /// What the upstream sends, as it comes, and what is done at its end.
    Upstream(Tail),
    /// None: both sides speak another protocol from here on.
    Switched(Box<Tunnel>),
}

/// The upstream's side of a switch of protocols, and the account that ends with it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) upstream: TappedIo<Link, ()>,
    pub(crate) exchange: Box<Exchange>,
}

/// What is done at the end of an upstream's response.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Completed at the end.
    exchange: Box<Exchange>,
    /// Where the body comes from; goes back to the pool at the end, and only then.
    lease: Option<Lease>,
    /// The response's name among those that wait for their client; only over HTTP/2.
    unread: Option<u64>,
    /// The client has asked for more, and the upstream has not sent it.
    waits: bool,
}

impl ResponseBody {
    /// The body of a forwarded response. A response without a body is at its end already.
    pub(crate) fn upstream(exchange: Box<Exchange>, lease: Lease) -> Self {
        let unread = exchange.unread().map(Unread::name);
        let is_over = lease.is_end_stream();
        let mut tail = Tail { exchange, lease: Some(lease), unread, waits: false };
        if is_over {
            tail.end();
        }
        Self::Upstream(tail)
    }
}

impl Tail {
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            // To within 10 ms, which an idle connection's age need not be known better than.
            let worker = &self.exchange.worker;
            lease.give_back(&worker.pool, Moment::from_nanos(worker.coarse_now()));
        }
        self.exchange.complete();
    }

    fn broke_off(&mut self) {
        self.lease = None;
        self.exchange.broke_off(Flag::UpstreamReset);
        self.exchange.complete();
    }

    /// The client has taken what was there, and asks for more.
    fn is_asked(&self) {
        if let (Some(name), Some(unread)) = (self.unread, self.exchange.unread()) {
            unread.taken(name);
        }
    }

    /// A part is handed out; over HTTP/2 it now waits until the client's window has room for it.
    fn hands_out(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.exchange.ended_with(trailers);
        }
        if let (Some(name), Some(unread)) = (self.unread, self.exchange.unread()) {
            unread.waits(name, Moment::now());
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.is_asked();
        // The client is not to blame for what its upstream did not send.
        if self.waits && self.exchange.is_stalled() {
            self.exchange.broke_off(Flag::UpstreamTimeout);
            self.exchange.complete();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<AnswerError>> {
        match &mut *self {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Switched(_) => Poll::Ready(None),
            Self::Upstream(tail) => {
                tail.is_asked();
                let Some(lease) = &mut tail.lease else { return Poll::Ready(None) };
                let polled = lease.poll_frame(cx);
                let is_over = lease.is_end_stream();
                tail.waits = polled.is_pending();
                if let Poll::Ready(Some(Ok(frame))) = &polled {
                    tail.hands_out(frame);
                }
                match &polled {
                    Poll::Ready(None) => tail.end(),
                    // An error here breaks the client's connection, or its stream: a short body is never made a valid one.
                    Poll::Ready(Some(Err(_))) => tail.broke_off(),
                    Poll::Ready(Some(Ok(_))) if is_over => tail.end(),
                    Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
                }
                polled.map(without_forbidden_trailers)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Upstream(tail) => tail.lease.is_none(),
            Self::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Upstream(tail) => tail.lease.as_ref().map_or(SizeHint::with_exact(0), Lease::size_hint),
            Self::Switched(_) => SizeHint::with_exact(0),
        }
    }
}
