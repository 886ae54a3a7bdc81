//! One connection to one controller: opened, authenticated, talked over until either side ends it.

use std::{io, net::SocketAddr, time::Duration};

use http::{HeaderValue, Request, StatusCode, Version, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    super::{
        BEAT, IDLE_BEAT, PATH, PING, PONG, VERSIONS,
        link::Link,
        messages::{Answer, FromController},
        stream::{Messages, Sender, StreamError, outgoing},
        versions::{OURS, Versions},
    },
    Settings, StartError,
    obey::obey,
    report::Told,
    token::TokenFile,
};
use crate::proxy::{Control, Offer, UpstreamTls};

/// Time to connect, to agree on TLS, and to be authenticated.
const OPEN: Duration = Duration::from_secs(15);
/// Between two looks at the token.
const TOKEN: Duration = Duration::from_secs(60);
/// Bytes of a refusal that are read.
const REFUSAL: usize = 1 << 10;

/// Why there is no session with a controller, or none any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("it cannot be reached: {0}")]
    Connect(#[from] io::Error),
    #[error("no TLS session with it: {0}")]
    Tls(io::Error),
    #[error("it did not answer within {}s", OPEN.as_secs())]
    Slow,
    #[error(transparent)]
    Files(#[from] StartError),
    #[error("it does not speak our protocol: {0}")]
    Protocol(#[from] hyper::Error),
    #[error("it refused us: {status} {reason}")]
    Refused { status: StatusCode, reason: String },
    #[error("it speaks versions {0:?} of the channel, and we {OURS}")]
    Version(String),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    sender: Sender,
    messages: Messages<FromController>,
    link: Link,
    token: TokenFile,
    /// The token that the controller knows.
    told_token: String,
    /// Drives the connection; ends with the session.
    _connection: JoinSet<()>,
}

/// Opens a session with the controller at this address.
pub(super) async fn open(settings: &Settings, address: SocketAddr) -> Result<Session, SessionError> {
    timeout(OPEN, try_open(settings, address)).await.map_err(|_| SessionError::Slow)?
}

async fn try_open(settings: &Settings, address: SocketAddr) -> Result<Session, SessionError> {
    // Files first: their failure is not the controller's.
    let tls = UpstreamTls::load(settings.trust()).map_err(StartError::from)?;
    let token = TokenFile::new(settings.token.clone());
    let told_token = token.read().map_err(StartError::from)?;
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let tls = TlsConnector::from(tls.config(Offer::Http2)).connect(tls.server_name.clone(), tcp).await;
    let tls = tls.map_err(SessionError::Tls)?;
    let (mut requests, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(1)
        .handshake(TokioIo::new(tls))
        .await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a controller ended");
        }
    });
    let (sender, body) = outgoing();
    let mut bearer = HeaderValue::from_str(&format!("Bearer {told_token}")).unwrap_or(HeaderValue::from_static(""));
    bearer.set_sensitive(true);
    let mut request = Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = Version::HTTP_2;
    // What the authority says is of no account: the certificate's name is.
    *request.uri_mut() = http::Uri::builder()
        .scheme("https")
        .authority(settings.name.as_str())
        .path_and_query(PATH)
        .build()
        .map_err(io::Error::other)?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    let versions = HeaderValue::from_str(&OURS.to_string()).map_err(io::Error::other)?;
    request.headers_mut().insert(VERSIONS, versions);
    let response = requests.send_request(request).await?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        return Err(SessionError::Refused { status, reason: reason(response.into_body()).await });
    }
    let spoken = response.headers().get(VERSIONS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !spoken.parse::<Versions>().is_ok_and(|spoken| OURS.agree(spoken).is_some()) {
        return Err(SessionError::Version(spoken.chars().take(32).collect()));
    }
    let messages = Messages::new(response.into_body());
    Ok(Session { sender, messages, link: Link::default(), token, told_token, _connection: driver })
}

/// The first line of what a refusal says.
async fn reason(body: Incoming) -> String {
    let bytes = Limited::new(body, REFUSAL).collect().await.map(Collected::to_bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
}

impl Session {
    /// Obeys and reports until the connection ends; why it did.
    pub(super) async fn talk(self, proxy: &Control) -> SessionError {
        let Self { sender, mut messages, link, token, told_token, _connection } = self;
        let (answers, answered) = watch::channel(None);
        let ended = tokio::select! {
            ended = hear(&mut messages, &link, proxy, &answers) => ended,
            ended = tell(&sender, &link, proxy, answered, &token, told_token) => ended,
        };
        match ended {
            Ok(()) => StreamError::Gone.into(),
            Err(error) => error.into(),
        }
    }
}

/// Obeys whatever comes.
async fn hear(
    messages: &mut Messages<FromController>,
    link: &Link,
    proxy: &Control,
    answers: &watch::Sender<Option<Answer>>,
) -> Result<(), StreamError> {
    loop {
        let (message, composed) = messages.next(link).await?;
        if let Some(answer) = obey(proxy, message, composed) {
            // The latest one is all that counts; the same once more is no news.
            answers.send_if_modified(|before| {
                let news = before.as_ref() != Some(&answer);
                *before = Some(answer);
                news
            });
        }
    }
}

/// Reports every beat, and at once what cannot wait: a trip, a pause, an answer.
async fn tell(
    sender: &Sender,
    link: &Link,
    proxy: &Control,
    mut answers: watch::Receiver<Option<Answer>>,
    token: &TokenFile,
    mut told_token: String,
) -> Result<(), StreamError> {
    let mut told = Told::default();
    let mut signals = proxy.signals();
    let mut looked = Instant::now();
    loop {
        let mut new_token = None;
        if looked.elapsed() >= TOKEN {
            looked = Instant::now();
            // A file that cannot be read now may be in the middle of its change.
            if let Some(read) = token.read().ok().filter(|read| *read != told_token) {
                told_token.clone_from(&read);
                new_token = Some(read);
            }
        }
        let compose = || {
            signals.mark_unchanged();
            let answer = answers.borrow_and_update().clone();
            told.next(proxy, answer, new_token)
        };
        sender.send(link, compose).await?;
        let beat = if proxy.has_experiment() { BEAT } else { IDLE_BEAT };
        tokio::select! {
            () = sleep(beat) => {}
            changed = signals.changed() => changed.map_err(|_| StreamError::Gone)?,
            changed = answers.changed() => changed.map_err(|_| StreamError::Gone)?,
        }
    }
}
