//! The bytes that a peer may send before it is authenticated, counted below TLS.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How much more may come; `u64::MAX` is no limit any more.
#[derive(Debug)]
pub(super) struct Meter(AtomicU64);

impl Meter {
    /// So many bytes may come.
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(bytes)))
    }

    /// From now on any number may.
    pub(super) fn lift(&self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }

    /// Counts bytes that have come; false if they are too many.
    fn takes(&self, bytes: usize) -> bool {
        let take = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(bytes as u64) };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// A socket with a meter on what comes.
#[derive(Debug)]
pub(super) struct Metered {
    socket: TcpStream,
    meter: Arc<Meter>,
}

impl Metered {
    /// Counts what comes from this socket.
    pub(super) fn new(socket: TcpStream, meter: Arc<Meter>) -> Self {
        Self { socket, meter }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if self.meter.takes(buffer.filled().len() - before) {
            read
        } else {
            Poll::Ready(Err(io::Error::other("too many bytes before authentication")))
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_run_out_until_the_limit_is_lifted() {
        let meter = Meter::new(10);
        assert!(meter.takes(10));
        assert!(!meter.takes(1));
        meter.lift();
        assert!(meter.takes(usize::MAX));
    }
}
