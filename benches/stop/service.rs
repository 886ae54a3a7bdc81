//! The service behind the proxy: well, until it is told to fail.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
};

use glooshot::proxy::Moment;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;

use crate::support::origin;

/// A service that runs as long as the process.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How it fails.
    status: AtomicU16,
    /// Answers that still fail.
    failures: AtomicU32,
    /// When it gave the first of them.
    first: AtomicU64,
}

impl Service {
    /// Starts it.
    pub fn start() -> Self {
        let state = Arc::<State>::default();
        let asked = Arc::clone(&state);
        let address = origin::start(move |_| {
            let mut response =
                Response::new(Full::new(Bytes::from_static(&[b'x'; 64])).map_err(std::io::Error::other).boxed());
            if let Some(status) = asked.failure() {
                *response.status_mut() = status;
            }
            async { Ok(response) }
        });
        Self { address, state }
    }

    /// Its next `count` answers have this status.
    pub fn fail(&self, status: u16, count: u32) {
        self.state.status.store(status, Ordering::SeqCst);
        self.state.first.store(0, Ordering::SeqCst);
        self.state.failures.store(count, Ordering::SeqCst);
    }

    /// It is well again.
    pub fn recover(&self) {
        self.state.failures.store(0, Ordering::SeqCst);
    }

    /// When it first failed since it was told to.
    pub fn first_failure(&self) -> Option<Moment> {
        Some(self.state.first.load(Ordering::SeqCst)).filter(|at| *at > 0).map(Moment::from_nanos)
    }
}

impl State {
    fn failure(&self) -> Option<StatusCode> {
        let one_less = |left: u32| left.checked_sub(1);
        self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).ok()?;
        let now = Moment::now().as_nanos();
        let _only_the_first = self.first.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
        Some(StatusCode::from_u16(self.status.load(Ordering::SeqCst)).unwrap())
    }
}
