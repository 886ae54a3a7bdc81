//! Where hyper's HTTP/2 puts the tasks of its streams: on the core's own thread, where a panic is counted.

use std::{future::Future, rc::Rc};

use hyper::rt::Executor;

use super::{connection::CountPanic, worker::Worker};

/// Spawns on this core.
#[derive(Clone, Debug)]
pub(crate) struct OnThisCore(pub(crate) Rc<Worker>);

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisCore {
    fn execute(&self, future: F) {
        let worker = Rc::clone(&self.0);
        tokio::task::spawn_local(async move {
            let _count_panic = CountPanic(&worker);
            future.await;
        });
    }
}
