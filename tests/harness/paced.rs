//! Requests that come at fixed times over kept connections, whatever becomes of those before; what became of each.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{
    patience::PATIENCE,
    wire::{self, Message, Parsed},
};

/// What became of one request.
#[derive(Debug)]
pub struct Outcome {
    /// Its answer.
    pub answer: io::Result<Message>,
    /// From the time at which it was sent to the end of its answer.
    pub took: Duration,
}

/// Sends `request` to `to` so many times a second, for so long.
pub fn send(to: SocketAddr, per_second: u32, time: Duration, request: &[u8]) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kept = Arc::<Mutex<Vec<TcpStream>>>::default();
    let request: Arc<[u8]> = request.into();
    runtime.block_on(async {
        let mut requests = JoinSet::new();
        let (began, mut sent) = (Instant::now(), 0);
        let mut beat = tokio::time::interval(Duration::from_millis(1));
        while began.elapsed() < time {
            // Those that are due; a late beat catches up.
            while sent < (began.elapsed().as_secs_f64() * f64::from(per_second)) as u64 {
                sent += 1;
                requests.spawn(ask(to, kept.clone(), request.clone()));
            }
            beat.tick().await;
        }
        requests.join_all().await
    })
}

async fn ask(to: SocketAddr, kept: Arc<Mutex<Vec<TcpStream>>>, request: Arc<[u8]>) -> Outcome {
    let began = Instant::now();
    let idle = kept.lock().unwrap().pop();
    let exchanged = timeout(PATIENCE, exchange(to, idle, &request)).await;
    let answer = exchanged.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())).map(|(answer, stream)| {
        if !answer.says_close() {
            kept.lock().unwrap().push(stream);
        }
        answer
    });
    Outcome { answer, took: began.elapsed() }
}

async fn exchange(to: SocketAddr, idle: Option<TcpStream>, request: &[u8]) -> io::Result<(Message, TcpStream)> {
    let mut stream = match idle {
        Some(stream) => stream,
        None => TcpStream::connect(to).await?,
    };
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    loop {
        match wire::response(&bytes, "GET", false) {
            Parsed::Whole(answer) => return Ok((*answer, stream)),
            Parsed::Broken(why) => return Err(io::Error::other(why)),
            Parsed::Partial => {}
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}
