//! A connection's bytes, with or without TLS, and their count.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::arrival::Arrivals;

/// Bytes that one core has moved, inside of TLS where there is TLS.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: Cell<u64>,
    received: Cell<u64>,
    pub(crate) arrivals: Arrivals,
}

impl Traffic {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.get()
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: Stream,
    traffic: Rc<Traffic>,
    notes_arrivals: bool,
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The same call to either kind of stream.
macro_rules! either {
    ($transport:expr, $stream:ident => $call:expr) => {
        match &mut $transport.stream {
            Stream::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl Transport {
    pub(super) fn new(stream: Stream, traffic: Rc<Traffic>) -> Self {
        Self { stream, traffic, notes_arrivals: false }
    }

    /// From now on it is noted when bytes come, where there is no TLS.
    pub(super) fn note_arrivals(&mut self) -> io::Result<()> {
        if let Stream::Plain(stream) = &self.stream {
            Arrivals::note(stream)?;
            self.notes_arrivals = true;
        }
        Ok(())
    }

    fn poll_any(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) if self.notes_arrivals => loop {
                ready!(stream.poll_read_ready(context))?;
                match self.traffic.arrivals.receive(stream, buffer.initialize_unfilled()) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    received => return Poll::Ready(received.map(|count| buffer.advance(count))),
                }
            },
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }

    fn count_sent(&self, written: &io::Result<usize>) {
        if let Ok(written) = written {
            self.traffic.sent.set(self.traffic.sent() + *written as u64);
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(this.poll_any(context, buffer));
        let count = buffer.filled().len().saturating_sub(before);
        this.traffic.received.set(this.traffic.received() + count as u64);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(either!(this, stream => stream.poll_write(context, bytes)));
        this.count_sent(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(either!(this, stream => stream.poll_write_vectored(context, slices)));
        this.count_sent(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => stream.poll_shutdown(context))
    }
}
