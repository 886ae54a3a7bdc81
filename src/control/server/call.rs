//! The one request of a connection: who sends it is asked, then it is talked over until either side ends it.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        IDLE_BEAT, MAX_TOKEN, PATH, VERSIONS,
        link::Link,
        messages::FromProxy,
        stream::{Messages, Sender, StreamError, outgoing},
        versions::{OURS, Versions},
    },
    accept::Shared,
    auth::{Authenticator, Identity, Unauthenticated},
    gate::Ticket,
    hub::Seat,
    meter::Meter,
    room::Sent,
};

/// Messages of one proxy in one second at the most; it sends ten, and one at once for each event.
const MESSAGES_PER_SECOND: u32 = 100;

/// The answer to a call.
type Answer = Response<UnsyncBoxBody<Bytes, std::convert::Infallible>>;

/// How far a connection has come.
pub(super) struct Progress {
    /// Held until the peer is authenticated.
    ticket: Mutex<Option<Ticket>>,
    pub(super) meter: Arc<Meter>,
    cut: CancellationToken,
    called: AtomicBool,
}

impl Progress {
    pub(super) fn new(ticket: Ticket, meter: Arc<Meter>, cut: CancellationToken) -> Self {
        Self { ticket: Mutex::new(Some(ticket)), meter, cut, called: AtomicBool::new(false) }
    }

    /// Returns at once if the peer is not authenticated, and never if it is.
    pub(super) async fn unless_authenticated(&self) {
        let authenticated = self.ticket().is_none();
        if authenticated {
            std::future::pending::<()>().await;
        }
    }

    fn authenticated(&self) {
        drop(self.ticket().take());
        self.meter.lift();
    }

    fn ticket(&self) -> MutexGuard<'_, Option<Ticket>> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What answers the calls of one connection: the first one, and no other.
pub(super) struct Call<A> {
    shared: Arc<Shared<A>>,
    progress: Arc<Progress>,
    peer: IpAddr,
}

/// Why a call is refused.
struct Refused(StatusCode, String);

impl<A: Authenticator> Call<A> {
    pub(super) fn new(shared: Arc<Shared<A>>, progress: Arc<Progress>, peer: IpAddr) -> Self {
        Self { shared, progress, peer }
    }

