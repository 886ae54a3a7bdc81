//! A client's socket: the bytes that were read to recognise it come first, their framing is followed, and every movement is noted.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{activity::Activity, framing::Follower};

/// A socket with a beginning that has already been read.
#[derive(Debug)]
#[pin_project]
pub(crate) struct ClientIo {
    /// What has been read before; empty once it has been read again.
    first: Vec<u8>,
    /// How much of it has been read again.
    position: usize,
    #[pin]
    stream: TcpStream,
    follower: Follower,
    watched: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    activity: Arc<Activity>,
    clock: Arc<AtomicU64>,
}

impl ClientIo {
    /// The socket, with the bytes that have been read from it.
    pub(crate) fn new(first: Vec<u8>, stream: TcpStream) -> Self {
        Self { first, position: 0, stream, follower: Follower::default(), watched: None }
    }

    /// Notes every movement from here, with the time of a coarse clock.
    pub(crate) fn watch(&mut self, activity: Arc<Activity>, clock: Arc<AtomicU64>) {
        self.watched = Some(Watched { activity, clock });
    }
}

impl Watched {
    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }
}

impl AsyncRead for ClientIo {
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
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(watched) = this.watched {
            watched.activity.received(watched.now());
            if watched.activity.is_switched() {
                this.follower.off();
            }
        }
        let received = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(
            this.follower.follow(received).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed)),
        )
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write(cx, bytes))?;
        if let Some(watched) = this.watched {
            watched.activity.sent(watched.now());
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write_vectored(cx, slices))?;
        if let Some(watched) = this.watched {
            watched.activity.sent(watched.now());
        }
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
