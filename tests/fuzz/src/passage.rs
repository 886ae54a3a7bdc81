//! One client's connection on its way through the proxy's gate, with real hyper on both sides, and what must hold of it.
//!
//! It is put together as `connection`, `handle` and `forward` of the product do it. Nothing is injected, no upstream fails.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::SendRequest,
    service::service_fn,
};
use hyper_util::rt::TokioIo;

use crate::{
    harness::wire::{Framing, Message, readable},
    proxy::{
        admit::{Admission, Gate, admit},
        framing::Follower,
        limits::{CONNECTION_WINDOW, Limits},
        rewrite::{ForwardedFor, Marks, Via, rewrite, to_http1},
        sniff::{self, Protocol},
        tapped_io::{Tap, TappedIo},
        trailers,
    },
    sockets::{ClientSocket, UpstreamSocket},
    tasks::Tasks,
};

const PSEUDONYM: &str = "ratings.bookinfo.glooshot";

/// What came of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the first bytes were taken for; none when they were not enough.
    pub(crate) protocol: Option<Protocol>,
    /// The whole requests that upstreams got, in the order in which they were sent.
    pub(crate) requests: Vec<Message>,
    /// The strict reading of the framing ended the connection.
    pub(crate) is_malformed: bool,
}

/// Sends these pieces through the proxy as one connection.
///
/// # Panics
/// When an upstream gets anything but whole, unambiguous requests that were admitted, in their order, with their bodies.
pub(crate) fn pass(pieces: Vec<Vec<u8>>) -> Outcome {
    let client = ClientSocket::sending(pieces);
    let mut first = Vec::new();
    let protocol = loop {
        let Some(piece) = client.next_piece() else { break None };
        first.extend_from_slice(&piece);
        if let Some(protocol) = sniff::recognise(&first) {
            break Some(protocol);
        }
    };
    let passage = Rc::new(Passage::new());
    match protocol {
        Some(Protocol::Http1) => passage.serve_http1(first, client),
        Some(Protocol::Http2) => passage.serve_http2(first, client),
        Some(Protocol::Tls | Protocol::Opaque) | None => {}
    }
    let requests = passage.judge();
    Outcome { protocol, requests, is_malformed: passage.is_malformed.load(Ordering::Relaxed) }
}

/// The proxy of one connection.
#[derive(Debug)]
struct Passage {
    limits: Limits,
    gate: Gate,
    via: Via,
    tasks: Tasks,
    sent: RefCell<Vec<Rc<Sent>>>,
    upstreams: RefCell<Vec<UpstreamSocket>>,
    /// Connections that wait for the next request, by their index.
    pool: RefCell<Vec<(usize, SendRequest<RequestBody>)>>,
    refused: Cell<bool>,
    is_malformed: Arc<AtomicBool>,
}

/// A request that was admitted.
#[derive(Debug)]
struct Sent {
    upstream: usize,
    method: String,
    target: String,
    headers: HeaderMap,
    body: RefCell<Vec<u8>>,
    trailers: RefCell<HeaderMap>,
    stage: Cell<Stage>,
    /// The client took it back before there was an answer.
    abandoned: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begun,
    Ended,
    Failed,
}

impl Passage {
    fn new() -> Self {
        let limits = Limits::default();
        let gate = Gate {
            pseudonym: PSEUDONYM.to_owned(),
            default_host: HeaderValue::from_static("ratings.bookinfo:9080"),
            target_bytes: limits.target_bytes,
            headers: limits.request_headers,
        };
        Self {
            limits,
            gate,
            via: Via::new(PSEUDONYM),
            tasks: Tasks::default(),
            sent: RefCell::default(),
            upstreams: RefCell::default(),
            pool: RefCell::default(),
            refused: Cell::new(false),
            is_malformed: Arc::default(),
        }
    }

