//! A service on a thread of its own that speaks HTTP/1 and HTTP/2, whichever its client begins with.

use std::{future::Future, io, net::SocketAddr, sync::Arc, thread};

use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

/// What a service answers; an error breaks the connection.
pub type Answer = io::Result<Response<BoxBody<Bytes, io::Error>>>;

/// The first bytes of HTTP/2 with prior knowledge that no request of HTTP/1 has.
const PREFACE: &[u8] = b"PRI ";

/// Connections that the kernel holds while the thread is busy.
const BACKLOG: i32 = 4_096;

/// Starts the service; it ends with the process.
pub fn start<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(BACKLOG).unwrap();
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    let serve_all = move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&answer)));
                }
            }
        });
    };
    thread::Builder::new().name("origin".into()).spawn(serve_all).unwrap();
    address
}

async fn serve<F, A>(stream: TcpStream, answer: Arc<F>)
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let _refused = stream.set_nodelay(true);
    let mut first = [0; PREFACE.len()];
    let Ok(count) = stream.peek(&mut first).await else { return };
    let service = service_fn(move |request| answer(request));
    let io = TokioIo::new(stream);
    // How a connection ends is the proxy's matter, which is judged elsewhere.
    if first.get(..count) == Some(PREFACE) {
        let _ended = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ended = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
    }
}
