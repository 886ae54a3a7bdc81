//! A request that was admitted, what is noted of it on its way, and whether what an upstream got is this request.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;

use crate::{
    harness::wire::{Framing, Message, latin1, readable},
    passage::PSEUDONYM,
    proxy::{
        fields::Fields,
        head::RequestHead,
        name::Name,
        trailers,
        whole::{BrokenOff, Whole},
    },
};

/// A request that was admitted.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The connection that it went over, by its index.
    pub(crate) upstream: usize,
    method: String,
    target: String,
    fields: Fields,
    body: RefCell<Vec<u8>>,
    trailers: RefCell<HeaderMap>,
    pub(crate) stage: Cell<Stage>,
    /// The client took it back before there was an answer.
    pub(crate) abandoned: Cell<bool>,
}

/// How far its body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Begun,
    Ended,
    Failed,
}

impl Sent {
    /// What is about to be sent over this connection.
    pub(crate) fn of(upstream: usize, head: &RequestHead, body: &Whole) -> Self {
        Self {
            upstream,
            method: head.method.to_string(),
            target: head.uri.to_string(),
            fields: head.fields.clone(),
            body: RefCell::default(),
            trailers: RefCell::default(),
            abandoned: Cell::new(true),
            stage: Cell::new(if body.is_end_stream() { Stage::Ended } else { Stage::Begun }),
        }
    }

    /// Whether it may never have arrived.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.abandoned.get() || self.stage.get() != Stage::Ended
    }

    /// The message is this request, and nothing else could be read in it.
    pub(crate) fn is(&self, message: &Message) {
        let line = latin1(format!("{} {} HTTP/1.1", self.method, self.target).as_bytes());
        assert_eq!(message.start_line, line);
        assert!(line.chars().all(|c| c >= ' ' && c != '\x7f'), "a control character in {line:?}");
        assert!(self.target.starts_with('/') || self.target == "*", "not in origin form: {line:?}");
        // Over HTTP/2 all of a known length can come without the end of the stream.
        let has_all = self.stage.get() == Stage::Ended || matches!(message.framing, Framing::Length(_));
        assert!(has_all, "complete without the end of its body: {message:?}");
        assert_eq!(readable(&message.body), readable(&self.body.borrow()));
        self.has_headers(message);
        for (name, _) in &message.trailers {
            assert!(self.trailers.borrow().contains_key(name.as_str()), "a trailer from nowhere: {name}");
        }
        assert!(!message.chunk_extensions);
    }

    fn has_headers(&self, message: &Message) {
        let host = message.one("host").unwrap_or_else(|| panic!("not one Host: {message:?}"));
        assert!(!host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !",/?#@".contains(c)), "{host:?}");
        for name in ["keep-alive", "proxy-connection", "proxy-authorization", "te", "x-glooshot-fault"] {
            assert!(!message.has(name), "{name} belongs to one connection: {message:?}");
        }
        assert!(matches!(message.all("connection").as_slice(), [] | ["upgrade"]), "{message:?}");
        assert!(message.all("via").last().is_some_and(|via| via.ends_with(PSEUDONYM)), "{message:?}");
        assert!(message.all("cookie").len() <= 1 || message.all("via").last().is_none_or(|via| !via.starts_with('2')));
        for (name, _) in &message.headers {
            let folded = name.replace('_', "-");
            let looks_alike = [
                "content-length",
                "transfer-encoding",
                "host",
                "via",
                "connection",
                "x-forwarded-for",
                "x-forwarded-proto",
            ];
            assert!(*name == folded || !looks_alike.contains(&folded.as_str()), "{name}");
        }
        match message.framing {
            Framing::Chunked => assert!(!self.fields.has(Name::ContentLength)),
            Framing::None | Framing::UntilClose => assert!(message.body.is_empty()),
            Framing::Length(_) => {}
        }
        for (name, value) in self.fields.iter() {
            // Framing is always ours; what trailers a client takes is not said over HTTP/1.
            if !matches!(Name::of(name), Some(Name::TransferEncoding | Name::ContentLength | Name::Te)) {
                let (name, expected) = (latin1(name), latin1(value));
                let arrived = message.all(&name).contains(&expected.trim_matches([' ', '\t']));
                assert!(arrived, "{name}: {expected:?} is lost");
            }
        }
    }
}

/// A client's body on its way, noted as it passes.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) body: Whole,
    pub(crate) sent: Rc<Sent>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        match &mut polled {
            Poll::Pending => {}
            Poll::Ready(None) => self.sent.stage.set(Stage::Ended),
            Poll::Ready(Some(Err(_))) => self.sent.stage.set(Stage::Failed),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.sent.body.borrow_mut().extend_from_slice(data);
                }
                if let Some(trailers) = frame.trailers_mut() {
                    trailers::strip(trailers);
                    self.sent.trailers.borrow_mut().extend(trailers.clone());
                }
                // Nothing comes behind trailers, and nobody asks.
                if self.body.is_end_stream() || frame.is_trailers() {
                    self.sent.stage.set(Stage::Ended);
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