    fn serve_http1(self: &Rc<Self>, first: Vec<u8>, client: ClientSocket) {
        let tap = StrictTap { follower: Follower::default(), is_malformed: Arc::clone(&self.is_malformed) };
        let io = TappedIo::new(first, client.clone(), tap);
        let passage = Rc::clone(self);
        let connection = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .max_headers(self.limits.request_headers)
            .max_buf_size(self.limits.head_bytes)
            .half_close(false)
            .serve_connection(TokioIo::new(io), service_fn(move |request| Rc::clone(&passage).handle(request)))
            .with_upgrades();
        self.run(client, async move { drop(connection.await) });
    }

    fn serve_http2(self: &Rc<Self>, first: Vec<u8>, client: ClientSocket) {
        let io = TappedIo::new(first, client.clone(), ());
        let passage = Rc::clone(self);
        let connection = hyper::server::conn::http2::Builder::new(self.tasks.clone())
            .max_concurrent_streams(self.limits.streams)
            .initial_stream_window_size(self.limits.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(self.limits.head_bytes).unwrap())
            .max_send_buf_size(usize::try_from(self.limits.stream_window).unwrap())
            .serve_connection(TokioIo::new(io), service_fn(move |request| Rc::clone(&passage).handle(request)));
        self.run(client, async move { drop(connection.await) });
    }

    /// Lets the client send, wait, and close.
    fn run(&self, client: ClientSocket, connection: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(connection);
        self.tasks.run_until_idle();
        client.end();
        self.tasks.run_until_idle();
        self.pool.borrow_mut().clear();
        self.tasks.abort();
    }

