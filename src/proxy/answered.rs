//! Whether any byte of an answer has come, which decides whether a request may be sent again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::tapped_io::Tap;

/// Whether a byte has come since a request was given to the connection. Atomic only because the IO must be `Send`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered(Arc<AtomicBool>);

impl Answered {
    /// A request is given to the connection.
    pub(crate) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether a byte has come since.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tap for Answered {
    fn received(&mut self, _: &[u8]) -> io::Result<()> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}
