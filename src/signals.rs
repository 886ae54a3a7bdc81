//! SIGINT and SIGTERM, and the runtime that commands wait for them on.

use std::io;

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::Mutex,
};

/// Threads of a controller.
const WORKERS: usize = 2;

/// The runtime of a command. The proxy has threads of its own; this one only steers.
///
/// # Errors
/// When the system has no resources left for it.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The runtime of a controller: what keeps its lease must not wait for what looks at a thousand objects.
///
/// # Errors
/// When the system has no resources left for it.
pub fn parallel_runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()
}

/// Listens for a wish to stop: from a terminal (SIGINT) or a supervisor (SIGTERM).
#[derive(Debug)]
pub struct Interrupt(Mutex<(Signal, Signal)>);

impl Interrupt {
    /// Listens from now on, so that a signal that comes before [`Interrupt::wait`] is not lost.
    ///
    /// # Errors
    /// When the system refuses the handler.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Mutex::new((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))))
    }

    /// Returns at the next signal.
    pub async fn wait(&self) {
        let mut signals = self.0.lock().await;
        let (interrupt, terminate) = &mut *signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
