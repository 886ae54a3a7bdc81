//! Servers for the tests: real hyper servers with a given handler, with and without TLS, and a raw one that answers
//! with given bytes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that runs until it is dropped.
pub struct Server {
    pub scheme: &'static str,
    pub address: SocketAddr,
    pub connections: Arc<AtomicU64>,
    together: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Server {
    pub fn url(&self, path: &str) -> http::Uri {
        format!("{}://{}{path}", self.scheme, self.address).parse().unwrap()
    }

    /// Handles no connection before so many are there: otherwise the first ones may have done everything when the last one comes.
    pub fn waits_for(self, connections: usize) -> Self {
        self.together.store(connections, Ordering::Relaxed);
        self
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Which version of HTTP a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// Answers every request with what `handler` makes of it and of the caller's address.
pub async fn serve<H, F>(handler: H) -> Server
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    serve_version(Version::Http1, handler).await
}

/// As [`serve`], in this version.
pub async fn serve_version<H, F>(version: Version, handler: H) -> Server
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let handler = Arc::new(handler);
    accept(move |stream, peer| {
        let handler = Arc::clone(&handler);
        speak(version, stream, move |request| handler(request, peer))
    })
    .await
}

/// As [`serve_version`], behind TLS with a certificate for 127.0.0.1 that nobody else trusts; also its PEM text.
pub async fn serve_tls<H, F>(version: Version, handler: H) -> (Server, String)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = match version {
        Version::Http1 => vec![b"http/1.1".to_vec()],
        Version::Http2 => vec![b"h2".to_vec()],
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let handler = Arc::new(handler);
    let mut server = accept(move |stream, peer| {
        let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                speak(version, stream, move |request| handler(request, peer)).await;
            }
        }
    })
    .await;
    server.scheme = "https";
    (server, certified.cert.pem())
}

/// Serves one connection.
async fn speak<IO, H, F>(version: Version, stream: IO, handler: H)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let io = TokioIo::new(stream);
    let _ = match version {
        Version::Http1 => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
        Version::Http2 => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
        }
    };
}

/// Reads one request head on each connection, writes `answer` and closes.
pub async fn answer_with(answer: impl Into<Bytes>) -> Server {
    answer_each_with(answer, 1).await
}

/// Reads request heads on each connection and writes `answer` to each; closes after `requests` of them.
pub async fn answer_each_with(answer: impl Into<Bytes>, requests: usize) -> Server {
    let answer = answer.into();
    accept(move |mut stream, _| {
        let answer = answer.clone();
        async move {
            for _ in 0..requests {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// Hands each connection to `handle`.
pub async fn accept<H, F>(handle: H) -> Server
where
    H: Fn(tokio::net::TcpStream, SocketAddr) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let together = Arc::new(AtomicUsize::new(1));
    let (counted, wanted) = (Arc::clone(&connections), Arc::clone(&together));
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let (mut tasks, mut waiting) = (JoinSet::new(), Vec::new());
        loop {
            waiting.push(listener.accept().await.unwrap());
            let count = counted.fetch_add(1, Ordering::Relaxed) + 1;
            if count >= wanted.load(Ordering::Relaxed) as u64 {
                waiting.drain(..).for_each(|(stream, peer)| _ = tasks.spawn(handle(stream, peer)));
            }
        }
    });
    Server { scheme: "http", address, connections, together, _accepting: accepting }
}

pub fn respond(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

/// An address of this machine on which nothing listens.
pub async fn nobody() -> http::Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap()
}
