//! What the workers of one core share. Nothing in it is touched by another core while requests are made.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use crate::client::transport::{Traffic, Transport};
use crate::deadlines::Deadlines;
use crate::pacer::Pacer;
use crate::prepared::Prepared;
use crate::schedule::{Schedule, Slot};
use crate::summary::ErrorClass;
use crate::tally::{Begin, Tally};

/// Bytes that are read from a connection at a time.
const BUFFER: usize = 64 * 1024;

/// The workers of one core.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) schedule: Schedule,
    pub(crate) pacer: Pacer,
    pub(crate) deadlines: Deadlines,
    pub(crate) tally: Tally,
    pub(crate) traffic: Rc<Traffic>,
    /// Holds bytes from when they are read until they are parsed, never across an await.
    pub(crate) buffer: RefCell<Vec<u8>>,
    rng: RefCell<Rng>,
}

impl Crew {
    pub(crate) fn new(prepared: Arc<Prepared>, schedule: Schedule, pacer: Pacer, tally: Tally) -> Self {
        Self {
            deadlines: Deadlines::new(prepared.timeout),
            prepared,
            schedule,
            pacer,
            tally,
            traffic: Rc::default(),
            buffer: RefCell::new(vec![0; BUFFER]),
            rng: RefCell::new(Rng::new()),
        }
    }

    /// Waits until a request is due that was taken at `now`.
    pub(crate) async fn turn(&self, slot: Slot, now: Instant) -> io::Result<Begin> {
        match slot.due {
            None => Ok(Begin { due: now, sent: now, waited_for: false }),
            Some(due) if due <= now => Ok(Begin { due, sent: now, waited_for: false }),
            Some(due) => {
                self.pacer.wait(due).await?;
                Ok(Begin { due, sent: Instant::now(), waited_for: true })
            }
        }
    }

    /// When a response ended that was read at `now`: when its last bytes came, where that is known.
    pub(crate) fn ended(&self, begin: Begin, now: Instant) -> Instant {
        let age = self.traffic.arrivals.age();
        self.pacer.answers_are_timed(age.is_some());
        let came = age.and_then(|age| now.checked_sub(age));
        came.map_or(now, |came| came.max(begin.sent))
    }

    /// Draws the next request.
    pub(crate) fn choose(&self) -> usize {
        self.prepared.choose(&mut self.rng.borrow_mut())
    }

    /// Opens a connection.
    pub(crate) async fn dial(&self, origin: usize) -> Result<Transport, ErrorClass> {
        let origin = self.prepared.origins.get(origin).ok_or(ErrorClass::Connect)?;
        // Nothing else tells when a connection was there.
        let _awake = self.pacer.stay_awake();
        let began = Instant::now();
        let transport = origin.dial(&self.traffic).await?;
        self.tally.connected(began.elapsed());
        Ok(transport)
    }
}
