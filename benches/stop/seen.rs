//! What the client sees: which responses were injected, and which one crossed the threshold.

use std::sync::atomic::{AtomicU64, Ordering};

use glooshot::proxy::Moment;
use glooshot_loadgen::Inspected;

/// The client's own account, kept while it reads. Times are taken when a response has been read.
#[derive(Debug, Default)]
pub struct Seen {
    /// Injected responses, ever.
    injected: AtomicU64,
    /// Those of them behind the crossing one.
    behind: AtomicU64,
    last_injected: AtomicU64,
    crossing: AtomicU64,
}

impl Seen {
    /// Notes a response.
    pub fn note(&self, response: &Inspected<'_>) {
        if response.headers.contains_key("x-glooshot-fault") {
            self.injected.fetch_add(1, Ordering::SeqCst);
            self.last_injected.store(Moment::now().as_nanos(), Ordering::SeqCst);
            if self.crossing.load(Ordering::SeqCst) > 0 {
                self.behind.fetch_add(1, Ordering::SeqCst);
            }
        } else if response.status.is_server_error() && self.crossing.load(Ordering::SeqCst) == 0 {
            self.crossing.store(Moment::now().as_nanos(), Ordering::SeqCst);
        }
    }

    /// Begins a trial.
    pub fn begin(&self) {
        self.crossing.store(0, Ordering::SeqCst);
        self.behind.store(0, Ordering::SeqCst);
        self.last_injected.store(0, Ordering::SeqCst);
    }

    /// Injected responses, ever.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// Injected responses behind the crossing one.
    pub fn behind(&self) -> u64 {
        self.behind.load(Ordering::SeqCst)
    }

    /// When the crossing response was read.
    pub fn crossing(&self) -> Option<Moment> {
        Some(self.crossing.load(Ordering::SeqCst)).filter(|at| *at > 0).map(Moment::from_nanos)
    }

    /// When the last injected response was read.
    pub fn last_injected(&self) -> Option<Moment> {
        Some(self.last_injected.load(Ordering::SeqCst)).filter(|at| *at > 0).map(Moment::from_nanos)
    }
}
