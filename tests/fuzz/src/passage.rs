//! One client's connection on its way through the proxy's gate, from our own server of HTTP/1 or real hyper to our own client, and what
//! must hold of it.
//!
//! It is put together as `connection`, `handle` and `forward` of the product do it. Nothing is injected, no upstream fails.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::poll_fn,
    rc::Rc,
};

use http::{HeaderValue, Request, StatusCode, Version};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::{
    harness::wire::{Message, readable},
    proxy::{
        admit::{Admission, Gate, admit},
        head::{RequestHead, ResponseHead},
        http1::{self, Bounds, Connection, Error, Refused, Served, Service},
        limits::{CONNECTION_WINDOW, Limits},
        name::Name,
        rewrite::{ForwardedFor, Marks, Via, rewrite},
        sniff::{self, Protocol},
        tapped_io::TappedIo,
        whole::Whole,
    },
    sent::{RequestBody, Sent, Stage},
    sockets::{ClientSocket, UpstreamSocket},
    tasks::Tasks,
};

/// Our name in `Via`.
pub(crate) const PSEUDONYM: &str = "ratings.bookinfo.glooshot";

/// What came of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the first bytes were taken for; none when they were not enough.
    pub(crate) protocol: Option<Protocol>,
    /// The whole requests that upstreams got, in the order in which they were sent.
    pub(crate) requests: Vec<Message>,
}

/// Sends these pieces through the proxy as one connection.
///
/// # Panics
/// When an upstream gets anything but whole, unambiguous requests that were admitted, in their order, with their bodies.
pub(crate) fn pass(pieces: Vec<Vec<u8>>) -> Outcome {
    let client = ClientSocket::sending(pieces);
    let mut first = Vec::new();
    let protocol = loop {
        let Some(piece) = client.first_read() else { break None };
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
    Outcome { protocol, requests: passage.judge() }
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
    pool: RefCell<Vec<(usize, Connection<UpstreamSocket, RequestBody>)>>,
    refused: Cell<bool>,
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
        }
    }

    fn serve_http1(self: &Rc<Self>, first: Vec<u8>, client: ClientSocket) {
        let io = TappedIo::new(first, client.clone(), ());
        let bounds = Bounds { head_bytes: self.limits.head_bytes, fields: self.limits.request_headers };
        let requests = Requests(Rc::clone(self));
        self.run(client, async move {
            let served = http1::serve(io, bounds, &requests).await;
            assert!(!matches!(served, Served::Switched(..)), "nobody agreed to anything");
        });
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
            .serve_connection(
                TokioIo::new(io),
                service_fn(move |request: Request<Incoming>| {
                    let passage = Rc::clone(&passage);
                    async move {
                        let (parts, body) = request.into_parts();
                        let (head, body) = passage.handle(&mut parts.into(), Whole::Http2(body)).await;
                        Ok::<_, Infallible>(head.into_http(body))
                    }
                }),
            );
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

    async fn handle(&self, head: &mut RequestHead, body: Whole) -> (ResponseHead, String) {
        assert!(!self.refused.get(), "a request behind one that was refused: {head:?}");
        let multiplexed = head.version == Version::HTTP_2;
        let (Ok(status) | Err(status)) = self.serve(head, body).await.inspect_err(|_| {
            self.refused.set(!multiplexed);
        });
        let mut response = ResponseHead::new(status);
        if self.refused.get() {
            response.fields.add(Name::Connection, &HeaderValue::from_static("close"));
        }
        (response, String::new())
    }

    /// The status of the answer; an error where the connection is closed behind it.
    async fn serve(&self, head: &mut RequestHead, body: Whole) -> Result<StatusCode, StatusCode> {
        match admit(&self.gate, head) {
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
        rewrite(head, &marks);
        let (upstream, mut connection) = self.lease();
        let sent = Rc::new(Sent::of(upstream, head, &body));
        self.sent.borrow_mut().push(Rc::clone(&sent));
        connection.begin(head, RequestBody { body, sent: Rc::clone(&sent) });
        let answer = poll_fn(|cx| connection.poll_answer(cx)).await;
        sent.abandoned.set(false);
        match answer {
            Ok(response) => {
                assert_eq!(response.status, StatusCode::NO_CONTENT);
                assert!(connection.may_go_on() && !connection.is_sending(), "answered behind the whole request");
                self.pool.borrow_mut().push((upstream, connection));
                Ok(StatusCode::OK)
            }
            Err(error) => {
                assert!(matches!(error, Error::Source(_)), "{error:?}");
                assert_eq!(sent.stage.get(), Stage::Failed, "not sent: {error:?}: {sent:?}");
                Err(StatusCode::BAD_REQUEST)
            }
        }
    }

    /// A connection to the upstream: an idle one, or a new one.
    fn lease(&self) -> (usize, Connection<UpstreamSocket, RequestBody>) {
        if let Some(idle) = self.pool.borrow_mut().pop() {
            return idle;
        }
        let socket = UpstreamSocket::default();
        let upstream = {
            let mut upstreams = self.upstreams.borrow_mut();
            upstreams.push(socket.clone());
            upstreams.len() - 1
        };
        let bounds = Bounds { head_bytes: self.limits.head_bytes, fields: self.limits.response_headers };
        (upstream, Connection::new(socket, bounds))
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

/// What answers the requests of a connection of HTTP/1.
#[derive(Debug)]
struct Requests(Rc<Passage>);

impl Service for Requests {
    type Body = String;

    async fn answer(&self, head: &mut RequestHead, body: http1::Incoming) -> (ResponseHead, String) {
        self.0.handle(head, Whole::Http1(body)).await
    }

    fn refuse(&self, _: Refused) -> (ResponseHead, String) {
        self.0.refused.set(true);
        (ResponseHead::new(StatusCode::BAD_REQUEST), String::new())
    }
}
