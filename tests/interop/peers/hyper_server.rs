//! hyper as an upstream, in this process.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;

use super::{Server, background::Background};

type Seen = Arc<Mutex<Vec<String>>>;

/// A running server that answers every request with its target, once it has read the body.
#[derive(Debug)]
pub struct HyperServer {
    background: Background,
    seen: Seen,
}

impl HyperServer {
    /// Starts it.
    pub fn start() -> Self {
        let seen = Seen::default();
        let noted = seen.clone();
        let background = Background::serve(move |stream| {
            let (noted, refused) = (noted.clone(), noted.clone());
            async move {
                let service = service_fn(move |request| answer(noted.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .max_headers(256)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await
                    && error.is_parse()
                {
                    refused.lock().unwrap().push(format!("request refused: {error}"));
                }
            }
        });
        Self { background, seen }
    }
}

impl Server for HyperServer {
    fn address(&self) -> SocketAddr {
        self.background.address()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(seen: Seen, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().to_string();
    seen.lock().unwrap().push(format!("request {} {target}", request.method()));
    // A body that breaks takes the connection with it, whatever is answered.
    let _whole = request.into_body().collect().await;
    Ok(Response::new(Full::new(Bytes::from(target))))
}
