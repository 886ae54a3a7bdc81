//! The other clients, byte by byte: upgrades, tunnels, those that leave early, and those that send what is no request.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    account::{Account, Ended},
    clients::Ports,
    harness::wire::{find, latin1},
};

/// The name of the clients that upgrade.
pub const UPGRADE: &str = "upgrade";

/// Time for one of them.
const PATIENCE: Duration = Duration::from_secs(10);
/// What goes forth and back in a tunnel, this many times.
const PIECE: usize = 4_096;
const PIECES: u8 = 10;
/// When those who leave do so.
const LEAVE: Duration = Duration::from_millis(20);

const MALFORMED: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /small HTTP/1.1\r\nHost : a\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
];

/// Starts them all.
pub fn spawn(clients: &mut JoinSet<()>, ports: Ports, account: &Arc<Account>, stop: &CancellationToken) {
    let every =
        |pause: u64| Pace { pause: Duration::from_millis(pause), account: Arc::clone(account), stop: stop.clone() };
    clients.spawn(every(500).go_on(UPGRADE, move |_| upgrade(ports.good)));
    clients.spawn(every(500).go_on("tunnel", move |_| tunnel(ports.tunnel)));
    clients.spawn(every(200).go_on("leaves", move |number| leave(ports.passers, number)));
    clients.spawn(every(200).go_on("malformed", move |number| malformed(ports.passers, number)));
}

/// When a client comes again.
struct Pace {
    pause: Duration,
    account: Arc<Account>,
    stop: CancellationToken,
}

impl Pace {
    async fn go_on<V>(self, kind: &'static str, visit: impl Fn(usize) -> V)
    where
        V: Future<Output = io::Result<Ended>>,
    {
        let mut ticks = interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            if self.stop.run_until_cancelled(ticks.tick()).await.is_none() {
                return;
            }
            self.account.sent(kind);
            let ended = match timeout(PATIENCE, visit(number)).await {
                Ok(Ok(ended)) => ended,
                Ok(Err(error)) => Ended::Wrong(error.to_string()),
                Err(_) => Ended::Wrong("no end in time".into()),
            };
            self.account.ended(kind, ended);
        }
    }
}

/// Switches protocols, and has everything sent back.
async fn upgrade(to: SocketAddr) -> io::Result<Ended> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(b"GET /upgrade HTTP/1.1\r\nHost: good\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await?;
    let mut head = Vec::new();
    while find(&head, b"\r\n\r\n").is_none() {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(Ended::Wrong(latin1(&head)));
        }
    }
    if !head.starts_with(b"HTTP/1.1 101 ") || !head.ends_with(b"\r\n\r\n") {
        return Ok(Ended::Wrong(latin1(&head)));
    }
    echo(stream).await
}

/// Speaks something that is not HTTP.
async fn tunnel(to: SocketAddr) -> io::Result<Ended> {
    echo(TcpStream::connect(to).await?).await
}

async fn echo(mut stream: TcpStream) -> io::Result<Ended> {
    for number in 0..PIECES {
        let sent = [number; PIECE];
        stream.write_all(&sent).await?;
        let mut back = [0xff; PIECE];
        stream.read_exact(&mut back).await?;
        if back != sent {
            return Ok(Ended::Wrong("other bytes came back".into()));
        }
    }
    Ok(Ended::Answered)
}

/// Leaves before the answer, in the middle of it, or in the middle of the request.
async fn leave(to: SocketAddr, number: usize) -> io::Result<Ended> {
    let mut stream = TcpStream::connect(to).await?;
    match number % 3 {
        0 => stream.write_all(b"GET /slow HTTP/1.1\r\nHost: passers\r\n\r\n").await?,
        1 => {
            stream.write_all(b"GET /download HTTP/1.1\r\nHost: passers\r\n\r\n").await?;
            stream.read_exact(&mut [0; 10_000]).await?;
        }
        _ => {
            stream.write_all(b"POST /upload HTTP/1.1\r\nHost: passers\r\nContent-Length: 1000000\r\n\r\n").await?;
            stream.write_all(&[b'u'; 50_000]).await?;
        }
    }
    sleep(LEAVE).await;
    Ok(Ended::Left)
}

/// Sends what is refused; the connection must end behind the answer.
async fn malformed(to: SocketAddr, number: usize) -> io::Result<Ended> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(MALFORMED[number % MALFORMED.len()]).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(if answer.starts_with(b"HTTP/1.1 400 ") { Ended::Failed } else { Ended::Wrong(latin1(&answer)) })
}
