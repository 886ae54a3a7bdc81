//! The service behind the proxy: it answers, takes, gives, fails, breaks, dawdles and switches protocols, as it is asked.

use std::{io, net::SocketAddr, thread, time::Duration};

use http::{
    Request, Response, StatusCode,
    header::{CONNECTION, UPGRADE},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime::Builder, time::sleep};

use crate::support::origin::{self, Answer};

/// The answer to `/small`.
pub const SMALL: &[u8] = &[b's'; 64];
/// The answer to `/download`.
pub const DOWNLOAD: &[u8] = &[b'd'; 1 << 20];
/// How long `/slow` takes.
const SLOW: Duration = Duration::from_millis(200);

/// Starts it.
pub fn start() -> SocketAddr {
    origin::start(answer)
}

async fn answer(request: Request<Incoming>) -> Answer {
    match request.uri().path() {
        "/small" => whole(StatusCode::OK, Bytes::from_static(SMALL)),
        "/download" => whole(StatusCode::OK, Bytes::from_static(DOWNLOAD)),
        "/upload" => {
            let body = request.into_body().collect().await.map_err(io::Error::other)?;
            whole(StatusCode::OK, body.to_bytes().len().to_string().into())
        }
        "/fail" => whole(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"no")),
        "/slow" => {
            sleep(SLOW).await;
            whole(StatusCode::OK, Bytes::from_static(SMALL))
        }
        "/upgrade" => switch(request),
        // `/break` and whatever else.
        _ => Err(io::Error::other("the connection breaks")),
    }
}

fn whole(status: StatusCode, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body).map_err(io::Error::other).boxed());
    *response.status_mut() = status;
    Ok(response)
}

/// Switches to a protocol in which everything is sent back.
fn switch(request: Request<Incoming>) -> Answer {
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    let mut response = Response::new(Full::default().map_err(io::Error::other).boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, "upgrade".parse().unwrap());
    response.headers_mut().insert(UPGRADE, "echo".parse().unwrap());
    Ok(response)
}

/// Starts another service, which sends back every byte of whatever protocol.
pub fn start_echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ended = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
    });
    address
}
