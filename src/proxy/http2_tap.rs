//! What is seen of a client's bytes over HTTP/2: floods are noticed, refused streams counted, every movement noted.

use std::{
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    activity::Activity,
    frames::{Conduct, FloodWatch, Frames},
    limits::Limits,
    metrics::Published,
    tapped_io::Tap,
};

/// The client went on flooding the connection while it was being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("flooded with frames that carry nothing")]
pub(crate) struct Flooded;

/// Follows one client's HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Http2Tap {
    from_client: Frames,
    to_client: Frames,
    watch: FloodWatch,
    activity: Arc<Activity>,
    clock: Arc<AtomicU64>,
    published: Arc<Published>,
}

impl Http2Tap {
    /// Notes every movement in `activity`, and counts into `published`.
    pub(crate) fn new(
        limits: &Limits,
        activity: Arc<Activity>,
        clock: Arc<AtomicU64>,
        published: Arc<Published>,
    ) -> Self {
        let watch = FloodWatch::new(limits.control_frames, limits.stream_resets);
        let (from_client, to_client) = (Frames::of_a_client(), Frames::default());
        Self { from_client, to_client, watch, activity, clock, published }
    }
}

impl Tap for Http2Tap {
    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now = self.clock.load(Ordering::Relaxed);
        self.activity.moved(now);
        let Self { from_client, watch, activity, .. } = self;
        let mut cut = false;
        from_client.follow(bytes, |frame| match watch.received(frame, now) {
            Conduct::Fine => {}
            Conduct::Flood => activity.flood(now),
            Conduct::Cut => cut = true,
        });
        activity.within_a_head(from_client.is_within_a_head(), now);
        if cut { Err(io::Error::new(io::ErrorKind::InvalidData, Flooded)) } else { Ok(()) }
    }

    fn sent(&mut self, slices: &[IoSlice<'_>], count: usize) {
        self.activity.moved(self.clock.load(Ordering::Relaxed));
        let Self { to_client, watch, published, .. } = self;
        let mut left = count;
        for slice in slices {
            let taken = slice.get(..left.min(slice.len())).unwrap_or_default();
            left -= taken.len();
            to_client.follow(taken, |frame| {
                if frame.is_data() {
                    watch.sent_data();
                }
                if frame.refuses_a_stream() {
                    published.streams_refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
}
