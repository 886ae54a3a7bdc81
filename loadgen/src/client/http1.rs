//! HTTP/1.1, one request at a time on each connection: the hot path.
//!
//! A request is one write of prepared bytes, its response most often one read into a buffer that all workers of
//! the core share. Nothing is allocated and no timer is set for a request.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::response::{Progress, Reader};
use super::transport::Transport;
use super::{Answer, inspect};
use crate::crew::Crew;
use crate::summary::ErrorClass;

/// Bytes of a body that come at once, whether they are read or not: no window is smaller.
const LARGE: u64 = 32 * 1024;

/// One worker's connections: one to each origin that it has had to do with.
#[derive(Debug)]
pub(crate) struct Http1 {
    crew: Rc<Crew>,
    open: Vec<Option<Box<Open>>>,
}

/// A connection that is kept alive.
#[derive(Debug)]
struct Open {
    transport: Transport,
    reader: Reader,
}

impl Http1 {
    pub(crate) fn new(crew: Rc<Crew>) -> Self {
        let open = std::iter::repeat_with(|| None).take(crew.prepared.origins.len()).collect();
        Self { crew, open }
    }

    pub(super) async fn exchange(&mut self, index: usize) -> Result<Answer, ErrorClass> {
        let request = self.crew.prepared.request(index)?;
        let idle = match self.open.get_mut(request.origin).and_then(Option::take) {
            Some(mut open) => poll_fn(|context| Poll::Ready(open.is_quiet(&self.crew, context))).await.then_some(open),
            None => None,
        };
        let mut open = match idle {
            Some(open) => open,
            // Rare and large, so not a part of what is polled for each request.
            None => Box::pin(self.dial(request.origin)).await?,
        };
        open.reader.begin(request.bodiless);
        let mut sending = Sending { bytes: &request.wire, flushed: false, broken: false };
        let mut awake = None;
        poll_fn(|context| {
            let exchanged = open.exchange(&self.crew, &mut sending, context);
            if exchanged.is_pending() && awake.is_none() && (!sending.flushed || open.reader.has_begun()) {
                awake = Some(self.crew.pacer.stay_awake());
            }
            exchanged
        })
        .await?;
        drop(awake);
        let answer = open.reader.answer();
        if answer.body_bytes > LARGE {
            self.crew.pacer.never_sleep();
        }
        inspect(&self.crew, answer, open.reader.kept());
        if sending.is_done()
            && open.reader.is_reusable()
            && !request.closes
            && let Some(place) = self.open.get_mut(request.origin)
        {
            *place = Some(open);
        }
        Ok(answer)
    }

    async fn dial(&self, origin: usize) -> Result<Box<Open>, ErrorClass> {
        let mut transport = self.crew.dial(origin).await?;
        if self.crew.pacer.may_sleep() {
            transport.note_arrivals().map_err(|_| ErrorClass::Connect)?;
        }
        Ok(Box::new(Open { transport, reader: Reader::new(self.crew.prepared.inspect.is_some()) }))
    }
}

/// How much of a request is still to be sent.
#[derive(Debug)]
struct Sending<'a> {
    bytes: &'a [u8],
    flushed: bool,
    /// The server takes no more. It may have answered before.
    broken: bool,
}

impl Sending<'_> {
    fn is_done(&self) -> bool {
        self.flushed && !self.broken
    }

    /// Sends what the connection takes now.
    fn advance(&mut self, transport: &mut Transport, context: &mut Context<'_>) {
        while !self.flushed && !self.broken {
            let mut transport = Pin::new(&mut *transport);
            if self.bytes.is_empty() {
                match transport.poll_flush(context) {
                    Poll::Ready(flushed) => (self.flushed, self.broken) = (flushed.is_ok(), flushed.is_err()),
                    Poll::Pending => return,
                }
                continue;
            }
            match transport.as_mut().poll_write(context, self.bytes) {
                Poll::Ready(Ok(written)) if written > 0 => self.bytes = self.bytes.get(written..).unwrap_or_default(),
                Poll::Ready(_) => self.broken = true,
                Poll::Pending => return,
            }
        }
    }
}

impl Open {
    /// Whether an idle connection is still open and silent. Costs no system call as long as it is.
    fn is_quiet(&mut self, crew: &Crew, context: &mut Context<'_>) -> bool {
        let mut buffer = crew.buffer.borrow_mut();
        Pin::new(&mut self.transport).poll_read(context, &mut ReadBuf::new(&mut buffer)).is_pending()
    }

    /// Sends the request and reads the response, at the same time where the request is long: a server may answer
    /// before it has read all (RFC 9112 §9.5).
    fn exchange(
        &mut self,
        crew: &Crew,
        sending: &mut Sending<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ErrorClass>> {
        sending.advance(&mut self.transport, context);
        let mut buffer = crew.buffer.borrow_mut();
        loop {
            let mut bytes = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(&mut self.transport).poll_read(context, &mut bytes));
            if read.is_err() {
                return Poll::Ready(Err(self.reader.broken()));
            }
            if bytes.filled().is_empty() {
                return Poll::Ready(self.reader.end());
            }
            match self.reader.feed(bytes.filled()) {
                Ok(Progress::More) => {}
                Ok(Progress::Complete) => return Poll::Ready(Ok(())),
                Err(class) => return Poll::Ready(Err(class)),
            }
        }
    }
}
