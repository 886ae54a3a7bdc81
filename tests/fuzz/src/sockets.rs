//! The two sockets of the proxy, in memory: a client that sends what it was given, an upstream that judges what it gets.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::harness::wire::{self, Message, Parsed, readable};

/// One end of a connection.
#[derive(Clone, Debug, Default)]
struct Ends {
    /// What the proxy can read, in the pieces in which it comes.
    coming: VecDeque<Vec<u8>>,
    /// Nothing more comes.
    ended: bool,
    /// What the proxy has written.
    written: Vec<u8>,
    reader: Option<Waker>,
}

impl Ends {
    fn poll_read(&mut self, cx: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.coming.pop_front() else {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let taken = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..taken]);
        if taken < piece.len() {
            self.coming.push_front(piece.split_off(taken));
        }
        Poll::Ready(Ok(()))
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A client's connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientSocket(Arc<Mutex<Ends>>);

impl ClientSocket {
    /// A client that sends these pieces and then waits.
    pub(crate) fn sending(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let coming = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        Self(Arc::new(Mutex::new(Ends { coming, ..Ends::default() })))
    }

    /// The client sends no more.
    pub(crate) fn end(&self) {
        let mut ends = lock(&self.0);
        ends.ended = true;
        ends.wake();
    }

    /// What whoever looks at the connection before HTTP does reads at once.
    pub(crate) fn first_read(&self) -> Option<Vec<u8>> {
        const MOST_BYTES: usize = 4_096;
        let coming = &mut lock(&self.0).coming;
        let mut piece = coming.pop_front()?;
        if piece.len() > MOST_BYTES {
            coming.push_front(piece.split_off(MOST_BYTES));
        }
        Some(piece)
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An upstream's connection: it reads strictly, and answers every whole request.
#[derive(Clone, Debug, Default)]
pub struct UpstreamSocket(Arc<Mutex<Upstream>>);

#[derive(Debug, Default)]
struct Upstream {
    ends: Ends,
    requests: Vec<Message>,
}

impl UpstreamSocket {
    /// The whole requests so far.
    pub(crate) fn requests(&self) -> Vec<Message> {
        lock(&self.0).requests.clone()
    }

    /// What came behind them.
    pub(crate) fn rest(&self) -> Vec<u8> {
        lock(&self.0).ends.written.clone()
    }

    /// Takes what the proxy writes.
    ///
    /// # Panics
    /// When it is not the beginning of a request that every server reads alike.
    pub fn receive(&self, bytes: &[u8]) {
        let upstream = &mut *lock(&self.0);
        upstream.ends.written.extend_from_slice(bytes);
        loop {
            match wire::request(&upstream.ends.written) {
                Parsed::Partial => break,
                Parsed::Broken(what) => {
                    panic!("the upstream gets what is no request: {what}: {}", readable(&upstream.ends.written))
                }
                Parsed::Whole(message) => {
                    upstream.ends.written.drain(..message.length);
                    upstream.requests.push(*message);
                    upstream.ends.coming.push_back(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
                    upstream.ends.wake();
                }
            }
        }
    }
}

impl AsyncRead for UpstreamSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).ends.poll_read(cx, buffer)
    }
}

impl AsyncWrite for UpstreamSocket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.receive(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// There is one thread; a panic on it ends everything anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
