//! A socket whose small messages go by the core's outbox.
//!
//! To its owner, what the outbox has is written, as is what the kernel has. What the kernel does not take of it at once holds back whatever
//! the owner writes next, and its shutdown; an error is told with the next write. Reading is not touched by either.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::{AbortHandle, coop::poll_proceed},
};

use super::outbox::Outbox;

/// A message up to this size is copied and kept: that costs less than to wake its reader once more.
const SMALL: usize = 2 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    sender: Rc<Sender>,
    outbox: Rc<Outbox>,
}

/// What the outbox needs of it: it outlives the owner until it is sent.
#[derive(Debug)]
pub(crate) struct Sender(RefCell<State>);

#[derive(Debug)]
struct State {
    stream: TcpStream,
    /// Whether the outbox has a message of it.
    is_kept: bool,
    /// What the kernel did not take when it was their turn, and the task that waits for it.
    rest: BytesMut,
    finisher: Option<AbortHandle>,
    /// The owner, who waits for that.
    waiter: Option<Waker>,
    failed: Option<ErrorKind>,
}

impl Socket {
    /// This one, whose small messages go by this outbox.
    pub(crate) fn new(stream: TcpStream, outbox: &Rc<Outbox>) -> Self {
        let state = State { stream, is_kept: false, rest: BytesMut::new(), finisher: None, waiter: None, failed: None };
        Self { sender: Rc::new(Sender(RefCell::new(state))), outbox: Rc::clone(outbox) }
    }

    /// Whether nothing has come: neither a byte nor its end. It costs no call of the system as long as the runtime has not heard of anything.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.sender.0.borrow();
        let read = state.stream.try_read(&mut [0]);
        state.failed.is_none() && matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Sees to it that nothing of it is in the outbox, and waits for what the kernel has not taken yet.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sender.0.borrow().is_kept {
            self.outbox.send();
        }
        self.sender.0.borrow_mut().poll_unblocked(cx)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Who wants the rest to arrive shuts down, and waits for that.
        if let Some(finisher) = self.sender.0.borrow_mut().finisher.take() {
            finisher.abort();
        }
    }
}

impl Sender {
    /// Sends a message whose turn it is.
    pub(crate) fn send(self: &Rc<Self>, message: &[u8]) {
        let mut state = self.0.borrow_mut();
        // Those behind it follow at once.
        state.is_kept = false;
        if state.failed.is_some() {
            return;
        }
        let taken = if state.rest.is_empty() { state.stream.try_write(message) } else { Ok(0) };
        let taken = match taken {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return state.failed = Some(error.kind()),
            Ok(taken) => taken,
        };
        let rest = message.get(taken..).unwrap_or_default();
        state.rest.extend_from_slice(rest);
        if !state.rest.is_empty() && state.finisher.is_none() {
            state.finisher = Some(tokio::task::spawn_local(Rc::clone(self).finish()).abort_handle());
        }
    }

    /// Sends the rest when the kernel takes it.
    async fn finish(self: Rc<Self>) {
        poll_fn(|cx| self.0.borrow_mut().poll_rest(cx)).await;
    }
}

impl State {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.rest.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest)) {
                Ok(0) => self.fails(ErrorKind::WriteZero),
                Ok(taken) => self.rest.advance(taken),
                Err(error) => self.fails(error.kind()),
            }
        }
        self.rest = BytesMut::new();
        self.finisher = None;
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
        Poll::Ready(())
    }

    fn fails(&mut self, why: ErrorKind) {
        self.failed = Some(why);
        self.rest.clear();
    }

    /// Ready while the kernel takes what is written.
    fn poll_unblocked(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if let Some(why) = self.failed {
            return Poll::Ready(Err(why.into()));
        }
        if self.rest.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.waiter = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sender.0.borrow_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        if length > SMALL {
            ready!(self.poll_sent(cx))?;
            return Pin::new(&mut self.sender.0.borrow_mut().stream).poll_write_vectored(cx, slices);
        }
        // A task that never waits for the kernel must give way to others all the same.
        let turn = ready!(poll_proceed(cx));
        ready!(self.sender.0.borrow_mut().poll_unblocked(cx))?;
        turn.made_progress();
        self.outbox.keep(&self.sender, slices, length);
        // Only now: to make room, those before it may have been sent.
        self.sender.0.borrow_mut().is_kept = true;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender.0.borrow_mut().poll_unblocked(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        Pin::new(&mut self.sender.0.borrow_mut().stream).poll_shutdown(cx)
    }
}

// By its path, since `benches/peers` includes this file by its own.
#[cfg(test)]
#[path = "socket/tests.rs"]
mod tests;
