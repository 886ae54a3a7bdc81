//! Servers for the tests: a real hyper server with a given handler, and a raw one that answers with given bytes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicU64>,
    _accepting: JoinSet<()>,
}

impl Server {
    pub fn url(&self, path: &str) -> http::Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Answers every request with what `handler` makes of it and of the caller's address.
pub async fn serve<H, F>(handler: H) -> Server
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let handler = Arc::new(handler);
    accept(move |stream, peer| {
        let handler = Arc::clone(&handler);
        async move {
            let service = service_fn(|request| {
                let answer = handler(request, peer);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

/// Reads one request head on each connection, writes `answer` and closes.
pub async fn answer_with(answer: &'static [u8]) -> Server {
    accept(move |mut stream, _| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let _ = stream.write_all(answer).await;
    })
    .await
}

async fn accept<H, F>(handle: H) -> Server
where
    H: Fn(tokio::net::TcpStream, SocketAddr) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut tasks = JoinSet::new();
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            tasks.spawn(handle(stream, peer));
        }
    });
    Server { address, connections, _accepting: accepting }
}

pub fn respond(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

/// An address of this machine on which nothing listens.
pub async fn nobody() -> http::Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap()
}
