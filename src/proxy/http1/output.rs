//! Bytes on their way to a stream: a head or the line of a chunk, a part of a body, and what stands behind that.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use super::scratch;

/// A part of a body up to this size is copied behind what we have written: that costs less than to write two pieces at once.
const SMALL: usize = 1024;

/// What is to be written, in this order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Written by us; a shared buffer that is held only while there is something in it.
    own: Vec<u8>,
    /// How much of it has been written.
    position: usize,
    data: Bytes,
    behind: &'static [u8],
    /// The stream has taken something that it may not have passed on: inside TLS it can wait in the session.
    is_unflushed: bool,
}

impl Output {
    /// Whether another part of a body may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.data.is_empty() && self.behind.is_empty()
    }

    /// Adds bytes of our own, while there [is room](Self::has_room).
    pub(crate) fn write_own(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.own.capacity() == 0 {
            self.own = scratch::take();
        }
        write(&mut self.own);
    }

    /// Adds a part of a body, while there [is room](Self::has_room).
    pub(crate) fn put(&mut self, data: Bytes, behind: &'static [u8]) {
        if self.own.len() > self.position && data.len() <= SMALL {
            self.own.extend_from_slice(&data);
            self.own.extend_from_slice(behind);
        } else {
            self.data = data;
            self.behind = behind;
        }
    }

    /// Writes everything.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let own = self.own.get(self.position..).unwrap_or_default();
            let count = match (own.is_empty(), self.has_room()) {
                (true, true) => break,
                (false, true) => ready!(Pin::new(&mut *stream).poll_write(cx, own))?,
                _ => {
                    let slices = [IoSlice::new(own), IoSlice::new(&self.data), IoSlice::new(self.behind)];
                    ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written(count);
            self.is_unflushed = true;
        }
        if self.own.capacity() > 0 {
            self.position = 0;
            scratch::give_back(std::mem::take(&mut self.own));
        }
        if self.is_unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Forgets what has been written.
    fn written(&mut self, count: usize) {
        let own = count.min(self.own.len() - self.position);
        self.position += own;
        let data = (count - own).min(self.data.len());
        self.data.advance(data);
        self.behind = self.behind.get(count - own - data..).unwrap_or_default();
    }
}
