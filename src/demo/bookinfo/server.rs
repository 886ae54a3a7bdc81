//! Accepts connections and serves one service on them until it is told to stop.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::config::Config;

/// Most connections at a time; further ones wait in the listener's queue.
const MAX_CONNECTIONS: u32 = 512;

/// Time for the head of a request, which is also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after a failed accept, such as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time for requests in flight to be answered after a shutdown was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// Serves `config.service` on `listener` until `shutdown` is cancelled; then answers what is in flight, for at
/// most five seconds, and returns. The future is `Send`.
///
/// `config.listen` is not looked at: the listener's own address counts, also as the source of outgoing
/// connections.
///
/// # Cancellation
/// Dropping the future closes the listener and all connections.
///
/// # Errors
/// `InvalidInput` with a [`ConfigError`](super::ConfigError) in it if the service cannot be made, or the
/// listener's own error if it has no address.
pub async fn serve(listener: TcpListener, config: Config, shutdown: CancellationToken) -> io::Result<()> {
    let own = listener.local_addr()?.ip();
    let app = App::new(&config, own).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let app = Arc::new(app);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    // Ends the connections' tasks when this future ends, however it does.
    let ended = CancellationToken::new();
    let _ends = ended.clone().drop_guard();

    while let Some((stream, permit)) = shutdown.run_until_cancelled(accept(&listener, &permits)).await {
        let (app, shutdown, ended) = (Arc::clone(&app), shutdown.clone(), ended.clone());
        tokio::spawn(async move {
            ended.run_until_cancelled(connection(stream, &app, &shutdown)).await;
            drop(permit);
        });
    }
    drop(listener);
    // All permits are free when all connections have ended; what has not ended in time is cut off.
    let _ = timeout(GRACE, permits.acquire_many(MAX_CONNECTIONS)).await;
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, app: &App, shutdown: &CancellationToken) {
    // Without it small answers may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: http::Request<Incoming>| async move {
        Ok::<_, Infallible>(app.answer(request.method(), request.uri().path(), request.headers()).await)
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let finished = tokio::select! {
        finished = connection.as_mut() => finished,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = finished {
        tracing::debug!(%error, "a connection broke");
    }
}
