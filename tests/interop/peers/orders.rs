//! A gRPC service and its client, both tonic's. Its messages are plain text, so that no compiler of schemas is needed.
//!
//! | method | kind | answers |
//! |---|---|---|
//! | `/shop.Orders/Place` | unary | the message in capitals |
//! | `/shop.Orders/Watch` | server streaming | each word of the message by itself |
//! | `/shop.Orders/Import` | client streaming | all messages, joined by commas |
//! | `/shop.Orders/Chat` | both | each message, as soon as it has come |
//!
//! A word like `!14` ends the call with that status instead; in `Watch`, behind the words before it.

use std::{
    convert::Infallible,
    future::{Future, ready},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use http::uri::PathAndQuery;
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio_stream::{Iter, StreamExt as _};
use tokio_util::bytes::{Buf as _, BufMut as _};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    client::Grpc as Client,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService},
    transport::{Channel, Endpoint},
};

use super::background::Background;
use crate::harness::patience::PATIENCE;

pub const PLACE: &str = "/shop.Orders/Place";
pub const WATCH: &str = "/shop.Orders/Watch";
pub const IMPORT: &str = "/shop.Orders/Import";
pub const CHAT: &str = "/shop.Orders/Chat";

/// Messages that are text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, message: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(message.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        String::from_utf8(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type Words = Iter<std::vec::IntoIter<Result<String, Status>>>;

/// The words of a message; the first that names a status is the last.
fn words(message: &str) -> Vec<Result<String, Status>> {
    let mut words = Vec::new();
    for word in message.split_ascii_whitespace() {
        let failure =
            word.strip_prefix('!').map(|code| Status::new(Code::from(code.parse::<i32>().unwrap()), "as asked"));
        let ends = failure.is_some();
        words.push(failure.map_or_else(|| Ok(word.to_owned()), Err));
        if ends {
            break;
        }
    }
    words
}

struct Place;
struct Watch;
struct Import;
struct Chat;

impl UnaryService<String> for Place {
    type Response = String;
    type Future = Answer<String>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let message = request.into_inner();
        let failure = words(&message).into_iter().find_map(Result::err);
        Box::pin(ready(failure.map_or_else(|| Ok(Response::new(message.to_uppercase())), Err)))
    }
}

impl ServerStreamingService<String> for Watch {
    type Response = String;
    type ResponseStream = Words;
    type Future = Answer<Words>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(ready(Ok(Response::new(tokio_stream::iter(words(request.get_ref()))))))
    }
}

impl ClientStreamingService<String> for Import {
    type Response = String;
    type Future = Answer<String>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        Box::pin(async move {
            let messages = request.into_inner().collect::<Result<Vec<_>, _>>().await?;
            Ok(Response::new(messages.join(",")))
        })
    }
}

impl StreamingService<String> for Chat {
    type Response = String;
    type ResponseStream = Streaming<String>;
    type Future = Answer<Streaming<String>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        Box::pin(ready(Ok(Response::new(request.into_inner()))))
    }
}

/// What has come: the method and the header fields of each call.
type Seen = Arc<Mutex<Vec<(String, http::HeaderMap)>>>;

/// A running service, HTTP/2 with prior knowledge.
#[derive(Debug)]
pub struct Orders {
    background: Background,
    seen: Seen,
}

impl Orders {
    /// Starts it.
    pub fn start() -> Self {
        let seen = Seen::default();
        let noted = seen.clone();
        let background = Background::serve(move |stream| {
            let noted = noted.clone();
            async move {
                let service = service_fn(move |request| answer(noted.clone(), request));
                let _ended = hyper::server::conn::http2::Builder::new(OnThisThread)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
        Self { background, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.background.address()
    }

    /// The methods of the calls that have come.
    pub fn methods(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(method, _)| method.clone()).collect()
    }

    /// The header fields of the last call.
    pub fn last_headers(&self) -> http::HeaderMap {
        self.seen.lock().unwrap().last().unwrap().1.clone()
    }
}

async fn answer(seen: Seen, request: http::Request<Incoming>) -> Result<http::Response<Body>, Infallible> {
    let method = request.uri().path().to_owned();
    seen.lock().unwrap().push((method.clone(), request.headers().clone()));
    let mut server = Grpc::new(Text);
    Ok(match method.as_str() {
        PLACE => server.unary(Place, request).await,
        WATCH => server.server_streaming(Watch, request).await,
        IMPORT => server.client_streaming(Import, request).await,
        CHAT => server.streaming(Chat, request).await,
        _ => Status::unimplemented(method).into_http(),
    })
}

/// Runs what a connection needs on the server's own thread.
#[derive(Clone, Copy, Debug)]
struct OnThisThread;

impl<F: Future + 'static> Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

/// A client with one connection.
#[derive(Clone, Debug)]
pub struct Caller(Client<Channel>);

impl Caller {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().timeout(PATIENCE);
        Self(Client::new(endpoint.connect().await.unwrap()))
    }

    /// A unary call.
    pub async fn unary(
        &mut self,
        method: &'static str,
        message: impl Into<String>,
    ) -> Result<Response<String>, Status> {
        self.call(method, Request::new(message.into())).await
    }

    /// A unary call with metadata.
    pub async fn call(&mut self, method: &'static str, request: Request<String>) -> Result<Response<String>, Status> {
        self.0.ready().await.unwrap();
        self.0.unary(request, PathAndQuery::from_static(method), Text).await
    }

    /// A call that is answered with a stream; what has come until its end, and how it ended.
    pub async fn watch(&mut self, message: &str) -> (Vec<String>, Result<(), Status>) {
        self.0.ready().await.unwrap();
        let request = Request::new(message.to_owned());
        match self.0.server_streaming(request, PathAndQuery::from_static(WATCH), Text).await {
            Ok(response) => all(response.into_inner()).await,
            Err(status) => (Vec::new(), Err(status)),
        }
    }

    /// A call that sends a stream.
    pub async fn import(&mut self, messages: Vec<String>) -> Result<Response<String>, Status> {
        self.0.ready().await.unwrap();
        let request = Request::new(tokio_stream::iter(messages));
        self.0.client_streaming(request, PathAndQuery::from_static(IMPORT), Text).await
    }

    /// A call with streams both ways.
    pub async fn chat(
        &mut self,
        messages: impl tokio_stream::Stream<Item = String> + Send + 'static,
    ) -> Result<Streaming<String>, Status> {
        self.0.ready().await.unwrap();
        let request = Request::new(messages);
        self.0.streaming(request, PathAndQuery::from_static(CHAT), Text).await.map(Response::into_inner)
    }
}

/// All messages of a stream, and how it ended.
async fn all(mut stream: Streaming<String>) -> (Vec<String>, Result<(), Status>) {
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(status) => return (messages, Err(status)),
        }
    }
}
