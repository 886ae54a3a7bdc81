//! The clients that behave: each kind asks at its own pace, over connections of its own, and knows what the answer must be.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    account::{Account, Ended},
    passers,
    service::{DOWNLOAD, SMALL},
};

/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an upload.
const UPLOAD: usize = 256 * 1024;

/// Where the proxy listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For clients that behave; faults are injected here.
    pub good: SocketAddr,
    /// For clients that leave early, and malformed requests.
    pub passers: SocketAddr,
    /// For a protocol that is passed through.
    pub tunnel: SocketAddr,
}

/// What one kind of client does.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    clients: u32,
    /// Between two requests of one client.
    pause: Duration,
    /// Requests over one connection.
    per_connection: u32,
    http2: bool,
    path: &'static str,
    /// Bytes that it sends.
    upload: usize,
    status: u16,
    /// Bytes of the answer; any where it is not known.
    length: Option<usize>,
}

const SMALL_KIND: Kind = Kind {
    name: "kept",
    clients: 20,
    pause: Duration::from_millis(100),
    per_connection: 2_000,
    http2: false,
    path: "/small",
    upload: 0,
    status: 200,
    length: Some(SMALL.len()),
};

const KINDS: [Kind; 8] = [
    SMALL_KIND,
    Kind { name: "new", clients: 4, pause: Duration::from_millis(200), per_connection: 1, ..SMALL_KIND },
    Kind {
        name: "http2",
        clients: 4,
        pause: Duration::from_millis(50),
        per_connection: 100,
        http2: true,
        ..SMALL_KIND
    },
    Kind { name: "upload", clients: 2, upload: UPLOAD, path: "/upload", length: Some(6), ..SLOWER },
    Kind { name: "http2-upload", clients: 2, http2: true, upload: UPLOAD, path: "/upload", length: Some(6), ..SLOWER },
    Kind { name: "download", clients: 4, path: "/download", length: Some(DOWNLOAD.len()), ..SLOWER },
    Kind { name: "failing", clients: 2, path: "/fail", status: 503, length: Some(2), ..SLOWER },
    Kind { name: "breaking", clients: 2, path: "/break", status: 502, length: None, ..SLOWER },
];

const SLOWER: Kind = Kind { pause: Duration::from_millis(500), per_connection: 10, ..SMALL_KIND };

/// Whether a kind of client comes to the port where faults are.
pub fn is_good(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.name == name) || name == passers::UPGRADE
}

/// Lets all clients ask until `stop`, and waits for their last answers.
pub async fn run(ports: Ports, account: &Arc<Account>, stop: &CancellationToken) {
    let mut clients = JoinSet::new();
    for kind in &KINDS {
        for _ in 0..kind.clients {
            clients.spawn(ask_on(kind, ports.good, Arc::clone(account), stop.clone()));
        }
    }
    passers::spawn(&mut clients, ports, account, stop);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// One client: a request at each tick, unless the one before is still under way.
async fn ask_on(kind: &'static Kind, to: SocketAddr, account: Arc<Account>, stop: CancellationToken) {
    let mut ticks = interval(kind.pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection: Option<Connection> = None;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        account.sent(kind.name);
        let asked = timeout(PATIENCE, kind.ask(&mut connection, to)).await;
        let ended = asked.unwrap_or_else(|_| Ended::Wrong("no answer in time".into()));
        if matches!(ended, Ended::Wrong(_)) || connection.as_ref().is_some_and(|open| open.asked >= kind.per_connection)
        {
            connection = None;
        }
        account.ended(kind.name, ended);
    }
}

/// A connection to the proxy.
struct Connection {
    sender: Sender,
    asked: u32,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Kind {
    async fn ask(&self, connection: &mut Option<Connection>, to: SocketAddr) -> Ended {
        match self.exchange(connection, to).await {
            Ok(response) => self.judge(response).await,
            Err(error) => Ended::Wrong(error),
        }
    }

    async fn exchange(
        &self,
        connection: &mut Option<Connection>,
        to: SocketAddr,
    ) -> Result<Response<Incoming>, String> {
        let text = |error: hyper::Error| format!("{error:?}");
        let open = match connection {
            Some(open) => open,
            None => connection.insert(Connection { sender: self.connect(to).await?, asked: 0 }),
        };
        open.asked += 1;
        let method = if self.upload > 0 { "POST" } else { "GET" };
        let request = Request::builder().method(method);
        let body = Full::new(Bytes::from(vec![b'u'; self.upload]));
        match &mut open.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(text)?;
                let request = request.uri(self.path).header("host", "good").body(body).unwrap();
                sender.send_request(request).await.map_err(text)
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(text)?;
                let request = request.uri(format!("http://good{}", self.path)).body(body).unwrap();
                sender.send_request(request).await.map_err(text)
            }
        }
    }

    async fn connect(&self, to: SocketAddr) -> Result<Sender, String> {
        let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let io = TokioIo::new(stream);
        let text = |error: hyper::Error| format!("{error:?}");
        // How a connection ends is seen by its requests.
        Ok(if self.http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(text)?;
            tokio::spawn(async move { drop(connection.await) });
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(text)?;
            tokio::spawn(async move { drop(connection.await) });
            Sender::Http1(sender)
        })
    }

    /// What an answer is: as it must be, a fault's, or wrong.
    async fn judge(&self, response: Response<Incoming>) -> Ended {
        let status = response.status().as_u16();
        let marker = response.headers().get("x-glooshot-fault").and_then(|marker| marker.to_str().ok());
        let aborted = marker.is_some_and(|marker| marker.starts_with("abort"));
        let delayed = marker.is_some_and(|marker| marker.starts_with("delay"));
        let length = match response.into_body().collect().await {
            Ok(body) => body.to_bytes().len(),
            Err(error) => return Ended::Wrong(format!("{status} and then {error:?}")),
        };
        let right = status == self.status && self.length.is_none_or(|expected| expected == length);
        match (aborted, delayed) {
            (true, false) if status == 503 => Ended::Aborted,
            (false, true) if right => Ended::Delayed,
            (false, false) if right && status >= 500 => Ended::Failed,
            (false, false) if right => Ended::Answered,
            _ => Ended::Wrong(format!("{status} with {length} bytes")),
        }
    }
}
