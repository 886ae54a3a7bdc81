//! A socket whose bytes are seen as they move, by whoever needs to know: the client's side or the upstream's.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Sees what moves over a socket.
pub(crate) trait Tap {
    /// These bytes came. An error ends the connection before anybody else sees them.
    fn received(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Bytes went.
    fn sent(&mut self) {}
}

/// A socket with a tap, and with a beginning that may have been read already.
#[derive(Debug)]
#[pin_project]
pub(crate) struct TappedIo<T> {
    /// What has been read before; empty once it has been read again.
    first: Vec<u8>,
    /// How much of it has been read again.
    position: usize,
    #[pin]
    stream: TcpStream,
    tap: T,
}

impl<T: Tap> TappedIo<T> {
    /// The socket, with the bytes that have been read from it before.
    pub(crate) fn new(first: Vec<u8>, stream: TcpStream, tap: T) -> Self {
        Self { first, position: 0, stream, tap }
    }
}

impl<T: Tap> AsyncRead for TappedIo<T> {
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

impl<T: Tap> AsyncWrite for TappedIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write(cx, bytes))?;
        this.tap.sent();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write_vectored(cx, slices))?;
        this.tap.sent();
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