    /// Answers a request: with a stream of messages to a proxy, with a reason to everybody else.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        match self.admit(request).await {
            Ok(answer) => answer,
            Err(Refused(status, reason)) => {
                tracing::info!(peer = %self.peer, %status, %reason, "a call was refused");
                let mut answer = Response::new(Full::from(reason + "\n").boxed_unsync());
                *answer.status_mut() = status;
                answer
            }
        }
    }

    async fn admit(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer, Refused> {
        if self.progress.called.swap(true, Ordering::Relaxed) {
            return Err(Refused(StatusCode::TOO_MANY_REQUESTS, "one call for each connection".to_owned()));
        }
        if request.method() != Method::POST || request.uri().path() != PATH {
            return Err(Refused(StatusCode::NOT_FOUND, format!("there is only POST {PATH}")));
        }
        let version = spoken(&request)?;
        let token = bearer(&request)?.to_owned();
        let identity = self.authenticate(&token).await.map_err(|error| {
            let status = match error {
                Unauthenticated::Refused(_) => StatusCode::UNAUTHORIZED,
                Unauthenticated::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            Refused(status, error.to_string())
        })?;
        let place = Arc::clone(&self.shared.places).try_acquire_owned();
        let place = place.map_err(|_| Refused(StatusCode::SERVICE_UNAVAILABLE, "too many proxies".to_owned()))?;
        self.progress.authenticated();
        let (sender, body) = outgoing();
        tokio::spawn(Arc::clone(self).talk(identity, token, Messages::new(request.into_body()), sender, place));
        let mut answer = Response::new(body.boxed_unsync());
        answer.headers_mut().insert(VERSIONS, version);
        Ok(answer)
    }

    async fn authenticate(&self, token: &str) -> Result<Identity, Unauthenticated> {
        let asked = self.shared.authenticator.authenticate(token, self.peer);
        let late = |_| Unauthenticated::Unavailable("the answer takes too long".to_owned());
        timeout(self.shared.bounds.authentication, asked).await.map_err(late)?
    }

    /// Talks with an authenticated proxy until either side ends it, then ends the connection.
    async fn talk(
        self: Arc<Self>,
        identity: Identity,
        token: String,
        mut messages: Messages<FromProxy>,
        sender: Sender,
        _place: OwnedSemaphorePermit,
    ) {
        let link = Link::default();
        let seat = self.shared.hub.seat(&identity);
        let (tokens, token) = watch::channel(token);
        let conversation = async {
            // Nothing is said before the first stamp has come: without one it would be of any age.
            let first = timeout(self.shared.bounds.time, messages.next(&link)).await;
            let (first, composed) = first.map_err(|_| StreamError::Gone)??;
            seat.heard(first, composed);
            tokio::select! {
                ended = hear(&mut messages, &link, &seat, &tokens) => ended,
                ended = tell(&sender, &link, &seat) => ended,
            }
        };
        let why = tokio::select! {
            ended = conversation => ended.map_or_else(|error| error.to_string(), |()| "it has gone".to_owned()),
            reason = self.doubt(&identity, token) => format!("it is not recognised any more: {reason}"),
            () = seat.replaced() => "its pod has connected anew".to_owned(),
            () = self.progress.cut.cancelled() => "its connection has ended".to_owned(),
        };
        tracing::info!(pod = %identity.pod, service = %identity.service, %why, "a proxy is not connected any more");
        self.progress.cut.cancel();
    }

    /// Asks again and again who this is; returns when it is not who it was.
    async fn doubt(&self, identity: &Identity, token: watch::Receiver<String>) -> String {
        loop {
            sleep(self.shared.bounds.again).await;
            let token = token.borrow().clone();
            match self.authenticate(&token).await {
                Ok(now) if now == *identity => {}
                Ok(_) => return "it is somebody else".to_owned(),
                Err(Unauthenticated::Refused(reason)) => return reason,
                // The faults of a proxy end by themselves when nobody can say what holds; its counts are still needed.
                Err(error @ Unauthenticated::Unavailable(_)) => {
                    tracing::warn!(pod = %identity.pod, %error, "a proxy stays connected unchecked");
                }
            }
        }
    }
}

/// The version to speak.
fn spoken(request: &Request<Incoming>) -> Result<HeaderValue, Refused> {
    let text = request.headers().get(VERSIONS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agreed = text.parse::<Versions>().ok().and_then(|theirs| OURS.agree(theirs));
    let version = agreed.and_then(|version| HeaderValue::from_str(&format!("{version}-{version}")).ok());
    let refused = || format!("this controller speaks versions {OURS} of the channel, which this proxy does not");
    version.ok_or_else(|| Refused(StatusCode::UPGRADE_REQUIRED, refused()))
}

/// The bearer token of a request.
fn bearer(request: &Request<Incoming>) -> Result<&str, Refused> {
    let value = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer "));
    let token = token.filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN);
    token.ok_or_else(|| Refused(StatusCode::UNAUTHORIZED, "a bearer token is missing".to_owned()))
}

/// Takes in whatever the proxy says.
async fn hear(
    messages: &mut Messages<FromProxy>,
    link: &Link,
    seat: &Seat,
    tokens: &watch::Sender<String>,
) -> Result<(), StreamError> {
    let (mut second, mut count) = (Instant::now(), 0);
    loop {
        let (mut message, composed) = messages.next(link).await?;
        if second.elapsed() >= Duration::from_secs(1) {
            (second, count) = (Instant::now(), 0);
        }
        count += 1;
        if count > MESSAGES_PER_SECOND {
            return Err(StreamError::Flood);
        }
        if let Some(token) = message.token.take() {
            tokens.send_replace(token);
        }
        seat.heard(message, composed);
    }
}

/// Tells the proxy what holds: at once when that changes, and the others' sums every beat.
async fn tell(sender: &Sender, link: &Link, seat: &Seat) -> Result<(), StreamError> {
    let mut news = seat.news();
    let mut sent = Sent::default();
    loop {
        let mut beat = IDLE_BEAT;
        let compose = || {
            news.mark_unchanged();
            let (message, next) = seat.next(&mut sent);
            beat = next;
            message
        };
        sender.send(link, compose).await?;
        tokio::select! {
            () = sleep(beat) => {}
            changed = news.changed() => changed.map_err(|_| StreamError::Gone)?,
        }
    }
}
