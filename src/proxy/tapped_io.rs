//! A socket whose bytes are seen as they move, by whoever needs to know: the client's side or the upstream's.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Sees what moves over a socket.
pub(crate) trait Tap {
    /// These bytes came. An error ends the connection before anybody else sees them.
    fn received(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// These bytes went, all that could be taken of these slices.
    fn sent(&mut self, _: &[IoSlice<'_>], _count: usize) {}
}

/// Nobody looks.
impl Tap for () {
    fn received(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A socket, or what is spoken inside TLS, with a tap, and with a beginning that may have been read already.
#[derive(Debug)]
#[pin_project]
pub(crate) struct TappedIo<S, T> {
    /// What has been read before; empty once it has been read again.
    first: Vec<u8>,
    /// How much of it has been read again.
    position: usize,
    #[pin]
    stream: S,
    tap: T,
}

impl<S, T: Tap> TappedIo<S, T> {
    /// The socket, with the bytes that have been read from it before.
    pub(crate) fn new(first: Vec<u8>, stream: S, tap: T) -> Self {
        Self { first, position: 0, stream, tap }
    }
}

impl<S: AsyncRead, T: Tap> AsyncRead for TappedIo<S, T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        if let Some(left) = this.first.get(*this.position..).filter(|left| !left.is_empty()) {
            let taken = left.get(..left.len().min(buffer.remaining())).unwrap_or_default();
            buffer.put_slice(taken);
            *this.position += taken.len();
            if *this.position == this.first.len() {
                *this.first = Vec::new();
                *this.position = 0;
            }
        } else {
            ready!(this.stream.poll_read(cx, buffer))?;
        }
        let received = buffer.filled().get(before..).unwrap_or_default();
        if !received.is_empty() {
            this.tap.received(received)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite, T: Tap> AsyncWrite for TappedIo<S, T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write(cx, bytes))?;
        this.tap.sent(&[IoSlice::new(bytes)], written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write_vectored(cx, slices))?;
        this.tap.sent(slices, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }
}
