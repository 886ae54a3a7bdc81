//! Bytes passed through untouched, both ways, until both sides are closed or nothing has moved for too long.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::Moment;

/// Bytes that are held for one direction.
const BUFFER: usize = 32 * 1024;

/// Copies both ways; a half-closed side stays open for the other direction.
pub(crate) async fn splice<A, B>(client: A, upstream: B, idle: Duration)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let last = Rc::new(Cell::new(Moment::now()));
    let mut client = Watched { inner: client, last: Rc::clone(&last) };
    let mut upstream = upstream;
    let copy = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER);
    tokio::select! {
        copied = copy => {
            if let Err(error) = copied {
                tracing::trace!(%error, "tunnel ended");
            }
        }
        () = quiet(&last, idle) => tracing::debug!(?idle, "tunnel closed: nothing moved"),
    }
}

/// Returns when nothing has moved for `idle`.
async fn quiet(last: &Cell<Moment>, idle: Duration) {
    loop {
        let left = idle.saturating_sub(Moment::now().since(last.get()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// A side that notes when a byte moves over it; every byte of a tunnel moves over the client's side.
struct Watched<T> {
    inner: T,
    last: Rc<Cell<Moment>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.last.set(Moment::now());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.last.set(Moment::now());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
