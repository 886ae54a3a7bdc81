//! What is seen of a client's bytes over HTTP/1: every movement is noted.

use std::{
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{activity::Activity, tapped_io::Tap};

/// Watches one client's HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct ClientTap {
    activity: Arc<Activity>,
    /// A coarse clock: it costs nothing to read, and limits are in seconds.
    clock: Arc<AtomicU64>,
}

impl ClientTap {
    /// Notes every movement in `activity`.
    pub(crate) fn new(activity: Arc<Activity>, clock: Arc<AtomicU64>) -> Self {
        Self { activity, clock }
    }
}

impl Tap for ClientTap {
    fn received(&mut self, _: &[u8]) -> io::Result<()> {
        self.activity.received(self.clock.load(Ordering::Relaxed));
        Ok(())
    }

    fn sent(&mut self, _: &[IoSlice<'_>], _: usize) {
        self.activity.moved(self.clock.load(Ordering::Relaxed));
    }
}
