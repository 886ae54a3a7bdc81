//! What comes from a client over one connection: heads of requests, and their bodies, which whoever forwards them reads.
//!
//! The connection's task and the reader of a body share it, and each takes the stream only for as long as one call needs it.

use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    asked::{self, Asked, Refused},
    decode::Decoder,
    error::Error,
    input,
    output::Output,
    parse::Bounds,
};

/// What tells a client to send the body that it has announced.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Bytes of a body that nobody wants are read up to this many, so that the connection can go on behind them.
const SKIPPED: usize = 256 * 1024;

/// One client's connection.
#[derive(Debug)]
pub(super) struct Inbound<S> {
    stream: RefCell<S>,
    state: RefCell<State>,
    /// The connection's task, which waits for the end of the body.
    waiter: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct State {
    /// What has come and was not used yet.
    input: Bytes,
    body: Decoder,
    /// The client waits for `100 Continue`, and nobody has asked for the body.
    awaits_continue: bool,
    /// That word on its way.
    go_ahead: Output,
    /// The body does not come to its end.
    failed: bool,
    /// What came of it is not HTTP.
    malformed: bool,
}

impl State {
    fn fails_with(&mut self, error: &Error) {
        self.failed = true;
        self.malformed = matches!(error, Error::Garbage(_));
    }
}

impl<S> Inbound<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: RefCell::new(stream), state: RefCell::default(), waiter: RefCell::default() }
    }

    /// The stream, and what has come behind the last request.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream.into_inner(), self.state.into_inner().input)
    }

    fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waiter = self.waiter.borrow_mut();
        if !waiter.as_ref().is_some_and(|waiter| waiter.will_wake(cx.waker())) {
            *waiter = Some(cx.waker().clone());
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inbound<S> {
    /// The head of the next request; `None` when the client has closed before its end.
    pub(super) fn poll_asked(&self, cx: &mut Context<'_>, bounds: Bounds) -> Poll<Result<Option<Asked>, Refused>> {
        let mut state = self.state.borrow_mut();
        // Behind a request there may be another one already.
        let mut is_worth_it = !state.input.is_empty();
        loop {
            if is_worth_it && let Some(mut asked) = asked::head(&mut state.input, bounds)? {
                state.body = std::mem::take(&mut asked.body);
                // Who sends the body already is not waiting (RFC 9110 §10.1.1).
                state.awaits_continue = asked.awaits_continue && state.input.is_empty();
                return Poll::Ready(Ok(Some(asked)));
            }
            let before = state.input.len();
            if !matches!(ready!(self.poll_read(&mut state.input, cx)), Ok(true)) {
                return Poll::Ready(Ok(None));
            }
            // A head ends with a line, so that one that comes byte by byte is not read again for each of them.
            let come = state.input.get(before..).unwrap_or_default();
            is_worth_it = before == 0 || state.input.len() > bounds.head_bytes || come.contains(&b'\n');
        }
    }

    /// What comes of `work`, unless the client goes away meanwhile.
    pub(super) async fn unless_gone<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_gone(cx).map(|()| None),
        })
        .await
    }

    /// Ready when the client has gone, or what it sends is no body. One that sends the next request already is still there.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.failed {
            return Poll::Ready(());
        }
        if !state.body.is_done() {
            // Whoever reads the body sees it first.
            self.wait(cx);
            return Poll::Pending;
        }
        if !state.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_read(&mut state.input, cx)) {
            Ok(true) => Poll::Pending,
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    }

    /// Ready when the answer may begin: a word to go ahead is said whole, or not at all.
    pub(super) fn poll_begin_answer(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        state.awaits_continue = false;
        state.go_ahead.poll_write(&mut *self.stream.borrow_mut(), cx)
    }

    /// Whether the body was read to its end, behind the answer. Somebody may still be forwarding it. What nobody wants any more is
    /// skipped as far as it is there: more is not waited for.
    pub(super) fn poll_read_up(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state.borrow_mut();
        let mut skipped = 0;
        loop {
            if state.body.is_done() || state.failed {
                return Poll::Ready(!state.failed);
            }
            if Rc::strong_count(self) > 1 {
                self.wait(cx);
                return Poll::Pending;
            }
            let State { input, body, .. } = &mut *state;
            match body.decode(input) {
                Ok(Some(frame)) => skipped += frame.data_ref().map_or(0, Bytes::len),
                Ok(None) if body.is_done() => {}
                Ok(None) => match self.poll_read(input, cx) {
                    Poll::Ready(Ok(true)) if skipped < SKIPPED => {}
                    _ => return Poll::Ready(false),
                },
                Err(error) => state.fails_with(&error),
            }
        }
    }

    /// Whether there is more of a body than was read.
    pub(super) fn is_in_a_body(&self) -> bool {
        let state = self.state.borrow();
        state.failed || !state.body.is_done()
    }

    /// Whether what came of a body was not HTTP.
    pub(super) fn is_malformed(&self) -> bool {
        self.state.borrow().malformed
    }

    /// Reads what has come behind `input`; whether anything did before the end.
    fn poll_read(&self, input: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        input::poll_read(&mut *self.stream.borrow_mut(), input, cx)
    }
}

/// Answers are written to it.
impl<S: AsyncWrite + Unpin> AsyncWrite for &Inbound<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}

/// The body of a request, as it comes.
pub(crate) struct Incoming(Option<Rc<dyn Source>>);

impl Incoming {
    /// The body behind the head that was read last.
    pub(super) fn of<S: AsyncRead + AsyncWrite + Unpin + 'static>(inbound: &Rc<Inbound<S>>) -> Self {
        let has_none = inbound.state.borrow().body.is_done();
        Self((!has_none).then(|| Rc::clone(inbound) as Rc<dyn Source>))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.0.is_some()).finish()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(source) = self.0.take() {
            source.given_up();
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.as_ref().map_or(Poll::Ready(None), |source| source.poll_body(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|source| source.is_done())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |source| source.size_hint())
    }
}

/// Where a body comes from, whatever the stream is.
trait Source {
    /// The next part of the body.
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>>;

    /// Whether all of it was read.
    fn is_done(&self) -> bool;

    /// What is known of the length of the rest.
    fn size_hint(&self) -> SizeHint;

    /// Nobody reads on.
    fn given_up(self: Rc<Self>);
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source for Inbound<S> {
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.state.borrow_mut();
        let polled = ready!(self.poll_part(&mut state, cx));
        if let Some(Err(error)) = &polled {
            state.fails_with(error);
        }
        if state.failed || state.body.is_done() {
            self.wake();
        }
        Poll::Ready(polled)
    }

    fn is_done(&self) -> bool {
        self.state.borrow().body.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.state.borrow().body.size_hint()
    }

    fn given_up(self: Rc<Self>) {
        let waiter = self.waiter.take();
        // The count of those that read falls first.
        drop(self);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inbound<S> {
    fn poll_part(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            match state.body.decode(&mut state.input) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if state.body.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if std::mem::take(&mut state.awaits_continue) {
                state.go_ahead.put(Bytes::from_static(CONTINUE), b"");
            }
            ready!(state.go_ahead.poll_write(&mut *self.stream.borrow_mut(), cx))?;
            if !ready!(self.poll_read(&mut state.input, cx))? {
                return Poll::Ready(Some(Err(Error::Closed)));
            }
        }
    }
}
