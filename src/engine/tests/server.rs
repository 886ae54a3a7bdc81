//! A small HTTP server on loopback whose every answer is written by the test, byte for byte if it wants.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

/// What the server does with one request.
pub(crate) enum Reply {
    /// 200 with this JSON.
    Json(String),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// A body without an end, until the client closes or has taken [`ENDLESS`] bytes; tells how many were taken.
    Endless(mpsc::Sender<usize>),
}

/// More bytes than the sockets between a server and a client hold.
pub(crate) const ENDLESS: usize = 64 << 20;

/// A server that lives as long as this.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// A server that answers the request line of the n-th request (from 0) with what `answer` gives.
    pub(crate) async fn start(answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(answer);
        let counter = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, counter) = (Arc::clone(&answer), Arc::clone(&counter));
                tokio::spawn(serve(stream, move |head| answer(counter.fetch_add(1, Ordering::SeqCst), head)));
            }
        });
        Self { address, requests, task }
    }

    /// A server that answers every request with this JSON.
    pub(crate) async fn json(body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_, _| Reply::Json(body.clone())).await
    }

    /// A server that answers every request with these bytes.
    pub(crate) async fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, _| Reply::Raw(bytes.clone())).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: impl FnOnce(&str) -> Reply + Send) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&bytes[..n]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let bytes = match answer(head.lines().next().unwrap_or_default()) {
        Reply::Json(body) => http(200, "application/json", &body),
        Reply::Raw(bytes) => bytes,
        Reply::Hang => {
            // Until the client gives up.
            let _ = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut [0; 1])).await;
            return;
        }
        Reply::Endless(taken) => {
            let _ = taken.send(endless(&mut stream).await).await;
            return;
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

/// Sends a body until nobody takes it any more; the bytes that were taken.
async fn endless(stream: &mut TcpStream) -> usize {
    let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n".to_vec();
    let mut taken = 0;
    while taken < ENDLESS && stream.write_all(&bytes).await.is_ok() {
        taken += bytes.len();
        bytes.resize(1 << 16, b'x');
    }
    taken
}

/// A whole response.
pub(crate) fn http(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Prometheus's answer with this data.
pub(crate) fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

/// Prometheus's answer of one scalar.
pub(crate) fn scalar(value: &str) -> String {
    success(&format!(r#"{{"resultType":"scalar","result":[1560182904.805,"{value}"]}}"#))
}

/// Prometheus's answer of an error.
pub(crate) fn error(status: u16, kind: &str, message: &str) -> Vec<u8> {
    let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"{message}"}}"#);
    http(status, "application/json", &body)
}

/// An address on which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