    async fn handle(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        assert!(!self.refused.get(), "a request behind one that was refused: {request:?}");
        let multiplexed = request.version() == Version::HTTP_2;
        let answer = |status| {
            let mut response = Response::new(String::new());
            *response.status_mut() = status;
            response
        };
        let status = self.serve(request).await;
        let mut response = answer(*status.as_ref().unwrap_or_else(|status| status));
        if status.is_err() && !multiplexed {
            self.refused.set(true);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// The status of the answer; an error where the connection is closed behind it.
    async fn serve(&self, mut request: Request<Incoming>) -> Result<StatusCode, StatusCode> {
        match admit(&self.gate, &mut request) {
            Err(_) => return Err(StatusCode::BAD_REQUEST),
            Ok(Admission::AnswerHere) => return Ok(StatusCode::OK),
            Ok(Admission::Forward) => {}
        }
        let (forwarded_for, forwarded) =
            (HeaderValue::from_static("127.0.0.9"), HeaderValue::from_static("for=127.0.0.9"));
        let marks = Marks {
            via: &self.via,
            forwarded_for: &forwarded_for,
            forwarded: &forwarded,
            mode: ForwardedFor::Append,
            tls_ended: false,
        };
        rewrite(&mut request, &marks);
        let known = request.body().is_end_stream() || request.body().size_hint().exact().is_some();
        let known = known && !request.headers().contains_key(TRANSFER_ENCODING);
        to_http1(&mut request, known);
        let (upstream, mut sender) = self.lease().await;
        let sent = Rc::new(Sent::of(upstream, &request));
        self.sent.borrow_mut().push(Rc::clone(&sent));
        let request = request.map(|body| RequestBody { body, sent: Rc::clone(&sent) });
        let answer = sender.try_send_request(request).await;
        sent.abandoned.set(false);
        match answer {
            Ok(response) => {
                assert_eq!(response.status(), StatusCode::NO_CONTENT);
                self.pool.borrow_mut().push((upstream, sender));
                Ok(StatusCode::OK)
            }
            Err(failure) => {
                assert_eq!(sent.stage.get(), Stage::Failed, "not sent: {:?}: {sent:?}", failure.error());
                Err(StatusCode::BAD_REQUEST)
            }
        }
    }

    /// A connection to the upstream: an idle one, or a new one.
    async fn lease(&self) -> (usize, SendRequest<RequestBody>) {
        let idle = self.pool.borrow_mut().pop();
        if let Some((upstream, sender)) = idle
            && sender.is_ready()
        {
            return (upstream, sender);
        }
        let socket = UpstreamSocket::default();
        let upstream = {
            let mut upstreams = self.upstreams.borrow_mut();
            upstreams.push(socket.clone());
            upstreams.len() - 1
        };
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_headers(self.limits.response_headers)
            .max_buf_size(self.limits.head_bytes)
            .handshake(TokioIo::new(TappedIo::new(Vec::new(), socket, ())))
            .await
            .unwrap();
        self.tasks.spawn(async move { drop(connection.with_upgrades().await) });
        (upstream, sender)
    }

    /// Compares what was admitted with what arrived; gives the latter.
    fn judge(&self) -> Vec<Message> {
        let sent = self.sent.borrow();
        let mut arrived: Vec<_> = self.upstreams.borrow().iter().map(|it| it.requests().into_iter()).collect();
        let mut requests = Vec::new();
        for sent in sent.iter() {
            match arrived[sent.upstream].next() {
                Some(message) => {
                    sent.is(&message);
                    // How the body was cut into chunks is nobody's business.
                    requests.push(Message { length: 0, ..message });
                }
                None => assert!(sent.is_unfinished(), "never arrived: {sent:?}"),
            }
        }
        for ((index, upstream), mut left) in self.upstreams.borrow().iter().enumerate().zip(arrived) {
            assert_eq!(left.next(), None, "a request that nobody sent");
            let last = sent.iter().rfind(|sent| sent.upstream == index);
            let unfinished = last.is_some_and(|last| last.is_unfinished());
            assert!(unfinished || upstream.rest().is_empty(), "bytes behind a request: {}", readable(&upstream.rest()));
        }
        requests
    }
}

impl Sent {
    fn of(upstream: usize, request: &Request<Incoming>) -> Self {
        Self {
            upstream,
            method: request.method().to_string(),
            target: request.uri().to_string(),
            headers: request.headers().clone(),
            body: RefCell::default(),
            trailers: RefCell::default(),
            abandoned: Cell::new(true),
            stage: Cell::new(if request.body().is_end_stream() { Stage::Ended } else { Stage::Begun }),
        }
    }

    /// Whether it may never have arrived.
    fn is_unfinished(&self) -> bool {
        self.abandoned.get() || self.stage.get() != Stage::Ended
    }

    /// The message is this request, and nothing else could be read in it.
    fn is(&self, message: &Message) {
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
            let looks_alike = ["content-length", "transfer-encoding", "host", "via", "connection", "x-forwarded-for", "x-forwarded-proto"];
            assert!(*name == folded || !looks_alike.contains(&folded.as_str()), "{name}");
        }
        match message.framing {
            Framing::Chunked => assert!(!self.headers.contains_key(CONTENT_LENGTH)),
            Framing::None | Framing::UntilClose => assert!(message.body.is_empty()),
            Framing::Length(_) => {}
        }
        for (name, value) in &self.headers {
            if *name != TRANSFER_ENCODING && *name != CONTENT_LENGTH {
                let expected = latin1(value.as_bytes());
                let arrived = message.all(name.as_str()).contains(&expected.trim_matches([' ', '\t']));
                assert!(arrived, "{name}: {expected:?} is lost");
            }
        }
    }
}

fn latin1(bytes: &[u8]) -> String {
    crate::harness::wire::latin1(bytes)
}

/// A client's body on its way, noted as it passes.
#[derive(Debug)]
struct RequestBody {
    body: Incoming,
    sent: Rc<Sent>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
                // Nothing comes behind trailers, and hyper does not ask.
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

/// The strict reading of the framing beside hyper's, as in the product's `client_tap`.
#[derive(Debug)]
struct StrictTap {
    follower: Follower,
    is_malformed: Arc<AtomicBool>,
}

impl Tap for StrictTap {
    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.follower.follow(bytes).map_err(|malformed| {
            self.is_malformed.store(true, Ordering::Relaxed);
            io::Error::new(io::ErrorKind::InvalidData, malformed)
        })
    }
}
